"""Metrics of predicted classes, each with its 95 % interval; arrays in, numbers out.

A patient is the unit of every interval. Intervals show how much other patients of the same kind would change a number;
they do not include that a model trained again would be another one. All have a closed form: a bootstrap is too narrow
on few patients, and finds no spread where no prediction is wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.statistics.interval import Interval, like_share, proportion
from napari_caltomorph.statistics.roc import auroc, macro_auroc
from napari_caltomorph.taxonomy import malignancy

# A mean of squared distances varies less than a share, so it is worth more patients. How many more is known badly where
# large distances are rare. With 4 times as many at most, intervals hold the truth in simulations.
_MOST_OF_SQUARES = 4


def classification_metrics(
    classes: NDArray[np.integer], probabilities: NDArray[np.floating], malignant: NDArray[np.bool_]
) -> dict[str, Interval]:
    """Return the metrics of P patients' predicted classes; undefined ones are left out.

    Parameters
    ----------
    classes : (P,) int
        True class of each patient.
    probabilities : (P, C)
        Of each patient's classes; the first of the largest is the predicted one.
    malignant : (C,) bool
        Which classes are malignant.

    Returns
    -------
    dict of str to Interval
        ``accuracy``; ``balanced_accuracy``, the mean recall over the classes that patients have; ``weighted_f1``;
        ``macro_f1`` over the same classes; ``malignant_auroc`` by the sum of the malignant classes' probabilities,
        where there are patients of both kinds; ``macro_auroc``, the mean of one class against the rest over the
        classes that some patients have and some have not; with two classes also ``auroc``, which is the same.

    Notes
    -----
    Accuracy is a proportion and has Wilson's interval (1927). Means over classes have it at their effective number of
    patients (`like_share`), from the delta method for F1 (Takahashi et al., Appl. Intell. 52, 2022). For the areas see
    `auroc` and `macro_auroc`.
    """
    classes, probabilities, malignant = np.asarray(classes), np.asarray(probabilities, float), np.asarray(malignant)
    if probabilities.shape != (len(classes), len(malignant)):
        raise ValueError(f"probabilities: {probabilities.shape} for {len(classes)} patients, {len(malignant)} classes")
    if not np.isfinite(probabilities).all():
        raise ValueError("a probability is not finite")
    if not len(classes):
        return {}
    found = _over_classes(classes, probabilities.argmax(axis=1))
    is_malignant = malignant[classes]
    areas = {
        "malignant_auroc": auroc(is_malignant, malignancy(probabilities, malignant)),
        "macro_auroc": macro_auroc(classes, probabilities),
    }
    if len(malignant) == 2:
        areas["macro_auroc"] = areas["auroc"] = auroc(classes == 1, probabilities[:, 1])
    return found | {name: area for name, area in areas.items() if area is not None}


def class_metrics(classes: NDArray[np.integer], probabilities: NDArray[np.floating]) -> dict[str, dict[int, Interval]]:
    """Return ``f1`` and one-vs-rest ``auroc`` of each class that patients have, by the class's number.

    Of classes (P,) and probabilities (P, C). F1 is 2 J / (1 + J), where J is the share of patients that have the class
    and are called so, of those that have it or are called so; its interval is that of J, which is Wilson's. AUROC has
    the interval of `auroc`, and is empty where all patients are of one class.
    """
    classes, probabilities = np.asarray(classes), np.asarray(probabilities, float)
    predicted, present = probabilities.argmax(axis=1), np.unique(classes)
    areas = {int(c): auroc(classes == c, probabilities[:, c]) for c in present}
    return {
        "f1": {int(c): _f1(classes == c, predicted == c) for c in present},
        "auroc": {c: area for c, area in areas.items() if area is not None},
    }


def brier_score(
    is_class: NDArray[np.floating], probabilities: NDArray[np.floating], strata: NDArray[np.integer]
) -> Interval:
    """Return the mean squared distance of probabilities from the truth, summed over the K outcomes (Brier 1950).

    `is_class` (P, K) is 1 for the true outcome and 0 for the rest. K = 1 gives half of the value of a yes and its no as
    two outcomes. The interval is that of `like_share`, with patients of (P,) strata.
    """
    losses = ((np.asarray(probabilities, float) - np.asarray(is_class, float)) ** 2).sum(axis=1)
    most, patients = min(2, is_class.shape[1]), len(losses)
    share = losses / most
    found = like_share(float(share.mean()), share / patients, strata, at_most=_MOST_OF_SQUARES * patients)
    assert found.low is not None
    assert found.high is not None
    return Interval(float(losses.mean()), most * found.low, most * found.high)


def confusion(classes: NDArray[np.integer], predicted: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """Return (n, n) numbers of patients: rows are true classes, columns predicted ones."""
    cells = np.asarray(classes, dtype=np.int64) * n + np.asarray(predicted, dtype=np.int64)
    return np.bincount(cells, minlength=n * n).reshape(n, n).astype(np.int64)


def _over_classes(classes: NDArray[np.integer], predicted: NDArray[np.integer]) -> dict[str, Interval]:
    """Return accuracy, and means over the classes that patients have."""
    present, patients = np.unique(classes), len(classes)
    is_true, is_called = classes[:, None] == present, predicted[:, None] == present  # (P, K)
    is_right, sizes = is_true & is_called, is_true.sum(axis=0)
    recalls = is_right / sizes  # (P, K): what each patient adds
    both = sizes + is_called.sum(axis=0)
    f1 = 2 * is_right.sum(axis=0) / both
    changes = (2 * is_right - f1 * is_called) / both  # (P, K): how F1 changes with each patient
    even, by_size = np.full(len(present), 1 / len(present)), sizes / patients

    def average(values: NDArray[np.float64], parts: NDArray[np.float64], weights: NDArray[np.float64]) -> Interval:
        # As many patients as a share that is the same in all classes would need.
        at_most = 1 / float((weights**2 / sizes).sum())
        return like_share(float(values @ weights), parts @ weights, classes, at_most=at_most)

    return {
        "accuracy": proportion(int(is_right.sum()), patients),
        "balanced_accuracy": average(recalls.sum(axis=0), recalls, even),
        "weighted_f1": average(f1, changes, by_size),
        "macro_f1": average(f1, changes, even),
    }


def _f1(is_true: NDArray[np.bool_], is_called: NDArray[np.bool_]) -> Interval:
    found = proportion(int((is_true & is_called).sum()), int((is_true | is_called).sum()))
    value, low, high = (2 * share / (1 + share) for share in (found.value, found.low or 0.0, found.high or 0.0))
    return Interval(value, low, high)
