"""A synthetic smear that is drawn when it is looked at, and never written."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.smear import Smear
from napari_caltomorph.synthetic.patients import SyntheticPatient
from napari_caltomorph.synthetic.shapes import FIELD_OF_VIEW_UM

_SIDE = 144


class _DrawnSource:
    """The cells of a synthetic patient, drawn again each time they are asked for."""

    def __init__(self, patient: SyntheticPatient) -> None:
        self._patient = patient

    def image(self, index: int) -> NDArray[np.uint8]:
        return self._patient.image(index, _SIDE)

    def digest(self, index: int) -> str:
        return hashlib.sha256(self.image(index).tobytes()).hexdigest()


def drawn_smear(patient: SyntheticPatient) -> Smear:
    """Return a smear whose cells are drawn when they are read; the names are those that `write_smear` gives them."""
    return Smear(
        patient_id=patient.patient_id,
        path=None,
        cells=tuple(f"Gal-{number + 1:06d}.RGB.TIF" for number in range(len(patient))),
        labels=(None,) * len(patient),
        source=_DrawnSource(patient),
        canvas=(_SIDE, _SIDE),
        pixel_size_um=FIELD_OF_VIEW_UM / _SIDE,
    )
