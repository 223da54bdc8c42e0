"""Thresholds by rule: what they rest on, what they do elsewhere, and how a model keeps them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.factories import FAST, PROVENANCE, evaluation_of, predictions, simulated

from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.errors import EvaluationRefused, ModelRefused, OutputRefused
from napari_caltomorph.evaluation import evaluate
from napari_caltomorph.evaluation.decisions import (
    FdrAtMost,
    NoneMissed,
    SensitivityAtLeast,
    choose_threshold,
    rule_from,
    store_threshold,
)


def renamed(evaluation, prefix):
    """The same numbers, of other patients."""
    patients = evaluation.patients.assign(patient_id=[f"{prefix}{i}" for i in range(len(evaluation))])
    named = PROVENANCE.model_copy(update={"cohort_name": f"Clinic {prefix}"})
    return replace(evaluation, patients=patients, provenance=named)


@settings(deadline=None, max_examples=60)
@given(predictions(most=20), st.sampled_from([0.5, 0.8, 0.9, 1.0]))
def test_no_other_threshold_is_better_for_the_rule(predicted_patients, share):
    evaluation = evaluation_of(*predicted_patients)
    screened = evaluation.screened
    candidates = [*np.unique(screened.malignancy), 2.0]
    true, healthy = screened.is_malignant, screened.is_healthy_donor
    acute = screened.groups == "acute"

    def fdr(threshold, others):
        called = screened.malignancy >= threshold
        false, right = (called & others).sum(), (called & true).sum()
        return false / (false + right) if false + right else None

    for rule, holds, best in (
        (NoneMissed("acute"), lambda t: (screened.malignancy[acute] >= t).all(), max),
        (SensitivityAtLeast(share), lambda t: (screened.malignancy[true] >= t).mean() >= share - 1e-9, max),
        (FdrAtMost(1 - share), lambda t: (f := fdr(t, ~true)) is not None and f <= 1 - share + 1e-9, min),
        (
            FdrAtMost(1 - share, healthy=False),
            lambda t: (f := fdr(t, ~true & ~healthy)) is not None and f <= 1 - share + 1e-9,
            min,
        ),
    ):
        try:
            decision = choose_threshold(evaluation, rule)
        except EvaluationRefused:
            is_fdr = isinstance(rule, FdrAtMost)
            is_empty = not (acute if isinstance(rule, NoneMissed) else true).any()
            assert is_empty or (is_fdr and (true.all() or not any(holds(t) for t in candidates)))
            continue
        assert decision.threshold == pytest.approx(best(t for t in candidates if holds(t)))


def test_none_of_46_missed_still_allows_six_percent():
    truth, probabilities = simulated((46, 20, 30, 30))
    decision = choose_threshold(evaluation_of(truth, probabilities), NoneMissed("acute"))
    assert (decision.cases, decision.missed) == (46, 0)
    assert decision.miss_bound == pytest.approx(0.063, abs=0.001)
    assert decision.in_words == "no Acute leukemia missed; 0 of 46 were missed, which allows up to 6.3 % (95 %)"


def test_the_bound_holds_for_new_patients_although_these_chose_the_threshold():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        malignancy = rng.beta(5, 2, 30)
        probabilities = np.column_stack([malignancy, np.zeros(30), 1 - malignancy, np.zeros(30)])
        decision = choose_threshold(evaluation_of(["acute"] * 30, probabilities), SensitivityAtLeast(0.9))
        assert decision.missed == 3
        held.append((rng.beta(5, 2, 2000) < decision.threshold).mean() <= decision.miss_bound)
    assert np.mean(held) >= 0.92


def test_an_operating_point_reports_its_rates_on_another_cohort():
    here = evaluation_of(*simulated((46, 20, 30, 30)))
    there = renamed(evaluation_of(*simulated((20, 10, 10, 20), seed=5)), "B")
    decision = choose_threshold(here, SensitivityAtLeast(0.9))
    applied = decision.apply(there)
    assert applied.is_independent
    assert applied.point.sensitivity == there.at(decision.threshold).sensitivity
    threshold = decision.as_threshold(applied)
    assert threshold.value == decision.threshold
    assert threshold.cohort == "Clinic B"  # the provenance of `here`
    assert "sensitivity of at least 0.9; 6 of 66 were missed" in threshold.rule
    assert "on Clinic B, which did not choose it: sensitivity" in threshold.rule
    assert "30 not malignant: 20 healthy, 10 reactive" in threshold.rule
    assert "not tested on other patients" in decision.as_threshold().rule


def test_the_patients_that_chose_it_and_another_model_are_refused():
    here = evaluation_of(*simulated((10, 10, 10, 10)))
    decision = choose_threshold(here, NoneMissed("acute"))
    with pytest.raises(EvaluationRefused, match="the patients that chose"):
        decision.apply(here)
    other = PROVENANCE.model_copy(update={"model_fingerprint": "0" * 64})
    with pytest.raises(EvaluationRefused, match="another model"):
        decision.apply(replace(renamed(here, "B"), provenance=other))
    some = renamed(here, "B")
    patients = some.patients.assign(patient_id=["P000", *some.patients["patient_id"][1:]])
    applied = decision.apply(replace(some, patients=patients))
    assert (applied.shared, applied.is_independent) == (1, False)
    assert "of which 1 patients chose it too" in applied.in_words


def test_single_members_that_chose_it_are_named():
    options = FAST.model_copy(update={"out_of_fold": True})
    decision = choose_threshold(evaluation_of(*simulated((5, 5, 5, 5)), options=options), NoneMissed("acute"))
    assert "by single members out of fold and not by the ensemble" in decision.in_words


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("none-missed", NoneMissed("acute_leukemia")),
        ("none-missed=mds", NoneMissed("mds")),
        ("sensitivity=0.99", SensitivityAtLeast(0.99)),
        ("fdr=0.1", FdrAtMost(0.1)),
        ("fdr-without-healthy=0.1", FdrAtMost(0.1, healthy=False)),
    ],
)
def test_rules_are_read_from_words(text, rule):
    assert rule_from(text) == rule


@pytest.mark.parametrize("text", ["", "youden", "sensitivity", "sensitivity=2", "fdr=low", "fdr=nan"])
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(EvaluationRefused, match="is no rule"):
        rule_from(text)


def test_no_patient_to_choose_by_is_refused():
    healthy = evaluation_of(["healthy"] * 3, np.full((3, 4), 0.25))
    for rule in (NoneMissed("acute"), SensitivityAtLeast(0.9), FdrAtMost(0.1)):
        with pytest.raises(EvaluationRefused):
            choose_threshold(healthy, rule)


def test_a_model_keeps_the_threshold_and_stays_sealed(trained, tmp_path):
    ensemble = Ensemble.load(trained.model)
    folder = tmp_path / "model"
    ensemble.save(folder)
    before = (folder / "fold_0.safetensors").read_bytes()
    out_of_fold = FAST.model_copy(update={"split": "train", "out_of_fold": True})
    chosen_on = evaluate(ensemble, trained.cohort, trained.features, out_of_fold)
    decision = choose_threshold(chosen_on, SensitivityAtLeast(0.8))
    applied = decision.apply(evaluate(ensemble, trained.cohort, trained.features, FAST))
    store_threshold(folder, decision, applied)
    again = Ensemble.load(folder)
    assert again.description.threshold == decision.as_threshold(applied)
    assert again.description.fingerprint == ensemble.description.fingerprint
    assert (folder / "fold_0.safetensors").read_bytes() == before
    assert "sensitivity of at least 0.8" in (folder / "README.md").read_text()
    result = evaluate(
        Ensemble.load(folder), trained.cohort, trained.features, FAST
    )  # the exported copy has no private/
    assert result.provenance.threshold.value == decision.threshold
    by_hand = evaluate(ensemble, trained.cohort, trained.features, FAST.model_copy(update={"threshold": 0.3}))
    assert (by_hand.provenance.threshold.value, by_hand.provenance.threshold.rule) == (0.3, "given by the user")


def test_another_model_does_not_take_it_and_a_locked_folder_stays_as_it_was(trained, tmp_path, monkeypatch):
    decision = choose_threshold(evaluation_of(*simulated((5, 5, 5, 5))), NoneMissed("acute"))
    before = (trained.model / "model.json").read_bytes()
    with pytest.raises(ModelRefused, match="not the model"):
        store_threshold(trained.model, decision)
    chosen_on = evaluate(Ensemble.load(trained.model), trained.cohort, trained.features, FAST)
    decision = choose_threshold(chosen_on, SensitivityAtLeast(0.8))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OutputRefused, match="No space left"):
        store_threshold(trained.model, decision)
    assert (trained.model / "model.json").read_bytes() == before
