"""What supports and opposes a prediction: members, certainty, training domain, similar patients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from napari_caltomorph.diagnosis.domain import UNKNOWN
from napari_caltomorph.diagnosis.domain_fit import fit_domain
from napari_caltomorph.diagnosis.model_folder import TrainingPatients
from napari_caltomorph.errors import FeaturesRefused
from napari_caltomorph.explanation.trust import (
    NO_MODEL,
    NO_PATIENTS,
    HeldOutCertainty,
    available_trust,
    entropies,
    held_out_certainty,
    trust,
)

COUNT = 60


@pytest.fixture(scope="module")
def patients(make_features):
    marks = {seed: {"patient_id": f"p{seed}", "smear_fingerprint": f"{seed:064d}"} for seed in range(COUNT)}
    return [make_features(40, seed=seed, **mark) for seed, mark in marks.items()]


@pytest.fixture(scope="module")
def ensemble(make_ensemble, patients):
    """Three members that know 60 patients and who they were."""
    built = make_ensemble()
    outputs = [built.member_outputs(one) for one in patients]
    embeddings = np.stack([one.embeddings for one in outputs], axis=1)
    folds = np.arange(COUNT) % 3
    own_member = np.stack([one.probabilities[member] for one, member in zip(outputs, folds, strict=True)])
    slugs = built.description.taxonomy.slugs
    table = pd.DataFrame(
        {
            "patient_id": pd.array([one.patient_id for one in patients], dtype="string"),
            "coarse": pd.array([slugs[i % 8] for i in range(COUNT)], dtype="string"),
            "detailed": pd.array([None] * COUNT, dtype="string"),
            "hemoglobin_g_dl": [12.0] * COUNT,
            "fingerprint": pd.array([one.origin.smear_fingerprint for one in patients], dtype="string"),
            "fold": pd.array(folds, dtype="Int64"),
        }
        | {f"out_of_fold_p_{slug}": own_member[:, i] for i, slug in enumerate(slugs)}
    )
    domain = fit_domain([one.values for one in patients], embeddings, folds)
    return replace(built, patients=TrainingPatients(table, torch.tensor(embeddings)), domain=domain)


def statement(result, about):
    return next(one for one in result.statements if one.about == about)


def of_members(prediction, *rows):
    return prediction.model_copy(update={"member_probabilities": rows, "member_hemoglobin": None})


def rows_for(*classes, sure=0.86):
    rest = (1 - sure) / 7
    return [[sure if i == one else rest for i in range(8)] for one in classes]


def test_a_smear_with_its_model_has_every_statement(ensemble, make_features):
    features = make_features(60, seed=700)
    result = trust(ensemble.predict(features), ensemble, features)
    assert [one.about for one in result.statements] == [
        "Training cohort",
        "Members",
        "Certainty",
        "Probabilities",
        "Similar patients",
    ]
    assert result.similar is not None
    assert len(result.similar.patients) == 5
    assert "of the training patients" in statement(result, "Certainty").text
    assert all(one.text.endswith(".") for one in result.statements)


def test_outside_the_domain_is_one_warning(ensemble, make_features):
    features = make_features(values=make_features(60, seed=1).values + 3)
    result = trust(ensemble.predict(features), ensemble, features)
    assert statement(result, "Training cohort").is_warning
    assert sum("Unlike the training cohort" in one.text for one in result.statements) == 1


def test_other_warnings_of_the_prediction_are_passed_on(ensemble, make_features):
    features = make_features(20, seed=2)
    result = trust(ensemble.predict(features), ensemble, features)
    texts = [one.text for one in result.statements if one.is_warning]
    assert any(text.startswith("Only 20 cells") for text in texts)


def test_a_training_patient_warns_that_a_correct_prediction_proves_nothing(ensemble, patients):
    result = trust(ensemble.predict(patients[5]), ensemble, patients[5])
    similar = statement(result, "Similar patients")
    assert similar.is_warning
    assert "trained on this patient" in similar.text


def test_without_model_private_or_domain_one_sentence_states_it(ensemble, make_features):
    features = make_features(60, seed=3)
    prediction = replace(ensemble, domain=None).predict(features)
    assert statement(trust(prediction), "Similar patients").text == NO_MODEL
    bare = replace(ensemble, patients=None, domain=None)
    result = trust(prediction, bare, features)
    assert statement(result, "Similar patients").text == NO_PATIENTS
    assert statement(result, "Training cohort").text == UNKNOWN
    assert "not known" in statement(result, "Certainty").text
    assert not any(one.is_warning for one in result.statements)


def test_what_is_damaged_is_left_out_and_one_sentence_states_it(ensemble, make_features, tmp_path):
    features = make_features(60, seed=3)
    (tmp_path / "private").mkdir()  # of a model that was copied by hand
    damaged = replace(ensemble, patients=None, folder=tmp_path)

    def without_features():
        raise FeaturesRefused("The features were not kept.")

    prediction = ensemble.predict(features)
    result = available_trust(prediction, lambda: damaged, lambda: features)
    assert str(tmp_path / "private") in statement(result, "Similar patients").text
    result = available_trust(prediction, lambda: ensemble, without_features)
    assert "The features were not kept." in statement(result, "Similar patients").text


def test_members_that_agree_do_not_disagree(ensemble, make_features):
    prediction = of_members(ensemble.predict(make_features(60)), *rows_for(2, 2, 2))
    result = trust(prediction)
    assert result.agreeing_members == 3
    assert result.disagreement == pytest.approx(0, abs=1e-12)
    assert statement(result, "Members").text.startswith("All 3 members predict MDS")


def test_members_that_contradict_each_other_warn(ensemble, make_features):
    prediction = of_members(ensemble.predict(make_features(60)), *rows_for(0, 1, 2))
    result = trust(prediction)
    assert result.agreeing_members == 1
    assert result.disagreement > 0.2
    assert statement(result, "Members").is_warning


def test_entropy_is_between_certain_and_undecided():
    assert entropies(np.array([1.0, 0, 0, 0])) == 0
    assert entropies(np.full(4, 0.25)) == pytest.approx(1)
    halves = np.array([0.5, 0.5, 0, 0])
    assert entropies(halves) == pytest.approx(0.5)  # one bit of two


def test_held_out_patients_with_similar_entropy_show_how_often_it_was_correct():
    held_out = HeldOutCertainty(np.linspace(0, 1, 100), np.arange(100) < 50)
    assert held_out.correct_nearby(0.0) == (20, 20)
    assert held_out.correct_nearby(1.0) == (0, 20)
    assert held_out.share_as_uncertain(0.9) == pytest.approx(0.1)
    assert held_out.share_as_uncertain(-1) == 1


def test_held_out_certainty_is_of_the_members_that_were_not_trained_on_the_patient(ensemble, patients):
    taxonomy = ensemble.description.taxonomy
    held_out = held_out_certainty(ensemble.patients.table, taxonomy)
    assert held_out is not None
    own_member = [ensemble.member_outputs(one, (i % 3,)).probabilities[0] for i, one in enumerate(patients)]
    expected = sorted(float(entropies(one)) for one in own_member)
    assert held_out.entropies == pytest.approx(expected)
    assert held_out_certainty(ensemble.patients.table.iloc[:39], taxonomy) is None
    assert held_out_certainty(ensemble.patients.table[["patient_id", "coarse"]], taxonomy) is None
