"""Threshold and recalibration from a laboratory's own patients, reported on patients that did not choose them.

Both are cross-fitted: each tenth of the patients is called at a threshold, or recalibrated by a line, that was found on
the other nine. What would be used in the end is found on all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit
from scipy.stats import chi2

from napari_caltomorph.errors import EvaluationRefused
from napari_caltomorph.evaluation import Evaluation, OperatingPoint
from napari_caltomorph.evaluation.decisions import Rule, choose_threshold
from napari_caltomorph.evaluation.malignancy import Screened
from napari_caltomorph.statistics.interval import Interval, Z, mean

FOLDS = 10
_ALPHA = 0.05
# A malignancy of 0 or 1 has no odds.
_CERTAIN = 1e-6


def folds_of(screened: Screened, groups: NDArray[np.str_], seed: int = 0) -> NDArray[np.intp]:
    """Return the fold of P patients; patients of one group stay together, and each fold has both kinds alike."""
    names, place = np.unique(groups, return_inverse=True)
    is_malignant = np.bincount(place, screened.is_malignant, minlength=len(names)) > 0
    order = np.lexsort((np.random.default_rng(seed).random(len(names)), is_malignant))
    fold = np.empty(len(names), dtype=np.intp)
    fold[order] = np.arange(len(names)) % FOLDS
    return np.asarray(fold[place])


@dataclass(frozen=True)
class ChangedThreshold:
    """A threshold that a rule chose on the laboratory's patients."""

    value: float  # Chosen on all of them
    rule: str
    cases: int  # Malignant patients that the choice depends on, how many of them it misses,
    missed: int
    miss_bound: float  # and the share of others that it may miss (upper 95 % bound)
    lowest: float  # Of the folds' thresholds
    highest: float


def cross_fitted_threshold(
    evaluation: Evaluation, rule: Rule, folds: NDArray[np.intp]
) -> tuple[ChangedThreshold, OperatingPoint] | str:
    """Choose a threshold by a rule; also return the screening in which no patient chose its own threshold.

    Returns a sentence where the rule cannot choose.
    """
    screened = evaluation.screened
    thresholds = np.empty(len(screened))
    try:
        decision = choose_threshold(evaluation, rule)
        for fold in np.unique(folds):
            thresholds[folds == fold] = rule.choose(screened.among(folds != fold))
    except EvaluationRefused as error:
        return str(error)
    changed = ChangedThreshold(
        value=decision.threshold,
        rule=rule.in_words(evaluation.taxonomy),
        cases=decision.cases,
        missed=decision.missed,
        miss_bound=decision.miss_bound,
        lowest=float(thresholds.min()),
        highest=float(thresholds.max()),
    )
    return changed, screened.at_each(thresholds)


@dataclass(frozen=True)
class CalibrationLine:
    """Log-odds of being malignant as a line in the log-odds that the model gives (Cox 1958).

    Of a calibrated model the intercept is 0 and the slope 1; a slope below 1 means that it is too certain.
    """

    intercept: Interval
    slope: Interval
    p: float  # Of 0 and 1, by the likelihood ratio
    # By how much the line lowers the log loss of a patient that did not fit it; None where a fold cannot be fitted
    gain: Interval | None

    @property
    def is_justified(self) -> bool:
        """Whether the model is shown to be off."""
        return self.p < _ALPHA

    @property
    def helps(self) -> bool:
        """Whether the line is shown to be better on patients that did not fit it."""
        return self.gain is not None and self.gain.low is not None and self.gain.low > 0

    @property
    def in_words(self) -> str:
        """Whether to recalibrate, and why, as a sentence."""
        line = f"malignancy = expit({self.intercept.value:.2f} + {self.slope.value:.2f} x logit(malignancy))"
        if not self.is_justified:
            return f"Recalibration is not justified: the model is not shown to be off (p = {self.p:.2g})."
        if not self.helps:
            return f"The model is off (p = {self.p:.2g}), but recalibration is not shown to help on other patients."
        return f"Recalibration is justified (p = {self.p:.2g}) and helps on patients that did not fit it: {line}."


def calibration_line(screened: Screened, folds: NDArray[np.intp]) -> CalibrationLine | str:
    """Fit the line, and test it on patients that did not fit it; a sentence where there is none."""
    odds, truth = logit(np.clip(screened.malignancy, _CERTAIN, 1 - _CERTAIN)), screened.is_malignant
    if truth.all() or not truth.any():
        return "No calibration line: all patients are malignant, or none is."
    if _are_separate(odds, truth):
        return "No calibration line: malignancy separates malignant patients and others completely."
    at, covariance = _fit(odds, truth)
    losses, after = _losses(odds, truth, np.array([0.0, 1.0])), np.full(len(odds), np.nan)
    for fold in np.unique(folds):
        own = folds == fold
        if not _are_separate(odds[~own], truth[~own]):
            after[own] = _losses(odds[own], truth[own], _fit(odds[~own], truth[~own])[0])
    ratio = 2 * (losses.sum() - _losses(odds, truth, at).sum())
    reach = Z * np.sqrt(np.diag(covariance))
    intercept, slope = (Interval(float(a), float(a - r), float(a + r)) for a, r in zip(at, reach, strict=True))
    return CalibrationLine(
        intercept,
        slope,
        p=float(chi2.sf(ratio, 2)),
        gain=mean(losses - after, truth.astype(int)) if np.isfinite(after).all() else None,
    )


def _are_separate(odds: NDArray[np.float64], truth: NDArray[np.bool_]) -> bool:
    return bool(not truth.any() or truth.all() or odds[truth].min() >= odds[~truth].max())


def _losses(odds: NDArray[np.float64], truth: NDArray[np.bool_], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P,) log loss of each patient at an intercept and a slope."""
    return np.asarray(-log_expit(np.where(truth, 1, -1) * (at[0] + at[1] * odds)))


def _fit(odds: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return intercept and slope (2,) of the greatest likelihood, and their covariance."""
    design = np.stack([np.ones_like(odds), odds], axis=1)

    def gradient(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((expit(design @ at) - truth) @ design)

    at = minimize(lambda at: _losses(odds, truth, at).sum(), np.array([0.0, 1.0]), jac=gradient, method="BFGS").x
    share = expit(design @ at)
    information = (design * (share * (1 - share))[:, None]).T @ design
    return at, np.linalg.pinv(information)
