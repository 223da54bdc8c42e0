"""How good predictions are, as numbers with 95 % intervals; arrays in, numbers out.

A patient is the unit of every interval. Intervals say how far other patients of the same kind would have given other
numbers; they leave out that a model trained again would be another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import beta, binomtest, norm, pearsonr

_LEVEL = 0.95
_HEMOGLOBIN_LEVEL = 0.9

# Beside 1 itself, where the standard error is 0 and every area would be a solution.
_LARGEST_AREA = 1 - 1e-9

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


def classification_metrics(
    classes: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    malignant: NDArray[np.bool_],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Interval]:
    """Return what can be said of P patients' predicted classes; a number that is undefined for them is left out.

    Parameters
    ----------
    classes : (P,) int
        True class of each patient.
    probabilities : (P, C)
        Of each patient's classes; the first of the largest is the predicted one.
    malignant : (C,) bool
        Which classes are malignant.
    seed, resamples
        Of the bootstrap; the same seed gives the same intervals.

    Returns
    -------
    dict of str to Interval
        ``accuracy``; ``balanced_accuracy``, the mean recall over the classes that patients have; ``weighted_f1``;
        ``macro_f1`` over the same classes; ``malignant_auroc`` by the sum of the malignant classes' probabilities,
        where there are patients of both kinds; ``macro_auroc``, the mean of one class against the rest over the
        classes that some patients have and some have not; with two classes also ``auroc``.

    Notes
    -----
    Accuracy is a proportion and has Wilson's interval (1927). Balanced accuracy is a mean of independent proportions:
    its bounds are put together from the Wilson bounds of the recalls (MOVER; Zou and Donner, Stat. Med. 27, 2008). The
    others have no closed form: percentile bootstrap over patients, stratified by class so that no class is lost
    (Efron and Tibshirani 1993, chapters 8 and 13). Where all resamples agree, as with perfect separation or one
    patient a class, the bootstrap knows nothing, and there are no bounds. With fewer than some 20 patients in a
    class its intervals are too narrow.
    """
    classes, probabilities, malignant = np.asarray(classes), np.asarray(probabilities, float), np.asarray(malignant)
    if probabilities.shape != (len(classes), len(malignant)):
        raise ValueError(f"probabilities: {probabilities.shape} for {len(classes)} patients, {len(malignant)} classes")
    if not np.isfinite(probabilities).all():
        raise ValueError("a probability is not finite")
    if not len(classes):
        return {}
    once = _scores(classes, probabilities, malignant, np.ones((len(classes), 1)))
    again = [
        _scores(classes, probabilities, malignant, weights) for weights in _resampled_classes(classes, seed, resamples)
    ]
    table = confusion(classes, probabilities.argmax(axis=1), len(malignant))
    return {
        "accuracy": proportion(int(np.trace(table)), len(classes)),
        "balanced_accuracy": _balanced_accuracy(table),
        **{name: _percentiles(value[0], [block[name] for block in again]) for name, value in once.items()},
    }


def hemoglobin_metrics(
    measured: NDArray[np.floating], predicted: NDArray[np.floating], *, seed: int = 0, resamples: int = 1000
) -> dict[str, Interval]:
    """Return how far predicted hemoglobin is from the measured one, in the unit of both.

    Parameters
    ----------
    measured, predicted : (P,)
        Patients with NaN in either are left out.
    seed, resamples
        Of the bootstrap.

    Returns
    -------
    dict of str to Interval
        ``pearson_r``, where both vary; ``mae``; ``rmse``; ``bias``, the mean of predicted - measured (positive: the
        model says too much); ``error_low`` and ``error_high``, between which measured - predicted lies for 90 % of
        patients. Empty with fewer than 3 patients.

    Notes
    -----
    The interval of r is Fisher's (z transform); the others are percentile bootstrap. The two quantiles take the
    (n + 1) p-th smallest error, so that between them lie 90 % of *other* patients too, from 19 patients on.
    """
    measured, predicted = np.asarray(measured, float), np.asarray(predicted, float)
    if measured.shape != predicted.shape:
        raise ValueError(f"{measured.shape} measured, {predicted.shape} predicted values")
    known = np.isfinite(measured) & np.isfinite(predicted)
    measured, predicted = measured[known], predicted[known]
    if len(measured) < 3:
        return {}
    errors = measured - predicted
    rng = np.random.default_rng(seed)
    again = [_error_sizes(errors[rows]) for rows in _resampled(len(errors), rng, resamples)]
    found = {
        name: _percentiles(value[0], [block[name] for block in again])
        for name, value in _error_sizes(errors[:, None]).items()
    }
    return _correlation(measured, predicted) | found


def class_metrics(
    classes: NDArray[np.integer], probabilities: NDArray[np.floating], *, seed: int = 0, resamples: int = 1000
) -> dict[str, dict[int, Interval]]:
    """Return ``f1`` and one-vs-rest ``auroc`` of each class that patients have, by the class's number.

    F1 is bootstrapped; AUROC has the interval of `auroc`.

    Parameters
    ----------
    classes : (P,) int
    probabilities : (P, C)
    seed, resamples
        Of the bootstrap, which is that of `classification_metrics`.

    Returns
    -------
    dict of str to dict of int to Interval
        ``auroc`` is empty where all patients are of one class.
    """
    classes, probabilities = np.asarray(classes), np.asarray(probabilities, float)
    present = np.unique(classes)
    once = _class_f1(classes, probabilities, np.ones((len(classes), 1)))
    again = [_class_f1(classes, probabilities, weights) for weights in _resampled_classes(classes, seed, resamples)]
    areas = {int(c): auroc(classes == c, probabilities[:, c]) for c in present}
    return {
        "f1": {int(c): _percentiles(float(once[i, 0]), [block[i] for block in again]) for i, c in enumerate(present)},
        "auroc": {c: area for c, area in areas.items() if area is not None},
    }


def auroc(positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> Interval | None:
    """Return the area under the ROC curve with a closed interval; None without patients of both kinds.

    Notes
    -----
    Newcombe's method 5 (Stat. Med. 25, 2006): the areas A that are within z standard errors of the one found, where
    the standard error is that of Hanley and McNeil at A. As with Wilson's interval, a perfect result on few patients is
    not certain; a bootstrap would find no spread there, and is too narrow below some 30 patients of a kind.
    """
    ours, theirs = int(positive.sum()), int((~positive).sum())
    if not ours or not theirs:
        return None
    found = float(_auroc(positive, scores, np.ones((len(scores), 1)))[0])
    half = (ours + theirs) / 2
    z = norm.ppf((1 + _LEVEL) / 2)

    def outside(area: float) -> float:
        spread = 2 * half - 1 - (3 * half - 3) / ((2 - area) * (1 + area))
        return float((area - found) ** 2 - z**2 * area * (1 - area) * spread / (ours * theirs))

    low = 0.0 if found <= 0 else float(brentq(outside, 0.0, min(found, _LARGEST_AREA)))
    high = 1.0 if found >= 1 else float(brentq(outside, max(found, 1 - _LARGEST_AREA), 1.0))
    return Interval(found, min(low, found), max(high, found))


def brier_score(
    is_class: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    strata: NDArray[np.integer],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> Interval:
    """Return the mean squared distance of probabilities from what came true, summed over the K outcomes (Brier 1950).

    Parameters
    ----------
    is_class, probabilities : (P, K)
        1 for what is true and 0 for the rest, and what was said; K = 1 gives half of what the two outcomes of a yes
        and its no give.
    strata : (P,) int
        What the bootstrap is stratified by.
    seed, resamples
        Of the bootstrap.
    """
    losses = ((np.asarray(probabilities, float) - np.asarray(is_class, float)) ** 2).sum(axis=1)
    return mean(losses, strata, seed=seed, resamples=resamples)


def mean(
    values: NDArray[np.floating], strata: NDArray[np.integer], *, seed: int = 0, resamples: int = 1000
) -> Interval:
    """Return the mean of P >= 1 values, with a bootstrap interval stratified by (P,) strata."""
    again = [values @ weights / len(values) for weights in _resampled_classes(strata, seed, resamples)]
    return _percentiles(float(values.mean()), again)


def within_class_correlation(
    measured: NDArray[np.floating], predicted: NDArray[np.floating], classes: NDArray[np.integer]
) -> Interval | None:
    """Return Pearson's r of what is left of both once each class's mean is taken away; None where nothing is left.

    Notes
    -----
    Knowing the class alone gives 0 here. The interval is Fisher's, with one patient less for each class but one.
    """
    centred = []
    for values in (np.asarray(measured, float), np.asarray(predicted, float)):
        sums = np.bincount(classes, weights=values)
        centred.append(values - (sums / np.maximum(np.bincount(classes), 1))[classes])
    effective = len(measured) - (len(np.unique(classes)) - 1)
    if effective < 3 or min(np.abs(values).max() for values in centred) < 1e-12:
        return None
    r = float(np.clip(np.corrcoef(*centred)[0, 1], -1, 1))
    if effective < 4 or abs(r) > 1 - 1e-12:
        return Interval(r)
    reach = norm.ppf((1 + _LEVEL) / 2) / np.sqrt(effective - 3)
    return Interval(r, float(np.tanh(np.arctanh(r) - reach)), float(np.tanh(np.arctanh(r) + reach)))


def proportion(right: int, patients: int) -> Interval:
    """Return a share of at least one patient, with Wilson's interval (1927)."""
    bounds = binomtest(right, patients).proportion_ci(_LEVEL, method="wilson")
    value = right / patients
    return Interval(value, min(float(bounds.low), value), max(float(bounds.high), value))


def largest_share(found: int, patients: int) -> float:
    """Return the upper 95 % bound of a share, one-sided (Clopper and Pearson 1934); 1 where there are no patients.

    None of n gives 1 - 0.05^(1/n), of which the rule of three, 3 / n, is the rough form.
    """
    return 1.0 if found >= patients else float(beta.ppf(_LEVEL, found + 1, patients - found))


def confusion(classes: NDArray[np.integer], predicted: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """Return (n, n) numbers of patients: rows are true classes, columns predicted ones."""
    cells = np.asarray(classes, dtype=np.int64) * n + np.asarray(predicted, dtype=np.int64)
    return np.bincount(cells, minlength=n * n).reshape(n, n).astype(np.int64)


def _scores(
    classes: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    malignant: NDArray[np.bool_],
    weights: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """What is bootstrapped, each (R,), where column r of `weights` says how often each of the P patients counts."""
    count = len(malignant)
    is_cell = np.eye(count * count)[classes * count + probabilities.argmax(axis=1)]  # (P, C * C)
    tables = (is_cell.T @ weights).reshape(count, count, -1)  # (C, C, R)
    support, called, right = tables.sum(axis=1), tables.sum(axis=0), np.einsum("ccr->cr", tables)
    present = np.unique(classes)
    f1 = 2 * right[present] / (support + called)[present]  # (present, R)
    scores = {"weighted_f1": (f1 * support[present]).sum(axis=0) / support.sum(axis=0), "macro_f1": f1.mean(axis=0)}

    is_malignant = malignant[classes]
    if is_malignant.any() and not is_malignant.all():
        # Sums that differ from 1 by rounding are ties, not an order.
        malignancy = np.minimum(probabilities[:, malignant].sum(axis=1), 1.0)
        scores["malignant_auroc"] = _auroc(is_malignant, malignancy, weights)
    if len(present) > 1:
        scores["macro_auroc"] = np.mean([_auroc(classes == c, probabilities[:, c], weights) for c in present], axis=0)
        if count == 2:
            scores["auroc"] = _auroc(classes == 1, probabilities[:, 1], weights)
    return scores


def _class_f1(
    classes: NDArray[np.integer], probabilities: NDArray[np.floating], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(present classes, R), under the weights of `_scores`."""
    predicted, f1 = probabilities.argmax(axis=1), []
    for c in np.unique(classes):
        is_true, is_said = classes == c, predicted == c
        f1.append(2 * weights[is_true & is_said].sum(axis=0) / (weights[is_true].sum(0) + weights[is_said].sum(0)))
    return np.array(f1)


def _auroc(
    positive: NDArray[np.bool_], scores: NDArray[np.floating], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(R,) share of pairs in which the positive patient scores higher, ties counting half (Mann and Whitney)."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of each distinct score
    tied = weights[order] if len(starts) == len(scores) else np.add.reduceat(weights[order], starts, axis=0)
    below = np.cumsum(tied, axis=0)  # (distinct, R) patients that score less, and half of those that score the same
    below -= tied / 2
    place = np.searchsorted(scores[order][starts], scores[positive])
    ours = weights[positive].sum(axis=0)
    # Of the pairs counted here, those of two positive patients are ours^2 / 2, whatever their order.
    pairs = np.einsum("pr,pr->r", weights[positive], below[place]) - ours**2 / 2
    share: NDArray[np.float64] = pairs / (ours * (weights.sum(axis=0) - ours))
    return share


def _error_sizes(errors: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Of (P, R) measured - predicted, each (R,)."""
    tail = (1 - _HEMOGLOBIN_LEVEL) / 2
    low, high = np.quantile(errors, [tail, 1 - tail], axis=0, method="weibull")
    return {
        "mae": np.abs(errors).mean(axis=0),
        "rmse": np.sqrt((errors**2).mean(axis=0)),
        "bias": -errors.mean(axis=0),
        "error_low": low,
        "error_high": high,
    }


def _correlation(measured: NDArray[np.floating], predicted: NDArray[np.floating]) -> dict[str, Interval]:
    if min(np.ptp(values) / max(1.0, np.abs(values).max()) for values in (measured, predicted)) < 1e-12:
        return {}  # one of them does not vary
    result = pearsonr(measured, predicted)
    low, high = result.confidence_interval(_LEVEL)
    return {"pearson_r": Interval(float(result.statistic), float(low), float(high))}


def _balanced_accuracy(table: NDArray[np.int64]) -> Interval:
    recalls = [proportion(int(row[c]), int(row.sum())) for c, row in enumerate(table) if row.any()]
    value, low, high = (np.array([getattr(r, name) for r in recalls]) for name in ("value", "low", "high"))
    mean, share = float(value.mean()), 1 / len(recalls)
    return Interval(
        mean,
        max(0.0, mean - share * float(np.sqrt(((value - low) ** 2).sum()))),
        min(1.0, mean + share * float(np.sqrt(((high - value) ** 2).sum()))),
    )


def _percentiles(value: float, blocks: list[NDArray[np.float64]]) -> Interval:
    values = np.concatenate(blocks) if blocks else np.empty(0)
    if not len(values) or np.ptp(values) < 1e-12:
        return Interval(float(value))
    low, high = np.quantile(values, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    # Few patients can put the value itself outside: an interval that lacks it would mislead.
    return Interval(float(value), float(min(low, value)), float(max(high, value)))


def _resampled_classes(classes: NDArray[np.integer], seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """Yield (P, R) blocks: how often each patient is drawn when as many are drawn from each class as there are."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(classes == c) for c in np.unique(classes)]
    for size in _blocks(len(classes), resamples) if groups else ():
        drawn = np.concatenate([rows[rng.integers(len(rows), size=(len(rows), size))] for rows in groups])  # (P, R)
        cells = drawn * size + np.arange(size)
        yield np.bincount(cells.ravel(), minlength=len(classes) * size).reshape(-1, size).astype(float)


def _resampled(patients: int, rng: np.random.Generator, resamples: int) -> Iterator[NDArray[np.int64]]:
    for size in _blocks(patients, resamples):
        yield rng.integers(patients, size=(patients, size))


def _blocks(patients: int, resamples: int) -> Iterator[int]:
    most = max(1, _BLOCK // max(1, patients))
    for start in range(0, resamples, most):
        yield min(most, resamples - start)
