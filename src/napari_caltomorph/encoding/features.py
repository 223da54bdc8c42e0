"""One patient's cells as numbers, where they come from, and the HDF5 file that the field exchanges them in."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.errors import FeaturesRefused, first_line, printable
from napari_caltomorph.storage import StrPath, replacing


@dataclass(frozen=True)
class FeatureOrigin:
    """How features were made. None where a file from elsewhere does not say."""

    # Which network, and the sum of its weights
    encoder: str | None = None
    weights_sha256: str | None = None
    preprocessing: str | None = None
    precision: str | None = None
    smear_fingerprint: str | None = None  # `Smear.fingerprint`
    quality_rules: str | None = None  # Version of the rules that chose the cells
    field_of_view_um: float | None = None  # Width of a cell's image, in micrometres
    library_version: str | None = None  # Of napari-caltomorph

    def matches(self, other: FeatureOrigin) -> bool:
        """Whether both were made in the same way; the library's version may differ."""
        mine, others = asdict(self), asdict(other)
        return all(mine[key] == others[key] for key in mine if key != "library_version")


@dataclass(frozen=True)
class Features:
    """N cells as vectors."""

    patient_id: str
    values: NDArray[np.float32]  # (N, D) float32
    cells: tuple[str, ...]  # Names, in the order of `values`
    origin: FeatureOrigin = FeatureOrigin()

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or 0 in self.values.shape:
            raise FeaturesRefused(
                f"{self.patient_id}: features of shape {self.values.shape} are no bag of cells (N, D)."
            )
        if len(self.cells) != len(self.values):
            raise FeaturesRefused(f"{self.patient_id}: {len(self.cells)} cell names for {len(self.values)} features.")
        if not np.isfinite(self.values).all():
            bad = int((~np.isfinite(self.values).all(axis=1)).sum())
            raise FeaturesRefused(
                f"{self.patient_id}: {bad} of {len(self.values)} features are not finite; encode again."
            )

    def __len__(self) -> int:
        return len(self.values)

    def of_cells(self, cells: Sequence[str]) -> Features:
        """Return the features of some of the cells, in this order; `KeyError` where there is none of such a name."""
        rows = {cell: row for row, cell in enumerate(self.cells)}
        return replace(self, values=self.values[[rows[cell] for cell in cells]], cells=tuple(cells))

    def save(self, path: StrPath) -> None:
        """Write ``<patient_id>.h5`` under a temporary name, then rename; `OutputRefused` when it cannot be."""
        # Made in memory: when a disk fills up, the error of the HDF5 library looks like a bug.
        content = io.BytesIO()
        with h5py.File(content, "w") as file:
            file.create_dataset("features", data=self.values)
            file.create_dataset("cells", data=list(self.cells), dtype=h5py.string_dtype("utf-8"))
            for key, value in asdict(self.origin).items():
                if value is not None:
                    file.attrs[key] = value
        with replacing(Path(path)) as part:
            part.write_bytes(content.getbuffer())

    @classmethod
    def load(cls, path: StrPath) -> Features:
        """Read a bag of features; files of GenBloom, CLAM, TRIDENT (``features``) and STAMP (``feats``) as they are.

        Raises `FeaturesRefused` where it is no HDF5 file, or has no bag of features.
        """
        path = Path(path)
        try:
            with h5py.File(path, "r") as file:
                name = next((n for n in ("features", "feats") if n in file), None)
                if name is None:
                    raise FeaturesRefused(f"{path} holds no dataset 'features' or 'feats'; found {sorted(file)}.")
                with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
                    values = file[name].astype(np.float32)[()]
                cells = tuple(str(cell) for cell in file["cells"].asstr()[()]) if "cells" in file else None
                origin = _read_origin(file.attrs)
        except FeaturesRefused:
            raise
        except Exception as error:  # whatever a damaged file makes the HDF5 library stumble over
            raise FeaturesRefused(
                f"{path} holds no features that can be read ({first_line(error)}); encode the patient again."
            ) from error
        if values.ndim == 3 and values.shape[0] == 1:
            values = values[0]
        if cells is None:
            cells = tuple(f"cell_{i + 1}" for i in range(len(values) if values.ndim else 0))
        return cls(printable(path.stem), values, cells, origin)


def load_bag(paths: Sequence[Path]) -> Features:
    """Read a patient's features from one file, or from one for each slide; cells are then named ``slide/cell``.

    Raises `FeaturesRefused` where a file is damaged, or the slides are of two encoders.
    """
    first, *others = bags = [Features.load(path) for path in paths]
    if not others:
        return first
    for other, path in zip(others, paths[1:], strict=True):
        if _kind(other) != _kind(first):
            raise FeaturesRefused(
                f"{paths[0]} and {path}, slides of one patient, are features of two encoders, or encoded in two ways; "
                "encode both slides in one way."
            )
    known = [bag.origin.smear_fingerprint for bag in bags]
    digest = hashlib.sha256("\n".join(sorted(map(str, known))).encode()).hexdigest()
    names = _slide_names(paths)
    return Features(
        patient_id=first.patient_id,
        values=np.concatenate([bag.values for bag in bags]),
        cells=tuple(f"{name}/{cell}" for name, bag in zip(names, bags, strict=True) for cell in bag.cells),
        origin=replace(first.origin, smear_fingerprint=None if None in known else digest),
    )


def _kind(bag: Features) -> tuple[object, ...]:
    """Return what must be the same of all slides of a patient."""
    origin = bag.origin
    return bag.values.shape[1], origin.encoder, origin.weights_sha256, origin.preprocessing, origin.precision


def _slide_names(paths: Sequence[Path]) -> list[str]:
    """Return the names of slides: those of their files, with the folders where two files have one name."""
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [path.with_suffix("").as_posix().lstrip("/") for path in paths]
    return list(map(printable, names))


def _read_origin(attributes: Any) -> FeatureOrigin:
    found: dict[str, Any] = {f.name: attributes.get(f.name) for f in fields(FeatureOrigin)}
    for key, value in found.items():
        if value is not None:
            found[key] = float(value) if key == "field_of_view_um" else _text(value)
    return FeatureOrigin(**found)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
