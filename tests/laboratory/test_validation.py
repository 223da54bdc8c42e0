"""A verdict follows from the criteria and nothing else, and no number is of the patients that chose it."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation.factories import TAXONOMY, evaluation_of, simulated

from napari_caltomorph.diagnosis.elsewhere import Estimate
from napari_caltomorph.diagnosis.image_domain import TRAITS, fit_images
from napari_caltomorph.diagnosis.training_record import OutOfFold, TrainingRecord
from napari_caltomorph.errors import EvaluationRefused, EvaluationUnreadable
from napari_caltomorph.laboratory import Criteria, StatedCriteria, Validation, validate
from napari_caltomorph.laboratory.crossfit import calibration_line, cross_fitted_threshold, folds_of
from napari_caltomorph.laboratory.image_comparison import compare_images
from napari_caltomorph.laboratory.verdict import Check, check_area, check_cases, check_share, decide
from napari_caltomorph.statistics.metric import Metric

GOOD = Criteria(judged_by="bound", sensitivity_at_least=0.8, auroc_at_least=0.8, choose_by="sensitivity=0.95")
TRAINING = TrainingRecord(
    recipe="robust",
    options={},
    cohort="Clinic A",
    patients={},
    seconds=1,
    machine="",
    out_of_fold=OutOfFold(pooled={"malignant_auroc": Estimate(value=0.97, low=0.95, high=0.98)}),
)

OUTCOMES = st.sampled_from(["met", "failed", "undecided"])
CHECKS = st.lists(
    OUTCOMES.map(lambda o: Check("sensitivity", Metric(0.9, 0.8, 1.0, 50), 0.85, o, "patients", more=9)), max_size=3
)
RANK = {"do not use": 0, "too few cases": 1, "use with changed threshold": 2, "use": 3}


def stated(criteria: Criteria) -> StatedCriteria:
    return StatedCriteria(criteria=criteria, source="made", sha256="0" * 64)


@given(CHECKS, CHECKS, st.none() | CHECKS, st.data())
def test_a_verdict_never_gets_better_where_a_criterion_gets_worse(fixed, at_model, at_changed, data):
    before = decide(fixed, at_model, at_changed)
    everything = [*fixed, *at_model]
    assert (before.kind == "use") == all(c.outcome == "met" for c in everything)
    assert bool(before.more) == (before.kind == "too few cases")
    assert before.reasons or not everything
    if any(c.outcome == "failed" for c in fixed):
        assert before.kind == "do not use"
    if not at_model:
        return
    which = data.draw(st.integers(0, len(at_model) - 1))
    worse = [replace(c, outcome="failed") if i == which else c for i, c in enumerate(at_model)]
    assert RANK[decide(fixed, worse, at_changed).kind] <= RANK[before.kind]


@given(st.integers(0, 120), st.integers(1, 120), st.floats(0.01, 0.99), st.booleans())
def test_a_limit_in_the_interval_decides_nothing(right, cases, limit, at_most):
    metric = Metric.of_counts(min(right, cases), cases, "none")
    check = check_share("share", metric, limit, "patients", "bound", is_at_most=at_most)
    if metric.low + 1e-9 < limit < metric.high - 1e-9:
        assert check.outcome == "undecided"
    elif not metric.low - 1e-9 <= limit <= metric.high + 1e-9:
        assert check.outcome == ("met" if (metric.high < limit) == at_most else "failed")
    by_point = check_share("share", metric, limit, "patients", "point", is_at_most=at_most)
    assert by_point.outcome == ("met" if (metric.value <= limit if at_most else metric.value >= limit) else "failed")


def test_too_few_cases_says_how_many_more_of_which():
    check = check_share("sensitivity", Metric.of_counts(19, 20, ""), 0.85, "malignant patients", "bound")
    assert check.outcome == "undecided"
    assert Metric.of_counts(19 * 2, 20 * 2, "").low < 0.85  # twice as many are still too few
    verdict = decide([check_cases(5, 20, "AML", "patients with AML")], [check], None)
    assert verdict.kind == "too few cases"
    assert verdict.more == {"patients with AML": 15, "malignant patients": check.more}
    assert 20 < check.more < 60
    none = check_share("sensitivity", Metric.undefined("no malignant patient"), 0.85, "malignant patients", "bound")
    assert none.outcome == "undecided"
    assert none.more == 22  # none missed of 22 is the least that shows 85 %
    assert check_area("AUROC", Metric(0.9, 0.78, 0.97, 30), 0.8, 15, "bound").more > 0


def test_a_good_model_is_used_a_shifted_one_with_another_threshold_and_a_poor_one_not():
    truth, shares = simulated((60, 60, 60, 60), separation=5.0)
    good = validate(evaluation_of(truth, shares), stated(GOOD), TRAINING)
    assert good.verdict.kind == "use"
    assert {one.name: one.trained for one in good.numbers}["malignant_auroc"].value == 0.97
    shifted = evaluation_of(truth, shares, threshold=0.9999)
    found = validate(shifted, stated(GOOD))
    assert found.verdict.kind == "use with changed threshold"
    assert found.threshold.lowest <= found.threshold.value <= found.threshold.highest
    assert found.threshold.miss_bound > found.threshold.missed / found.threshold.cases
    no_other = validate(shifted, stated(GOOD.model_copy(update={"choose_by": None})))
    assert no_other.verdict.kind == "do not use"
    few = validate(evaluation_of(truth[::12], shares[::12]), stated(GOOD))
    assert few.verdict.kind == "too few cases"
    poor = validate(evaluation_of(*simulated((60, 60, 60, 60), separation=0.0)), stated(GOOD))
    assert poor.verdict.kind == "do not use"


def test_a_threshold_is_not_reported_on_the_patients_that_chose_it():
    evaluation = evaluation_of(*simulated((30, 30, 30, 30), separation=2.0))
    screened = evaluation.screened
    persons = np.repeat(np.arange(60), 2).astype(str)
    folds = folds_of(screened, persons)
    assert all(len(set(folds[persons == one])) == 1 for one in persons)  # one person is in one fold
    rule = GOOD.rule
    changed, point = cross_fitted_threshold(evaluation, rule, folds)
    for fold in np.unique(folds):
        own = folds == fold
        threshold = rule.choose(screened.among(~own))
        assert (point.is_called[own] == (screened.malignancy[own] >= threshold)).all()
    assert changed.value == rule.choose(screened)


def test_recalibration_is_advised_where_the_model_is_off_and_only_there():
    rng = np.random.default_rng(1)
    odds = rng.normal(0, 2, 300)
    is_malignant = rng.random(300) < 1 / (1 + np.exp(-odds))
    lines = []
    for scale in (1.0, 3.0):
        malignancy = 1 / (1 + np.exp(-scale * odds))
        shares = np.stack([malignancy, 0 * odds, 0 * odds, 1 - malignancy], axis=1)
        screened = evaluation_of(["acute" if one else "healthy" for one in is_malignant], shares).screened
        lines.append(calibration_line(screened, folds_of(screened, np.arange(300).astype(str))))
    calibrated, certain = lines
    assert not calibrated.is_justified
    assert calibrated.slope.low < 1 < calibrated.slope.high
    assert certain.is_justified
    assert certain.helps
    assert certain.slope.low < 1 / 3 < certain.slope.high


def test_subgroups_and_the_domain_have_their_sizes():
    truth, shares = simulated((20, 20, 20, 20), separation=3.0)
    evaluation = evaluation_of(truth, shares)
    patients = evaluation.patients.assign(is_outside_domain=pd.array([True] * 8 + [False] * 72, dtype="boolean"))
    patients["far_aspects"] = pd.array(["cells|embedding"] * 8 + [""] * 71 + [None], dtype="string")
    patients["has_other_scale"] = pd.array([True] * 3 + [False] * 76 + [None], dtype="boolean")
    table = pd.DataFrame({"age": [10.0, 30, 50, None] * 20, "sex": ["female", "male"] * 40, "scanner": ["A", "B"] * 40})
    found = validate(replace(evaluation, patients=patients, covariates=table), stated(GOOD))
    sizes = {(one.column, one.value): one.patients for one in found.subgroups}
    assert sizes["age", "(not given)"] == 20
    assert sizes["sex", "female"] == sizes["scanner", "A"] == 40
    assert (found.domain.outside.value, found.domain.outside.patients) == (0.1, 80)
    assert found.domain.aspects == {"its single cells": 8, "its embeddings": 8}
    assert found.domain.other_scale == 3


def test_a_validation_is_read_as_it_was_written(tmp_path):
    evaluation = evaluation_of(*simulated((10, 10, 10, 10)))
    found = validate(evaluation, stated(GOOD), TRAINING)
    path = found.save(tmp_path)
    assert Validation.load(tmp_path) == found
    path.write_text(path.read_text("utf-8")[:200], "utf-8")
    with pytest.raises(EvaluationUnreadable, match=r"validation\.json"):
        Validation.load(path)


def test_criteria_are_a_file_with_a_fingerprint_and_a_date(tmp_path):
    path = tmp_path / "criteria.toml"
    path.write_text('judged_by = "bound"\nsensitivity_at_least = 0.9\nmissed_at_most = { acute = 0.1 }\n', "utf-8")
    os.utime(path, (1e9, 1e9))
    read = StatedCriteria.read(path)
    assert read.changed.startswith("2001-09-09")
    assert read.of(TAXONOMY).missed_at_most == {"acute": 0.1}
    ours = StatedCriteria.read(None)
    assert ours.is_ours
    assert ours.of(TAXONOMY).missed_at_most == {}  # of a class that this model lacks
    assert "not the laboratory's" in ours.source
    for text, why in (
        ("sensitivity_at_least = 0.9", "judged_by"),
        ('judged_by = "bound"', "no limit"),
        ('judged_by = "bound"\nsensitivity_at_least = 90', "sensitivity_at_least"),
        ('judged_by = "bound"\nsensitivty_at_least = 0.9', "sensitivty_at_least"),
        ('judged_by = "bound"\nauroc_at_least = 0.9\nchoose_by = "best"', "choose_by"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(EvaluationRefused, match=why) as refused:
            StatedCriteria.read(path)
        assert "criteria.toml" in str(refused.value)
    path.write_text('judged_by = "bound"\nmissed_at_most = { aml = 0.1 }', "utf-8")
    with pytest.raises(EvaluationRefused, match="acute, mds"):
        StatedCriteria.read(path).of(TAXONOMY)


def test_images_of_another_stain_are_found_and_named():
    rng = np.random.default_rng(0)
    training = pd.DataFrame(rng.normal(1, 0.1, (60, len(TRAITS))), columns=list(TRAITS))
    images = fit_images(training, np.arange(60) % 3, np.zeros(60))
    same = pd.DataFrame(rng.normal(1, 0.1, (20, len(TRAITS))), columns=list(TRAITS))
    assert "No trait" in compare_images(images, same)[-1]
    other = same.assign(grain=same["grain"] + 1)
    share, named = compare_images(images, other)
    assert "1.00" in share
    assert "grain" in named
    assert "red" not in named
    assert len(compare_images(None, same)) == len(compare_images(images, same.iloc[:0])) == 1
