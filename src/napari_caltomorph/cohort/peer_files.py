"""Feature files in the forms of STAMP, CLAM and TRIDENT, next to our own, so that these programs read them.

They want a place on a slide for each tile. Single-cell images have none, so cells are in a square grid, in the order of
the file; the files say so. A grid has the distances between tiles that some of these programs compute.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.cohort.options import PeerName
from napari_caltomorph.encoding.encoders import ENCODERS
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.storage import replacing

GRID = "cells in a square grid, row by row, in the order of the file: images of single cells have no place on a slide"


@dataclass(frozen=True)
class _Content:
    """One patient for a peer."""

    features: Features
    name: str
    folder: Path  # Where the peer's files of all patients are

    @property
    def pixels(self) -> int:
        """Width of a cell as the encoder sees it; 224 where the encoder is not one of ours."""
        encoder = ENCODERS.get(self.features.origin.encoder or "")
        return 224 if encoder is None or encoder.preprocessing is None else encoder.preprocessing.size

    def coords(self, step: float) -> NDArray[np.float64]:
        """(N, 2) x and y of the cells in the grid."""
        numbers = np.arange(len(self.features))
        columns = max(2, math.ceil(math.sqrt(len(numbers))))
        return np.asarray(step * np.stack([numbers % columns, numbers // columns], axis=1), np.float64)


def _stamp(one: _Content) -> dict[Path, bytes]:
    """STAMP 2: ``feats``, and ``coords`` in micrometres."""
    width = one.features.origin.field_of_view_um or 1.0
    about: dict[str, Any] = {"extractor": one.features.origin.encoder or "unknown", "unit": "um", "feat_type": "tile"}
    about |= {"tile_size_um": width, "tile_size_px": one.pixels, "coords_are": GRID}
    if one.features.origin.field_of_view_um is None:
        about["scale"] = "unknown: a cell counts as 1 um wide"
    datasets = {"feats": one.features.values, "coords": one.coords(width).astype(np.float32)}
    return {one.folder / f"{one.name}.h5": _h5(datasets, about)}


def _clam(one: _Content) -> dict[Path, bytes]:
    """CLAM: ``pt_files/<id>.pt``, which it trains on, and ``h5_files/<id>.h5``."""
    import torch

    tensor = io.BytesIO()
    torch.save(torch.from_numpy(np.array(one.features.values)), tensor)
    datasets: dict[str, NDArray[Any]] = {
        "features": one.features.values,
        "coords": one.coords(one.pixels).astype(np.int32),
    }
    of_coords = {"patch_size": one.pixels, "patch_level": 0, "coords_are": GRID}
    return {
        one.folder / "h5_files" / f"{one.name}.h5": _h5(datasets, coords=of_coords),
        one.folder / "pt_files" / f"{one.name}.pt": tensor.getvalue(),
    }


def _trident(one: _Content) -> dict[Path, bytes]:
    """TRIDENT: ``features`` and ``coords`` in a folder named after the encoder."""
    folder = one.folder / f"features_{one.features.origin.encoder or 'unknown'}"
    datasets: dict[str, NDArray[Any]] = {
        "features": one.features.values,
        "coords": one.coords(one.pixels).astype(np.int64),
    }
    named: dict[str, Any] = {"name": one.name, "savetodir": folder.name}
    if encoder := one.features.origin.encoder:
        named["encoder"] = encoder
    of_coords = {"patch_size": one.pixels, "patch_size_level0": one.pixels, "overlap": 0, "coords_are": GRID}
    return {folder / f"{one.name}.h5": _h5(datasets, features=named, coords=named | of_coords)}


_FORMS: dict[PeerName, Callable[[_Content], dict[Path, bytes]]] = {"stamp": _stamp, "clam": _clam, "trident": _trident}


def write_as(form: PeerName, files: Iterable[Path], folder: Path, *, progress: OnProgress = ignore) -> Path:
    """Write feature files of ours in the form of a peer.

    Parameters
    ----------
    form : str
        ``"stamp"``, ``"clam"`` or ``"trident"``.
    files : iterable of Path
        One a patient.
    folder : Path
        The peer's files are in a folder in it that is called like the form. Those of earlier runs are replaced.
    progress : callable
        See `OnProgress`; what is written when it is cancelled stays, each file whole.

    Returns
    -------
    Path
        That folder.

    Raises
    ------
    FeaturesRefused
        A feature file is damaged.
    OutputRefused
        The folder cannot be written.
    """
    files = list(files)
    for number, file in enumerate(files):
        report = partial(progress, Progress(f"Writing for {form.upper()}", number, len(files), "patients"))
        report()
        content = _Content(Features.load(file, waiting=report), file.stem, folder / form)
        for path, written in _FORMS[form](content).items():
            with replacing(path) as part:
                part.write_bytes(written)
    return folder / form


def _h5(
    datasets: Mapping[str, NDArray[Any]], about: dict[str, Any] | None = None, **attributes: dict[str, Any]
) -> bytes:
    """Return an HDF5 file with these datasets, attributes of the file, and attributes of datasets by name."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs.update({**(about or {}), "written_by": "napari-caltomorph"})
        for name, values in datasets.items():
            file[name] = values
            file[name].attrs.update(attributes.get(name, {}))
    return content.getvalue()
