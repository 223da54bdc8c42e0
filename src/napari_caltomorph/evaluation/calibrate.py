"""Fits a `Calibration` on patients that no member of the ensemble has seen.

Both parts are fitted on the same patients, but no patient's score comes from a temperature that was fitted on it:
see `fit_calibration`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from napari_caltomorph.diagnosis.calibration import Calibration, tempered
from napari_caltomorph.errors import CalibrationRefused

# Below some 200 patients one temperature is off by a tenth and more, and most classes get no quantile at all.
MIN_PATIENTS = 200

# Where all calibration patients are right, ever lower temperatures fit ever better: 200 of them cannot show that.
_COLDEST, _HOTTEST = 0.25, 20.0

_FOLDS = 10


def fit_calibration(
    classes: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    slugs: Sequence[str],
    *,
    alpha: float = 0.1,
    source: str,
) -> Calibration:
    """Fit one temperature and, for each class, the conformal quantile.

    Parameters
    ----------
    classes : (P,) int
        True classes of the calibration patients, which no member may have seen.
    probabilities : (P, C)
        Softmax averaged over the members.
    slugs : sequence of str
        The C classes.
    alpha
        At most this share of a class's patients may lack it in their prediction set.
    source
        Where the patients come from, as the model card shows it.

    Raises
    ------
    CalibrationRefused
        Fewer than 200 patients.

    Notes
    -----
    The temperature minimises the negative log likelihood (Guo et al. 2017). The quantile of a class is the
    ceil((n + 1)(1 - alpha))-th smallest score 1 - p of its n patients; with n < 1 / alpha - 1 there is none.

    The guarantee of the quantiles depends on exchangeability: calibration patients must be scored as new patients are.
    A temperature fitted on the patients whose scores are then ranked makes their scores a little better than new ones.
    Fitting and ranking on two halves would leave too few patients to small classes. So the temperature is cross-fitted:
    each tenth is scored at a temperature fitted on the other nine.
    """
    classes, averaged = np.asarray(classes), np.asarray(probabilities, dtype=np.float64)
    if averaged.shape != (len(classes), len(slugs)):
        raise ValueError(f"probabilities: {averaged.shape} for {len(classes)} patients, {len(slugs)} classes")
    if not np.isfinite(averaged).all():
        raise ValueError("a probability is not finite")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is a share between 0 and 1, not {alpha}")
    if len(classes) < MIN_PATIENTS:
        raise CalibrationRefused(
            f"{len(classes)} patients are set aside to calibrate on, {MIN_PATIENTS} are needed: set more aside "
            "(--calibration-split), or none."
        )
    scores = _cross_fitted_scores(classes, averaged)
    return Calibration(
        temperature=_temperature(classes, averaged),
        alpha=alpha,
        quantiles={slug: _quantile(scores[classes == c], alpha) for c, slug in enumerate(slugs)},
        patients={slug: int((classes == c).sum()) for c, slug in enumerate(slugs)},
        source=source,
    )


def _cross_fitted_scores(classes: NDArray[np.integer], averaged: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P,) 1 - p of each patient's true class, at a temperature fitted on other patients."""
    fold = np.empty(len(classes), dtype=int)
    fold[np.argsort(classes, kind="stable")] = np.arange(len(classes)) % _FOLDS  # every class split over all folds
    scores = np.empty(len(classes))
    for k in range(_FOLDS):
        mine = fold == k
        temperature = _temperature(classes[~mine], averaged[~mine])
        scores[mine] = 1 - tempered(averaged[mine], temperature)[np.arange(mine.sum()), classes[mine]]
    return scores


def _temperature(classes: NDArray[np.integer], averaged: NDArray[np.float64]) -> float:
    logs = np.log(np.maximum(averaged, np.finfo(float).tiny))  # (P, C)
    true = logs[np.arange(len(classes)), classes]

    def loss(log_temperature: float) -> float:
        heat = math.exp(log_temperature)
        top = logs.max(axis=1)
        log_sums = top / heat + np.log(np.exp((logs - top[:, None]) / heat).sum(axis=1))
        return float((log_sums - true / heat).mean())

    # In the inverse temperature it is convex (a log-sum-exp less a linear term), so its one minimum is found.
    found = minimize_scalar(loss, bounds=(math.log(_COLDEST), math.log(_HOTTEST)), method="bounded")
    return math.exp(found.x)


def _quantile(scores: NDArray[np.float64], alpha: float) -> float | None:
    # n + 1 - floor((n + 1) alpha) is ceil((n + 1)(1 - alpha)), without 10 * 0.1 rounded the wrong way.
    above = math.floor((len(scores) + 1) * alpha + 1e-9)
    return float(np.sort(scores)[len(scores) - above]) if above else None
