"""Predicted against measured hemoglobin: of all patients, of groups, and compared with the diagnosis alone.

Healthy donors have high hemoglobin and leukemias low, so that a model that only knows the class already correlates.
Within the classes, and against the mean of each class, that knowledge is worth nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.statistics.classification import mean
from napari_caltomorph.statistics.hemoglobin import hemoglobin_metrics, within_class_correlation
from napari_caltomorph.statistics.interval import Interval
from napari_caltomorph.statistics.metric import Metric

_FEWEST = 3


@dataclass(frozen=True)
class HemoglobinGroup:
    """Some patients whose hemoglobin was measured.

    Attributes
    ----------
    name : str
        ``all``, ``without healthy donors``, ``within classes``, ``class means``, or a class.
    patients : int
    numbers : dict of str to Metric
        ``pearson_r``, ``mae`` and ``bias`` (predicted - measured), in g/dl. ``within classes`` has only r. ``class
        means`` has ``mae`` and ``baseline_mae`` of the same patients, and ``mae_difference``, the first less the
        second: negative where the model adds to the diagnosis.
    """

    name: str
    patients: int
    numbers: dict[str, Metric]


def hemoglobin_groups(
    measured: NDArray[np.float64],
    predicted: NDArray[np.float64],
    classes: NDArray[np.integer],
    is_healthy_donor: NDArray[np.bool_],
    names: tuple[str, ...],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> tuple[HemoglobinGroup, ...]:
    """Return how far hemoglobin is off, by groups of P patients; NaN where there is none.

    Parameters
    ----------
    measured, predicted : (P,)
        In g/dl.
    classes : (P,) int
        -1 where there is not one class.
    is_healthy_donor : (P,) bool
    names : tuple of str
        Of the classes.
    seed, resamples
        Of the bootstrap.

    Notes
    -----
    The baseline predicts for each patient the mean of the other patients of the true class: a class needs two.
    """
    known = np.isfinite(measured) & np.isfinite(predicted)
    has_class = classes >= 0
    why = _why_none(measured, predicted)

    def group(name: str, who: NDArray[np.bool_]) -> HemoglobinGroup:
        who = who & known
        found = hemoglobin_metrics(measured[who], predicted[who], seed=seed, resamples=resamples)
        return HemoglobinGroup(name, int(who.sum()), _metrics(found, int(who.sum()), why))

    groups = [group("all", np.ones(len(known), bool)), group("without healthy donors", has_class & ~is_healthy_donor)]
    who = known & has_class
    within = within_class_correlation(measured[who], predicted[who], classes[who]) if who.any() else None
    reason = why or "fewer than 3 patients, or all of a class alike"
    r = Metric.undefined(reason, int(who.sum()))
    if within is not None:
        r = Metric.of(within, int(who.sum()), "Fisher")
    groups.append(HemoglobinGroup("within classes", int(who.sum()), {"pearson_r": r}))
    groups.append(_class_means(measured, predicted, classes, who, why, seed=seed, resamples=resamples))
    return (*groups, *(group(name, classes == c) for c, name in enumerate(names)))


def _metrics(found: dict[str, Interval], patients: int, why: str) -> dict[str, Metric]:
    numbers = {}
    for name in ("pearson_r", "mae", "bias"):
        if name not in found:
            reason = why or (f"fewer than {_FEWEST} patients" if patients < _FEWEST else "one of the two does not vary")
            numbers[name] = Metric.undefined(reason, patients)
        else:
            method = "Fisher" if name == "pearson_r" else "bootstrap"
            numbers[name] = Metric.of(found[name], patients, method, smallest=patients)  # type: ignore[arg-type]
    return numbers


def _class_means(
    measured: NDArray[np.float64],
    predicted: NDArray[np.float64],
    classes: NDArray[np.integer],
    who: NDArray[np.bool_],
    why: str,
    *,
    seed: int,
    resamples: int,
) -> HemoglobinGroup:
    sizes = np.bincount(classes[who], minlength=1)
    who = who & (sizes[np.clip(classes, 0, len(sizes) - 1)] >= 2)
    count = int(who.sum())
    if not count:
        reason = why or "no class with two patients"
        names = ("mae", "baseline_mae", "mae_difference")
        return HemoglobinGroup("class means", 0, {name: Metric.undefined(reason) for name in names})
    true, estimate, strata = measured[who], predicted[who], classes[who]
    sums, sizes = np.bincount(strata, weights=true), np.bincount(strata)
    others = (sums[strata] - true) / (sizes[strata] - 1)
    ours, theirs = np.abs(true - estimate), np.abs(true - others)
    smallest = int(sizes[sizes > 0].min())
    numbers = {
        name: Metric.of(mean(v, strata, seed=seed, resamples=resamples), count, "bootstrap", smallest=smallest)
        for name, v in (("mae", ours), ("baseline_mae", theirs), ("mae_difference", ours - theirs))
    }
    return HemoglobinGroup("class means", count, numbers)


def _why_none(measured: NDArray[np.float64], predicted: NDArray[np.float64]) -> str:
    if not np.isfinite(predicted).any():
        return "the model does not estimate hemoglobin"
    if not np.isfinite(measured).any():
        return "no patient's hemoglobin was measured"
    return ""
