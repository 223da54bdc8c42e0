"""What the model says when one cell is missing: the honest, slow number beside contributions and attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.ensemble import Ensemble
from napari_caltomorph.diagnosis.inference import class_response
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.errors import ExplanationRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore


@dataclass(frozen=True)
class LeaveOneOut:
    """The change of a class's log-odds when each of K cells is taken out, all others staying.

    Attributes
    ----------
    patient_id, slug : str
    rows : (K,)
        Which cells, as rows of the features.
    cells : tuple of str
        Their names.
    change : (K,)
        Log-odds without the cell less log-odds with it: negative where the cell spoke for the class.
    log_odds, probability : float
        Of the whole bag: softmax averaged over the members, raw.
    """

    patient_id: str
    slug: str
    rows: NDArray[np.intp]
    cells: tuple[str, ...]
    change: NDArray[np.float64]
    log_odds: float
    probability: float


def leave_one_out(
    ensemble: Ensemble,
    features: Features,
    slug: str,
    rows: Sequence[int] | NDArray[np.integer] | None = None,
    *,
    progress: OnProgress = ignore,
) -> LeaveOneOut:
    """Take each of K cells out of the bag, one at a time, and ask the ensemble again.

    Parameters
    ----------
    ensemble : Ensemble
    features : Features
        N >= 2 cells.
    slug : str
        The class that is asked about.
    rows : (K,) or None
        Which cells, as rows of `features`; None for all.
    progress : callable
        Called with a `Progress` after each forward pass; raising `Cancelled` in it stops cleanly.

    Raises
    ------
    ExplanationRefused
        There is one cell only: nothing would be left.
    FeaturesRefused

    Notes
    -----
    Its cost is that of K predictions. In a bag of many similar cells each of them changes little, though together they
    make the diagnosis: the others stand in for it.
    """
    index, bag, count = ensemble.class_index(slug), ensemble.bag(features), len(features)
    if count == 1:
        raise ExplanationRefused(f"{features.patient_id} has one cell only; without it there is nothing to ask about.")
    chosen = np.arange(count)[np.arange(count) if rows is None else np.asarray(rows, dtype=np.intp)]
    others = np.tile(np.arange(count - 1), (len(chosen), 1))  # (K, N - 1)
    others += others >= chosen[:, None]
    whole = class_response(ensemble.members, index, bag, np.arange(count)[None])
    without = class_response(
        ensemble.members,
        index,
        bag,
        others,
        report=lambda done: progress(Progress("Leaving out one at a time", done, len(chosen))),
    )
    return LeaveOneOut(
        features.patient_id,
        slug,
        chosen,
        tuple(features.cells[i] for i in chosen),
        without.log_odds - whole.log_odds[0],
        float(whole.log_odds[0]),
        float(whole.probability[0]),
    )
