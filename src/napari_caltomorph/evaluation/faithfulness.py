"""Whether the orders of cells show which cells a model uses, over the patients of an evaluation.

Each patient's curves are those of `explanation.faithfulness`, for the predicted class, by the members that were not
trained on the patient. The summary is the area between an order's curve and the mean random one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.csv_files import write_csv
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.encoding.features import Features, load_bag
from napari_caltomorph.errors import EvaluationRefused, FeaturesRefused
from napari_caltomorph.evaluation.evaluation import Evaluation
from napari_caltomorph.explanation.faithfulness import CurveKind, Faithfulness, cell_scores, faithfulness
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.statistics.interval import mean
from napari_caltomorph.statistics.metric import Metric
from napari_caltomorph.storage import replacing

FILE_NAME = "faithfulness.json"
TABLE_NAME = "faithfulness.csv"
KINDS: tuple[CurveKind, ...] = ("deletion", "insertion")
RANDOM = "random"
# Points of the mean curves: patients have different numbers of cells, so their curves are interpolated.
_GRID = np.linspace(0, 1, 51)


@dataclass(frozen=True)
class CohortFaithfulness:
    """Deletion and insertion over P patients."""

    # patient_id, predicted_class (its slug, whose probability is followed), n_cells, fold, and the areas:
    # ``<kind>_<order>`` and ``<kind>_random``, the mean of the random orders
    patients: pd.DataFrame
    shares: NDArray[np.float64]  # (S,): of the cells, left out or included again
    # (kind, order) -> (S,) mean probability over the patients; the order may be ``"random"``
    curves: dict[tuple[CurveKind, str], NDArray[np.float64]]
    random_orders: int  # For each patient
    notes: tuple[str, ...]  # Patients that are not among them, and why

    def __len__(self) -> int:
        return len(self.patients)

    @property
    def orders(self) -> tuple[str, ...]:
        return tuple(order for kind, order in self.curves if kind == KINDS[0] and order != RANDOM)

    def gain(self, kind: CurveKind, order: str) -> Metric:
        """How much better than random an order is: the mean area between the curves, positive for better."""
        sign = -1 if kind == "deletion" else 1
        gains = sign * (self.patients[f"{kind}_{order}"] - self.patients[f"{kind}_{RANDOM}"]).to_numpy(float)
        one_stratum = np.zeros(len(gains), dtype=np.intp)
        return Metric.of(mean(gains, one_stratum), len(gains), "Student")

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
        write_csv(self.patients, folder / TABLE_NAME)
        return [folder / FILE_NAME, folder / TABLE_NAME]


def cohort_faithfulness(
    ensemble: Ensemble,
    evaluation: Evaluation,
    features: Mapping[str, tuple[Path, ...]],
    *,
    patients: int = 100,
    random_orders: int = 10,
    seed: int = 0,
    progress: OnProgress = ignore,
) -> CohortFaithfulness:
    """Follow the probability of each patient's predicted class while cells are left out, and included again.

    Out of fold, orders and curves are those of the one member that predicted the patient. `features` are the patients'
    files, as `feature_files` returns them. At most `patients` are followed, a random sample: each costs some hundred
    predictions. Raises `EvaluationRefused` where no patient has the features of at least two cells.
    """
    table = evaluation.patients
    sample = np.sort(np.random.default_rng(seed).permutation(len(table))[:patients])
    notes = (
        [] if len(sample) == len(table) else [f"{len(sample)} of {len(table)} patients, random sample (seed {seed})"]
    )
    rows: list[dict[str, object]] = []
    curves: dict[tuple[CurveKind, str], list[NDArray[np.float64]]] = {}
    for number, row in enumerate(sample):
        step = Progress("Faithfulness", number, len(sample), "patients")
        progress(step)
        patient, fold = str(table["patient_id"].iloc[row]), table["fold"].iloc[row]
        bag = _bag(patient, features)
        if isinstance(bag, str):
            notes.append(f"{patient} is not among them: {bag}")
            continue
        eligible = ensemble if pd.isna(fold) else Ensemble(ensemble.description, (ensemble.members[int(fold)],))
        slug, within = evaluation.taxonomy.slugs[evaluation.predicted[row]], _repeating(step, progress)
        scores = cell_scores(eligible, bag, slug, progress=within)
        found = faithfulness(eligible, bag, slug, scores, random_orders=random_orders, seed=seed, progress=within)
        known = {"patient_id": patient, "predicted_class": found.slug, "n_cells": len(bag), "fold": fold}
        rows.append(known | dict(_areas(found)))
        for key, values in _curves(found):
            curves.setdefault(key, []).append(values)
    progress(Progress("Faithfulness", len(sample), len(sample), "patients"))
    if not rows:
        raise EvaluationRefused("No patient has the features of two cells or more, so no cell can be left out.")
    means = {key: np.mean(values, axis=0) for key, values in curves.items()}
    return CohortFaithfulness(pd.DataFrame(rows), _GRID, means, random_orders, tuple(notes))


def _bag(patient: str, files: Mapping[str, tuple[Path, ...]]) -> Features | str:
    """Return a patient's features, or why there are none to order."""
    if patient not in files:
        return "no features"
    try:
        bag = load_bag(files[patient])
    except FeaturesRefused as error:
        return str(error)
    return bag if len(bag) > 1 else "one cell has no order"


def _repeating(step: Progress, progress: OnProgress) -> OnProgress:
    """Return a callback that reports the same step on every call, so that work within one patient can be stopped."""
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
