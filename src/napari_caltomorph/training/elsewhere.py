"""The estimate for other laboratories: members predict their own folds again, with the background of other images.

A shortcut is that stain and class go together. So each patient gets the background of random patients, each class
equally often: only this association is lost, and accuracy falls by what it was worth. No image is changed: what a
background does to features is a linear fit, made within classes, so that no class is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.audit.classifier import traits_alone
from napari_caltomorph.audit.image_traits import ImageTraits, image_traits
from napari_caltomorph.cohort import Cohort
from napari_caltomorph.diagnosis.elsewhere import Elsewhere, Estimate
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear.image_traits import BACKGROUND
from napari_caltomorph.statistics import Interval, classification_metrics
from napari_caltomorph.statistics.interval import mean
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.members import TrainedMember, predict_bags
from napari_caltomorph.training.options import TrainOptions
from napari_caltomorph.training.progress import FinishEarly

LEAST_PATIENTS = 40
"""With fewer, the interval of a fall covers nearly all falls there are."""

BACKGROUNDS = 8
"""Of other patients, with which each patient is predicted."""

# Of the variance of a trait of the background, added to that within classes.
_RIDGE, _LEAST_SPREAD = 0.02, 1e-6


def estimate_elsewhere(
    cohort: Cohort,
    bags: LabelledBags,
    trained: Sequence[TrainedMember],
    options: TrainOptions,
    progress: OnProgress = ignore,
) -> tuple[Elsewhere, pd.DataFrame | None]:
    """Measure the patients' images; return the estimate, and the traits of images for the training domain, if any."""
    if not options.elsewhere:
        return Elsewhere(why_not="it was switched off"), None
    if bags.table["path"].isna().all():
        return Elsewhere(why_not="it needs the images, and the cohort has features only"), None
    try:
        traits = image_traits(bags.table, progress=progress)
        found = measured_elsewhere(cohort, bags, traits, trained, options, progress)
    except FinishEarly:  # the model does not need it
        return Elsewhere(why_not="it was stopped by hand"), None
    return found, traits.appearance.reindex(bags.table["patient_id"].astype(str)).reset_index(drop=True)


def measured_elsewhere(
    cohort: Cohort,
    bags: LabelledBags,
    traits: ImageTraits,
    trained: Sequence[TrainedMember],
    options: TrainOptions,
    progress: OnProgress = ignore,
) -> Elsewhere:
    """Return the estimate where the images were measured already; patients without a member or images are not in it."""
    alone = {name: _estimate(one) for name, one in traits_alone(cohort, bags.table, traits).items()}
    seen = traits.borders.reindex(index=bags.table["patient_id"].astype(str), columns=list(BACKGROUND)).to_numpy(float)
    known = _predicted(bags, trained, options, np.zeros((len(bags), 1), np.float32))
    patients = np.flatnonzero(np.isfinite(seen).all(axis=1) & (known >= 0))
    classes = bags.classes[patients]
    sizes = np.bincount(classes, minlength=len(bags.taxonomy.classes))
    if len(patients) < LEAST_PATIENTS or (sizes > 0).sum() < 2:
        why_not = f"it needs {LEAST_PATIENTS} patients of two classes with images and members, not {len(patients)}"
        return Elsewhere(why_not=why_not, traits_alone=alone)
    effects = _effects(seen[patients], np.stack([bags.values[p].mean(axis=0) for p in patients]), classes)
    weights = 1 / sizes[classes] / (sizes > 0).sum()  # classes equally often
    rng, is_right = np.random.default_rng(options.seed), np.zeros((BACKGROUNDS, len(patients)))
    for number in range(BACKGROUNDS):
        report = partial(progress, Progress("Other backgrounds", number, BACKGROUNDS, "backgrounds"))
        others = rng.choice(len(patients), len(patients), p=weights)
        shifts = np.zeros((len(bags), bags.width), np.float32)
        shifts[patients] = effects[others] - effects
        is_right[number] = _predicted(bags, trained, options, shifts, report)[patients] == classes
    was_right, right = (known[patients] == classes).astype(float), is_right.mean(axis=0)
    chosen = np.eye(len(sizes))[known[patients]]
    balanced = classification_metrics(classes, chosen, bags.taxonomy.is_malignant)["balanced_accuracy"]
    return Elsewhere(
        patients=len(patients),
        right=(int(was_right.sum()), float(right.sum())),
        out_of_fold=_estimate(balanced),
        background_fall=_estimate(mean((was_right - right) * weights * len(patients), classes)),
        traits_alone=alone,
    )


def _effects(
    seen: NDArray[np.float64], features: NDArray[np.float32], classes: NDArray[np.intp]
) -> NDArray[np.float32]:
    """(P, D) what the backgrounds (P, T) of patients add to their mean features (P, D), as fitted within classes.

    Ridge regression: where a background hardly differs within classes, its effect is not known, and counts as little.
    """
    seen = (seen - seen.mean(axis=0)) / np.maximum(seen.std(axis=0), _LEAST_SPREAD)
    centred, centred_features = seen.copy(), features.astype(np.float64)
    for rows in (classes == one for one in np.unique(classes)):
        centred[rows] -= centred[rows].mean(axis=0)
        centred_features[rows] -= centred_features[rows].mean(axis=0)
    gram = centred.T @ centred + _RIDGE * len(seen) * np.eye(seen.shape[1])
    return np.asarray(seen @ np.linalg.solve(gram, centred.T @ centred_features), dtype=np.float32)


def _predicted(
    bags: LabelledBags,
    trained: Sequence[TrainedMember],
    options: TrainOptions,
    shifts: NDArray[np.float32],
    report: Callable[[], None] = lambda: None,
) -> NDArray[np.intp]:
    """(P,) class of each patient by the member that held it out, were all classes equally frequent; -1 without one.

    All cells of a patient are shifted by its row of (P, D) `shifts`.
    """
    predicted = np.full(len(bags), -1)
    for one in trained:
        report()
        own = one.split.own
        some = replace(bags, values=tuple(bags.values[p] + shifts[p] for p in own))
        logits = predict_bags(one.member, some, np.arange(len(own)), options).logits.double().numpy()
        # A member predicts at the class shares of its own training patients.
        counts = np.bincount(bags.classes[one.split.train], minlength=logits.shape[1])
        equal = np.where(counts > 0, logits - np.log(np.maximum(counts, 1)), -np.inf)
        predicted[own] = equal.argmax(axis=1)
    return predicted


def _estimate(found: Interval) -> Estimate:
    return Estimate(value=found.value, low=found.low, high=found.high)
