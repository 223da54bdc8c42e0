"""A saved prediction names its cells and where they were read; here it gets them back."""

from __future__ import annotations

from napari_caltomorph.diagnosis.prediction import Prediction
from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.names import path_of
from napari_caltomorph.smear import Smear, read_smear


def find_smear(prediction: Prediction) -> Smear:
    """Open the smear that a prediction was made of, where it still is.

    Raises
    ------
    SmearUnreadable
        It was not read from disk, or is gone; the message says where it was.
    """
    if prediction.smear_path is None:
        raise SmearUnreadable(f"{prediction.patient_id} was predicted from a layer; its images are not on disk.")
    smear = read_smear(path_of(prediction.smear_path))
    if missing := set(prediction.cells) - set(smear.cells):
        raise SmearUnreadable(
            f"{prediction.smear_path} lacks {len(missing)} of the cells that were predicted (first: {min(missing)}); "
            "bring the export back to this place."
        )
    return smear
