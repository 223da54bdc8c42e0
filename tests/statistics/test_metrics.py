"""Metrics against scikit-learn and by hand, and whether their intervals hold what they promise."""

from __future__ import annotations

import time

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
    mean_absolute_error,
    roc_auc_score,
    root_mean_squared_error,
)

from napari_caltomorph.statistics import Interval, classification_metrics, confusion, hemoglobin_metrics


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


@settings(deadline=None)
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
    found = classification_metrics(classes, probabilities, malignant, resamples=20)
    assert {name: metric.value for name, metric in found.items()} == pytest.approx(expected)


@settings(deadline=None)
@given(predicted_patients())
def test_values_lie_in_their_intervals(patients):
    for metric in classification_metrics(*patients, resamples=20).values():
        if metric.low is not None:
            assert 0 <= metric.low <= metric.value + 1e-12
            assert metric.value - 1e-12 <= metric.high <= 1


def test_balanced_accuracy_is_that_of_scikit_learn():
    classes, probabilities = simulated(np.random.default_rng(0), (30, 12, 7), 1.0)
    found = classification_metrics(classes, probabilities, np.array([True, True, False]), resamples=5)
    expected = balanced_accuracy_score(classes, probabilities.argmax(axis=1))
    assert found["balanced_accuracy"].value == pytest.approx(expected)


def test_the_bootstrap_is_that_of_an_explicit_loop():
    rng = np.random.default_rng(1)
    classes, probabilities = simulated(rng, (40, 25, 15), 0.8)
    malignant = np.array([True, True, False])
    found = classification_metrics(classes, probabilities, malignant, resamples=2000)
    loop = {"macro_f1": [], "malignant_auroc": [], "macro_auroc": []}
    for _ in range(400):
        rows = np.concatenate([rng.choice(np.flatnonzero(classes == c), (classes == c).sum()) for c in range(3)])
        truth, some = classes[rows], probabilities[rows]
        loop["macro_f1"].append(f1_score(truth, some.argmax(axis=1), average="macro"))
        loop["malignant_auroc"].append(roc_auc_score(malignant[truth], some[:, malignant].sum(axis=1)))
        loop["macro_auroc"].append(roc_auc_score(truth, some, multi_class="ovr"))
    for name, values in loop.items():
        assert (found[name].low, found[name].high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.03)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "malignant_auroc"])
@pytest.mark.parametrize("per_class", [12, 46])
def test_intervals_hold_the_truth_in_about_95_of_100_cohorts(metric, per_class):
    rng = np.random.default_rng(per_class)
    malignant = np.array([True, False])
    classes, probabilities = simulated(rng, (100_000, 100_000), 0.8)
    truth = classification_metrics(classes, probabilities, malignant, resamples=0)[metric].value
    cohorts = 400
    held = 0
    for seed in range(cohorts):
        sample = simulated(rng, (per_class, per_class), 0.8)
        found = classification_metrics(*sample, malignant, seed=seed, resamples=300)[metric]
        held += found.low <= truth <= found.high
    assert 0.9 <= held / cohorts <= 0.99  # two standard deviations of the simulation are 0.02


def test_a_perfect_result_on_few_patients_is_not_certain():
    found = classification_metrics(np.repeat([0, 1], 5), np.repeat(np.eye(2), 5, axis=0), np.array([True, False]))
    assert found["accuracy"].low == pytest.approx(0.722, abs=0.001)  # Wilson: n / (n + 1.96^2) = 10 / 13.84
    assert found["balanced_accuracy"].low < found["accuracy"].low
    assert found["auroc"] == Interval(1.0)  # all resamples agree: no bounds


def test_what_is_undefined_is_left_out():
    malignant = np.array([True, True, False])
    one_class = classification_metrics(np.array([1, 1]), np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]), malignant)
    assert set(one_class) == {"accuracy", "balanced_accuracy", "weighted_f1", "macro_f1"}
    assert one_class["balanced_accuracy"].value == 0.5
    assert classification_metrics(np.empty(0, int), np.empty((0, 3)), malignant) == {}


def test_one_patient_has_no_bootstrap_interval():
    found = classification_metrics(np.array([0]), np.array([[0.9, 0.1]]), np.array([True, False]))
    assert found["macro_f1"] == Interval(1.0)
    assert found["accuracy"].low < 0.3


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


def test_a_thousand_resamples_of_two_thousand_patients_take_seconds_at_most():
    classes, probabilities = simulated(np.random.default_rng(5), (250,) * 8, 1.0)
    start = time.process_time()
    classification_metrics(classes, probabilities, np.arange(8) < 6)
    assert time.process_time() - start < 10


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_confusion_is_that_of_scikit_learn(pairs):
    truth, predicted = (np.array([pair[i] for pair in pairs], dtype=int) for i in range(2))
    found = confusion(truth, predicted, 4)
    assert found.shape == (4, 4)
    assert found.sum() == len(pairs)
    if pairs:
        np.testing.assert_array_equal(found, confusion_matrix(truth, predicted, labels=range(4)))


hemoglobin = arrays(float, st.integers(3, 40), elements=st.floats(4, 18))


@settings(deadline=None)
@given(hemoglobin, st.integers(0, 2**31))
def test_hemoglobin_is_judged_as_by_scikit_learn(measured, seed):
    predicted = measured + np.random.default_rng(seed).normal(0.3, 1.0, len(measured))
    found = hemoglobin_metrics(measured, predicted, resamples=20)
    assert found["mae"].value == pytest.approx(mean_absolute_error(measured, predicted))
    assert found["rmse"].value == pytest.approx(root_mean_squared_error(measured, predicted))
    assert found["bias"].value == pytest.approx(np.mean(predicted - measured))
    if "pearson_r" in found:
        assert found["pearson_r"].value == pytest.approx(np.corrcoef(measured, predicted)[0, 1], abs=1e-6)
    else:
        assert np.ptp(measured) < 1e-9


def test_hemoglobin_intervals_are_those_of_an_explicit_loop():
    rng = np.random.default_rng(0)
    measured = rng.normal(10, 2, 200)
    predicted = 10 + 0.7 * (measured - 10) + rng.normal(0.2, 1, 200)
    found = hemoglobin_metrics(measured, predicted, resamples=2000)
    rows = [rng.integers(200, size=200) for _ in range(2000)]
    by_hand = {
        "bias": [np.mean(predicted[r] - measured[r]) for r in rows],
        "mae": [np.mean(np.abs(predicted[r] - measured[r])) for r in rows],
        "pearson_r": [np.corrcoef(predicted[r], measured[r])[0, 1] for r in rows],
    }
    for name, values in by_hand.items():
        assert (found[name].low, found[name].high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.03)


@pytest.mark.parametrize("patients", [19, 40])
def test_nine_of_ten_other_patients_err_between_the_quantiles(patients):
    rng = np.random.default_rng(patients)
    others = rng.normal(size=5_000)
    shares = []
    for _ in range(500):
        found = hemoglobin_metrics(rng.normal(size=patients), np.zeros(patients), resamples=0)
        low, high = found["error_low"].value, found["error_high"].value
        shares.append(((others >= low) & (others <= high)).mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.015)


def test_patients_without_hemoglobin_are_left_out():
    measured, predicted = np.array([8.0, np.nan, 10.0, 12.0, 9.0]), np.array([9.0, 9.0, 11.0, 13.0, np.nan])
    found = hemoglobin_metrics(measured, predicted)
    assert found["bias"] == Interval(1.0)  # the same error in all: no resample differs
    assert found["pearson_r"].value == pytest.approx(1.0)
    assert hemoglobin_metrics(measured[:3], predicted[:3]) == {}


def test_hemoglobin_that_does_not_vary_has_no_correlation():
    found = hemoglobin_metrics(np.array([9.0, 10.0, 11.0]), np.full(3, 10.0))
    assert "pearson_r" not in found
    assert found["mae"].value == pytest.approx(2 / 3)
