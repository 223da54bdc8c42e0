"""Whether probabilities mean what they say: the reliability diagram, and its error beside what chance makes of it.

Even a perfectly calibrated model shows an expected calibration error on a finite cohort: with 50 patients easily 0.1.
So the error stands beside those that the same probabilities give when they are right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.statistics.interval import TAILS, Interval, proportion


@dataclass(frozen=True)
class ReliabilityBin:
    """Patients whose probability lies above `low` and up to `high`; without any, the rest is None.

    Attributes
    ----------
    said : float or None
        Mean probability.
    came_true : Interval or None
        Share of those for whom it came true, with Wilson's interval.
    """

    low: float
    high: float
    patients: int
    said: float | None = None
    came_true: Interval | None = None


@dataclass(frozen=True)
class Reliability:
    """How far probabilities are from the shares that come true.

    Attributes
    ----------
    bins : tuple of ReliabilityBin
        Of equal width.
    ece : float
        Expected calibration error: the mean distance of said from true over the bins, weighed by patients.
    chance : Interval or None
        Mean, 2.5 % and 97.5 % quantile of that error for a model that is perfectly calibrated, says the same of as
        many patients, and is judged in the same bins; None without resamples.
    patients : int
    """

    bins: tuple[ReliabilityBin, ...]
    ece: float
    chance: Interval | None
    patients: int

    @property
    def is_within_chance(self) -> bool | None:
        """Whether a perfectly calibrated model would show as large an error in more than 2.5 % of such cohorts."""
        return None if self.chance is None or self.chance.high is None else self.ece <= self.chance.high


def reliability(
    said: NDArray[np.floating], is_true: NDArray[np.bool_], *, bins: int = 15, seed: int = 0, resamples: int = 1000
) -> Reliability | None:
    """Compare P probabilities with what came true; None without patients.

    Parameters
    ----------
    said : (P,)
        Probability of the predicted class, or of one fixed outcome.
    is_true : (P,) bool
        Whether that class or outcome is the true one.
    bins, seed, resamples
        The simulation draws what comes true from `said` itself.
    """
    said, is_true = np.clip(np.asarray(said, float), 0, 1), np.asarray(is_true, bool)
    if not len(said):
        return None
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, said, side="left") - 1, 0, bins - 1)
    patients = np.bincount(place, minlength=bins)
    sums: NDArray[np.float64] = np.bincount(place, weights=said, minlength=bins).astype(float)
    hits: NDArray[np.float64] = np.bincount(place, weights=is_true, minlength=bins).astype(float)
    rng = np.random.default_rng(seed)
    simulated = [
        _error(sums, np.bincount(place, weights=rng.random(len(said)) < said, minlength=bins).astype(float), len(said))
        for _ in range(resamples)
    ]
    chance = None
    if simulated:
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
    return Reliability(tuple(found), _error(sums, hits, len(said)), chance, len(said))


def _error(sums: NDArray[np.float64], hits: NDArray[np.float64], patients: int) -> float:
    return float(np.abs(sums - hits).sum() / patients)
