"""Whether values that come one after the other still are as a reference was, at a stated rate of false alarms.

Nothing is assumed of the values but that, without drift, any order of them is as likely. Numbers become their ranks in
the reference, so that the limit depends on the size of the reference alone, and is simulated with references of that
size: a small one, which by chance may be unlike what follows, has a wide limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Numbers = NDArray[np.float64]

ALLOWANCE = 0.5
"""What each score has to exceed to count, in standard deviations: best for shifts of about one."""
WINDOW = 30
"""Categories are compared in groups of so many patients."""
_PATHS, _SEED, _ROUNDING = 10_000, 20260101, 1e-9
# The limit has to hold for series of any of these lengths. Beyond the last, that of some hundred is the highest.
_ENDS = np.array([10, 25, 50, 75, 100, 150, 200, 300, 400, 600, 800])


@dataclass(frozen=True)
class ChartResult:
    """What a chart shows of T values after the reference, in their order."""

    up: Numbers  # (T,): evidence up to each value that values have risen; of categories, that they differ
    down: Numbers  # (T,): that they have fallen; zeros of categories, of which an incomplete window is left out
    limit: float  # An alarm where either exceeds it
    alarm: int | None  # Index of the first alarm
    start: int | None  # Index of the value with which the change that caused it probably began
    direction: Literal["risen", "fallen", "changed"] | None


def chart_numbers(values: Numbers, reference: Numbers, rate: float) -> ChartResult:
    """Return the two-sided CUSUM of the ranks of `values` (T,) in `reference` (M,).

    Without drift, an alarm comes within the first n values with a probability of at most n times `rate`, whatever n
    is and however the values are distributed. The probability is that over references and values.
    """
    scores = _rank_scores(np.asarray(values, dtype=float), np.asarray(reference, dtype=float))
    up, down = _cusum(scores), _cusum(-scores)
    limit = number_limit(len(reference), rate)
    alarms = np.flatnonzero(np.maximum(up, down) > limit)
    if not alarms.size:
        return ChartResult(up, down, limit, None, None, None)
    alarm = int(alarms[0])
    is_up = bool(up[alarm] > limit)
    zeros = np.flatnonzero((up if is_up else down)[:alarm] == 0)
    start = int(zeros[-1]) + 1 if zeros.size else 0
    return ChartResult(up, down, limit, alarm, start, "risen" if is_up else "fallen")


def chart_categories(values: NDArray[np.integer], reference: NDArray[np.integer], rate: float) -> ChartResult:
    """Return how unlike `reference` (M,) each full window of `WINDOW` of `values` is, as -log10 of its p-value.

    The p-value is of chi-square, over all ways to divide both into a reference and a window (simulated), and so holds
    for rare categories. `rate` is as in `chart_numbers`.
    """
    windows = len(values) // WINDOW
    codes = np.unique(np.concatenate([reference, values]))
    known = (reference[:, None] == codes).sum(axis=0)
    level, rng = rate * WINDOW, np.random.default_rng(_SEED)
    draws = max(9999, int(np.ceil(20 / level)))
    p_values = np.empty(windows)
    for number, window in enumerate(values[: windows * WINDOW].reshape(windows, WINDOW)):
        counts = (window[:, None] == codes).sum(axis=0)
        total = (known + counts)[(known + counts) > 0]
        expected = total * (WINDOW / total.sum())
        by_chance = rng.multivariate_hypergeometric(total, WINDOW, size=draws)  # (draws, C)
        distances = ((by_chance - expected) ** 2 / expected).sum(axis=1)
        distance = ((counts[(known + counts) > 0] - expected) ** 2 / expected).sum()
        p_values[number] = (1 + (distances >= distance * (1 - _ROUNDING)).sum()) / (1 + draws)
    path, none = np.repeat(-np.log10(p_values), WINDOW), np.zeros(windows * WINDOW)
    alarms = np.flatnonzero(p_values <= level)
    if not alarms.size:
        return ChartResult(path, none, float(-np.log10(level)), None, None, None)
    start = int(alarms[0]) * WINDOW
    return ChartResult(path, none, float(-np.log10(level)), start + WINDOW - 1, start, "changed")


@lru_cache(maxsize=32)
def number_limit(reference: int, rate: float) -> float:
    """Return the limit of `chart_numbers` for a reference of so many values."""
    shares = _ENDS * rate
    maxima = _maxima(reference)
    return max(float(np.quantile(m, 1 - share)) for m, share in zip(maxima, shares, strict=True) if share < 1)


@lru_cache(maxsize=8)
def _maxima(reference: int) -> Numbers:
    """(E, PATHS): the largest value of both sides within the first `_ENDS` values of simulated series without drift."""
    rng, scores = np.random.default_rng(_SEED), _scores(reference)
    maxima = np.empty((len(_ENDS), _PATHS))
    for path in range(_PATHS):
        known = np.sort(rng.random(reference))
        series = scores[np.searchsorted(known, rng.random(_ENDS[-1]))]
        highest = np.maximum.accumulate(np.maximum(_cusum(series), _cusum(-series)))
        maxima[:, path] = highest[_ENDS - 1]
    return maxima


def _scores(reference: int) -> Numbers:
    """(M + 1,): the normal scores of the M + 1 places among M values."""
    return np.asarray(ndtri((np.arange(reference + 1) + 0.5) / (reference + 1)))


def _rank_scores(values: Numbers, reference: Numbers) -> Numbers:
    """Return the normal score of each value's place in the reference; of equal values, the mean over their places."""
    known = np.sort(reference)
    first, last = np.searchsorted(known, values, "left"), np.searchsorted(known, values, "right")
    sums = np.concatenate([[0.0], np.cumsum(_scores(len(known)))])
    return np.asarray((sums[last + 1] - sums[first]) / (last + 1 - first))


def _cusum(scores: Numbers) -> Numbers:
    """(T,): sums of what exceeds the allowance, which begin anew wherever they would be negative."""
    sums = np.cumsum(scores - ALLOWANCE)
    return np.asarray(sums - np.minimum(np.minimum.accumulate(sums), 0))
