"""Classification metrics against scikit-learn and by hand, and whether their intervals contain the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    roc_auc_score,
)

from napari_caltomorph.statistics import Interval, classification_metrics, confusion
from napari_caltomorph.statistics.classification import brier_score, class_metrics
from napari_caltomorph.statistics.interval import proportion
from napari_caltomorph.statistics.roc import gain


@st.composite
def predicted_patients(draw):
    """True classes, probabilities with many ties, and which classes are malignant."""
    count, patients = draw(st.integers(2, 5)), draw(st.integers(1, 25))
    classes = np.array(draw(st.lists(st.integers(0, count - 1), min_size=patients, max_size=patients)))
    shares = draw(arrays(np.int64, (patients, count), elements=st.integers(1, 4))).astype(float)
    malignant = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    return classes, shares / shares.sum(axis=1, keepdims=True), malignant


def simulated(rng, per_class, separation):
    classes = np.repeat(np.arange(len(per_class)), per_class)
    logits = rng.normal(size=(len(classes), len(per_class)))
    logits[np.arange(len(classes)), classes] += separation
    shares = np.exp(logits)
    return classes, shares / shares.sum(axis=1, keepdims=True)


@settings(deadline=None, max_examples=40)
@given(predicted_patients())
def test_values_are_those_of_scikit_learn(patients):
    classes, probabilities, malignant = patients
    predicted, present = probabilities.argmax(axis=1), np.unique(classes)
    expected = {
        "accuracy": accuracy_score(classes, predicted),
        "balanced_accuracy": np.mean([(predicted[classes == c] == c).mean() for c in present]),
        "weighted_f1": f1_score(classes, predicted, average="weighted", zero_division=0),
        "macro_f1": f1_score(classes, predicted, average="macro", labels=present, zero_division=0),
    }
    if len(set(malignant[classes])) == 2:
        score = np.minimum(probabilities[:, malignant].sum(axis=1), 1.0)
        expected["malignant_auroc"] = roc_auc_score(malignant[classes], score)
    if len(present) > 1:
        expected["macro_auroc"] = np.mean([roc_auc_score(classes == c, probabilities[:, c]) for c in present])
        if len(malignant) == 2:
            expected["auroc"] = roc_auc_score(classes, probabilities[:, 1])
    result = classification_metrics(classes, probabilities, malignant)
    assert {name: metric.value for name, metric in result.items()} == pytest.approx(expected)


@settings(deadline=None, max_examples=40)
@given(predicted_patients())
def test_values_lie_in_their_intervals(patients):
    for metric in classification_metrics(*patients).values():
        if metric.low is not None:
            assert 0 <= metric.low <= metric.value + 1e-12
            assert metric.value - 1e-12 <= metric.high <= 1


def test_balanced_accuracy_is_that_of_scikit_learn():
    classes, probabilities = simulated(np.random.default_rng(0), (30, 12, 7), 1.0)
    result = classification_metrics(classes, probabilities, np.array([True, True, False]))
    expected = balanced_accuracy_score(classes, probabilities.argmax(axis=1))
    assert result["balanced_accuracy"].value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("per_class", "separation"),
    [((12,) * 5, 1.5), ((12,) * 5, 4.0), ((12, 12), 0.8), ((12, 12), 3.0), ((12, 60, 60), 2.0)],
)
def test_intervals_hold_the_truth_in_92_of_100_cohorts(per_class, separation):
    """Also of 12 patients a class, and where few predictions are wrong: a bootstrap holds it in 20 to 90 of 100."""
    rng = np.random.default_rng(len(per_class))

    def measured(sizes):
        classes, probabilities = simulated(rng, sizes, separation)
        by_class = class_metrics(classes, probabilities)
        _, other = simulated(rng, sizes, 1.0)
        both = other * probabilities / (other * probabilities).sum(axis=1, keepdims=True)
        return classification_metrics(classes, probabilities, np.arange(len(sizes)) == 0) | {
            "f1 of a class": by_class["f1"][0],
            "AUROC of a class": by_class["auroc"][0],
            "brier": brier_score(np.eye(len(sizes))[classes], probabilities, classes),
            "gain of both": gain(classes, other, both),
        }

    truth = measured([100_000 // sum(per_class) * size for size in per_class])
    cohorts = [measured(per_class) for _ in range(200)]
    for name, true in truth.items():
        held = np.mean([one[name].low <= true.value <= one[name].high for one in cohorts])
        assert held >= 0.9, (name, held)  # 0.92 and more of more cohorts; two standard deviations here are 0.04


def test_intervals_narrow_as_patients_are_added():
    rng = np.random.default_rng(0)
    widths = [
        {name: one.high - one.low for name, one in found.items()}
        for size in (12, 48)
        for found in [classification_metrics(*simulated(rng, (size,) * 4, 1.5), np.arange(4) == 0)]
    ]
    assert all(widths[1][name] < 0.75 * widths[0][name] for name in widths[0])


def test_a_perfect_result_on_few_patients_is_not_certain():
    result = classification_metrics(np.repeat([0, 1], 5), np.repeat(np.eye(2), 5, axis=0), np.array([True, False]))
    assert result["accuracy"].low == pytest.approx(0.722, abs=0.001)  # Wilson: n / (n + 1.96^2) = 10 / 13.84
    assert result["balanced_accuracy"].low == pytest.approx(result["accuracy"].low)
    assert result["macro_f1"].low < result["accuracy"].high == 1
    assert result["auroc"] == result["macro_auroc"]
    assert 0.5 < result["auroc"].low < result["auroc"].high == 1


def test_what_is_undefined_is_left_out():
    malignant = np.array([True, True, False])
    one_class = classification_metrics(np.array([1, 1]), np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]), malignant)
    assert set(one_class) == {"accuracy", "balanced_accuracy", "weighted_f1", "macro_f1"}
    assert one_class["balanced_accuracy"].value == 0.5
    assert classification_metrics(np.empty(0, int), np.empty((0, 3)), malignant) == {}


def test_one_patient_says_little():
    result = classification_metrics(np.array([0]), np.array([[0.9, 0.1]]), np.array([True, False]))
    assert all(metric.value == 1 and metric.low < 0.3 for metric in result.values())


def test_f1_of_a_class_has_the_interval_of_the_share_it_follows_from():
    predicted, classes = np.array([0, 0, 0, 1, 0, 1, 1]), np.array([0, 0, 0, 0, 1, 1, 1])
    result = class_metrics(classes, np.eye(2)[predicted])["f1"][0]
    assert result.value == pytest.approx(f1_score(classes, predicted, pos_label=0))
    share = proportion(3, 5)  # of the five that have the class or are called so, three are both
    assert (result.low, result.high) == pytest.approx(
        (2 * share.low / (1 + share.low), 2 * share.high / (1 + share.high))
    )


def test_nan_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        classification_metrics(np.array([0]), np.array([[np.nan, 1.0]]), np.array([True, False]))
    with pytest.raises(ValueError, match="no finite"):
        Interval(float("nan"))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_confusion_is_that_of_scikit_learn(pairs):
    truth, predicted = (np.array([pair[i] for pair in pairs], dtype=int) for i in range(2))
    result = confusion(truth, predicted, 4)
    assert result.shape == (4, 4)
    assert result.sum() == len(pairs)
    if pairs:
        np.testing.assert_array_equal(result, confusion_matrix(truth, predicted, labels=range(4)))


def test_classes_of_one_patient_do_not_narrow_the_interval_of_macro_auroc():
    rng = np.random.default_rng(1)
    classes = np.array([0] * 10 + [1, 2])
    probabilities = rng.dirichlet(np.ones(3), size=12)
    areas = class_metrics(classes, probabilities)["auroc"].values()
    macro = classification_metrics(classes, probabilities, np.array([False, True, True]))["macro_auroc"]
    # Nothing is known of how areas of one patient vary together, so their bounds are averaged as they are
    assert macro.low == pytest.approx(np.mean([area.low for area in areas]))
    assert macro.high == pytest.approx(np.mean([area.high for area in areas]))
