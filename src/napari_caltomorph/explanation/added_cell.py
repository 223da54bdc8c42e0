"""What one cell does to a bag that it does not belong to: another patient's, or the least attended of its own.

A cell alone is a bag such as no model was trained on. Added to a stated background, it stands in a usual one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.ensemble import Ensemble
from napari_caltomorph.diagnosis.inference import class_response
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.errors import ExplanationRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore


@dataclass(frozen=True)
class Background:
    """A bag that cells are added to, and what it is, in words."""

    features: Features
    in_words: str


@dataclass(frozen=True)
class AddedCells:
    """The change of a class's log-odds when each of K cells is added to a background.

    Attributes
    ----------
    patient_id, slug : str
        Whose cells, and the class.
    rows : (K,)
        Which cells, as rows of the features.
    cells : tuple of str
        Their names.
    change : (K,)
        Log-odds of the background with the cell less without it: positive where it speaks for the class.
    background : str
        What the cells were added to, in words.
    background_cells : int
    background_log_odds, background_probability : float
        Of the background by itself.
    """

    patient_id: str
    slug: str
    rows: NDArray[np.intp]
    cells: tuple[str, ...]
    change: NDArray[np.float64]
    background: str
    background_cells: int
    background_log_odds: float
    background_probability: float


def patient_as_background(features: Features, what: str = "patient") -> Background:
    """Return all cells of a patient as a background; `what` says who it is, e.g. ``"healthy donor"``."""
    return Background(features, f"all {len(features)} cells of {what} {features.patient_id}")


def least_attended(features: Features, attention: NDArray[np.floating], share: float = 0.5) -> Background:
    """Return the patient's own least attended cells as a background.

    Parameters
    ----------
    features : Features
        N cells.
    attention : (N,)
    share : float
        Of the cells, rounded up; at least one.

    Raises
    ------
    ExplanationRefused
        All cells have the same attention: none is the least.
    """
    if np.ptp(attention) == 0:
        raise ExplanationRefused(
            f"All cells of {features.patient_id} have the same attention; choose another patient as background."
        )
    count = max(1, int(np.ceil(share * len(features))))
    rows = np.sort(np.argsort(attention, kind="stable")[:count])
    chosen = features.of_cells([features.cells[i] for i in rows])
    return Background(chosen, f"the {count} least attended of {len(features)} cells of {features.patient_id} itself")


def add_cells(
    ensemble: Ensemble,
    features: Features,
    slug: str,
    background: Background,
    rows: Sequence[int] | NDArray[np.integer] | None = None,
    *,
    progress: OnProgress = ignore,
) -> AddedCells:
    """Add each of K cells to a background, one at a time, and ask the ensemble.

    Parameters
    ----------
    ensemble : Ensemble
    features : Features
        N cells of a patient.
    slug : str
        The class that is asked about.
    background : Background
        A cell that stands in it already is added as its own twin.
    rows : (K,) or None
        Which cells, as rows of `features`; None for all.
    progress : callable
        Called with a `Progress` after each forward pass; raising `Cancelled` in it stops cleanly.

    Raises
    ------
    FeaturesRefused
        Cells or background come from another encoder than the ensemble's.
    """
    index, bag = ensemble.class_index(slug), ensemble.bag(features)
    below = ensemble.bag(background.features)
    chosen = np.arange(len(features))[np.arange(len(features)) if rows is None else np.asarray(rows, dtype=np.intp)]
    count = len(below)
    bags = np.tile(np.arange(count + 1), (len(chosen), 1))  # (K, n + 1)
    bags[:, count] = count + chosen
    without = class_response(ensemble.members, index, below, np.arange(count)[None])
    with_it = class_response(
        ensemble.members,
        index,
        torch.cat([below, bag]),
        bags,
        report=lambda done: progress(Progress("Adding one at a time", done, len(chosen))),
    )
    return AddedCells(
        features.patient_id,
        slug,
        chosen,
        tuple(features.cells[i] for i in chosen),
        with_it.log_odds - without.log_odds[0],
        background.in_words,
        count,
        float(without.log_odds[0]),
        float(without.probability[0]),
    )
