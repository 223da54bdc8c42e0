"""What can be said of each of the model's classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_caltomorph.statistics.classification import class_metrics
from napari_caltomorph.statistics.metric import NO_LABELS, Metric

if TYPE_CHECKING:
    from napari_caltomorph.evaluation.evaluation import Evaluation


@dataclass(frozen=True)
class ClassNumbers:
    """What can be said of one class of the model.

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


def class_numbers(evaluation: Evaluation) -> dict[str, ClassNumbers]:
    """Return the numbers of each of the model's classes, by its slug."""
    who, order = evaluation.has_one_class, evaluation.order
    classes, predicted = evaluation.classes[who], evaluation.predicted[who]
    found = class_metrics(
        classes, evaluation.probabilities[who], seed=evaluation.options.seed, resamples=evaluation.options.resamples
    )
    in_top2 = (order[who, :2] == classes[:, None]).any(axis=1)
    numbers = {}
    for c, (slug, name) in enumerate(zip(evaluation.taxonomy.slugs, evaluation.taxonomy.names, strict=True)):
        mine, called = classes == c, predicted == c
        size = int(mine.sum())
        none = f"no patient has {name}" if evaluation.is_labelled else NO_LABELS
        nobody = f"nobody is predicted as {name}" if who.any() else none

        if not size:
            f1 = area = Metric.undefined(none)
        else:
            f1 = Metric.of(found["f1"][c], len(classes), "bootstrap", smallest=size)
            area = Metric.undefined("all patients are of this class", len(classes))
            if c in found["auroc"]:
                area = Metric.of(found["auroc"][c], len(classes), "Newcombe")
        precision = Metric.of_counts(int((mine & called).sum()), int(called.sum()), nobody)
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
