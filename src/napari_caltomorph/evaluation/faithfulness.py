"""Whether the orders of cells say what a model goes by, over the patients of an evaluation.

Each patient's curves are those of `explain.faithfulness`, for the class that the model answers with, by the
members that may judge the patient. What is summed up is the area between an order's curve and the mean random one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.errors import EvaluationRefused, FeaturesRefused
from napari_caltomorph.evaluation.evaluation import Evaluation
from napari_caltomorph.explanation.faithfulness import CurveKind, Faithfulness, cell_scores, faithfulness
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.statistics.classification import mean
from napari_caltomorph.statistics.metric import Metric
from napari_caltomorph.storage import replacing

FILE_NAME = "faithfulness.json"
TABLE_NAME = "faithfulness.csv"
KINDS: tuple[CurveKind, ...] = ("deletion", "insertion")
RANDOM = "random"
# Where the mean curves are read: patients have unlike numbers of cells, so theirs are read between their own points.
_GRID = np.linspace(0, 1, 51)


@dataclass(frozen=True)
class CohortFaithfulness:
    """Deletion and insertion over P patients.

    Attributes
    ----------
    patients : pandas.DataFrame
        patient_id, predicted_class (its slug, whose probability is followed), n_cells, fold, and the areas:
        ``<kind>_<order>`` and ``<kind>_random``, the mean of the random orders.
    shares : (S,)
        Of the cells, taken out or put in.
    curves : dict
        (kind, order) -> (S,) mean probability over the patients; the order may be ``"random"``.
    random_orders : int
        For each patient.
    notes : tuple of str
        Who is not among them, and why.
    """

    patients: pd.DataFrame
    shares: NDArray[np.float64]
    curves: dict[tuple[CurveKind, str], NDArray[np.float64]]
    random_orders: int
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.patients)

    @property
    def orders(self) -> tuple[str, ...]:
        """Names of the orders, without the random ones."""
        return tuple(order for kind, order in self.curves if kind == KINDS[0] and order != RANDOM)

    def gain(self, kind: CurveKind, order: str) -> Metric:
        """How much better than random an order is: the mean area between the curves, positive for better."""
        sign = -1 if kind == "deletion" else 1
        gains = sign * (self.patients[f"{kind}_{order}"] - self.patients[f"{kind}_{RANDOM}"]).to_numpy(float)
        everybody = np.zeros(len(gains), dtype=np.intp)
        return Metric.of(mean(gains, everybody), len(gains), "bootstrap", smallest=len(gains))

    def save(self, folder: Path) -> list[Path]:
        """Write ``faithfulness.json`` and ``faithfulness.csv``; `OutputRefused` when they cannot be."""
        gains = {
            f"{kind}_{order}": {"value": gain.value, "low": gain.low, "high": gain.high}
            for kind in KINDS
            for order in self.orders
            for gain in (self.gain(kind, order),)
        }
        content = {
            "patients": len(self),
            "random_orders": self.random_orders,
            "gain_over_random": gains,
            "shares": self.shares.tolist(),
            "mean_probability": {f"{kind}_{order}": values.tolist() for (kind, order), values in self.curves.items()},
            "notes": self.notes,
        }
        with replacing(folder / FILE_NAME) as part:
            part.write_text(json.dumps(content, indent=1), "utf-8")
        with replacing(folder / TABLE_NAME) as part:
            self.patients.to_csv(part, index=False)
        return [folder / FILE_NAME, folder / TABLE_NAME]


def cohort_faithfulness(
    ensemble: Ensemble,
    evaluation: Evaluation,
    features: Mapping[str, Path],
    *,
    patients: int = 100,
    random_orders: int = 10,
    seed: int = 0,
    progress: OnProgress = ignore,
) -> CohortFaithfulness:
    """Follow the predicted class of each patient while cells are taken out, and put in.

    Parameters
    ----------
    ensemble : Ensemble
        The model that was judged.
    evaluation : Evaluation
    features : mapping of str to Path
        The feature file of each patient, as `feature_files` returns them.
    patients : int
        At most so many, drawn at random: each costs some hundred predictions.
    random_orders, seed : int
        At least one order; the same seed draws the same patients and orders.
    progress : callable
        Called with a `Progress` in patients, often; raising `Cancelled` in it stops cleanly.

    Raises
    ------
    EvaluationRefused
        Of nobody there are features of at least two cells.

    Notes
    -----
    Out of fold, orders and curves are those of the one member that judged the patient.
    """
    table = evaluation.patients
    drawn = np.sort(np.random.default_rng(seed).permutation(len(table))[:patients])
    notes = (
        [] if len(drawn) == len(table) else [f"{len(drawn)} of {len(table)} patients, drawn at random (seed {seed})"]
    )
    slugs = evaluation.taxonomy.slugs
    winners = table[[f"p_{slug}" for slug in slugs]].to_numpy(float).argmax(axis=1)
    rows: list[dict[str, object]] = []
    curves: dict[tuple[CurveKind, str], list[NDArray[np.float64]]] = {}
    for number, row in enumerate(drawn):
        step = Progress("Faithfulness", number, len(drawn), "patients")
        progress(step)
        patient, fold = str(table["patient_id"].iloc[row]), table["fold"].iloc[row]
        if patient not in features:
            notes.append(f"{patient} is not among them: no features")
            continue
        try:
            bag = Features.load(features[patient])
        except FeaturesRefused as error:
            notes.append(f"{patient} is not among them: {error}")
            continue
        if len(bag) == 1:
            notes.append(f"{patient} is not among them: one cell has no order")
            continue
        judges = ensemble if pd.isna(fold) else Ensemble(ensemble.description, (ensemble.members[int(fold)],))
        scores = cell_scores(judges, bag, slugs[winners[row]], progress=_saying(step, progress))
        found = faithfulness(
            judges,
            bag,
            slugs[winners[row]],
            scores,
            random_orders=random_orders,
            seed=seed,
            progress=_saying(step, progress),
        )
        known = {"patient_id": patient, "predicted_class": found.slug, "n_cells": len(bag), "fold": fold}
        rows.append(known | dict(_areas(found)))
        for key, values in _curves(found):
            curves.setdefault(key, []).append(values)
    progress(Progress("Faithfulness", len(drawn), len(drawn), "patients"))
    if not rows:
        raise EvaluationRefused("No patient has the features of two cells or more, so no cell can be left out.")
    means = {key: np.mean(values, axis=0) for key, values in curves.items()}
    return CohortFaithfulness(pd.DataFrame(rows), _GRID, means, random_orders, tuple(notes))


def _saying(step: Progress, progress: OnProgress) -> OnProgress:
    """Return a callback that says the same step, whatever it is told: so the work within one patient can be stopped."""
    return lambda _: progress(step)


def _areas(found: Faithfulness) -> Iterator[tuple[str, float]]:
    for kind in KINDS:
        for order in found.orders:
            yield f"{kind}_{order}", found.area(kind, order)
        yield f"{kind}_{RANDOM}", float(found.random_areas(kind).mean())


def _curves(found: Faithfulness) -> Iterator[tuple[tuple[CurveKind, str], NDArray[np.float64]]]:
    for kind in KINDS:
        shares = found.shares(kind)
        for order, curve in found.orders.items():
            yield (kind, order), np.interp(_GRID, shares, getattr(curve, kind))
        several = np.mean([getattr(one, kind) for one in found.random], axis=0)
        yield (kind, RANDOM), np.interp(_GRID, shares, several)
