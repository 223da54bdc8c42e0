"""The numbers about a model as a whole, in the order in which they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_caltomorph.statistics.classification import auroc, brier_score, classification_metrics
from napari_caltomorph.statistics.metric import NO_LABELS, Method, Metric

if TYPE_CHECKING:
    from napari_caltomorph.evaluation.evaluation import Evaluation

_NONE_KNOWN = "no patient of a class that the model knows"
_METHODS: dict[str, Method] = {"accuracy": "Wilson", "balanced_accuracy": "MOVER"}


def headline(evaluation: Evaluation) -> dict[str, Metric]:
    """Return the numbers of `Evaluation.headline`."""
    point = evaluation.at()
    return {
        **classification_numbers(evaluation),
        "sensitivity": point.sensitivity,
        "specificity": point.specificity,
        "fdr": point.fdr,
        "fdr_without_healthy": point.fdr_without_healthy,
        "several_right": Metric.of_counts(
            int(evaluation.is_right[evaluation.has_several].sum()),
            int(evaluation.has_several.sum()),
            "no borderline or double diagnosis",
        ),
        "set_coverage": _set_coverage(evaluation),
        **_of_probabilities(evaluation),
    }


def classification_numbers(evaluation: Evaluation) -> dict[str, Metric]:
    """Return the numbers of predicted classes and of malignancy that need no threshold."""
    who, count = evaluation.has_one_class, int(evaluation.has_one_class.sum())
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
        return {name: Metric.undefined(_why_none(evaluation)) for name in names}
    found = classification_metrics(
        evaluation.classes[who],
        evaluation.probabilities[who],
        evaluation.taxonomy.is_malignant,
        seed=evaluation.options.seed,
        resamples=evaluation.options.resamples,
    )
    malignant = evaluation.screened.is_malignant
    why = {
        "macro_auroc": "all patients are of one class",
        "malignant_auroc": "no malignant patient" if not malignant.any() else "all patients are malignant",
    }
    whole = {}
    for name in names:
        if name == "top2_accuracy":
            in_top2 = (evaluation.order[who, :2] == evaluation.classes[who][:, None]).any(axis=1)
            whole[name] = Metric.of_counts(int(in_top2.sum()), count, _why_none(evaluation))
        elif name == "malignant_auroc" and (area := auroc(malignant, evaluation.screened.malignancy)) is not None:
            whole[name] = Metric.of(area, count, "Newcombe")
        elif name in found:
            whole[name] = Metric.of(found[name], count, _METHODS.get(name, "bootstrap"), smallest=_smallest(evaluation))
        else:
            whole[name] = Metric.undefined(why[name], count)
    return whole


def _set_coverage(evaluation: Evaluation) -> Metric:
    if evaluation.prediction_sets is None:
        return Metric.undefined("the model is not calibrated")
    truths = zip(evaluation.patients["truth"], evaluation.prediction_sets, evaluation.has_one_class, strict=True)
    held = [truth in said for truth, said, is_known in truths if is_known and said is not None]
    return Metric.of_counts(sum(held), len(held), _why_none(evaluation))


def _of_probabilities(evaluation: Evaluation) -> dict[str, Metric]:
    who, count = evaluation.has_one_class, int(evaluation.has_one_class.sum())
    if not count or evaluation.reliability is None:
        return {name: Metric.undefined(_why_none(evaluation)) for name in ("ece", "brier", "malignant_brier")}
    classes, chance = evaluation.classes[who], evaluation.reliability.chance
    is_class = np.eye(len(evaluation.taxonomy.classes))[classes]
    screened = evaluation.screened
    said, is_malignant = screened.malignancy[:, None], screened.is_malignant[:, None].astype(float)
    drawn = {"seed": evaluation.options.seed, "resamples": evaluation.options.resamples}
    beside = ""
    if chance is not None and chance.low is not None:
        beside = (
            f"a perfectly calibrated model would show {chance.value:.3f} ({chance.low:.3f} to {chance.high:.3f}) "
            f"on {count} patients in {evaluation.options.bins} bins"
        )
    return {
        "ece": Metric(evaluation.reliability.ece, patients=count, remark=beside),
        "brier": Metric.of(
            brier_score(is_class, evaluation.probabilities[who], classes, **drawn),
            count,
            "bootstrap",
            smallest=_smallest(evaluation),
        ),
        "malignant_brier": Metric.of(
            brier_score(is_malignant, said, classes, **drawn), count, "bootstrap", smallest=_smallest(evaluation)
        ),
    }


def _smallest(evaluation: Evaluation) -> int:
    """Patients of the smallest class that has any."""
    sizes = np.bincount(evaluation.classes[evaluation.has_one_class])
    return int(sizes[sizes > 0].min()) if sizes.any() else 0


def _why_none(evaluation: Evaluation) -> str:
    return _NONE_KNOWN if evaluation.is_labelled else NO_LABELS
