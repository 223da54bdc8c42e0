"""How predicted numbers agree with measured ones: errors and correlations, each with its interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr

from napari_caltomorph.statistics.interval import CONFIDENCE, Interval, Z, mean, quantile, root_mean_square

_ERROR_LEVEL = 0.9


def hemoglobin_metrics(measured: NDArray[np.floating], predicted: NDArray[np.floating]) -> dict[str, Interval]:
    """Return how far predicted hemoglobin is from the measured one, in the unit of both.

    Parameters
    ----------
    measured, predicted : (P,)
        Patients with NaN in either are left out.

    Returns
    -------
    dict of str to Interval
        ``pearson_r``, where both vary; ``mae``; ``rmse``; ``bias``, the mean of predicted - measured (positive: the
        estimates are too high); ``error_low`` and ``error_high``, between which measured - predicted is for 90 % of
        patients. Empty with fewer than 3 patients.

    Notes
    -----
    The interval of r is Fisher's (z transform), those of ``mae`` and ``bias`` are Student's; `root_mean_square` and
    `quantile` have the others. The two quantiles take the (n + 1) p-th smallest error, so that between them lie 90 % of
    *other* patients too, from 19 patients on.
    """
    measured, predicted = np.asarray(measured, float), np.asarray(predicted, float)
    if measured.shape != predicted.shape:
        raise ValueError(f"{measured.shape} measured, {predicted.shape} predicted values")
    known = np.isfinite(measured) & np.isfinite(predicted)
    measured, predicted = measured[known], predicted[known]
    if len(measured) < 3:
        return {}
    errors = measured - predicted
    one_stratum, tail = np.zeros(len(errors), dtype=np.intp), (1 - _ERROR_LEVEL) / 2
    return _correlation(measured, predicted) | {
        "mae": mean(np.abs(errors), one_stratum, least=0.0),
        "rmse": root_mean_square(errors),
        "bias": mean(-errors, one_stratum),
        "error_low": quantile(errors, tail),
        "error_high": quantile(errors, 1 - tail),
    }


def within_class_correlation(
    measured: NDArray[np.floating], predicted: NDArray[np.floating], classes: NDArray[np.integer]
) -> Interval | None:
    """Return Pearson's r of what is left of both once each class's mean is taken away; None where nothing is left.

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
    reach = Z / np.sqrt(effective - 3)
    return Interval(r, float(np.tanh(np.arctanh(r) - reach)), float(np.tanh(np.arctanh(r) + reach)))


def spearman(one: NDArray[np.floating], other: NDArray[np.floating]) -> Interval | None:
    """Return Spearman's r of P >= 4 pairs; None where one of the two does not vary.

    Fisher's interval with the standard error of Bonett and Wright (Psychometrika 65, 2000); none where both have the
    same order.
    """
    if np.ptp(one) < 1e-12 or np.ptp(other) < 1e-12:
        return None
    r = float(np.clip(spearmanr(one, other).statistic, -1, 1))
    if abs(r) > 1 - 1e-12:
        return Interval(r)
    reach = Z * np.sqrt((1 + r**2 / 2) / (len(one) - 3))
    low, high = (float(np.tanh(np.arctanh(r) + sign * reach)) for sign in (-1, 1))
    return Interval(r, low, high)


def _correlation(measured: NDArray[np.floating], predicted: NDArray[np.floating]) -> dict[str, Interval]:
    if min(np.ptp(values) / max(1.0, np.abs(values).max()) for values in (measured, predicted)) < 1e-12:
        return {}  # one of them does not vary
    result = pearsonr(measured, predicted)
    low, high = result.confidence_interval(CONFIDENCE)
    return {"pearson_r": Interval(float(result.statistic), float(low), float(high))}
