"""How far estimated hemoglobin is off in an evaluation, by groups of patients.

Healthy donors have high hemoglobin and leukemias low, so a model that knows only the class already correlates. Within
the classes, and compared with the mean of each class, that knowledge has no value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.hemoglobin_error import band_name
from napari_caltomorph.evaluation.hemoglobin_error import EDGES_G_DL
from napari_caltomorph.evaluation.patients import EvaluatedPatients
from napari_caltomorph.statistics.interval import mean
from napari_caltomorph.statistics.metric import Metric
from napari_caltomorph.statistics.regression import hemoglobin_metrics, within_class_correlation

_FEWEST = 3  # patients, below which hemoglobin has no metrics


@dataclass(frozen=True)
class HemoglobinGroup:
    """Some patients with measured hemoglobin."""

    # ``all``, ``without healthy donors``, ``measured 8 to 10`` and so on, ``within classes``, ``class means``, a class
    name: str
    patients: int
    # ``pearson_r``, ``mae`` and ``bias`` (predicted - measured), in g/dl, and ``in_interval``, the share whose measured
    # value is in the interval of the prediction. Bands of measured values have no r. ``within classes`` has only r.
    # ``class means`` has ``mae`` and ``baseline_mae`` of the same patients, and ``mae_difference``, the first less the
    # second: negative where the model adds to the diagnosis.
    numbers: dict[str, Metric]


def hemoglobin_groups(evaluated: EvaluatedPatients) -> tuple[HemoglobinGroup, ...]:
    """Return how far hemoglobin is off: all, without donors, by measured value, within classes, a baseline, each class.

    The baseline predicts for each patient the mean of the other patients of the true class: a class needs two.
    """
    measured, predicted = (
        evaluated.patients[column].to_numpy(dtype=float, na_value=np.nan)
        for column in ("measured_hemoglobin_g_dl", "hemoglobin_g_dl")
    )
    is_known = np.isfinite(measured) & np.isfinite(predicted)
    has_class, classes = evaluated.has_one_class, evaluated.classes
    why = ""
    if not np.isfinite(measured).any():
        why = "no patient's hemoglobin was measured"
    if not np.isfinite(predicted).any():
        why = "the model does not estimate hemoglobin"

    is_covered, has_interval, why_no_interval = _in_interval(evaluated, measured, predicted)

    def group(name: str, is_in: NDArray[np.bool_]) -> HemoglobinGroup:
        rows, count = is_in & is_known, int((is_in & is_known).sum())
        found = hemoglobin_metrics(measured[rows], predicted[rows])
        reason = why or (f"fewer than {_FEWEST} patients" if count < _FEWEST else "one of the two does not vary")
        numbers = {name: Metric.undefined(reason, count) for name in ("pearson_r", "mae", "bias")}
        if "pearson_r" in found:
            numbers["pearson_r"] = Metric.of(found["pearson_r"], count, "Fisher")
        for metric in ("mae", "bias") if found else ():
            numbers[metric] = Metric.of(found[metric], count, "Student")
        inside = is_covered[rows & has_interval]
        numbers["in_interval"] = Metric.of_counts(int(inside.sum()), len(inside), why or why_no_interval)
        return HemoglobinGroup(name, count, numbers)

    def band(start: float | None, end: float | None) -> HemoglobinGroup:
        is_in = (measured >= (start or -np.inf)) & (measured < (end or np.inf))
        found = group(f"measured {band_name(start, end)}", is_in)
        # Of a band, r says little but how narrow the band is
        return replace(found, numbers={key: one for key, one in found.numbers.items() if key != "pearson_r"})

    rows = is_known & has_class
    within = within_class_correlation(measured[rows], predicted[rows], classes[rows]) if rows.any() else None
    r = Metric.undefined(why or "fewer than 3 patients, or all of a class alike", int(rows.sum()))
    if within is not None:
        r = Metric.of(within, int(rows.sum()), "Fisher")
    return (
        group("all", np.ones(len(evaluated), bool)),
        group("without healthy donors", has_class & ~evaluated.is_healthy_donor),
        *(band(*edges) for edges in pairwise((None, *EDGES_G_DL, None))),
        HemoglobinGroup("within classes", int(rows.sum()), {"pearson_r": r}),
        _class_means(measured[rows], predicted[rows], classes[rows], why),
        *(group(name, classes == c) for c, name in enumerate(evaluated.taxonomy.names)),
    )


def _in_interval(
    evaluated: EvaluatedPatients, measured: NDArray[np.float64], predicted: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], str]:
    """(P,) whether the measured value is in the prediction's interval; (P,) whether there is one; why there is none."""
    error = evaluated.provenance.hemoglobin_error
    if error is None or evaluated.options.out_of_fold:
        none = np.zeros(len(measured), dtype=bool)
        return (
            none,
            none,
            "its error is not known"
            if error is None
            else "these patients set the interval (its coverage is in the model card)",
        )
    limits = np.array([error.around(one) for one in predicted]).reshape(-1, 2)
    is_covered = (limits[:, 0] <= measured) & (measured <= limits[:, 1])
    return is_covered, ~evaluated.is_outside_domain, "no such patient in the training domain"


def _class_means(
    measured: NDArray[np.float64],
    predicted: NDArray[np.float64],
    classes: NDArray[np.intp],
    why: str,
) -> HemoglobinGroup:
    """Compare P patients of known class with the baseline."""
    has_others = np.bincount(classes, minlength=1)[classes] >= 2
    measured, predicted, classes = measured[has_others], predicted[has_others], classes[has_others]
    count = len(classes)
    if not count:
        undefined = Metric.undefined(why or "no class with two patients")
        return HemoglobinGroup("class means", 0, dict.fromkeys(("mae", "baseline_mae", "mae_difference"), undefined))
    sums, sizes = np.bincount(classes, weights=measured), np.bincount(classes)
    baseline = (sums[classes] - measured) / (sizes[classes] - 1)
    errors, baseline_errors = np.abs(measured - predicted), np.abs(measured - baseline)
    found = {
        "mae": mean(errors, classes, least=0.0),
        "baseline_mae": mean(baseline_errors, classes, least=0.0),
        "mae_difference": mean(errors - baseline_errors, classes),
    }
    numbers = {name: Metric.of(one, count, "Student") for name, one in found.items()}
    return HemoglobinGroup("class means", count, numbers)
