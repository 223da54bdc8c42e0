"""The metrics of an evaluation: of the model as a whole, and of each of its classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.evaluation.malignancy import OperatingPoint, Screened
from napari_caltomorph.evaluation.patients import EvaluatedPatients
from napari_caltomorph.statistics.classification import brier_score, class_metrics, classification_metrics
from napari_caltomorph.statistics.interval import mean
from napari_caltomorph.statistics.metric import CLASS_METRICS, NO_LABELS, Method, Metric
from napari_caltomorph.statistics.reliability import Reliability

_NONE_KNOWN = "no patient of a class that the model knows"


@dataclass(frozen=True)
class ClassNumbers:
    """The metrics of one class of the model.

    `patients` have it, `called` are predicted as it (of those whose one class is known).
    """

    slug: str
    name: str
    patients: int
    called: int
    sensitivity: Metric
    precision: Metric
    f1: Metric
    fdr: Metric
    auroc: Metric
    top2: Metric
    set_coverage: Metric | None  # None where the model is not calibrated

    @property
    def numbers(self) -> dict[str, Metric]:
        numbers = {name: getattr(self, name) for name in CLASS_METRICS}
        return {name: metric for name, metric in numbers.items() if metric is not None}


def headline(
    evaluated: EvaluatedPatients, point: OperatingPoint, reliability: Reliability | None, malignant: Reliability | None
) -> dict[str, Metric]:
    """Return the metrics of the model as a whole, by the names of `METRICS`; those of "malignant" at `point`.

    The two reliabilities are of the predicted class's probability, and of malignancy; None without known truth.
    """
    several = evaluated.has_several
    right = int(evaluated.is_right[several].sum())
    return {
        **threshold_free_metrics(evaluated, point.screened),
        "sensitivity": point.sensitivity,
        "specificity": point.specificity,
        "fdr": point.fdr,
        "fdr_without_healthy": point.fdr_without_healthy,
        "several_right": Metric.of_counts(right, int(several.sum()), "no borderline or double diagnosis"),
        "set_coverage": _set_coverage(evaluated),
        **_probability_metrics(evaluated, point.screened, reliability, malignant),
    }


def threshold_free_metrics(evaluated: EvaluatedPatients, screened: Screened) -> dict[str, Metric]:
    """Return the metrics of predicted classes and of malignancy that need no threshold."""
    is_known, why_none = evaluated.has_one_class, _why_none(evaluated)
    classes, count, malignant = evaluated.classes[is_known], int(is_known.sum()), screened.is_malignant
    names = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "top2_accuracy")
    if not count:
        return {name: Metric.undefined(why_none) for name in (*names, "macro_auroc", "malignant_auroc")}
    found = classification_metrics(classes, evaluated.probabilities[is_known], evaluated.taxonomy.is_malignant)
    why_no_area = {
        "macro_auroc": "all patients are of one class",
        "malignant_auroc": "no malignant patient" if not malignant.any() else "all patients are malignant",
    }
    methods: dict[str, Method] = {
        "macro_auroc": "MOVER" if len(evaluated.taxonomy.classes) > 2 else "Newcombe",
        "malignant_auroc": "Newcombe",
    }
    return {
        "accuracy": Metric.of(found["accuracy"], count, "Wilson"),
        **{name: Metric.of(found[name], count, "Wilson, eff. n") for name in names[1:4]},
        "top2_accuracy": Metric.of_counts(int(_is_in_top2(evaluated).sum()), count, why_none),
        **{
            name: Metric.of(found[name], count, method) if name in found else Metric.undefined(why_no_area[name], count)
            for name, method in methods.items()
        },
    }


def class_numbers(evaluated: EvaluatedPatients) -> dict[str, ClassNumbers]:
    """Return the metrics of each of the model's classes, by its slug."""
    is_known = evaluated.has_one_class
    classes, predicted, in_top2 = evaluated.classes[is_known], evaluated.predicted[is_known], _is_in_top2(evaluated)
    found = class_metrics(classes, evaluated.probabilities[is_known])
    numbers = {}
    for c, (slug, name) in enumerate(zip(evaluated.taxonomy.slugs, evaluated.taxonomy.names, strict=True)):
        has_class, called = classes == c, predicted == c
        size, right = int(has_class.sum()), int((has_class & called).sum())
        none = f"no patient has {name}" if evaluated.is_labelled else NO_LABELS
        f1 = area = Metric.undefined(none)
        if size:
            f1 = Metric.of(found["f1"][c], len(classes), "Wilson")
            area = Metric.undefined("all patients are of this class", len(classes))
        if c in found["auroc"]:
            area = Metric.of(found["auroc"][c], len(classes), "Newcombe")
        none_called = f"no patient is predicted as {name}" if is_known.any() else none
        precision = Metric.of_counts(right, int(called.sum()), none_called)
        numbers[slug] = ClassNumbers(
            slug=slug,
            name=name,
            patients=size,
            called=int(called.sum()),
            sensitivity=Metric.of_counts(right, size, none),
            precision=precision,
            f1=f1,
            fdr=precision.complement(),
            auroc=area,
            top2=Metric.of_counts(int(in_top2[has_class].sum()), size, none),
            set_coverage=_set_coverage_of(evaluated, slug, none),
        )
    return numbers


def _set_coverage(evaluated: EvaluatedPatients) -> Metric:
    if evaluated.prediction_sets is None:
        return Metric.undefined("the model is not calibrated")
    return _covered(evaluated, evaluated.has_one_class, _why_none(evaluated))


def _set_coverage_of(evaluated: EvaluatedPatients, slug: str, if_none: str) -> Metric | None:
    calibration = evaluated.provenance.calibration
    if calibration is None:
        return None
    if slug in calibration.without_claim:
        return Metric.undefined("in every set, with too few calibration patients")
    has_class = (evaluated.patients["truth"] == slug).to_numpy(dtype=bool, na_value=False)
    return _covered(evaluated, has_class, if_none if not has_class.any() else "no patient in the training domain")


def _covered(evaluated: EvaluatedPatients, who: NDArray[np.bool_], if_none: str) -> Metric:
    """Share of some patients whose class is in their set, where they have one."""
    assert evaluated.prediction_sets is not None
    truths = zip(evaluated.patients["truth"], evaluated.prediction_sets, who, strict=True)
    covered = [truth in found for truth, found, is_one in truths if is_one and found is not None]
    return Metric.of_counts(sum(covered), len(covered), if_none)


def _probability_metrics(
    evaluated: EvaluatedPatients, screened: Screened, reliability: Reliability | None, malignant: Reliability | None
) -> dict[str, Metric]:
    is_known, count = evaluated.has_one_class, int(evaluated.has_one_class.sum())
    if reliability is None or malignant is None:
        names = ("ece", "malignant_ece", "malignancy_bias", "brier", "malignant_brier")
        return {name: Metric.undefined(_why_none(evaluated)) for name in names}
    classes = evaluated.classes[is_known]
    is_class = np.eye(len(evaluated.taxonomy.classes))[classes]
    malignancy, is_malignant = screened.malignancy[:, None], screened.is_malignant[:, None].astype(float)
    # Not stratified: how many of the patients are malignant is a matter of chance too
    bias = mean((malignancy - is_malignant)[:, 0], np.zeros_like(classes))
    squared_errors = {
        "brier": brier_score(is_class, evaluated.probabilities[is_known], classes),
        "malignant_brier": brier_score(is_malignant, malignancy, classes),
    }
    return {
        "ece": _calibration_error(reliability),
        "malignant_ece": _calibration_error(malignant),
        "malignancy_bias": Metric.of(bias, count, "Student"),
        **{name: Metric.of(e, count, "Wilson, eff. n") for name, e in squared_errors.items()},
    }


def _calibration_error(found: Reliability) -> Metric:
    chance, by_chance = found.chance, ""
    if chance is not None and chance.low is not None:
        by_chance = (
            f"a perfectly calibrated model would show {chance.value:.3f} ({chance.low:.3f} to {chance.high:.3f}) "
            f"on {found.patients} patients in {len(found.bins)} bins"
        )
    return Metric(found.ece, patients=found.patients, remark=by_chance)


def _is_in_top2(evaluated: EvaluatedPatients) -> NDArray[np.bool_]:
    """Whether the class is one of the two most probable, of the patients of one known class."""
    is_known = evaluated.has_one_class
    return np.asarray((evaluated.order[is_known, :2] == evaluated.classes[is_known, None]).any(axis=1))


def _why_none(evaluated: EvaluatedPatients) -> str:
    return _NONE_KNOWN if evaluated.is_labelled else NO_LABELS
