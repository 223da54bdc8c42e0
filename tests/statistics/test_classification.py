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
    result = classification_metrics(classes, probabilities, malignant, resamples=20)
    assert {name: metric.value for name, metric in result.items()} == pytest.approx(expected)


@settings(deadline=None, max_examples=40)
@given(predicted_patients())
def test_values_lie_in_their_intervals(patients):
    for metric in classification_metrics(*patients, resamples=20).values():
        if metric.low is not None:
            assert 0 <= metric.low <= metric.value + 1e-12
            assert metric.value - 1e-12 <= metric.high <= 1


def test_balanced_accuracy_is_that_of_scikit_learn():
    classes, probabilities = simulated(np.random.default_rng(0), (30, 12, 7), 1.0)
    result = classification_metrics(classes, probabilities, np.array([True, True, False]), resamples=5)
    expected = balanced_accuracy_score(classes, probabilities.argmax(axis=1))
    assert result["balanced_accuracy"].value == pytest.approx(expected)


def test_the_bootstrap_is_that_of_an_explicit_loop():
    rng = np.random.default_rng(1)
    classes, probabilities = simulated(rng, (40, 25, 15), 0.8)
    malignant = np.array([True, True, False])
    result = classification_metrics(classes, probabilities, malignant, resamples=2000)
    loop = {"macro_f1": [], "malignant_auroc": [], "macro_auroc": []}
    for _ in range(200):
        rows = np.concatenate([rng.choice(np.flatnonzero(classes == c), (classes == c).sum()) for c in range(3)])
        truth, some = classes[rows], probabilities[rows]
        loop["macro_f1"].append(f1_score(truth, some.argmax(axis=1), average="macro"))
        loop["malignant_auroc"].append(roc_auc_score(malignant[truth], some[:, malignant].sum(axis=1)))
        loop["macro_auroc"].append(roc_auc_score(truth, some, multi_class="ovr"))
    for name, values in loop.items():
        assert (result[name].low, result[name].high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.04)


@pytest.mark.parametrize("per_class", [12, 46])
def test_intervals_hold_the_truth_in_about_95_of_100_cohorts(per_class):
    rng = np.random.default_rng(per_class)
    malignant, names = np.array([True, False]), ("balanced_accuracy", "malignant_auroc")
    large = classification_metrics(*simulated(rng, (100_000, 100_000), 0.8), malignant, resamples=0)
    cohorts, held = 300, dict.fromkeys(names, 0)
    for seed in range(cohorts):
        result = classification_metrics(
            *simulated(rng, (per_class, per_class), 0.8), malignant, seed=seed, resamples=200
        )
        for name in names:
            held[name] += result[name].low <= large[name].value <= result[name].high
    for name in names:
        assert 0.9 <= held[name] / cohorts <= 0.99, name  # two standard deviations of the simulation are 0.025


def test_a_perfect_result_on_few_patients_is_not_certain():
    result = classification_metrics(np.repeat([0, 1], 5), np.repeat(np.eye(2), 5, axis=0), np.array([True, False]))
    assert result["accuracy"].low == pytest.approx(0.722, abs=0.001)  # Wilson: n / (n + 1.96^2) = 10 / 13.84
    assert result["balanced_accuracy"].low < result["accuracy"].low
    assert result["auroc"] == Interval(1.0)  # all resamples agree: no bounds


def test_what_is_undefined_is_left_out():
    malignant = np.array([True, True, False])
    one_class = classification_metrics(np.array([1, 1]), np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]), malignant)
    assert set(one_class) == {"accuracy", "balanced_accuracy", "weighted_f1", "macro_f1"}
    assert one_class["balanced_accuracy"].value == 0.5
    assert classification_metrics(np.empty(0, int), np.empty((0, 3)), malignant) == {}


def test_one_patient_has_no_bootstrap_interval():
    result = classification_metrics(np.array([0]), np.array([[0.9, 0.1]]), np.array([True, False]))
    assert result["macro_f1"] == Interval(1.0)
    assert result["accuracy"].low < 0.3


def test_nan_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        classification_metrics(np.array([0]), np.array([[np.nan, 1.0]]), np.array([True, False]))
    with pytest.raises(ValueError, match="no finite"):
        Interval(float("nan"))


def test_the_same_seed_gives_the_same_intervals():
    classes, probabilities = simulated(np.random.default_rng(2), (20, 20), 0.5)
    malignant = np.array([True, False])
    one, same, other = (classification_metrics(classes, probabilities, malignant, seed=s) for s in (3, 3, 4))
    assert one == same
    assert one != other
    assert {k: v.value for k, v in one.items()} == {k: v.value for k, v in other.items()}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_confusion_is_that_of_scikit_learn(pairs):
    truth, predicted = (np.array([pair[i] for pair in pairs], dtype=int) for i in range(2))
    result = confusion(truth, predicted, 4)
    assert result.shape == (4, 4)
    assert result.sum() == len(pairs)
    if pairs:
        np.testing.assert_array_equal(result, confusion_matrix(truth, predicted, labels=range(4)))
