"""Whether probabilities match the observed shares: the reliability diagram, and its error compared with chance.

Even a perfectly calibrated model shows an expected calibration error on a finite cohort: with 50 patients easily 0.1.
So the error is compared with those of simulated patients for which the same probabilities are right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.statistics.interval import TAILS, Interval, proportion


@dataclass(frozen=True)
class ReliabilityBin:
    """Patients whose probability is above `low` and up to `high`; without any, the rest is None."""

    low: float
    high: float
    patients: int
    mean_probability: float | None = None
    observed: Interval | None = None  # Share of the patients for which the outcome is true, with Wilson's interval


@dataclass(frozen=True)
class Reliability:
    """How far probabilities are from the observed shares."""

    bins: tuple[ReliabilityBin, ...]  # Of equal width
    ece: float  # Expected calibration error: the mean distance of the two over the bins, weighted by patients
    # Mean, 2.5 % and 97.5 % quantile of that error for a perfectly calibrated model with the same probabilities and
    # bins; None without resamples
    chance: Interval | None
    patients: int


def reliability(
    probabilities: NDArray[np.floating],
    is_true: NDArray[np.bool_],
    *,
    bins: int = 15,
    seed: int = 0,
    resamples: int = 1000,
) -> Reliability | None:
    """Compare P probabilities, of the predicted class or of one fixed outcome, with the truth; None without patients.

    `is_true` (P,) is whether that class or outcome is the true one. In the simulation of `Reliability.chance`, each
    outcome is true with its probability.
    """
    probabilities, is_true = np.clip(np.asarray(probabilities, float), 0, 1), np.asarray(is_true, bool)
    if not len(probabilities):
        return None
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, probabilities, side="left") - 1, 0, bins - 1)
    patients = np.bincount(place, minlength=bins)
    sums: NDArray[np.float64] = np.bincount(place, weights=probabilities, minlength=bins).astype(float)
    hits: NDArray[np.float64] = np.bincount(place, weights=is_true, minlength=bins).astype(float)
    chance = None
    if resamples:
        rng, simulated = np.random.default_rng(seed), []
        for _ in range(resamples):
            is_drawn = rng.random(len(probabilities)) < probabilities
            simulated.append(_error(sums, np.bincount(place, weights=is_drawn, minlength=bins), len(probabilities)))
        low, high = np.quantile(simulated, TAILS)
        middle = float(np.mean(simulated))
        chance = Interval(middle, min(float(low), middle), max(float(high), middle))
    found = []
    for i, count in enumerate(patients):
        low, high = float(edges[i]), float(edges[i + 1])
        if not count:
            found.append(ReliabilityBin(low, high, 0))
            continue
        share = proportion(int(hits[i]), int(count))
        found.append(ReliabilityBin(low, high, int(count), float(sums[i] / count), share))
    return Reliability(tuple(found), _error(sums, hits, len(probabilities)), chance, len(probabilities))


def _error(sums: NDArray[np.float64], hits: NDArray[np.float64] | NDArray[np.integer], patients: int) -> float:
    return float(np.abs(sums - hits).sum() / patients)
