"""A stated prevalence moves the odds malignant : not malignant of what is shown, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from tests.diagnosis.factories import RECORD

from napari_caltomorph.diagnosis import Prediction, PredictOptions, Prevalence
from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.elsewhere import Estimate
from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.diagnosis.training_record import OutOfFold
from napari_caltomorph.errors import ModelRefused
from napari_caltomorph.explanation.changed_bags import what_if
from napari_caltomorph.explanation.trust import trust

ALL = {"healthy": 60, "reactive_changes": 20, "acute_leukemia": 12, "mds": 8}


def model(make_ensemble, *, options=None, prior_shift=True, patients=None, **changes):
    ensemble = make_ensemble()
    training = ensemble.description.training.model_copy(
        update={
            "options": {"balance": "weights"} if options is None else options,
            "prior_shift": prior_shift,
            "patients": ALL if patients is None else patients,
        }
    )
    return make_ensemble(training=training, **changes)


@pytest.fixture
def prediction(make_ensemble, make_features):
    return model(make_ensemble).predict(make_features())


def odds(share):
    return share / (1 - share)


def test_moved_probabilities_are_bayes_rule_with_the_other_shares():
    rng = np.random.default_rng(0)
    likelihood, shares = rng.uniform(size=(50, 4)), np.array([0.5, 0.3, 0.12, 0.08])  # p(smear | class), p(class)
    is_malignant = np.array([False, False, True, True])
    others = np.where(is_malignant, shares * 0.45 / 0.2, shares * 0.55 / 0.8)
    trained, expected = (likelihood * s / (likelihood * s).sum(axis=1, keepdims=True) for s in (shares, others))
    assert Prevalence(trained=0.2, stated=0.45).move(trained, is_malignant) == pytest.approx(expected)
    assert np.array_equal(Prevalence(trained=0.2).move(trained, is_malignant), trained)


@pytest.mark.parametrize("stated", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_prevalence_is_between_0_and_1_without_both(prediction, stated):
    with pytest.raises(ValidationError):
        PredictOptions(prevalence=stated)
    with pytest.raises(ValueError, match="stated"):
        prediction.at_prevalence(stated)


def test_odds_move_classes_of_a_side_keep_their_ratio_and_members_stay(prediction):
    moved = prediction.at_prevalence(0.02)
    factor = odds(0.02) / odds(0.2)
    assert odds(moved.malignancy) == pytest.approx(factor * odds(prediction.malignancy))
    for side in (prediction.taxonomy.is_malignant, ~prediction.taxonomy.is_malignant):
        ratio = moved.probabilities[side] / prediction.probabilities[side]
        assert ratio == pytest.approx(ratio[0])
    assert moved.shown_member_probabilities.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(moved.member_probabilities, prediction.member_probabilities)
    assert "20 %" in prediction.malignancy_in_words
    assert "2 %" in moved.malignancy_in_words
    assert "only the shares differ" in moved.probabilities_in_words
    assert moved.at_prevalence(None) == prediction


def test_a_moved_prediction_comes_back_from_its_file(prediction, tmp_path):
    moved = prediction.at_prevalence(0.02)
    moved.save(tmp_path / "prediction.json")
    assert Prediction.load(tmp_path).malignancy == moved.malignancy


def test_a_chosen_threshold_calls_the_same_patients_and_the_default_does_not(prediction):
    at = prediction.malignancy  # exactly at the threshold: no rounding may take the patient to the other side
    chosen = prediction.model_copy(update={"threshold": Threshold(value=at, rule="fdr=0.1", cohort="Clinic A")})
    for stated in (0.001, 0.1, 0.5, 0.999):
        moved = chosen.at_prevalence(stated)
        assert moved.is_malignant
        assert odds(moved.shown_threshold.value) == pytest.approx(odds(at) * odds(stated) / odds(0.2))
        assert f"{at:.3g}" in moved.shown_threshold.in_words
        default = prediction.at_prevalence(stated)
        assert default.shown_threshold.value == 0.5
        assert default.is_malignant == (default.malignancy >= 0.5)


def test_the_prediction_set_is_that_of_the_training_prevalence(prediction):
    slugs = prediction.taxonomy.slugs
    cut = float(np.median(1 - prediction.probabilities))
    calibration = Calibration(
        temperature=1.0, quantiles=dict.fromkeys(slugs, cut), patients=dict.fromkeys(slugs, 30), source="Clinic A"
    )
    calibrated = prediction.model_copy(update={"calibration": calibration})
    assert 0 < len(calibrated.prediction_set) < len(slugs)
    assert calibrated.at_prevalence(0.999).prediction_set == calibrated.prediction_set


def test_what_if_and_trust_are_at_the_stated_prevalence_too(make_ensemble, make_features):
    ensemble, features = model(make_ensemble), make_features()
    moved = ensemble.predict(features).at_prevalence(1e-6)
    result = what_if(ensemble, moved, features, [0, 1, 2])
    assert result.prevalence == moved.prevalence
    assert result.malignancy < 1e-3
    assert result.at_prevalence(0.5).original.prevalence.stated == 0.5
    with pytest.raises(ValidationError, match="another prevalence"):
        result.model_copy(update={"prevalence": Prevalence(trained=0.2)})
    winner = moved.probabilities.argmax()  # no malignant class can win any more, of the mean or of a member
    assert trust(moved).agreeing_members == (moved.shown_member_probabilities.argmax(axis=1) == winner).sum() > 0
    assert not (moved.member_probabilities.argmax(axis=1) == winner).any()
    said = {one.about: one.text for one in trust(moved).statements}
    assert "at the training prevalence, 20 %" in said["Members"]
    assert f"{trust(moved).entropy:.2f} at the stated prevalence" in said["Certainty"]
    assert trust(moved.at_prevalence(None)).members_hold == ""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Prevalence(trained=0.2)),
        ({"options": {"balance": "none"}, "prior_shift": False}, Prevalence(trained=0.2)),
        # Balanced by an earlier version: 6 of the 8 classes are malignant
        ({"prior_shift": False}, Prevalence(trained=0.75, of_equal_classes=True)),
        ({"options": {}, "prior_shift": False}, None),
        ({"patients": {}}, None),
        ({"patients": {"mds": 9}}, None),
    ],
)
def test_where_probabilities_hold_is_read_from_the_description(make_ensemble, make_features, changes, expected):
    ensemble = model(make_ensemble, **changes)
    assert ensemble.description.prevalence == expected
    assert ensemble.predict(make_features()).prevalence == expected
    card = model_card(ensemble.description)
    if expected is None:
        assert "does not record the prevalence" in card
        with pytest.raises(ModelRefused, match=r"^tiny .*without a prevalence"):
            ensemble.description.prevalence_at(0.1)
        with pytest.raises(ModelRefused, match=r"^patient "):
            ensemble.predict(make_features()).at_prevalence(0.1)
        assert ensemble.predict(make_features()).at_prevalence(None) == ensemble.predict(make_features())
    else:
        assert f"{100 * expected.trained:g} % malignant" in card
        assert ("equally common" in card) == expected.of_equal_classes
        assert "only the shares differ" in card
        assert ensemble.description.prevalence_at(0.1) == expected.at(0.1)


@pytest.mark.parametrize(("low", "high", "said"), [(-0.1, -0.02, "low"), (0.02, 0.1, "high"), (-0.1, 0.02, "")])
def test_malignancy_that_is_wrong_on_average_is_said(low, high, said):
    bias = Estimate(value=(low + high) / 2, low=low, high=high)
    record = RECORD.model_copy(update={"out_of_fold": OutOfFold(pooled={"malignancy_bias": bias})})
    assert bool(record.biased) == bool(said)
    assert f"too {said}" in "".join(record.remarks) or not said
