"""Fits an `ErrorInterval` on estimates of patients that the estimating member was not trained on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.hemoglobin_error import ErrorBand, ErrorInterval

EDGES_G_DL = (8.0, 10.0)
"""Between the bands of measured hemoglobin: below 8 is severe anemia (WHO 2011)."""

_LEVEL = 0.9
# With fewer patients, not even the extremes bound the errors of 90 % of other patients: n + 1 is below 2 / 0.1.
LEAST_PATIENTS = 19


def fit_error_interval(
    measured: NDArray[np.floating], estimated: NDArray[np.floating], folds: NDArray[np.integer]
) -> ErrorInterval | None:
    """Return the bounds of the error by measured band, with their cross-validated coverage; None for too few patients.

    Parameters
    ----------
    measured, estimated : (P,)
        In g/dl; patients with NaN in either are left out.
    folds : (P,) int
        Number of the member that estimated.

    Notes
    -----
    Split conformal prediction of the residual, conditional on the band of the truth (Mondrian; Vovk 2012): in each
    band, the floor((n + 1) 0.05)-th smallest and largest error. A band with fewer than 19 patients is joined with its
    neighbours. Coverage is counted fold by fold, in intervals that the other folds' patients set.
    """
    known = np.isfinite(measured) & np.isfinite(estimated)
    truth, guess = (np.asarray(values, dtype=np.float64)[known] for values in (measured, estimated))
    found = _fit(truth, guess)
    is_covered = _cross_validated(truth, guess, np.asarray(folds)[known])
    if found is None or is_covered is None:
        return found
    places = np.searchsorted(EDGES_G_DL, truth, side="right")
    bands = (b.model_copy(update={"covered": int(is_covered[places == i].sum())}) for i, b in enumerate(found.bands))
    return found.model_copy(update={"bands": tuple(bands)})


def _cross_validated(
    measured: NDArray[np.float64], estimated: NDArray[np.float64], folds: NDArray[np.integer]
) -> NDArray[np.bool_] | None:
    """(P,) whether the measured value is in an interval of the other folds; None where these have too few patients."""
    is_covered = np.zeros(len(measured), dtype=bool)
    for fold in np.unique(folds):
        mine = folds == fold
        others = _fit(measured[~mine], estimated[~mine])
        if others is None:
            return None
        limits = np.array([others.around(estimate) for estimate in estimated[mine]])
        is_covered[mine] = (limits[:, 0] <= measured[mine]) & (measured[mine] <= limits[:, 1])
    return is_covered


def _fit(measured: NDArray[np.float64], estimated: NDArray[np.float64]) -> ErrorInterval | None:
    if len(measured) < LEAST_PATIENTS:
        return None
    errors, places = measured - estimated, np.searchsorted(EDGES_G_DL, measured, side="right")
    sizes = np.bincount(places, minlength=len(EDGES_G_DL) + 1)
    groups = _joined(sizes)
    bounds = [_bounds(errors[groups[places] == group]) for group in groups]
    bands = tuple(
        ErrorBand(start=start, end=end, low=low, high=high, patients=int(size))
        for start, end, size, (low, high) in zip((None, *EDGES_G_DL), (*EDGES_G_DL, None), sizes, bounds, strict=True)
    )
    low, high = _bounds(errors)
    return ErrorInterval(level=_LEVEL, low=low, high=high, patients=len(errors), bands=bands)


def _joined(sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the group of each band: neighbours are joined until each group has enough patients."""
    groups, group, count = [], 0, 0
    for size in sizes:
        groups.append(group)
        count += size
        if count >= LEAST_PATIENTS:
            group, count = group + 1, 0
    return np.minimum(groups, group - 1)


def _bounds(errors: NDArray[np.float64]) -> tuple[float, float]:
    """Return the bounds of other patients' errors, rounded outwards."""
    ranked, tail = np.sort(errors), math.floor((len(errors) + 1) * (1 - _LEVEL) / 2 + 1e-9)
    return math.floor(ranked[tail - 1] * 100) / 100, math.ceil(ranked[-tail] * 100) / 100
