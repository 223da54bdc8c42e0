"""The estimate for other laboratories: members trained without all patients whose images look alike predict these.

As a control, members are trained without as many random patients of the same classes: training sizes and classes are
the same, so what differs between the two is the kind of images. The fall of balanced accuracy is in pairs.

Without a cluster, members do not meet a stain that goes with the class, and so do not learn it. Whether members use one
is seen in those of the folds, on patients weighted until image traits and class are independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from napari_caltomorph.audit.appearance import image_clusters, independence_weights, traits_alone
from napari_caltomorph.audit.image_traits import ImageTraits, image_traits
from napari_caltomorph.cohort import Cohort
from napari_caltomorph.cohort.splits import independent_groups
from napari_caltomorph.diagnosis.elsewhere import Elsewhere, Estimate
from napari_caltomorph.diagnosis.image_domain import TRAITS
from napari_caltomorph.diagnosis.options import FrozenModel
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.reading import read_as
from napari_caltomorph.statistics import Interval, classification_metrics
from napari_caltomorph.statistics.interval import mean
from napari_caltomorph.statistics.permutation import shuffled_within
from napari_caltomorph.storage import replacing
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.folds import MemberSplit, member_split
from napari_caltomorph.training.members import TrainedMember, predict_bags
from napari_caltomorph.training.options import TrainOptions

LEAST_PATIENTS = 40
"""With fewer, the interval of a fall covers nearly all falls there are."""

# Of a class, outside of each cluster: members that have seen fewer of it show nothing about it.
_LEAST_SHARE_OUTSIDE, _LEAST_OUTSIDE = 0.1, 2
# Of all patients with equal classes, those with images like a class's; and a class's own, by Kish's effective number.
_LEAST_SHARE_ALIKE, _LEAST_EFFECTIVE = 0.7, 5.0
_FILE = "elsewhere.json"


class ElsewherePlan(FrozenModel):
    """P training patients in two clusters of similar images, and in two random parts with the same classes."""

    why_not: str = ""  # Why nothing is measured; empty where it is
    clusters: tuple[int, ...] = ()  # (P,) 0 or 1, or -1 for a patient who is in neither
    random: tuple[int, ...] = ()  # (P,)
    untested: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()  # (P,) see `independence_weights`; empty in older plans and without images
    traits_alone: dict[str, Estimate] = Field(default_factory=dict)
    appearance: tuple[tuple[float | None, ...], ...] = ()  # (P, T) `ImageTraits.appearance`; empty without images

    @property
    def image_traits(self) -> pd.DataFrame | None:
        """(P, T) traits of the images for the training domain; None where none were measured."""
        return pd.DataFrame(self.appearance, columns=list(TRAITS), dtype=float) if self.appearance else None

    def given_up(self, why_not: str) -> ElsewherePlan:
        """Return it with the reason why nothing is measured after all."""
        return self.model_copy(update={"why_not": why_not})

    def splits(self, bags: LabelledBags, options: TrainOptions) -> list[MemberSplit]:
        """Return the splits of four members, after the numbers of the folds; none where nothing is measured.

        Patients who are held out never stop a member, whatever the recipe.
        """
        if self.why_not:
            return []
        first, options = max(bags.fold_numbers) + 1, options.model_copy(update={"recipe": "robust"})
        splits = []
        for number, parts in enumerate((self.clusters, self.random)):
            start = first + 2 * number
            some = replace(bags, folds=np.where(np.array(parts) < 0, -1, start + np.array(parts)))
            splits += [member_split(some, start + part, options) for part in (0, 1)]
        return [replace(split, is_elsewhere=True) for split in splits]


def plan_elsewhere(
    cohort: Cohort, bags: LabelledBags, options: TrainOptions, work: Path | None = None, progress: OnProgress = ignore
) -> ElsewherePlan:
    """Measure the images and choose who is held out; a plan that is in the folder of the training is read."""
    if not options.elsewhere:
        return ElsewherePlan(why_not="it was switched off")
    path = None if work is None else work / _FILE
    if path is not None and path.is_file():
        return read_as(ElsewherePlan, path, "a part of a training", TrainingRefused, f"remove {work} to start again")
    if bags.table["path"].isna().all():
        plan = ElsewherePlan(why_not="it needs the images, and the cohort has features only")
    else:
        plan = plan_of_traits(cohort, bags, image_traits(bags.table, progress=progress), options)
    if path is not None:
        with replacing(path) as partial:
            partial.write_text(plan.model_dump_json(), "utf-8")
    return plan


def plan_of_traits(cohort: Cohort, bags: LabelledBags, traits: ImageTraits, options: TrainOptions) -> ElsewherePlan:
    """Return the plan where the images were measured already."""
    groups = pd.Series(independent_groups(bags.table), index=bags.table["patient_id"].astype(str))
    clusters = np.where(bags.folds < 0, -1, image_clusters(traits, groups))
    seen = traits.appearance.reindex(index=groups.index, columns=list(TRAITS))
    alone = {name: _estimate(one) for name, one in traits_alone(cohort, bags.table, traits).items()}
    is_in, names = clusters >= 0, np.array(bags.taxonomy.names)
    by_cluster = np.stack([np.bincount(bags.classes[clusters == one], minlength=len(names)) for one in (0, 1)])
    sizes, outside = by_cluster.sum(axis=0), by_cluster.min(axis=0)
    is_tested = outside >= np.maximum(_LEAST_OUTSIDE, _LEAST_SHARE_OUTSIDE * sizes)
    untested = tuple(names[~is_tested & (sizes > 0)].tolist())
    count = int((is_in & is_tested[bags.classes]).sum())
    why_not = ""
    if is_in.sum() < LEAST_PATIENTS:
        why_not = f"it needs {LEAST_PATIENTS} training patients with images that can be measured, not {is_in.sum()}"
    elif is_tested.sum() < 2 or count < LEAST_PATIENTS:
        why_not = (
            f"nearly all patients of {', '.join(untested)} are in one of two clusters of similar images, and without "
            "it hardly one is left to train on"
        )
    plan = ElsewherePlan(
        why_not=why_not,
        clusters=tuple(clusters.tolist()),
        random=tuple(_random_parts(clusters, bags.classes, groups.to_numpy(), options.seed).tolist()),
        untested=untested,
        weights=tuple(independence_weights(traits, groups.index, bags.classes, bags.folds).tolist()),
        traits_alone=alone,
        appearance=tuple(tuple(None if np.isnan(one) else one for one in row) for row in seen.to_numpy().tolist()),
    )
    try:
        plan.splits(bags, options)
    except TrainingRefused as error:  # no hemoglobin in a half of the patients
        return plan.given_up(str(error).rstrip("."))
    return plan


def _random_parts(
    clusters: NDArray[np.intp], classes: NDArray[np.intp], groups: NDArray[np.intp], seed: int
) -> NDArray[np.intp]:
    """Shuffle the clusters among groups of the same class and size; patients in no cluster are in no part."""
    firsts, group_of, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)[1:]
    kinds = np.unique(np.stack([classes[firsts], sizes, clusters[firsts] < 0]), axis=1, return_inverse=True)[1]
    return shuffled_within(clusters[firsts], kinds.ravel(), np.random.default_rng(seed))[group_of]


def measured_elsewhere(
    plan: ElsewherePlan,
    bags: LabelledBags,
    folds: Sequence[TrainedMember],
    others: Sequence[TrainedMember],
    options: TrainOptions,
) -> Elsewhere:
    """Return the estimate from the members of the folds, and from those of the plan's splits in their order."""
    known = _predicted(folds, bags, options) if plan.weights or not plan.why_not else None
    reweighted = {} if known is None or not plan.weights else _reweighted(np.array(plan.weights), known, bags)
    if plan.why_not or known is None:
        return Elsewhere(why_not=plan.why_not, untested=plan.untested, traits_alone=plan.traits_alone, **reweighted)
    untested = np.isin(np.array(bags.taxonomy.names)[bags.classes], plan.untested)
    is_compared = (np.array(plan.clusters) >= 0) & ~untested
    classes = bags.classes[is_compared]
    unlike, random = (_predicted(some, bags, options)[is_compared] for some in (others[:2], others[2:]))
    sizes = np.bincount(np.array(plan.clusters)[is_compared], minlength=2)
    fields = reweighted | {"out_of_fold": _balanced_accuracy(classes, known[is_compared], bags)}
    return Elsewhere(
        clusters=tuple(sizes.tolist()),
        unlike=_balanced_accuracy(classes, unlike, bags),
        random=_balanced_accuracy(classes, random, bags),
        fall=_fall_in_pairs(classes, unlike, random, float((sizes / sizes[::-1]) @ sizes / sizes.sum())),
        untested=plan.untested,
        traits_alone=plan.traits_alone,
        **fields,
    )


def _reweighted(weights: NDArray[np.float64], predicted: NDArray[np.intp], bags: LabelledBags) -> dict[str, Any]:
    """Return the fields of an `Elsewhere` that are of the members of the folds, on weighted patients."""
    classes, names, is_right = bags.classes, np.array(bags.taxonomy.names), predicted == bags.classes
    weights = np.where(predicted < 0, 0, weights)
    count, total, squares, right = (
        np.bincount(classes, values, minlength=len(names))
        for values in (weights > 0, weights, weights**2, weights * is_right)
    )
    total = np.maximum(total, np.finfo(float).tiny)
    effective = total**2 / np.maximum(squares, np.finfo(float).tiny)
    is_tested = (total >= _LEAST_SHARE_ALIKE * count) & (effective >= _LEAST_EFFECTIVE)
    is_in = (weights > 0) & is_tested[classes]
    found: dict[str, Any] = {"not_weighted": tuple(names[~is_tested & (count > 0)].tolist())}
    if is_tested.sum() < 2 or is_in.sum() < LEAST_PATIENTS:
        return found
    # The share of right answers in a class, and in the weighted class: a ratio of sums, linearised.
    unlike = (is_right - (right / total)[classes])[is_in]
    parts = unlike * (1 / np.maximum(count, 1)[classes] - weights / total[classes])[is_in] / is_tested.sum()
    return found | {
        "out_of_fold": _balanced_accuracy(classes[is_in], predicted[is_in], bags),
        "weighted_fall": _fall(parts, classes[is_in]),
        "weighted": (int(is_in.sum()), float(effective[is_tested].sum())),
    }


def _predicted(members: Sequence[TrainedMember], bags: LabelledBags, options: TrainOptions) -> NDArray[np.intp]:
    """(P,) class of each patient by the member that held it out, were all classes equally frequent."""
    predicted = np.full(len(bags), -1)
    for one in members:
        logits = predict_bags(one.member, bags, one.split.own, options).logits.double().numpy()
        # A member predicts at the class shares of its own training patients, which differ between clusters.
        counts = np.bincount(bags.classes[one.split.train], minlength=logits.shape[1])
        equal = np.where(counts > 0, logits - np.log(np.maximum(counts, 1)), -np.inf)
        predicted[one.split.own] = equal.argmax(axis=1)
    return predicted


def _balanced_accuracy(classes: NDArray[np.intp], predicted: NDArray[np.intp], bags: LabelledBags) -> Estimate:
    malignant = bags.taxonomy.is_malignant
    found = classification_metrics(classes, np.eye(len(malignant))[predicted], malignant)
    return _estimate(found["balanced_accuracy"])


def _fall_in_pairs(
    classes: NDArray[np.intp], unlike: NDArray[np.intp], random: NDArray[np.intp], training: float
) -> Estimate:
    """Return how much lower the balanced accuracy is, with Student's interval over pairs, within classes, widened.

    Patients who train are a sample too, and change members: the variance is 1 + `training` times that of the pairs,
    where `training` is the number of predicted patients a training patient (Nadeau and Bengio 2003).
    """
    _, class_of, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    lost = ((random == classes).astype(float) - (unlike == classes)) / (len(sizes) * sizes[class_of])
    return _fall(lost, class_of, training)


def _fall(parts: NDArray[np.float64], classes: NDArray[np.intp], training: float = 0) -> Estimate:
    """Return the sum of the patients' parts in a fall, with Student's interval within classes, widened."""
    found = mean(parts * len(parts), classes)
    low, high = (
        None if bound is None else found.value + (bound - found.value) * float(np.sqrt(1 + training))
        for bound in (found.low, found.high)
    )
    return Estimate(value=found.value, low=low, high=high)


def _estimate(found: Interval) -> Estimate:
    return Estimate(value=found.value, low=found.low, high=found.high)
