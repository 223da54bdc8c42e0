"""The metrics of an evaluation: those of the model as a whole, and those of each of its classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_caltomorph.evaluation.malignancy import OperatingPoint, Screened
from napari_caltomorph.evaluation.patients import EvaluatedPatients
from napari_caltomorph.statistics.classification import auroc, brier_score, class_metrics, classification_metrics
from napari_caltomorph.statistics.metric import NO_LABELS, Method, Metric
from napari_caltomorph.statistics.reliability import Reliability

_NONE_KNOWN = "no patient of a class that the model knows"
_METHODS: dict[str, Method] = {"accuracy": "Wilson", "balanced_accuracy": "MOVER"}


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

    @property
    def numbers(self) -> dict[str, Metric]:
        """All of them by name."""
        names = ("sensitivity", "precision", "f1", "fdr", "auroc", "top2")
        return {name: getattr(self, name) for name in names}


def headline(evaluated: EvaluatedPatients, point: OperatingPoint, reliability: Reliability | None) -> dict[str, Metric]:
    """Return the metrics of the model as a whole, by the names of `METRICS`; those of "malignant" at `point`."""
    return {
        **threshold_free_metrics(evaluated, point.screened),
        "sensitivity": point.sensitivity,
        "specificity": point.specificity,
        "fdr": point.fdr,
        "fdr_without_healthy": point.fdr_without_healthy,
        "several_right": Metric.of_counts(
            int(evaluated.is_right[evaluated.has_several].sum()),
            int(evaluated.has_several.sum()),
            "no borderline or double diagnosis",
        ),
        "set_coverage": _set_coverage(evaluated),
        **_probability_metrics(evaluated, point.screened, reliability),
    }


def threshold_free_metrics(evaluated: EvaluatedPatients, screened: Screened) -> dict[str, Metric]:
    """Return the metrics of predicted classes and of malignancy that need no threshold."""
    who, count = evaluated.has_one_class, int(evaluated.has_one_class.sum())
    names = (
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "weighted_f1",
        "top2_accuracy",
        "macro_auroc",
        "malignant_auroc",
    )
    if not count:
        return {name: Metric.undefined(_why_none(evaluated)) for name in names}
    found = classification_metrics(
        evaluated.classes[who],
        evaluated.probabilities[who],
        evaluated.taxonomy.is_malignant,
        seed=evaluated.options.seed,
        resamples=evaluated.options.resamples,
    )
    malignant = screened.is_malignant
    why = {
        "macro_auroc": "all patients are of one class",
        "malignant_auroc": "no malignant patient" if not malignant.any() else "all patients are malignant",
    }
    whole = {}
    for name in names:
        if name == "top2_accuracy":
            in_top2 = (evaluated.order[who, :2] == evaluated.classes[who][:, None]).any(axis=1)
            whole[name] = Metric.of_counts(int(in_top2.sum()), count, _why_none(evaluated))
        elif name == "malignant_auroc" and (area := auroc(malignant, screened.malignancy)) is not None:
            whole[name] = Metric.of(area, count, "Newcombe")
        elif name in found:
            whole[name] = Metric.of(found[name], count, _METHODS.get(name, "bootstrap"), smallest=_smallest(evaluated))
        else:
            whole[name] = Metric.undefined(why[name], count)
    return whole


def class_numbers(evaluated: EvaluatedPatients) -> dict[str, ClassNumbers]:
    """Return the numbers of each of the model's classes, by its slug."""
    who, order = evaluated.has_one_class, evaluated.order
    classes, predicted = evaluated.classes[who], evaluated.predicted[who]
    found = class_metrics(
        classes, evaluated.probabilities[who], seed=evaluated.options.seed, resamples=evaluated.options.resamples
    )
    in_top2 = (order[who, :2] == classes[:, None]).any(axis=1)
    numbers = {}
    for c, (slug, name) in enumerate(zip(evaluated.taxonomy.slugs, evaluated.taxonomy.names, strict=True)):
        mine, called = classes == c, predicted == c
        size = int(mine.sum())
        none = f"no patient has {name}" if evaluated.is_labelled else NO_LABELS
        none_called = f"no patient is predicted as {name}" if who.any() else none

        if not size:
            f1 = area = Metric.undefined(none)
        else:
            f1 = Metric.of(found["f1"][c], len(classes), "bootstrap", smallest=size)
            area = Metric.undefined("all patients are of this class", len(classes))
            if c in found["auroc"]:
                area = Metric.of(found["auroc"][c], len(classes), "Newcombe")
        precision = Metric.of_counts(int((mine & called).sum()), int(called.sum()), none_called)
        numbers[slug] = ClassNumbers(
            slug=slug,
            name=name,
            patients=size,
            called=int(called.sum()),
            sensitivity=Metric.of_counts(int((mine & called).sum()), size, none),
            precision=precision,
            f1=f1,
            fdr=precision.complement(),
            auroc=area,
            top2=Metric.of_counts(int(in_top2[mine].sum()), size, none),
        )
    return numbers


def _set_coverage(evaluated: EvaluatedPatients) -> Metric:
    if evaluated.prediction_sets is None:
        return Metric.undefined("the model is not calibrated")
    truths = zip(evaluated.patients["truth"], evaluated.prediction_sets, evaluated.has_one_class, strict=True)
    covered = [truth in found for truth, found, is_known in truths if is_known and found is not None]
    return Metric.of_counts(sum(covered), len(covered), _why_none(evaluated))


def _probability_metrics(
    evaluated: EvaluatedPatients, screened: Screened, reliability: Reliability | None
) -> dict[str, Metric]:
    who, count = evaluated.has_one_class, int(evaluated.has_one_class.sum())
    if not count or reliability is None:
        return {name: Metric.undefined(_why_none(evaluated)) for name in ("ece", "brier", "malignant_brier")}
    classes, chance = evaluated.classes[who], reliability.chance
    is_class = np.eye(len(evaluated.taxonomy.classes))[classes]
    malignancy, is_malignant = screened.malignancy[:, None], screened.is_malignant[:, None].astype(float)
    bootstrap = {"seed": evaluated.options.seed, "resamples": evaluated.options.resamples}
    by_chance = ""
    if chance is not None and chance.low is not None:
        by_chance = (
            f"a perfectly calibrated model would show {chance.value:.3f} ({chance.low:.3f} to {chance.high:.3f}) "
            f"on {count} patients in {evaluated.options.bins} bins"
        )
    squared_errors = {
        "brier": brier_score(is_class, evaluated.probabilities[who], classes, **bootstrap),
        "malignant_brier": brier_score(is_malignant, malignancy, classes, **bootstrap),
    }
    smallest = _smallest(evaluated)
    return {
        "ece": Metric(reliability.ece, patients=count, remark=by_chance),
        **{name: Metric.of(e, count, "bootstrap", smallest=smallest) for name, e in squared_errors.items()},
    }


def _smallest(evaluated: EvaluatedPatients) -> int:
    """Patients of the smallest class that has any."""
    sizes = np.bincount(evaluated.classes[evaluated.has_one_class])
    return int(sizes[sizes > 0].min()) if sizes.any() else 0


def _why_none(evaluated: EvaluatedPatients) -> str:
    return _NONE_KNOWN if evaluated.is_labelled else NO_LABELS
