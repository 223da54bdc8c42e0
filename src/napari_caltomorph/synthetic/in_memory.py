"""Synthetic patients that are not written: smears with cells drawn when read, and simulated features."""

from __future__ import annotations

import hashlib
import zlib

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.smear import Smear
from napari_caltomorph.smear.sources import CommonScale, ReadCell
from napari_caltomorph.synthetic.fields import FIELD_OF_VIEW_UM
from napari_caltomorph.synthetic.layouts import METAFER_CELL
from napari_caltomorph.synthetic.patients import SyntheticPatient

_SIDE = 144
# A cell is read three times: for its digest, its grade and its features. So many (64 MB) are drawn only once.
_CACHED = 1024

# Of a patient's features; the centres of cell types, and the cells around them, vary by 1.
_PATIENT_SHIFT = 0.3


class _SyntheticSource:
    """The cells of a synthetic patient, drawn when they are read; the first of them are cached."""

    def __init__(self, patient: SyntheticPatient) -> None:
        self._patient = patient
        self._cache: dict[int, NDArray[np.uint8]] = {}
        self.scale = CommonScale()

    def image(self, index: int) -> NDArray[np.uint8]:
        if index in self._cache:
            return self._cache[index].copy()
        image = self._patient.image(index, _SIDE)
        if len(self._cache) < _CACHED:
            self._cache[index] = image.copy()
        return image

    def read(self, index: int) -> ReadCell:
        image = self.image(index)
        return ReadCell(hashlib.sha256(image.tobytes()).hexdigest(), image)

    def digest(self, index: int) -> str:
        return hashlib.sha256(self.image(index).tobytes()).hexdigest()


def synthetic_smear(patient: SyntheticPatient) -> Smear:
    """Return a smear with cells that are drawn when they are read; names are those of `write_smear`."""
    return Smear(
        patient_id=patient.patient_id,
        path=None,
        cells=tuple(METAFER_CELL.format(number + 1) for number in range(len(patient))),
        labels=(None,) * len(patient),
        source=_SyntheticSource(patient),
        canvas=(_SIDE, _SIDE),
        pixel_size_um=FIELD_OF_VIEW_UM / _SIDE,
    )


def synthetic_features(patient: SyntheticPatient, width: int = 768, seed: int = 0) -> NDArray[np.float32]:
    """Simulate features of a patient's cells, (N, width) float32; no cell is drawn and no encoder is run.

    For load tests, and for tests of training: a patient's mixture of cells can be learned from them. They are random
    numbers; all they share with an encoder's is that cells of one type are close together. A number that is measured on
    them says nothing about real cells.

    They are always the same for the same patient, width and seed: the centre of the cell's type, which every patient
    shares, a small shift of the patient's own, and noise of each cell. The seed, not negative and one for a whole
    cohort, sets the centres.
    """
    types, type_of = np.unique(patient.cell_types, return_inverse=True)
    centres = np.stack([_centre(str(cell_type), width, seed) for cell_type in types])  # (types, width)
    rng = np.random.default_rng([patient.seed, 2, seed])
    shift = _PATIENT_SHIFT * rng.standard_normal(width, dtype=np.float32)
    features = rng.standard_normal((len(patient), width), dtype=np.float32)
    features += (centres + shift)[type_of]
    return features


def _centre(cell_type: str, width: int, seed: int) -> NDArray[np.float32]:
    # From its name: a new entry in the table of cell types moves no other type.
    return np.random.default_rng([seed, zlib.crc32(cell_type.encode())]).standard_normal(width, dtype=np.float32)
