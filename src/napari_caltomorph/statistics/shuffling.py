"""What chance makes of a number: labels are shuffled, and the truth counts as one of the shufflings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.audit.result import Chance


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
    low, median, high = (float(value) for value in np.quantile(values, [0.025, 0.5, 0.975]))
    return Chance(low, median, high, len(values))


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number (Holm 1979)."""
    corrected = [0.0] * len(values)
    worst = 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable")):
        worst = max(worst, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = worst
    return corrected
