"""The same model on changed bags: without some cells, without one cell at a time, or with one cell in another bag.

Nothing is encoded again. Each number comes from plain predictions, one with the cells and one without.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_caltomorph.diagnosis.ensemble import Ensemble
from napari_caltomorph.diagnosis.inference import class_response
from napari_caltomorph.diagnosis.prediction import Prediction
from napari_caltomorph.diagnosis.prediction_fields import LeftOutCell
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.errors import ExplanationRefused, FeaturesRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import Reason


def what_if(
    ensemble: Ensemble,
    prediction: Prediction,
    features: Features,
    left_out: Collection[int],
    *,
    progress: OnProgress = ignore,
) -> Prediction:
    """Predict a patient without the cells of these indices, with the model that made the prediction of all N cells.

    Returns what `Ensemble.predict` makes of the other cells, with `original` and with the cells left out ``by="user"``;
    `prediction` itself where none is left out. Raises `ExplanationRefused` where no cell would remain, and
    `FeaturesRefused` where the features are of other cells, or of another encoder.
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
    changed = ensemble.predict(bag, alone=prediction.alone[kept], traits=prediction.image_traits, progress=progress)
    by_hand = (LeftOutCell(cell=prediction.cells[i], reason=str(Reason.BY_HAND), note="", by="user") for i in out)
    return changed.model_copy(
        update={
            "prevalence": prediction.prevalence,
            "policy": prediction.policy,
            "smear_path": prediction.smear_path,
            "smear_fingerprint": prediction.smear_fingerprint,
            "labels": tuple(prediction.labels[i] for i in kept),
            "left_out": (*prediction.left_out, *by_hand),
            "passed_over": prediction.passed_over,
            "original": prediction,
        }
    )


@dataclass(frozen=True)
class CellChanges:
    """The change of a class's log-odds when each of K cells is left out of, or added to, a bag."""

    # The patient of the cells, and the class
    patient_id: str
    slug: str
    rows: NDArray[np.intp]  # (K,): which cells, as rows of the features
    cells: tuple[str, ...]  # Their names
    change: NDArray[np.float64]  # (K,): log-odds of the changed bag less `log_odds`
    # Of the unchanged bag: softmax averaged over the members, raw
    log_odds: float
    probability: float


def leave_one_out(
    ensemble: Ensemble,
    features: Features,
    slug: str,
    rows: Sequence[int] | NDArray[np.integer] | None = None,
    *,
    progress: OnProgress = ignore,
) -> CellChanges:
    """Predict a patient without each of K cells, one at a time: a negative change where the cell supports the class.

    `rows` (K,) are the cells, as rows of the features; None for all. Raises `ExplanationRefused` where there is one
    cell only: no cell would remain.

    Its cost is that of K predictions. In a bag of many similar cells each of them changes little, though together they
    make the diagnosis: the others replace it.
    """
    count, chosen = len(features), _chosen(features, rows)
    if count == 1:
        raise ExplanationRefused(f"{features.patient_id} has one cell only; without it there is nothing to predict.")
    others = np.tile(np.arange(count - 1), (len(chosen), 1))  # (K, N - 1)
    others += others >= chosen[:, None]
    bag = ensemble.bag(features)
    return _changes(ensemble, features, slug, chosen, bag, count, others, "Leaving out one at a time", progress)


def add_cells(
    ensemble: Ensemble,
    features: Features,
    slug: str,
    background: Features,
    rows: Sequence[int] | NDArray[np.integer] | None = None,
    *,
    progress: OnProgress = ignore,
) -> CellChanges:
    """Add each of K cells to another bag, one at a time: a positive change where the cell supports the class.

    No model was trained on a bag of one cell; in a background such as a healthy donor's cells it is part of a usual
    bag. A cell that the background already has is added as a duplicate.
    """
    chosen, count = _chosen(features, rows), len(background)
    bags = np.tile(np.arange(count + 1), (len(chosen), 1))  # (K, n + 1)
    bags[:, count] = count + chosen
    both = torch.cat([ensemble.bag(background), ensemble.bag(features)])
    return _changes(ensemble, features, slug, chosen, both, count, bags, "Adding one at a time", progress)


def _chosen(features: Features, rows: Sequence[int] | NDArray[np.integer] | None) -> NDArray[np.intp]:
    everything = np.arange(len(features))
    return everything if rows is None else everything[np.asarray(rows, dtype=np.intp)]


def _changes(
    ensemble: Ensemble,
    features: Features,
    slug: str,
    chosen: NDArray[np.intp],
    cells: Tensor,
    count: int,
    bags: NDArray[np.intp],
    stage: str,
    progress: OnProgress,
) -> CellChanges:
    """Compare each of K bags, rows of `cells`, with the bag of the first `count` cells."""
    index = ensemble.class_index(slug)
    whole = class_response(ensemble.members, index, cells, np.arange(count)[None])

    def report(done: int) -> None:
        progress(Progress(stage, done, len(chosen)))

    changed = class_response(ensemble.members, index, cells, bags, report=report)
    return CellChanges(
        features.patient_id,
        slug,
        chosen,
        tuple(features.cells[i] for i in chosen),
        changed.log_odds - whole.log_odds[0],
        float(whole.log_odds[0]),
        float(whole.probability[0]),
    )
