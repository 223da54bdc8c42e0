"""Whether an order of cells agrees with the model: cells are removed, or added, in that order.

If the first cells of an order matter, the class's probability falls fast when they are removed (deletion) and rises
fast when the bag is built from them (insertion). Random orders are the baseline (Petsiuk et al. 2018 for pixels; here
an element is a cell, and a removed cell is absent, not blanked).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from napari_caltomorph.diagnosis.ensemble import Ensemble
from napari_caltomorph.diagnosis.inference import class_response
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.errors import ExplanationRefused
from napari_caltomorph.explanation.contribution import contributions
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.statistics.interval import TAILS

CurveKind = Literal["deletion", "insertion"]

# Shares of the cells that are removed or added. Finer at first: a disease may show in a few cells of a hundred.
_SHARES = (0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)


@dataclass(frozen=True)
class Gain:
    """How much better than random an order is: the area between the curves, positive where it is better."""

    value: float  # Against the mean random order, in probability
    # Against the middle 95 % of random orders; both above 0: better than nearly all of them
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


@dataclass(frozen=True)
class Curves:
    """A class's probability while cells are removed, and added, in one order."""

    deletion: NDArray[np.float64]  # (S,): without the first k cells
    insertion: NDArray[np.float64]  # (S,): with the first k cells only


@dataclass(frozen=True)
class Faithfulness:
    """Deletion and insertion curves of one patient."""

    patient_id: str
    slug: str
    cells: int  # N
    # (S,): how many cells: 0 to N - 1, and 1 to N
    removed: NDArray[np.intp]
    added: NDArray[np.intp]
    orders: dict[str, Curves]  # Name of an order -> its curves
    random: tuple[Curves, ...]  # Of R random orders

    def shares(self, kind: CurveKind) -> NDArray[np.float64]:
        """(S,) the points of the curve, as shares of the cells."""
        return (self.removed if kind == "deletion" else self.added) / self.cells

    def area(self, kind: CurveKind, order: str) -> float:
        """Area under an order's curve, over its range: a mean probability."""
        return self._area(kind, self.orders[order])

    def random_areas(self, kind: CurveKind) -> NDArray[np.float64]:
        """(R,) areas of the random orders."""
        return np.array([self._area(kind, one) for one in self.random])

    def gain(self, kind: CurveKind, order: str) -> Gain:
        """How much better than random an order is: a lower deletion curve, a higher insertion curve."""
        sign = -1 if kind == "deletion" else 1
        differences = sign * (self.area(kind, order) - self.random_areas(kind))
        low, high = np.quantile(differences, TAILS)  # of the random orders: one patient has no other spread
        return Gain(float(differences.mean()), float(low), float(high))

    def _area(self, kind: CurveKind, curves: Curves) -> float:
        shares = self.shares(kind)
        return float(trapezoid(getattr(curves, kind), shares) / np.ptp(shares))


def faithfulness(
    ensemble: Ensemble,
    features: Features,
    slug: str,
    scores: Mapping[str, NDArray[np.floating]],
    *,
    random_orders: int = 20,
    seed: int = 0,
    progress: OnProgress = ignore,
) -> Faithfulness:
    """Remove cells, and add them, in the order of each score and in random orders.

    `scores` (N,) have the name of an order; the highest is first, ties in the smear's order. The probability of the
    class is averaged over the members, raw. Raises `ExplanationRefused` where there is one cell only, which has no
    order.

    One cell always remains, because an empty bag has no prediction. Small bags are unlike those of training, as single
    cells are: the steep ends of the curves show that more than the order, for all orders alike.
    """
    index, bag, count = ensemble.class_index(slug), ensemble.bag(features), len(features)
    if count == 1:
        raise ExplanationRefused(f"{features.patient_id} has one cell only, which has no order.")
    rng = np.random.default_rng(seed)
    ranked = [np.argsort(-np.asarray(score), kind="stable") for score in scores.values()]
    orders = np.stack([*ranked, *(rng.permutation(count) for _ in range(random_orders))])  # (O, N)
    removed = np.unique(np.round(np.array(_SHARES) * (count - 1)).astype(np.intp))
    added = np.unique(1 + removed)
    steps = [orders[:, gone:] for gone in removed] + [orders[:, :kept] for kept in added]
    total = len(steps) * len(orders)

    def probabilities(step: int) -> NDArray[np.float64]:
        def report(done: int) -> None:
            progress(Progress("Predicting with fewer cells", step * len(orders) + done, total, "bags"))

        return class_response(ensemble.members, index, bag, steps[step], report=report).probability

    values = np.stack([probabilities(step) for step in range(len(steps))], axis=1)  # (O, 2 S)
    curves = [Curves(row[: len(removed)], row[len(removed) :]) for row in values]
    named = dict(zip(scores, curves, strict=False))
    return Faithfulness(features.patient_id, slug, count, removed, added, named, tuple(curves[len(ranked) :]))


def cell_scores(
    ensemble: Ensemble, features: Features, slug: str, *, progress: OnProgress = ignore
) -> dict[str, NDArray[np.float64]]:
    """Return scores that order cells: attention if there is any, contribution, and the response to the cell alone."""
    prediction = ensemble.predict(features, progress=progress)
    scores = {"attention": prediction.attention} if prediction.has_attention else {}
    return scores | {
        "contribution": contributions(ensemble, features, slug, progress=progress).values,
        "alone": prediction.alone[:, ensemble.class_index(slug)],
    }
