"""Intervals of numbers that have no closed one: patients are drawn anew, and the middle 95 % of the results taken."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.statistics.interval import LEVEL, Interval

# Numbers held at once while resampling: 32 MB an array.
_BLOCK = 4_000_000


def percentiles(value: float, blocks: list[NDArray[np.float64]]) -> Interval:
    """Return a number with the percentile bounds of its resamples, which come in blocks (R,); none where all agree."""
    values = np.concatenate(blocks) if blocks else np.empty(0)
    if not len(values) or np.ptp(values) < 1e-12:
        return Interval(float(value))
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # Few patients can put the value itself outside: an interval that lacks it would mislead.
    return Interval(float(value), float(min(low, value)), float(max(high, value)))


def resampled_classes(classes: NDArray[np.integer], seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """Yield (P, R) blocks: how often each patient is drawn when as many are drawn from each class as there are."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(classes == c) for c in np.unique(classes)]
    for size in _blocks(len(classes), resamples) if groups else ():
        drawn = np.concatenate([rows[rng.integers(len(rows), size=(len(rows), size))] for rows in groups])  # (P, R)
        cells = drawn * size + np.arange(size)
        yield np.bincount(cells.ravel(), minlength=len(classes) * size).reshape(-1, size).astype(float)


def resampled(patients: int, rng: np.random.Generator, resamples: int) -> Iterator[NDArray[np.int64]]:
    """Yield (P, R) blocks of rows, as many in a resample as there are patients."""
    for size in _blocks(patients, resamples):
        yield rng.integers(patients, size=(patients, size))


def _blocks(patients: int, resamples: int) -> Iterator[int]:
    most = max(1, _BLOCK // max(1, patients))
    for start in range(0, resamples, most):
        yield min(most, resamples - start)
