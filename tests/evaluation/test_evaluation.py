"""Every number of an evaluation by a second route: scikit-learn, or by hand from the rows of predictions.csv."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, pearsonr
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
from tests.evaluation.factories import FAST, TAXONOMY, evaluation_of, predictions, simulated

from napari_caltomorph.evaluation.metrics import threshold_free_metrics
from napari_caltomorph.statistics import Metric
from napari_caltomorph.statistics.hemoglobin import within_class_correlation
from napari_caltomorph.statistics.interval import proportion, share_upper_bound
from napari_caltomorph.statistics.reliability import reliability

SLUGS, NAMES = TAXONOMY.slugs, TAXONOMY.names
MALIGNANT = {"acute", "mds"}


def csv_of(evaluation) -> pd.DataFrame:
    """predictions.csv as another program reads it."""
    return pd.read_csv(io.StringIO(evaluation.table().to_csv(index=False)))


def value(metric: Metric) -> float | None:
    return metric.value


@settings(deadline=None, max_examples=60)
@given(predictions())
def test_headline_numbers_are_those_of_scikit_learn(made):
    truth, probabilities = made
    evaluation = evaluation_of(truth, probabilities)
    found = evaluation.headline
    classes = np.array([SLUGS.index(t) for t in truth])
    predicted, present = probabilities.argmax(axis=1), np.unique(classes)
    assert value(found["accuracy"]) == pytest.approx(accuracy_score(classes, predicted))
    assert value(found["macro_f1"]) == pytest.approx(
        f1_score(classes, predicted, average="macro", labels=present, zero_division=0)
    )
    assert value(found["weighted_f1"]) == pytest.approx(
        f1_score(classes, predicted, average="weighted", zero_division=0)
    )
    assert value(found["balanced_accuracy"]) == pytest.approx(
        recall_score(classes, predicted, average="macro", labels=present)
    )
    malignancy = np.minimum(probabilities[:, :2].sum(axis=1), 1)
    is_malignant = classes < 2
    if len(set(is_malignant)) == 2:
        assert value(found["malignant_auroc"]) == pytest.approx(roc_auc_score(is_malignant, malignancy))
    else:
        assert found["malignant_auroc"].remark in {"no malignant patient", "all patients are malignant"}
    if len(present) > 1:
        expected = np.mean([roc_auc_score(classes == c, probabilities[:, c]) for c in present])
        assert value(found["macro_auroc"]) == pytest.approx(expected)
    else:
        assert found["macro_auroc"].remark == "all patients are of one class"
    one_hot = np.eye(4)[classes]
    assert value(found["brier"]) == pytest.approx(np.mean(np.sum((probabilities - one_hot) ** 2, axis=1)))
    assert value(found["malignant_brier"]) == pytest.approx(np.mean((malignancy - is_malignant) ** 2))


@settings(deadline=None, max_examples=60)
@given(predictions())
def test_numbers_of_each_class_are_those_of_scikit_learn(made):
    truth, probabilities = made
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


@settings(deadline=None, max_examples=40)
@given(predictions(), st.floats(0, 1))
def test_the_table_alone_gives_the_same_numbers(made, threshold):
    truth, probabilities = made
    evaluation = evaluation_of(truth, probabilities, threshold=threshold)
    rows = csv_of(evaluation)
    slug = dict(zip(NAMES, SLUGS, strict=True))
    true, said = rows["true_class"].map(slug), rows["predicted_class"].map(slug)
    assert value(evaluation.headline["accuracy"]) == pytest.approx((true == said).mean())
    in_two = (rows["true_class"] == rows["predicted_class"]) | (rows["true_class"] == rows["second_class"])
    assert value(evaluation.headline["top2_accuracy"]) == pytest.approx(in_two.mean())
    malignant, called = true.isin(MALIGNANT), rows["malignancy"] >= threshold
    point = evaluation.at()
    for metric, top, below in (
        (point.sensitivity, malignant & called, malignant),
        (point.specificity, ~malignant & ~called, ~malignant),
    ):
        assert value(metric) == (pytest.approx(top.sum() / below.sum()) if below.any() else None)
    if (~malignant).any() and called.any():
        assert value(point.fdr) == pytest.approx((~malignant & called).sum() / called.sum())
    counted = (malignant | (true == "reactive")) & called
    if (true == "reactive").any() and counted.any():
        assert value(point.fdr_without_healthy) == pytest.approx((counted & ~malignant).sum() / counted.sum())
    assert set(point.missed) == set(rows["patient_id"][malignant & ~called])
    assert set(point.false_alarms) == set(rows["patient_id"][~malignant & called])
    assert rows["is_right"].tolist() == (true == said).tolist()
    np.testing.assert_allclose(rows["delta_probability"], -np.diff(np.sort(probabilities, axis=1)[:, ::-1])[:, 0])
    assert set(evaluation.wrong) == set(rows["patient_id"][true != said])


def test_top2_is_that_of_scikit_learn_without_ties():
    truth, probabilities = simulated((30, 20, 10, 25))
    found = evaluation_of(truth, probabilities)
    classes = [SLUGS.index(t) for t in truth]
    assert value(found.headline["top2_accuracy"]) == pytest.approx(top_k_accuracy_score(classes, probabilities, k=2))
    assert value(found.headline["balanced_accuracy"]) == pytest.approx(
        balanced_accuracy_score(classes, probabilities.argmax(axis=1))
    )
    np.testing.assert_array_equal(found.confusion.counts, confusion_matrix(classes, probabilities.argmax(axis=1)))


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


@settings(deadline=None, max_examples=30)
@given(predictions())
def test_every_row_of_the_curve_is_what_that_threshold_does(made):
    evaluation = evaluation_of(*made)
    curve = evaluation.screened.curve()
    for row in curve.itertuples(index=False):
        point = evaluation.at(row.threshold)
        pairs = [(row.sensitivity, point.sensitivity), (row.specificity, point.specificity)]
        if not np.isnan(row.fdr):
            pairs += [(row.fdr, point.fdr if point.fdr.is_defined else Metric(0.0))]
        for number, metric in pairs:
            assert (None if np.isnan(number) else pytest.approx(number)) == metric.value
    for slug in MALIGNANT & set(made[0]):
        assert curve[f"sensitivity_{slug}"].iloc[-1] == 1


def test_calibration_error_is_that_of_a_loop_over_the_bins():
    truth, probabilities = simulated((60, 50, 40, 50), seed=1)
    evaluation = evaluation_of(truth, probabilities)
    said, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == [SLUGS.index(t) for t in truth]
    error = 0.0
    for k in range(15):
        inside = (said > k / 15) & (said <= (k + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - said[inside].mean())
    assert value(evaluation.headline["ece"]) == pytest.approx(error)
    assert evaluation.reliability.patients == sum(b.patients for b in evaluation.reliability.bins) == 200
    assert "a perfectly calibrated model would show" in evaluation.headline["ece"].remark


def test_a_calibrated_model_is_within_chance_and_a_boaster_is_not():
    rng = np.random.default_rng(0)
    said = rng.uniform(0.3, 1, 150)
    within = [reliability(said, rng.random(150) < said, resamples=200, seed=s).is_within_chance for s in range(100)]
    assert np.mean(within) > 0.9
    boaster = reliability(np.full(150, 0.95), rng.random(150) < 0.6, resamples=200)
    assert not boaster.is_within_chance
    assert boaster.chance.value < boaster.ece
    assert reliability(said, said > 0.5, resamples=0).is_within_chance is None
    assert reliability(np.empty(0), np.empty(0, bool)) is None


def test_several_right_answers_and_other_classes_are_rows_of_their_own_and_enter_no_accuracy():
    probabilities = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.6, 0.2, 0.1, 0.1]])
    evaluation = evaluation_of(
        ["acute", None, None, None],
        probabilities,
        coarse_set=[None, "acute|mds", "acute|mds", None],
        row=[None, None, None, "MGUS"],
    )
    headline = evaluation.headline
    assert (headline["accuracy"].value, headline["accuracy"].patients) == (1.0, 1)
    assert (headline["several_right"].value, headline["several_right"].patients) == (0.5, 2)
    rows = {row.name: counts.tolist() for row, counts in zip(evaluation.confusion.rows, evaluation.confusion.counts)}  # noqa: B905
    assert rows["Acute leukemia or MDS"] == [0, 1, 1, 0]
    assert rows["MGUS"] == [1, 0, 0, 0]
    assert evaluation.confusion.patients(4) == ("P001", "P002")
    assert evaluation.confusion.patients(4, 1) == ("P001",)
    assert evaluation.counts["other classes"] == 1
    said = " ".join(evaluation.statements)
    assert "2 borderline or double diagnoses have several right answers" in said
    assert "1 patients are of classes that the model does not know" in said
    assert evaluation.wrong == ("P002",)
    assert csv_of(evaluation)["is_right"].tolist()[:3] == [True, True, False]


def test_rows_stay_few_however_many_classes_the_model_does_not_know():
    names = [f"disease {i}" for i in range(30) for _ in range(1 + (i < 9))]
    sets = [f"{one}|{other}" for one in SLUGS for other in SLUGS if one < other]
    several = [None] * len(names) + sets * 2
    row = names + [None] * (2 * len(sets))
    probabilities = np.tile([0.4, 0.3, 0.2, 0.1], (len(row), 1))
    confusion = evaluation_of([None] * len(row), probabilities, row=row, coarse_set=several).confusion
    others = [one for one in confusion.rows if one.kind == "other"]
    assert [one.name for one in others] == [*(f"disease {i}" for i in range(9)), "21 other classes"]
    assert confusion.counts[-1].sum() == len(confusion.patients(len(confusion.rows) - 1)) == 21
    assert confusion.counts.sum() == len(row)
    assert sum(one.kind == "several" for one in confusion.rows) == len(sets)


def test_detailed_rows_stand_by_their_coarse_class():
    _, probabilities = simulated((2, 1, 1, 0))
    evaluation = evaluation_of(["acute", "mds", "acute", "acute"], probabilities, detailed=["all", None, "aml", "aml"])
    confusion = evaluation.detailed_confusion
    assert [row.name for row in confusion.rows] == ["AML", "ALL", "MDS, not detailed"]
    assert confusion.counts.sum(axis=1).tolist() == [2, 1, 1]
    assert confusion.fractions.sum(axis=1) == pytest.approx(1)


def test_a_cohort_without_labels_gives_predictions_and_no_metrics():
    _, probabilities = simulated((3, 3, 3, 3))
    evaluation = evaluation_of([None] * 12, probabilities)
    assert not evaluation.is_labelled
    assert all(not metric.is_defined for metric in evaluation.headline.values())
    assert evaluation.headline["accuracy"].remark == "the cohort has no labels"
    assert len(csv_of(evaluation)) == 12
    assert "nothing to compare them with" in " ".join(evaluation.statements)
    assert evaluation.reliability is None


def test_other_classes_only_leave_everything_undefined():
    _, probabilities = simulated((2, 2, 2, 2))
    evaluation = evaluation_of([None] * 8, probabilities, row=["MGUS"] * 8)
    assert evaluation.headline["accuracy"].remark == "no patient of a class that the model knows"
    assert evaluation.confusion.counts[-1].sum() == 8


def test_one_class_one_patient_ties_and_nobody_malignant_are_said():
    one = evaluation_of(["healthy"], np.full((1, 4), 0.25))
    assert one.headline["accuracy"].value == 0
    assert one.at().sensitivity.remark == "no malignant patient"
    assert one.headline["macro_auroc"].remark == "all patients are of one class"
    assert one.by_class["healthy"].auroc.remark == "all patients are of this class"
    assert one.by_class["mds"].sensitivity.remark == "no patient has MDS"
    said = " ".join(one.statements)
    assert "Of 1 patients two classes are equally probable" in said
    assert "No patient has Acute leukemia, MDS, Reactive" in said


def test_why_there_is_no_false_discovery_rate_is_said():
    def reasons(*truth):
        point = evaluation_of(list(truth), np.eye(4)[[SLUGS.index(t) for t in truth]]).at(0.5)
        return point.fdr.remark, point.fdr_without_healthy.remark

    assert reasons("acute") == ("no patient that is not malignant",) * 2
    assert reasons("acute", "healthy") == ("", "all patients that are not malignant are healthy donors")
    assert reasons("reactive") == ("no patient is called malignant",) * 2


def test_no_number_is_ever_nan():
    for truth in (["acute"], [None], ["healthy", "healthy"], ["acute", "healthy"]):
        evaluation = evaluation_of(truth, np.full((len(truth), 4), 0.25), measured=[None] * len(truth))
        metrics = [*evaluation.headline.values()]
        metrics += [m for one in evaluation.by_class.values() for m in one.numbers.values()]
        metrics += [m for group in evaluation.hemoglobin for m in group.numbers.values()]
        for metric in metrics:
            assert metric.remark if metric.value is None else np.isfinite(metric.value)


def test_hemoglobin_by_hand():
    rng = np.random.default_rng(4)
    truth, probabilities = simulated((20, 15, 10, 25))
    base = {"acute": 8.0, "mds": 9.0, "reactive": 12.0, "healthy": 14.0}
    measured = np.array([base[t] for t in truth]) + rng.normal(0, 1, 70)
    said = measured * 0.5 + 6 + rng.normal(0, 0.5, 70)
    values = [None if i % 10 == 0 else float(m) for i, m in enumerate(measured)]
    evaluation = evaluation_of(truth, probabilities, measured=values, hemoglobin=said.tolist())
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


def test_knowing_the_class_alone_correlates_overall_and_not_within():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], 50)
    measured = classes * 3.0 + rng.normal(0, 1, 150)
    by_class_alone = classes * 3.0 + rng.normal(0, 0.1, 150)
    assert pearsonr(measured, by_class_alone).statistic > 0.9
    within = within_class_correlation(measured, by_class_alone, classes)
    assert within.low < 0 < within.high
    assert within_class_correlation(measured, classes.astype(float), classes) is None


@pytest.mark.parametrize("patients", [12, 22, 46])
def test_wilson_intervals_hold_the_truth_in_92_to_99_of_100_cohorts(patients):
    for share in (0.5, 0.7, 0.8, 0.9):
        held = 0.0
        for right in range(patients + 1):
            found = proportion(right, patients)
            held += binom.pmf(right, patients, share) * (found.low <= share <= found.high)
        assert 0.92 <= held <= 0.99, (patients, share, held)


@pytest.mark.parametrize("patients", [12, 22, 46])
def test_intervals_of_a_whole_evaluation_hold_the_truth(patients):
    """By simulation, of what an evaluation shows of cohorts of this many patients of two classes."""
    options = FAST.model_copy(update={"resamples": 0})
    large = evaluation_of(*simulated((20_000, 0, 20_000, 0), separation=1.5), options=options)
    names = ("accuracy", "balanced_accuracy", "top2_accuracy", "sensitivity", "malignant_auroc")
    true = {name: large.headline[name].value for name in names}
    held = {name: [] for name in names}
    for seed in range(400):
        some = evaluation_of(*simulated((patients, 0, patients, 0), seed=seed + 1, separation=1.5), options=options)
        screened = some.at()
        found = {**threshold_free_metrics(some, some.screened), "sensitivity": screened.sensitivity}
        for name, metric in found.items():
            if name in held:
                held[name].append(metric.low <= true[name] <= metric.high)
    for name in names:
        assert 0.92 <= np.mean(held[name]) <= 0.99, (name, np.mean(held[name]))


def test_none_missed_of_46_still_allows_six_percent():
    assert share_upper_bound(0, 46) == pytest.approx(1 - 0.05 ** (1 / 46))
    assert 0.06 < share_upper_bound(0, 46) < 3 / 46
    assert share_upper_bound(0, 0) == share_upper_bound(5, 5) == 1.0
    rng = np.random.default_rng(0)
    held = [share_upper_bound(int(rng.binomial(46, 0.1)), 46) >= 0.1 for _ in range(2000)]
    assert np.mean(held) >= 0.94


def test_synthetic_patients_are_said_to_be():
    evaluation = evaluation_of(["acute"], np.array([[0.7, 0.1, 0.1, 0.1]]))
    said = " ".join(replace(evaluation, covariates=pd.DataFrame({"synthetic": ["yes"]})).statements)
    assert "The patients are synthetic" in said
    assert "synthetic" not in " ".join(evaluation.statements)


def test_small_classes_are_flagged():
    truth, probabilities = simulated((30, 12, 30, 30))
    evaluation = evaluation_of(truth, probabilities)
    assert "too narrow" in evaluation.headline["macro_f1"].remark
    assert "too narrow" in evaluation.by_class["mds"].f1.remark
    assert evaluation.by_class["acute"].f1.remark == ""
    assert "MDS (12)" in " ".join(evaluation.statements)


def test_fdr_at_a_prevalence_is_bayes_rule():
    truth, probabilities = simulated((40, 0, 30, 30), seed=2)
    point = evaluation_of(truth, probabilities).at(0.5)
    sensitivity, specificity = point.sensitivity.value, point.specificity.value
    for share in (0.01, 0.4):
        expected = (1 - share) * (1 - specificity) / ((1 - share) * (1 - specificity) + share * sensitivity)
        assert point.fdr_at(share) == pytest.approx(expected)
    assert point.fdr_at(0.4) == pytest.approx(point.fdr.value)  # 40 of these 100 are malignant
    assert point.fdr_at(1.0) == 0
    assert point.fdr_at(0.1, healthy=False) != point.fdr_at(0.1)
    assert point.others_in_words == "60 not malignant: 30 reactive, 30 healthy"
    with pytest.raises(ValueError, match="prevalence"):
        point.fdr_at(2)


def test_a_perfect_area_on_few_patients_is_not_certain():
    perfect = evaluation_of(["acute"] * 12 + ["healthy"] * 12, np.eye(4)[[0] * 12 + [3] * 12])
    found = perfect.headline["malignant_auroc"]
    assert (found.value, found.high, found.method) == (1.0, 1.0, "Newcombe")
    assert 0.75 < found.low < 0.95
