"""A number with its 95 % interval, and the closed intervals of shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, binomtest

LEVEL = 0.95


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
    bounds = binomtest(right, patients).proportion_ci(LEVEL, method="wilson")
    value = right / patients
    return Interval(value, min(float(bounds.low), value), max(float(bounds.high), value))


def largest_share(found: int, patients: int) -> float:
    """Return the upper 95 % bound of a share, one-sided (Clopper and Pearson 1934); 1 where there are no patients.

    None of n gives 1 - 0.05^(1/n), of which the rule of three, 3 / n, is the rough form.
    """
    return 1.0 if found >= patients else float(beta.ppf(LEVEL, found + 1, patients - found))
