"""Every number of an evaluation by a second route: scikit-learn, or by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import pearsonr
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    mean_absolute_error,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
    top_k_accuracy_score,
)
from tests.evaluation.factories import FAST, MALIGNANT, NAMES, SLUGS, csv_of, evaluation_of, predictions, simulated

from napari_caltomorph.diagnosis.hemoglobin_error import ErrorInterval
from napari_caltomorph.evaluation.metrics import threshold_free_metrics
from napari_caltomorph.statistics import Metric


def value(metric: Metric) -> float | None:
    return metric.value


@settings(deadline=None, max_examples=25)
@given(predictions())
def test_headline_numbers_are_those_of_scikit_learn(predicted_patients):
    truth, probabilities = predicted_patients
    evaluation = evaluation_of(truth, probabilities)
    result = evaluation.headline
    classes = np.array([SLUGS.index(t) for t in truth])
    predicted, present = probabilities.argmax(axis=1), np.unique(classes)
    assert value(result["accuracy"]) == pytest.approx(accuracy_score(classes, predicted))
    assert value(result["macro_f1"]) == pytest.approx(
        f1_score(classes, predicted, average="macro", labels=present, zero_division=0)
    )
    assert value(result["weighted_f1"]) == pytest.approx(
        f1_score(classes, predicted, average="weighted", zero_division=0)
    )
    assert value(result["balanced_accuracy"]) == pytest.approx(
        recall_score(classes, predicted, average="macro", labels=present)
    )
    malignancy = np.minimum(probabilities[:, :2].sum(axis=1), 1)
    is_malignant = classes < 2
    if len(set(is_malignant)) == 2:
        assert value(result["malignant_auroc"]) == pytest.approx(roc_auc_score(is_malignant, malignancy))
    else:
        assert result["malignant_auroc"].remark in {"no malignant patient", "all patients are malignant"}
    if len(present) > 1:
        expected = np.mean([roc_auc_score(classes == c, probabilities[:, c]) for c in present])
        assert value(result["macro_auroc"]) == pytest.approx(expected)
    else:
        assert result["macro_auroc"].remark == "all patients are of one class"
    one_hot = np.eye(4)[classes]
    assert value(result["brier"]) == pytest.approx(np.mean(np.sum((probabilities - one_hot) ** 2, axis=1)))
    assert value(result["malignant_brier"]) == pytest.approx(np.mean((malignancy - is_malignant) ** 2))


@settings(deadline=None, max_examples=25)
@given(predictions())
def test_numbers_of_each_class_are_those_of_scikit_learn(predicted_patients):
    truth, probabilities = predicted_patients
    classes = np.array([SLUGS.index(t) for t in truth])
    predicted = probabilities.argmax(axis=1)
    for c, numbers in enumerate(evaluation_of(truth, probabilities).by_class.values()):
        mine, called = classes == c, predicted == c
        assert (numbers.patients, numbers.called) == (mine.sum(), called.sum())
        if mine.any():
            assert value(numbers.sensitivity) == pytest.approx(recall_score(mine, called))
            assert value(numbers.f1) == pytest.approx(f1_score(mine, called))
        else:
            assert numbers.sensitivity.remark == numbers.f1.remark == f"no patient has {NAMES[c]}"
        if called.any():
            assert value(numbers.precision) == pytest.approx(precision_score(mine, called))
            assert value(numbers.fdr) == pytest.approx(1 - precision_score(mine, called))
            assert numbers.fdr.low == pytest.approx(1 - numbers.precision.high)
        else:
            assert numbers.fdr.remark == f"no patient is predicted as {NAMES[c]}"
        if mine.any() and not mine.all():
            assert value(numbers.auroc) == pytest.approx(roc_auc_score(mine, probabilities[:, c]))
        else:
            assert numbers.auroc.value is None


def test_top2_is_that_of_scikit_learn_without_ties():
    truth, probabilities = simulated((30, 20, 10, 25))
    result = evaluation_of(truth, probabilities)
    classes = [SLUGS.index(t) for t in truth]
    assert value(result.headline["top2_accuracy"]) == pytest.approx(top_k_accuracy_score(classes, probabilities, k=2))
    assert value(result.headline["balanced_accuracy"]) == pytest.approx(
        balanced_accuracy_score(classes, probabilities.argmax(axis=1))
    )
    np.testing.assert_array_equal(result.confusion.counts, confusion_matrix(classes, probabilities.argmax(axis=1)))


def test_roc_is_that_of_scikit_learn():
    truth, probabilities = simulated((30, 20, 10, 25), seed=3)
    evaluation = evaluation_of(truth, probabilities)
    malignant = np.isin(truth, list(MALIGNANT))
    for slug, true, scores in (
        (None, malignant, probabilities[:, :2].sum(axis=1)),
        ("mds", np.array(truth) == "mds", probabilities[:, 1]),
    ):
        false_rates, true_rates = evaluation.roc(slug)
        expected = roc_curve(true, scores, drop_intermediate=False)
        np.testing.assert_allclose(false_rates, expected[0])
        np.testing.assert_allclose(true_rates, expected[1])
    assert evaluation_of(["mds"], probabilities[:1]).roc() is None


def test_calibration_error_is_that_of_a_loop_over_the_bins():
    truth, probabilities = simulated((60, 50, 40, 50), seed=1)
    evaluation = evaluation_of(truth, probabilities)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == [SLUGS.index(t) for t in truth]
    error = 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert value(evaluation.headline["ece"]) == pytest.approx(error)
    assert evaluation.reliability.patients == sum(b.patients for b in evaluation.reliability.bins) == 200
    assert "a perfectly calibrated model would show" in evaluation.headline["ece"].remark


def test_malignancy_has_its_own_calibration_error_and_its_mean_is_compared_with_the_share():
    """A model that is sure of the class may still promise too much malignancy: the top class does not show it."""
    truth, probabilities = simulated((60, 50, 40, 50), seed=1)
    evaluation = evaluation_of(truth, probabilities)
    malignancy, is_malignant = probabilities[:, :2].sum(axis=1), np.isin(truth, list(MALIGNANT))
    place = np.minimum(np.ceil(malignancy * 15).astype(int) - 1, 14)
    distance = np.bincount(place, weights=malignancy - is_malignant, minlength=15)
    assert value(evaluation.headline["malignant_ece"]) == pytest.approx(np.abs(distance).sum() / 200)
    assert "a perfectly calibrated model would show" in evaluation.headline["malignant_ece"].remark
    bias = evaluation.headline["malignancy_bias"]
    assert value(bias) == pytest.approx(malignancy.mean() - is_malignant.mean())
    spread = 1.96 * (malignancy - is_malignant).std() / np.sqrt(200)
    assert (bias.low, bias.high) == pytest.approx((bias.value - spread, bias.value + spread), abs=spread / 5)


def test_hemoglobin_by_hand():
    rng = np.random.default_rng(4)
    truth, probabilities = simulated((20, 15, 10, 25))
    base = {"acute": 8.0, "mds": 9.0, "reactive": 12.0, "healthy": 14.0}
    measured = np.array([base[t] for t in truth]) + rng.normal(0, 1, 70)
    estimates = measured * 0.5 + 6 + rng.normal(0, 0.5, 70)
    values = [None if i % 10 == 0 else float(m) for i, m in enumerate(measured)]
    evaluation = evaluation_of(truth, probabilities, measured=values, hemoglobin=estimates.tolist())
    rows = csv_of(evaluation).dropna(subset=["measured_hemoglobin_g_dl"])
    groups = {group.name: group for group in evaluation.hemoglobin}
    no_donors = rows[rows["true_class"] != "Healthy"]
    for name, some in (
        ("all", rows),
        ("without healthy donors", no_donors),
        ("MDS", rows[rows["true_class"] == "MDS"]),
    ):
        x, y = some["measured_hemoglobin_g_dl"], some["hemoglobin_g_dl"]
        numbers = groups[name].numbers
        assert groups[name].patients == len(some)
        assert numbers["pearson_r"].value == pytest.approx(pearsonr(x, y).statistic)
        assert numbers["mae"].value == pytest.approx(mean_absolute_error(x, y))
        assert numbers["bias"].value == pytest.approx((y - x).mean())
    columns = ["measured_hemoglobin_g_dl", "hemoglobin_g_dl"]
    centred = rows[columns] - rows.groupby("true_class")[columns].transform("mean")
    assert groups["within classes"].numbers["pearson_r"].value == pytest.approx(pearsonr(*centred.T.values).statistic)
    baseline = []
    for i, row in rows.iterrows():
        others = rows[(rows["true_class"] == row["true_class"]) & (rows.index != i)]
        baseline.append(abs(row["measured_hemoglobin_g_dl"] - others["measured_hemoglobin_g_dl"].mean()))
    numbers = groups["class means"].numbers
    assert numbers["baseline_mae"].value == pytest.approx(np.mean(baseline))
    assert numbers["mae_difference"].value == pytest.approx(groups["all"].numbers["mae"].value - np.mean(baseline))


def test_coverage_of_hemoglobin_is_counted_by_measured_value_within_the_training_domain():
    measured = [6.0, 7.5, 8.0, 9.0, 12.0, 14.0, 15.0]
    estimated = [9.0, 8.0, 9.0, 9.5, 12.0, 17.0, 14.0]
    evaluation = evaluation_of(["mds"] * 7, np.eye(4)[[1] * 7], measured=measured, hemoglobin=estimated)
    assert "not known" in evaluation.hemoglobin[0].numbers["in_interval"].remark
    error = ErrorInterval(level=0.9, low=-2, high=2, patients=50)
    outside = evaluation.patients.assign(is_outside_domain=[False] * 6 + [True])
    provenance = evaluation.provenance.model_copy(update={"hemoglobin_error": error})
    evaluation = replace(evaluation, patients=outside, provenance=provenance)
    groups = {
        group.name: group.numbers["in_interval"] for group in evaluation.hemoglobin if "in_interval" in group.numbers
    }
    counts = {name: (groups[name].value, groups[name].patients) for name in groups if name.startswith("measured")}
    assert counts == {"measured below 8": (0.5, 2), "measured 8 to 10": (1, 2), "measured 10 and more": (0.5, 2)}
    assert (groups["all"].value, groups["all"].method) == (4 / 6, "Wilson")
    own = replace(evaluation, options=FAST.model_copy(update={"out_of_fold": True}))
    assert "model card" in own.hemoglobin[0].numbers["in_interval"].remark


@pytest.mark.parametrize("patients", [12, 22, 46])
def test_intervals_of_a_whole_evaluation_hold_the_truth(patients):
    """By simulation, of what an evaluation shows of cohorts of this many patients of two classes."""
    options = FAST.model_copy(update={"resamples": 0})
    large = evaluation_of(*simulated((20_000, 0, 20_000, 0), separation=1.5), options=options)
    names = (
        *("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "top2_accuracy"),
        *("macro_auroc", "malignant_auroc", "sensitivity"),
    )
    true = {name: large.headline[name].value for name in names}
    held = {name: [] for name in names}
    cohort = evaluation_of(*simulated((patients, 0, patients, 0), separation=1.5), options=options)
    for seed in range(1, 401):
        _, probabilities = simulated((patients, 0, patients, 0), seed=seed, separation=1.5)
        columns = {f"p_{slug}": probabilities[:, i] for i, slug in enumerate(SLUGS)}
        some = replace(cohort, patients=cohort.patients.assign(**columns))
        result = {**threshold_free_metrics(some, some.screened), "sensitivity": some.at().sensitivity}
        for name, metric in result.items():
            if name in held:
                held[name].append(metric.low <= true[name] <= metric.high)
    for name in names:
        assert 0.92 <= np.mean(held[name]) <= 0.99, (name, np.mean(held[name]))


def test_numbers_of_small_classes_have_intervals_without_a_warning():
    evaluation = evaluation_of(*simulated((30, 12, 30, 30)))
    for metric in (evaluation.headline["macro_f1"], evaluation.headline["brier"], evaluation.by_class["mds"].f1):
        assert metric.low < metric.value < metric.high
        assert metric.remark == ""
    assert "bootstrap" not in " ".join(evaluation.statements).casefold()


def test_a_perfect_area_on_few_patients_is_not_certain():
    perfect = evaluation_of(["acute"] * 12 + ["healthy"] * 12, np.eye(4)[[0] * 12 + [3] * 12])
    result = perfect.headline["malignant_auroc"]
    assert (result.value, result.high, result.method) == (1.0, 1.0, "Newcombe")
    assert 0.75 < result.low < 0.95


def test_no_number_is_ever_nan():
    for truth in (["acute"], [None], ["healthy", "healthy"], ["acute", "healthy"]):
        evaluation = evaluation_of(truth, np.full((len(truth), 4), 0.25), measured=[None] * len(truth))
        metrics = [*evaluation.headline.values()]
        metrics += [m for one in evaluation.by_class.values() for m in one.numbers.values()]
        metrics += [m for group in evaluation.hemoglobin for m in group.numbers.values()]
        for metric in metrics:
            assert metric.remark if metric.value is None else np.isfinite(metric.value)
