"""Rows, tables, counts and statements of an evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.factories import MALIGNANT, NAMES, SLUGS, csv_of, evaluation_of, predictions, simulated

from napari_caltomorph.diagnosis import Prevalence
from napari_caltomorph.statistics import Metric


def value(metric: Metric) -> float | None:
    return metric.value


@settings(deadline=None, max_examples=25)
@given(predictions(), st.floats(0, 1))
def test_the_table_alone_gives_the_same_numbers(predicted_patients, threshold):
    truth, probabilities = predicted_patients
    evaluation = evaluation_of(truth, probabilities, threshold=threshold)
    rows = csv_of(evaluation)
    slug = dict(zip(NAMES, SLUGS, strict=True))
    true, predicted = rows["true_class"].map(slug), rows["predicted_class"].map(slug)
    assert value(evaluation.headline["accuracy"]) == pytest.approx((true == predicted).mean())
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
    assert rows["is_right"].tolist() == (true == predicted).tolist()
    np.testing.assert_allclose(rows["delta_probability"], -np.diff(np.sort(probabilities, axis=1)[:, ::-1])[:, 0])
    assert set(evaluation.wrong) == set(rows["patient_id"][true != predicted])


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
    statements = " ".join(evaluation.statements)
    assert "Borderline or double diagnoses with several right answers: 2 patients" in statements
    assert "Classes that the model does not know: 1 patient" in statements
    assert evaluation.wrong == ("P002",)
    assert csv_of(evaluation)["is_right"].tolist()[:3] == [True, True, False]


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


def test_one_class_one_patient_ties_and_no_patient_malignant_are_reported():
    one = evaluation_of(["healthy"], np.full((1, 4), 0.25))
    assert one.headline["accuracy"].value == 0
    assert one.at().sensitivity.remark == "no malignant patient"
    assert one.headline["macro_auroc"].remark == "all patients are of one class"
    assert one.by_class["healthy"].auroc.remark == "all patients are of this class"
    assert one.by_class["mds"].sensitivity.remark == "no patient has MDS"
    statements = " ".join(one.statements)
    assert "Of 1 patient two classes are equally probable" in statements
    assert "No patient has Acute leukemia, MDS, Reactive" in statements


def test_synthetic_patients_are_reported_to_be():
    evaluation = evaluation_of(["acute"], np.array([[0.7, 0.1, 0.1, 0.1]]))
    statements = " ".join(replace(evaluation, covariates=pd.DataFrame({"synthetic": ["yes"]})).statements)
    assert "The patients are synthetic" in statements
    assert "synthetic" not in " ".join(evaluation.statements)


@pytest.mark.parametrize(("trained", "is_said"), [(0.2, True), (0.48, False)])
def test_another_share_of_malignant_patients_than_in_training_is_said(trained, is_said):
    evaluation = evaluation_of(*simulated((30, 20, 25, 25)))  # half of them are malignant
    provenance = evaluation.provenance.model_copy(update={"prevalence": Prevalence(trained=trained)})
    said = " ".join(replace(evaluation, provenance=provenance).statements)
    assert ("at the training prevalence, 20 % malignant" in said) == is_said
    assert ("of these patients 50 % are malignant" in said) == is_said
