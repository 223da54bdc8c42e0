"""How predicted numbers agree with measured ones: errors and correlations, each with its interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr

from napari_caltomorph.statistics.interval import CONFIDENCE, Interval, Z, mean, percentiles, resampled

_ERROR_LEVEL = 0.9


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
        estimates are too high); ``error_low`` and ``error_high``, between which measured - predicted is for 90 % of
        patients. Empty with fewer than 3 patients.

    Notes
    -----
    The interval of r is Fisher's (z transform), those of ``mae`` and ``bias`` are Student's; the others are percentile
    bootstrap, which is too narrow on few patients. The two quantiles take the
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
    again = [_error_sizes(errors[rows]) for rows in resampled(len(errors), rng, resamples)]
    found = {
        name: percentiles(value[0], [block[name] for block in again])
        for name, value in _error_sizes(errors[:, None]).items()
    }
    one_stratum = np.zeros(len(errors), dtype=np.intp)
    means = {"mae": mean(np.abs(errors), one_stratum, least=0.0), "bias": mean(-errors, one_stratum)}
    return _correlation(measured, predicted) | found | means


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


def _error_sizes(errors: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Of (P, R) measured - predicted, each (R,)."""
    tail = (1 - _ERROR_LEVEL) / 2
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
    low, high = result.confidence_interval(CONFIDENCE)
    return {"pearson_r": Interval(float(result.statistic), float(low), float(high))}
