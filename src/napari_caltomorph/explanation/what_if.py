"""What would the model say without some of the cells? The same model on the same features, and nothing is encoded."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from napari_caltomorph.diagnosis.ensemble import Ensemble
from napari_caltomorph.diagnosis.prediction import LeftOutCell, Prediction
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.errors import ExplanationRefused, FeaturesRefused
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.smear import Reason


def what_if(
    ensemble: Ensemble,
    prediction: Prediction,
    features: Features,
    left_out: Collection[int],
    *,
    progress: OnProgress = ignore,
) -> Prediction:
    """Predict a patient without some of the cells.

    Parameters
    ----------
    ensemble : Ensemble
        The model that predicted.
    prediction : Prediction
        Of all N cells.
    features : Features
        Of the same cells, in the same order.
    left_out : collection of int
        Indices of the cells that are left out.
    progress : callable
        Called with a `Progress` for each member; raising `Cancelled` in it stops cleanly.

    Returns
    -------
    Prediction
        As `Ensemble.predict` makes it of the other cells, with `original` and with the cells left out ``by="user"``;
        `prediction` itself where none is left out.

    Raises
    ------
    ExplanationRefused
        No cell would be left.
    FeaturesRefused
        The features are of other cells, or of another encoder.
    """
    if features.cells != prediction.cells:
        raise FeaturesRefused(f"{prediction.patient_id}: the features are not those of the cells that were predicted.")
    out = sorted(set(left_out))
    kept = np.setdiff1d(np.arange(len(prediction.cells)), out)
    if not out:
        return prediction
    if not len(kept):
        raise ExplanationRefused("A diagnosis needs at least one cell: leave one in.")
    bag = features.of_cells([prediction.cells[i] for i in kept])
    answer = ensemble.predict(bag, alone=prediction.alone[kept], progress=progress)
    by_hand = (LeftOutCell(cell=prediction.cells[i], reason=str(Reason.BY_HAND), note="", by="user") for i in out)
    return answer.model_copy(
        update={
            "smear_path": prediction.smear_path,
            "labels": tuple(prediction.labels[i] for i in kept),
            "left_out": (*prediction.left_out, *by_hand),
            "passed_over": prediction.passed_over,
            "original": prediction,
        }
    )
