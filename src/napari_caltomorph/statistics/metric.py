"""A number about a model as it may be shown: with its interval, or with the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_caltomorph.statistics.interval import Interval, proportion

Method = Literal["Wilson", "MOVER", "Fisher", "Newcombe", "bootstrap", "none"]

NO_LABELS = "the cohort has no labels"
"""Why a number is undefined where no truth is known."""

FEW = 20
"""With fewer patients in a class its bootstrap intervals are too narrow."""


@dataclass(frozen=True)
class Metric:
    """A number, its 95 % interval, and what it rests on.

    Attributes
    ----------
    value : float or None
        None where it is undefined; `remark` says why.
    low, high : float or None
        Both or none.
    patients : int
        How many it is computed from; of a proportion, the denominator.
    method : str
        How the interval came about; ``none`` where there is none.
    remark : str
        Why it is undefined, has no interval, or has one that is too narrow; empty otherwise.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    patients: int = 0
    method: Method = "none"
    remark: str = ""

    def __post_init__(self) -> None:
        if self.value is None and not self.remark:
            raise ValueError("an undefined number says why")
        if self.value is not None:
            Interval(self.value, self.low, self.high)

    def __str__(self) -> str:
        return self.shown()

    @property
    def is_defined(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    def shown(self, digits: int = 3) -> str:
        """Return e.g. ``"0.720 (0.675 to 0.761)"``, or ``"undefined"``."""
        if self.value is None:
            return "undefined"
        if self.low is None or self.high is None:
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"

    @classmethod
    def undefined(cls, why: str, patients: int = 0) -> Metric:
        """A number that does not exist."""
        return cls(None, patients=patients, remark=why)

    @classmethod
    def of_counts(cls, right: int, patients: int, if_none: str) -> Metric:
        """A proportion with Wilson's interval; undefined for the reason `if_none` where there are no patients."""
        if not patients:
            return cls.undefined(if_none)
        found = proportion(right, patients)
        return cls(found.value, found.low, found.high, patients, "Wilson")

    @classmethod
    def of(cls, found: Interval, patients: int, method: Method, *, smallest: int = FEW) -> Metric:
        """A number of `metrics`; `smallest` is the size of the smallest class, which a bootstrap depends on."""
        if found.low is None:
            return cls(found.value, patients=patients, remark="no interval: all resamples agree, or none were drawn")
        remark = ""
        if method == "bootstrap" and smallest < FEW:
            remark = f"interval too narrow: a class has fewer than {FEW} patients"
        return cls(found.value, found.low, found.high, patients, method, remark)

    def complement(self) -> Metric:
        """1 minus a proportion, with its interval: FDR of precision."""
        if self.value is None:
            return self
        low, high = (None, None) if self.low is None or self.high is None else (1 - self.high, 1 - self.low)
        return Metric(1 - self.value, low, high, self.patients, self.method, self.remark)
