"""The ROC curve, and the area under it with a closed interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from napari_caltomorph.statistics.interval import LEVEL, Interval

# Beside 1 itself, where the standard error is 0 and every area would be a solution.
_LARGEST_AREA = 1 - 1e-9


def roc_curve(
    positive: NDArray[np.bool_], scores: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return false and true positive rates (distinct scores + 1,), from (0, 0) on; None without patients of a kind."""
    if not positive.any() or positive.all():
        return None
    thresholds = np.concatenate([[np.inf], np.unique(scores)[::-1]])
    called = scores[:, None] >= thresholds  # (P, thresholds)
    return called[~positive].mean(axis=0), called[positive].mean(axis=0)


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
    found = float(weighted_auroc(positive, scores, np.ones((len(scores), 1)))[0])
    half = (ours + theirs) / 2
    z = norm.ppf((1 + LEVEL) / 2)

    def outside(area: float) -> float:
        spread = 2 * half - 1 - (3 * half - 3) / ((2 - area) * (1 + area))
        return float((area - found) ** 2 - z**2 * area * (1 - area) * spread / (ours * theirs))

    low = 0.0 if found <= 0 else float(brentq(outside, 0.0, min(found, _LARGEST_AREA)))
    high = 1.0 if found >= 1 else float(brentq(outside, max(found, 1 - _LARGEST_AREA), 1.0))
    return Interval(found, min(low, found), max(high, found))


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
    share: NDArray[np.float64] = pairs / (ours * (weights.sum(axis=0) - ours))
    return share
