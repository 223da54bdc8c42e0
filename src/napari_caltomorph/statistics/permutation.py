"""Permutation tests: a number next to those of shuffled labels, and p values corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.statistics.interval import TAILS

ALPHA = 0.05
"""Significance level of tests: below it, after Holm's correction, an effect counts as found."""


@dataclass(frozen=True)
class Chance:
    """What a metric is when labels are shuffled: the middle 95 % and the median of so many shufflings."""

    low: float
    median: float
    high: float
    shufflings: int


def share_as_large(value: float, by_chance: Sequence[float]) -> float:
    """Return p: the truth counts as one of the shufflings (Phipson and Smyth 2010)."""
    return float((1 + (np.array(by_chance) >= value - 1e-12).sum()) / (1 + len(by_chance)))


def shuffled_within(labels: NDArray[np.intp], strata: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return (P,) labels, shuffled among the patients of each stratum."""
    shuffled = labels.copy()
    for stratum in np.unique(strata):
        here = strata == stratum
        shuffled[here] = rng.permutation(labels[here])
    return shuffled


def chance_of(values: Sequence[float]) -> Chance:
    """Return the middle 95 % and the median of what shufflings gave."""
    low, median, high = (float(value) for value in np.quantile(values, [TAILS[0], 0.5, TAILS[1]]))
    return Chance(low, median, high, len(values))


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number (Holm 1979)."""
    corrected = [0.0] * len(values)
    worst = 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable")):
        worst = max(worst, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = worst
    return corrected
