"""A metric of a model: its number with an interval, or with the reason why there is none, and the names of all metrics.

The tables of names are the only ones: keys as in evaluation.json, words as in reports, panels and the terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_caltomorph.statistics.interval import Interval, proportion

Method = Literal["Wilson", "Wilson, eff. n", "Fisher", "Newcombe", "MOVER", "Student", "none"]
"""Of an interval; ``Wilson, eff. n`` is Wilson's at the effective number of patients (`interval.like_share`)."""

NO_LABELS = "the cohort has no labels"
"""Why a number is undefined where no truth is known."""


@dataclass(frozen=True)
class Metric:
    """A number, its 95 % interval, and what it is computed from."""

    value: float | None  # None where it is undefined; `remark` says why
    # Both or none
    low: float | None = None
    high: float | None = None
    patients: int = 0  # How many it is computed from; of a proportion, the denominator
    method: Method = "none"  # How the interval came about; ``none`` where there is none
    remark: str = ""  # Why it is undefined, or has no interval; empty otherwise

    def __post_init__(self) -> None:
        if self.value is None and not self.remark:
            raise ValueError("an undefined number says why")
        if self.value is not None:
            Interval(self.value, self.low, self.high)

    def __str__(self) -> str:
        return self.shown()

    @property
    def is_defined(self) -> bool:
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
        return cls(None, patients=patients, remark=why)

    @classmethod
    def of_counts(cls, right: int, patients: int, if_none: str) -> Metric:
        """A proportion with Wilson's interval; undefined for the reason `if_none` where there are no patients."""
        if not patients:
            return cls.undefined(if_none)
        found = proportion(right, patients)
        return cls(found.value, found.low, found.high, patients, "Wilson")

    @classmethod
    def of(cls, found: Interval, patients: int, method: Method) -> Metric:
        """A number with the interval that was found for it."""
        if found.low is None:
            return cls(found.value, patients=patients, remark="no interval: the patients do not differ, or are too few")
        return cls(found.value, found.low, found.high, patients, method)

    def complement(self) -> Metric:
        """1 minus a proportion, with its interval: FDR of precision."""
        if self.value is None:
            return self
        low, high = (None, None) if self.low is None or self.high is None else (1 - self.high, 1 - self.low)
        return Metric(1 - self.value, low, high, self.patients, self.method, self.remark)


@dataclass(frozen=True)
class MetricName:
    """How a metric is shown: its name, and what it is a number of."""

    name: str
    of: str = ""

    @property
    def title(self) -> str:
        """The name with a capital, for the first column of a table."""
        return self.name[:1].upper() + self.name[1:]


METRICS = {
    "accuracy": MetricName("accuracy", "patients whose predicted class is the true one"),
    "balanced_accuracy": MetricName("balanced accuracy", "mean sensitivity of the classes"),
    "macro_f1": MetricName("macro F1", "mean F1 of the classes"),
    "weighted_f1": MetricName("weighted F1", "mean F1 of the classes, weighted by their patients"),
    "top2_accuracy": MetricName("top-2 accuracy", "patients whose class is one of the two most probable"),
    "macro_auroc": MetricName("macro AUROC", "mean AUROC of each class against the rest"),
    "auroc": MetricName("AUROC", "one of two classes against the other"),
    "malignant_auroc": MetricName("malignant AUROC", "malignancy of malignant patients against that of the others"),
    "sensitivity": MetricName("malignant sensitivity", "malignant patients who are called malignant"),
    "specificity": MetricName("malignant specificity", "other patients who are not called malignant"),
    "fdr": MetricName("malignant FDR", "patients called malignant who are not"),
    "fdr_without_healthy": MetricName("malignant FDR, no donors", "the same as if no healthy donor were tested"),
    "several_right": MetricName(
        "borderline: right", "borderline and double diagnoses predicted as one of their right answers"
    ),
    "set_coverage": MetricName(
        "true class in its set", "patients whose class is in the set of classes that cannot be excluded"
    ),
    "ece": MetricName(
        "calibration error (ECE)", "mean distance of the predicted class's probability from the share that is right"
    ),
    "malignant_ece": MetricName(
        "calibration error, malignant", "mean distance of the malignancy from the share that is malignant"
    ),
    "malignancy_bias": MetricName(
        "malignancy - malignant", "mean malignancy less the share of malignant patients: above 0 it is too high"
    ),
    "brier": MetricName("Brier score", "squared error of all probabilities (0 to 2)"),
    "malignant_brier": MetricName("Brier score, malignant", "squared error of the malignancy (0 to 1)"),
}
"""Metrics of a model as a whole, in the order in which they are read."""

CLASS_METRICS = {
    "sensitivity": MetricName("sensitivity"),
    "precision": MetricName("precision"),
    "f1": MetricName("F1"),
    "fdr": MetricName("FDR"),
    "auroc": MetricName("AUROC"),
    "top2": MetricName("top-2"),
    "set_coverage": MetricName("in its set"),
}
"""Metrics of one class."""

HEMOGLOBIN_METRICS = {
    "pearson_r": MetricName("Pearson r"),
    "mae": MetricName("mean absolute error"),
    "bias": MetricName("bias"),
    "in_interval": MetricName("in its interval"),
    "baseline_mae": MetricName("error of the class mean"),
    "mae_difference": MetricName("difference"),
}
"""Metrics of hemoglobin, in g/dl."""


def signed(before: float, after: float, digits: int = 2) -> str:
    """Return the change between two numbers as they are shown, with its sign: a reader subtracts them."""
    change = round(after, digits) - round(before, digits)
    return f"{change:+.{digits}f}" if round(abs(change), digits) else f"±{0:.{digits}f}"
