"""A number with its 95 % interval: closed ones of shares, and percentile bootstrap where there is no closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Confidence level of every interval."""

TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
"""Quantiles that bound an interval."""

# Numbers held at once while resampling: 32 MB an array.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % interval; the bounds are None where it cannot be computed. Never NaN."""

    value: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if any(number is not None and not np.isfinite(number) for number in (self.value, self.low, self.high)):
            raise ValueError(f"no finite numbers: {self.value}, {self.low}, {self.high}")
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has both bounds or none")


def proportion(right: int, patients: int) -> Interval:
    """Return a share of at least one patient, with Wilson's interval (1927)."""
    from scipy.stats import binomtest

    bounds = binomtest(right, patients).proportion_ci(CONFIDENCE, method="wilson")
    value = right / patients
    return Interval(value, min(float(bounds.low), value), max(float(bounds.high), value))


def share_upper_bound(found: int, patients: int) -> float:
    """Return the upper 95 % bound of a share, one-sided (Clopper and Pearson 1934); 1 where there are no patients.

    None of n gives 1 - 0.05^(1/n), of which the rule of three, 3 / n, is the rough form.
    """
    from scipy.stats import beta

    return 1.0 if found >= patients else float(beta.ppf(CONFIDENCE, found + 1, patients - found))


def percentiles(value: float, blocks: list[NDArray[np.float64]]) -> Interval:
    """Return a number with the percentile bounds of its resamples, given in blocks (R,); no bounds where all agree."""
    values = np.concatenate(blocks) if blocks else np.empty(0)
    if not len(values) or np.ptp(values) < 1e-12:
        return Interval(float(value))
    low, high = np.quantile(values, TAILS)
    # Few patients can put the value itself outside: an interval that lacks it would mislead.
    return Interval(float(value), float(min(low, value)), float(max(high, value)))


def resampled_classes(classes: NDArray[np.integer], seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """Yield (P, R) blocks: how often each patient is resampled, with as many patients of each class as there are."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(classes == c) for c in np.unique(classes)]
    for size in _blocks(len(classes), resamples) if groups else ():
        sample = np.concatenate([rows[rng.integers(len(rows), size=(len(rows), size))] for rows in groups])  # (P, R)
        cells = sample * size + np.arange(size)
        yield np.bincount(cells.ravel(), minlength=len(classes) * size).reshape(-1, size).astype(float)


def resampled(patients: int, rng: np.random.Generator, resamples: int) -> Iterator[NDArray[np.int64]]:
    """Yield (P, R) blocks of rows, as many in a resample as there are patients."""
    for size in _blocks(patients, resamples):
        yield rng.integers(patients, size=(patients, size))


def _blocks(patients: int, resamples: int) -> Iterator[int]:
    most = max(1, _BLOCK // max(1, patients))
    for start in range(0, resamples, most):
        yield min(most, resamples - start)
