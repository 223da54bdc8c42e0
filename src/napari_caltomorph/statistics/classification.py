"""Metrics of predicted classes, each with its 95 % interval; arrays in, numbers out.

A patient is the unit of every interval. Intervals show how much other patients of the same kind would change a number;
they do not include that a model trained again would be another one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from napari_caltomorph.statistics.interval import TAILS, Interval, percentiles, proportion, resampled_classes
from napari_caltomorph.taxonomy import malignancy

# Next to 1 itself, where the standard error is 0 and every area would be a solution.
_LARGEST_AREA = 1 - 1e-9


def classification_metrics(
    classes: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    malignant: NDArray[np.bool_],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Interval]:
    """Return the metrics of P patients' predicted classes; undefined ones are left out.

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
    patient a class, the bootstrap has no spread, and there are no bounds. With fewer than some 20 patients in a
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
        _scores(classes, probabilities, malignant, weights) for weights in resampled_classes(classes, seed, resamples)
    ]
    table = confusion(classes, probabilities.argmax(axis=1), len(malignant))
    return {
        "accuracy": proportion(int(np.trace(table)), len(classes)),
        "balanced_accuracy": _balanced_accuracy(table),
        **{name: percentiles(value[0], [block[name] for block in again]) for name, value in once.items()},
    }


def class_metrics(
    classes: NDArray[np.integer], probabilities: NDArray[np.floating], *, seed: int = 0, resamples: int = 1000
) -> dict[str, dict[int, Interval]]:
    """Return ``f1`` and one-vs-rest ``auroc`` of each class that patients have, by the class's number.

    F1 is bootstrapped as in `classification_metrics`, from classes (P,) and probabilities (P, C). AUROC has the
    interval of `auroc`, and is empty where all patients are of one class.
    """
    classes, probabilities = np.asarray(classes), np.asarray(probabilities, float)
    present = np.unique(classes)
    once = _class_f1(classes, probabilities, np.ones((len(classes), 1)))
    again = [_class_f1(classes, probabilities, weights) for weights in resampled_classes(classes, seed, resamples)]
    areas = {int(c): auroc(classes == c, probabilities[:, c]) for c in present}
    return {
        "f1": {int(c): percentiles(float(once[i, 0]), [block[i] for block in again]) for i, c in enumerate(present)},
        "auroc": {c: area for c, area in areas.items() if area is not None},
    }


def brier_score(
    is_class: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    strata: NDArray[np.integer],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> Interval:
    """Return the mean squared distance of probabilities from the truth, summed over the K outcomes (Brier 1950).

    `is_class` (P, K) is 1 for the true outcome and 0 for the rest. K = 1 gives half of the value of a yes and its no as
    two outcomes. The bootstrap is stratified by `strata` (P,).
    """
    losses = ((np.asarray(probabilities, float) - np.asarray(is_class, float)) ** 2).sum(axis=1)
    return mean(losses, strata, seed=seed, resamples=resamples)


def mean(
    values: NDArray[np.floating], strata: NDArray[np.integer], *, seed: int = 0, resamples: int = 1000
) -> Interval:
    """Return the mean of P >= 1 values, with a bootstrap interval stratified by (P,) strata."""
    again = [values @ weights / len(values) for weights in resampled_classes(strata, seed, resamples)]
    return percentiles(float(values.mean()), again)


def confusion(classes: NDArray[np.integer], predicted: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """Return (n, n) numbers of patients: rows are true classes, columns predicted ones."""
    cells = np.asarray(classes, dtype=np.int64) * n + np.asarray(predicted, dtype=np.int64)
    return np.bincount(cells, minlength=n * n).reshape(n, n).astype(np.int64)


def roc_curve(
    positive: NDArray[np.bool_], scores: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return false and true positive rates (distinct scores + 1,), from (0, 0) on; None without patients of a kind."""
    if not positive.any() or positive.all():
        return None
    from sklearn.metrics import roc_curve as curve

    false_rates, true_rates, _ = curve(positive, scores, drop_intermediate=False)
    return false_rates, true_rates


def auroc(positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> Interval | None:
    """Return the area under the ROC curve with a closed interval; None without patients of both kinds.

    Newcombe's method 5 (Stat. Med. 25, 2006): the areas A that are within z standard errors of the one found, where
    the standard error is that of Hanley and McNeil at A. As with Wilson's interval, a perfect result on few patients is
    not certain; a bootstrap would find no spread there, and is too narrow below some 30 patients of a kind.
    """
    ours, theirs = int(positive.sum()), int((~positive).sum())
    if not ours or not theirs:
        return None
    found = float(weighted_auroc(positive, scores, np.ones((len(scores), 1)))[0])
    half = (ours + theirs) / 2
    z = norm.ppf(TAILS[1])

    def outside(area: float) -> float:
        spread = 2 * half - 1 - (3 * half - 3) / ((2 - area) * (1 + area))
        return float((area - found) ** 2 - z**2 * area * (1 - area) * spread / (ours * theirs))

    low = 0.0 if found <= 0 else float(brentq(outside, 0.0, min(found, _LARGEST_AREA)))
    high = 1.0 if found >= 1 else float(brentq(outside, max(found, 1 - _LARGEST_AREA), 1.0))
    return Interval(found, min(low, found), max(high, found))


def separation(
    classes: NDArray[np.integer], probabilities: NDArray[np.floating], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (R,) AUROC of two classes, or macro AUROC of more, under the weights of `weighted_auroc`.

    Macro AUROC is over the classes (P,) that patients have, at least two; probabilities are (P, C), weights (P, R).
    """
    if probabilities.shape[1] == 2:
        return weighted_auroc(classes == 1, probabilities[:, 1], weights)
    areas = [weighted_auroc(classes == c, probabilities[:, c], weights) for c in np.unique(classes)]
    return np.asarray(np.mean(areas, axis=0))


def weighted_auroc(
    positive: NDArray[np.bool_], scores: NDArray[np.floating], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (R,) shares of pairs in which the positive patient scores higher, ties counting half (Mann and Whitney).

    Column r of (P, R) `weights` says how often each of the P patients counts.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of each distinct score
    tied = weights[order] if len(starts) == len(scores) else np.add.reduceat(weights[order], starts, axis=0)
    below = np.cumsum(tied, axis=0)  # (distinct, R) patients that score less, and half of those that score the same
    below -= tied / 2
    place = np.searchsorted(scores[order][starts], scores[positive])
    ours = weights[positive].sum(axis=0)
    # Of the pairs counted here, those of two positive patients are ours^2 / 2, whatever their order.
    pairs = np.einsum("pr,pr->r", weights[positive], below[place]) - ours**2 / 2
    return np.asarray(pairs / (ours * (weights.sum(axis=0) - ours)))


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
        scores["malignant_auroc"] = weighted_auroc(is_malignant, malignancy(probabilities, malignant), weights)
    if len(present) > 1:
        scores["macro_auroc"] = np.mean(
            [weighted_auroc(classes == c, probabilities[:, c], weights) for c in present], axis=0
        )
        if count == 2:
            scores["auroc"] = weighted_auroc(classes == 1, probabilities[:, 1], weights)
    return scores


def _class_f1(
    classes: NDArray[np.integer], probabilities: NDArray[np.floating], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(present classes, R), under the weights of `_scores`."""
    predicted, f1 = probabilities.argmax(axis=1), []
    for c in np.unique(classes):
        is_true, is_called = classes == c, predicted == c
        f1.append(2 * weights[is_true & is_called].sum(axis=0) / (weights[is_true].sum(0) + weights[is_called].sum(0)))
    return np.array(f1)


def _balanced_accuracy(table: NDArray[np.int64]) -> Interval:
    recalls = [proportion(int(row[c]), int(row.sum())) for c, row in enumerate(table) if row.any()]
    value, low, high = (np.array([getattr(r, name) for r in recalls]) for name in ("value", "low", "high"))
    mean, share = float(value.mean()), 1 / len(recalls)
    return Interval(
        mean,
        max(0.0, mean - share * float(np.sqrt(((value - low) ** 2).sum()))),
        min(1.0, mean + share * float(np.sqrt(((high - value) ** 2).sum()))),
    )
