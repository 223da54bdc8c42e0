"""ROC curves and the areas under them, each area with a closed 95 % interval; arrays in, numbers out."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from napari_caltomorph.statistics.interval import Interval, Z, centred_in_strata

# Next to 1 itself, where the standard error is 0 and every area would be a solution.
_LARGEST_AREA = 1 - 1e-9


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
    """Return the area under the ROC curve with a closed interval; None without patients of both kinds."""
    ours, theirs = int(positive.sum()), int((~positive).sum())
    if not ours or not theirs:
        return None
    return area_interval(float(_parts(positive, scores)[positive].sum()), ours, theirs)


def area_interval(found: float, ours: float, theirs: float) -> Interval:
    """Return an area with its interval, by how many patients it has of both kinds; they need not be whole.

    Newcombe's method 5 (Stat. Med. 25, 2006): the areas A that are within z standard errors of the one found, where
    the standard error is that of Hanley and McNeil at A. As with Wilson's interval, a perfect result on few patients is
    not certain; a bootstrap would find no spread there, and is too narrow below some 30 patients of a kind.
    """
    half = (ours + theirs) / 2

    def outside(area: float) -> float:
        spread = 2 * half - 1 - (3 * half - 3) / ((2 - area) * (1 + area))
        return float((area - found) ** 2 - Z**2 * area * (1 - area) * spread / (ours * theirs))

    low = 0.0 if found <= 0 else float(brentq(outside, 0.0, min(found, _LARGEST_AREA)))
    high = 1.0 if found >= 1 else float(brentq(outside, max(found, 1 - _LARGEST_AREA), 1.0))
    return Interval(found, min(low, found), max(high, found))


def macro_auroc(classes: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Interval | None:
    """Return the mean AUROC of each class against the rest, over the classes (P,) that some patients have.

    Probabilities are (P, C). None where all patients are of one class.

    Notes
    -----
    The bounds of the classes are put together (MOVER; Zou and Donner, Stat. Med. 27, 2008). A patient takes part in the
    areas of all classes, so these are correlated, by DeLong's covariance (Biometrics 44, 1988). Negative correlations
    are taken as 0, which can only widen the interval; those of a class of one patient are not known, and taken as 1.
    """
    present, sizes = np.unique(classes, return_counts=True)
    areas = [area for c in present if (area := auroc(classes == c, probabilities[:, c])) is not None]
    if not areas:
        return None
    value, low, high = (np.array([getattr(area, name) for area in areas]) for name in ("value", "low", "high"))
    parts = np.stack([_parts(classes == c, probabilities[:, c]) for c in present], axis=1)  # (P, K)
    parts = centred_in_strata(parts, classes)
    covariance = parts.T @ parts
    spread = np.sqrt(np.diag(covariance))
    both = np.outer(spread, spread)
    correlation = np.divide(covariance, both, out=np.zeros_like(both), where=both > 1e-15).clip(min=0)
    correlation[(sizes == 1) | (sizes == 1)[:, None]] = 1
    np.fill_diagonal(correlation, 1)
    below, above = ((side @ correlation @ side) ** 0.5 / len(areas) for side in (value - low, high - value))
    mean = float(value.mean())
    return Interval(mean, max(0.0, mean - float(below)), min(1.0, mean + float(above)))


def separation(classes: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Interval | None:
    """Return the AUROC of two classes, or the macro AUROC of more; None where all patients are of one class."""
    if probabilities.shape[1] == 2:
        return auroc(classes == 1, probabilities[:, 1])
    return macro_auroc(classes, probabilities)


def gain(classes: NDArray[np.integer], before: NDArray[np.floating], after: NDArray[np.floating]) -> Interval | None:
    """Return how much the `separation` of the same patients (P,) gains from one (P, C) to another.

    The bounds of both are put together (MOVER; Zou and Donner 2008) with their correlation by DeLong's covariance.
    """
    first, second = separation(classes, before), separation(classes, after)
    if first is None or second is None:
        return None
    parts = centred_in_strata(np.stack([_separation_parts(classes, p) for p in (before, after)], axis=1), classes)
    (one, both), (_, other) = parts.T @ parts
    correlation = both / np.sqrt(one * other) if one * other > 1e-30 else 0.0

    def reach(one: float, other: float) -> float:
        return float(np.sqrt(max(one**2 + other**2 - 2 * correlation * one * other, 0.0)))

    (value, low, high), (new, new_low, new_high) = astuple(first), astuple(second)
    below, above = reach(new - new_low, high - value), reach(new_high - new, value - low)
    return Interval(new - value, max(-1.0, new - value - below), min(1.0, new - value + above))


def _separation_parts(classes: NDArray[np.integer], probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """(P,) how much each patient contributes to `separation`, as `_parts`."""
    if probabilities.shape[1] == 2:
        return _parts(classes == 1, probabilities[:, 1])
    return np.asarray(np.mean([_parts(classes == c, probabilities[:, c]) for c in np.unique(classes)], axis=0))


def _parts(positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """(P,): the area as a sum over the positive patients, and again as one over the others; ties count half."""
    parts = np.empty(len(scores))
    for ours, sign in ((positive, 1), (~positive, -1)):
        own, others = sign * scores[ours], np.sort(sign * scores[~ours])
        less = np.searchsorted(others, own, "left") + np.searchsorted(others, own, "right")
        parts[ours] = less / (2 * len(own) * len(others))
    return parts
