"""Faithfulness over a cohort: areas of each patient's own curves, by the eligible members, and their means."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from tests.evaluation.factories import FAST
from tests.stopping import Cancels

from napari_caltomorph.cohort import feature_files, feature_path
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.encoding import Features
from napari_caltomorph.errors import EvaluationRefused
from napari_caltomorph.evaluation import evaluate
from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness, cohort_faithfulness
from napari_caltomorph.explanation.faithfulness import cell_scores, faithfulness
from napari_caltomorph.progress import Cancelled


@pytest.fixture(scope="module")
def files(trained):
    return feature_files(trained.cohort, trained.features)


@pytest.fixture(scope="module")
def result(ensemble, evaluation, files):
    return cohort_faithfulness(ensemble, evaluation, files, random_orders=3)


def test_a_cohort_that_names_its_own_feature_files_needs_no_folder(ensemble, evaluation, trained, files):
    named = feature_files(trained.cohort, None)
    assert {p: [f.resolve() for f in found] for p, found in named.items()} == {
        p: [f.resolve() for f in found] for p, found in files.items()
    }
    one = evaluation.patients["patient_id"].iloc[0]
    result = cohort_faithfulness(ensemble, evaluation, {one: named[one]}, random_orders=1)
    assert list(result.patients["patient_id"]) == [one]


def test_every_patient_is_followed_for_the_class_that_the_model_answers_with(result, evaluation):
    assert list(result.patients["patient_id"]) == list(evaluation.patients["patient_id"])
    columns = [f"p_{slug}" for slug in evaluation.taxonomy.slugs]
    winners = evaluation.patients[columns].idxmax(axis=1).str.removeprefix("p_")
    assert list(result.patients["predicted_class"]) == list(winners)
    assert result.orders == ("attention", "contribution", "alone")
    assert result.notes == ()


def test_areas_are_those_of_the_patients_own_curves(result, ensemble, trained):
    row = result.patients.iloc[2]
    bag = Features.load(feature_path(trained.features, row["patient_id"]))
    slug = row["predicted_class"]
    own = faithfulness(ensemble, bag, slug, cell_scores(ensemble, bag, slug), random_orders=3)
    assert row["insertion_alone"] == pytest.approx(own.area("insertion", "alone"), abs=1e-6)
    assert row["deletion_random"] == pytest.approx(own.random_areas("deletion").mean(), abs=1e-6)


def test_out_of_fold_uses_the_member_that_evaluated_the_patient(ensemble, trained, files):
    options = FAST.model_copy(update={"split": "train", "out_of_fold": True})
    evaluation = evaluate(ensemble, trained.cohort, trained.features, options)
    result = cohort_faithfulness(ensemble, evaluation, files, patients=4, random_orders=2)
    row = result.patients.iloc[0]
    alone = Ensemble(ensemble.description, (ensemble.members[int(row["fold"])],))
    bag, slug = Features.load(feature_path(trained.features, row["patient_id"])), row["predicted_class"]
    own = faithfulness(alone, bag, slug, cell_scores(alone, bag, slug), random_orders=2)
    assert row["deletion_contribution"] == pytest.approx(own.area("deletion", "contribution"), abs=1e-6)
    assert result.notes == ("4 of 36 patients, random sample (seed 0)",)


def test_gain_is_the_mean_difference_with_its_interval():
    areas = {
        "deletion_alone": [0.2, 0.4, 0.3],
        "deletion_random": [0.5, 0.5, 0.6],
        "insertion_alone": [0.9, 0.8, 0.7],
        "insertion_random": [0.6, 0.7, 0.8],
    }
    curves = {("deletion", "alone"): np.ones(2), ("deletion", "random"): np.ones(2)}
    sample = CohortFaithfulness(pd.DataFrame(areas), np.array([0.0, 1.0]), curves, 5, ())
    assert sample.gain("deletion", "alone").value == pytest.approx((0.3 + 0.1 + 0.3) / 3)
    assert sample.gain("insertion", "alone").value == pytest.approx((0.3 + 0.1 - 0.1) / 3)
    gain = sample.gain("insertion", "alone")
    assert gain.low < gain.value < gain.high
    assert gain.patients == 3
    assert gain.method == "Student"


def test_curves_are_means_between_all_cells_and_one(result, evaluation):
    winners = evaluation.patients[[f"p_{slug}" for slug in evaluation.taxonomy.slugs]].max(axis=1)
    for order in (*result.orders, "random"):
        assert result.curves["deletion", order].shape == result.shares.shape
        assert result.curves["insertion", order][-1] == pytest.approx(winners.mean(), abs=1e-5)
        assert result.curves["deletion", order][0] == pytest.approx(winners.mean(), abs=1e-5)


def test_saved_files_contain_the_same_numbers(result, tmp_path):
    numbers, table = result.save(tmp_path)
    content = json.loads(numbers.read_text())
    assert content["gain_over_random"]["deletion_alone"]["value"] == result.gain("deletion", "alone").value
    assert content["patients"] == len(result)
    pd.testing.assert_frame_equal(pd.read_csv(table)[["insertion_alone"]], result.patients[["insertion_alone"]])


def test_patients_of_one_cell_or_without_features_are_named(ensemble, evaluation, trained, tmp_path):
    ids = list(evaluation.patients["patient_id"])
    for patient in ids[:3]:
        bag = Features.load(feature_path(trained.features, patient))
        feature_path(tmp_path, patient).parent.mkdir(exist_ok=True)
        kept = 1 if patient == ids[0] else len(bag)
        Features(patient, bag.values[:kept], bag.cells[:kept], bag.origin).save(feature_path(tmp_path, patient))
    files = {patient: (feature_path(tmp_path, patient),) for patient in ids[:3]}
    result = cohort_faithfulness(ensemble, evaluation, files, random_orders=1)
    assert list(result.patients["patient_id"]) == ids[1:3]
    assert len(result.notes) == len(ids) - 2
    assert result.notes[0] == f"{ids[0]} is not among them: one cell has no order"
    with pytest.raises(EvaluationRefused, match="two cells or more"):
        cohort_faithfulness(ensemble, evaluation, {})


def test_cancelling_stops_within_a_patient(ensemble, evaluation, files):
    stop = Cancels(call=19)
    with pytest.raises(Cancelled):
        cohort_faithfulness(ensemble, evaluation, files, progress=stop)
    assert {one.done for one in stop.seen} == {0}
