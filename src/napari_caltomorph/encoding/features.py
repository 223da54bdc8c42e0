"""One patient's cells as numbers, where they come from, and the HDF5 file that the field exchanges them in."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.encoding.h5_process import MADE_ALIKE, UNKNOWN, FeatureOrigin
from napari_caltomorph.encoding.h5_reader import read_bag
from napari_caltomorph.errors import FeaturesRefused, printable
from napari_caltomorph.storage import StrPath, replacing

# HDF5's cache of chunks is as large: each is read and checked once.
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Features:
    """N cells as vectors, and with views as K vectors more each: given as (N, 1 + K, D), the cell as it is first."""

    patient_id: str
    values: NDArray[np.float32]  # (N, D) float32: of the cells as they are
    cells: tuple[str, ...]  # Names, in the order of `values`
    origin: FeatureOrigin = UNKNOWN
    views: NDArray[np.float32] | None = field(default=None, repr=False)  # (1 + K, N, D), the first of them is `values`

    def __post_init__(self) -> None:
        if self.values.ndim == 3 and 0 not in self.values.shape and self.origin.views is not None:
            views = np.ascontiguousarray(self.values.transpose(1, 0, 2))
            object.__setattr__(self, "views", views)
            object.__setattr__(self, "values", views[0])
        elif self.views is None and self.origin.views is not None:  # left out, so that it is no longer theirs
            object.__setattr__(self, "origin", replace(self.origin, views=None))
        if self.values.ndim != 2 or 0 in self.values.shape:
            raise FeaturesRefused(
                f"{self.patient_id}: features of shape {self.values.shape} are no bag of cells (N, D)."
            )
        if len(self.cells) != len(self.values):
            raise FeaturesRefused(f"{self.patient_id}: {len(self.cells)} cell names for {len(self.values)} features.")
        is_finite = np.isfinite(self.stacked).reshape(len(self), -1).all(axis=1)
        if bad := int((~is_finite).sum()):
            raise FeaturesRefused(
                f"{self.patient_id}: {bad} of {len(self.values)} features are not finite; encode again."
            )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the smear that was encoded; of numbers and names, where a file from elsewhere does not say."""
        return self.origin.smear_fingerprint or self._content_sha256()

    @property
    def kind(self) -> tuple[object, ...]:
        """What must be the same of features that are used together."""
        return self.values.shape[1], *(getattr(self.origin, name) for name in MADE_ALIKE)

    @property
    def stacked(self) -> NDArray[np.float32]:
        """Cell by cell, as they are stored: (N, D), or (N, 1 + K, D) with views."""
        return self.values if self.views is None else self.views.transpose(1, 0, 2)

    def require_views(self) -> None:
        """Raise `FeaturesRefused` where there are no views."""
        if self.views is None:
            raise FeaturesRefused(f"{self.patient_id}: its features have no views; encode it again with --views.")

    def of_cells(self, cells: Sequence[str]) -> Features:
        """Return the features of some of the cells, in this order; `KeyError` where there is none of such a name."""
        rows = {cell: row for row, cell in enumerate(self.cells)}
        chosen = self.stacked[[rows[cell] for cell in cells]]
        return replace(self, values=chosen, cells=tuple(cells), views=None)

    def save(self, path: StrPath) -> None:
        """Write ``<patient_id>.h5`` under a temporary name, then rename; `OutputRefused` when it cannot be."""
        # Made in memory: when a disk fills up, the error of the HDF5 library looks like a bug.
        content = io.BytesIO()
        with h5py.File(content, "w") as file:
            stacked = self.stacked
            of_cell = stacked.shape[1:]
            rows = max(1, _CHUNK_BYTES // (4 * math.prod(of_cell)))
            chunks = (min(rows, len(self)), *of_cell)
            file.create_dataset("features", data=stacked, chunks=chunks, fletcher32=True)
            file.create_dataset("cells", data=list(self.cells), dtype=h5py.string_dtype("utf-8"))
            for key, value in asdict(self.origin).items():
                if value is not None:
                    file.attrs[key] = value
            file.attrs["content_sha256"] = self._content_sha256()
        with replacing(Path(path)) as part:
            part.write_bytes(content.getbuffer())

    @classmethod
    def load(cls, path: StrPath, *, views: bool = False, waiting: Callable[[], object] = lambda: None) -> Features:
        """Read a bag of features; files of GenBloom, CLAM, TRIDENT (``features``) and STAMP (``feats``) as they are.

        Parameters
        ----------
        path : str or Path
        views : bool
            Keep the views of the cells, if there are any; else only the cells as they are.
        waiting : callable
            Called ten times a second until it is read; raising an error in it stops.

        Returns
        -------
        Features
            (N, D) float32.

        Raises
        ------
        FeaturesRefused
            It is no HDF5 file, has no bag of features, refers to other files, or has changed since we wrote it.
        """
        path = Path(path)
        bag = read_bag(path, waiting=waiting)
        values = (np.empty(bag.shape, np.float32) if bag.values is None else bag.values).reshape(bag.of_cells)
        cells = bag.cells
        if cells is None:
            cells = tuple(f"cell_{i + 1}" for i in range(len(values) if values.ndim else 0))
        features = cls(printable(path.stem), values, cells, bag.origin)
        if bag.sha256 not in (None, features._content_sha256()):
            raise FeaturesRefused(
                f"{path} has changed since it was written (its checksum differs); encode the patient again."
            )
        if features.views is None or views:
            return features
        return replace(features, values=features.values.copy(), views=None)

    def _content_sha256(self) -> str:
        """Return the sum of numbers and names; a field of view, for example, may be added to a file by hand."""
        stacked = self.stacked
        digest = hashlib.sha256(json.dumps([self.cells, stacked.shape]).encode())
        digest.update(np.ascontiguousarray(stacked, "<f4").data)
        return digest.hexdigest()


def load_bag(
    paths: Sequence[StrPath], *, views: bool = False, waiting: Callable[[], object] = lambda: None
) -> Features:
    """Read a patient's features from one file, or from one for each slide; cells are then named ``slide/cell``.

    Parameters
    ----------
    paths : sequence of str or Path
    views : bool
    waiting : callable
        As in `Features.load`.

    Returns
    -------
    Features
        (N, D) of the cells of all slides.

    Raises
    ------
    FeaturesRefused
        A file is damaged, or the slides are of two encoders.
    """
    first, *others = bags = [Features.load(path, views=views, waiting=waiting) for path in paths]
    if not others:
        return first
    for other, path in zip(others, paths[1:], strict=True):
        if other.kind != first.kind:
            raise FeaturesRefused(
                f"{paths[0]} and {path}, slides of one patient, are features of two encoders, or encoded in two ways; "
                "encode both slides in one way."
            )
    known = [bag.origin.smear_fingerprint for bag in bags]
    digest = hashlib.sha256("\n".join(sorted(map(str, known))).encode()).hexdigest()
    names = _slide_names([Path(path) for path in paths])
    return Features(
        patient_id=first.patient_id,
        values=np.concatenate([bag.stacked for bag in bags]),
        cells=tuple(f"{name}/{cell}" for name, bag in zip(names, bags, strict=True) for cell in bag.cells),
        origin=replace(first.origin, smear_fingerprint=None if None in known else digest),
    )


def _slide_names(paths: Sequence[Path]) -> list[str]:
    """Return the names of slides: those of their files, with the folders where two files have one name."""
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [path.with_suffix("").as_posix().lstrip("/") for path in paths]
    return list(map(printable, names))
