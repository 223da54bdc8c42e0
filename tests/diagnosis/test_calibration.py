"""What a calibration does to one patient's probabilities, and which classes it excludes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from scipy.special import softmax

from napari_caltomorph.diagnosis import Ensemble, Prediction
from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.diagnosis.prediction_files import patient_row
from napari_caltomorph.errors import PredictionUnreadable
from napari_caltomorph.taxonomy import caltomorph_taxonomy

SLUGS = caltomorph_taxonomy().slugs
FITTED = Calibration(
    temperature=2.0,
    quantiles={slug: None if slug == "mpn" else 0.9 for slug in SLUGS},
    patients={slug: 3 if slug == "mpn" else 40 for slug in SLUGS},
    source="the calibration split of Clinic A",
)


def calibration(temperature=1.0, **quantiles):
    return Calibration(
        temperature=temperature,
        quantiles=quantiles,
        patients={slug: 0 if q is None else 50 for slug, q in quantiles.items()},
        source="the calibration split",
    )


temperatures = st.floats(0.05, 20)
shares = arrays(float, (3, 5), elements=st.floats(1e-6, 1)).map(lambda w: w / w.sum(axis=1, keepdims=True))


@given(shares, temperatures)
def test_it_is_the_softmax_of_the_tempered_logs(probabilities, temperature):
    expected = softmax(np.log(probabilities) / temperature, axis=-1)
    np.testing.assert_allclose(calibration(temperature).apply(probabilities), expected, atol=1e-12)


@given(shares, temperatures)
def test_the_most_probable_class_stays(probabilities, temperature):
    applied = calibration(temperature).apply(probabilities)
    best = probabilities.argmax(axis=1)
    assert (applied[np.arange(3), best] == applied.max(axis=1)).all()


@given(shares)
def test_temperature_one_changes_nothing(probabilities):
    np.testing.assert_allclose(calibration(1.0).apply(probabilities), probabilities, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.05, 1, 20])
def test_probabilities_of_zero_and_one_are_safe(temperature):
    extremes = np.array([[0.0, 1.0, 0.0], [5e-324, 1.0, 0.0], [1e-300, 0.5, 0.5]])
    applied = calibration(temperature).apply(extremes)
    np.testing.assert_allclose(applied.sum(axis=1), 1)
    assert applied[0].tolist() == [0, 1, 0]
    assert applied[1, 2] == 0


def test_the_set_holds_the_classes_within_their_quantiles():
    sets = calibration(aml=0.5, mds=0.9, control=0.2)
    assert sets.prediction_set(np.array([0.5, 0.3, 0.2]), ("aml", "mds", "control")) == ("aml", "mds")
    assert sets.prediction_set(np.array([0.2, 0.3, 0.5]), ("control", "mds", "aml")) == ("mds", "aml")


def test_a_set_may_be_empty():
    assert calibration(aml=0.1, mds=0.1).prediction_set(np.array([0.5, 0.5]), ("aml", "mds")) == ()


def test_a_class_without_a_claim_is_never_excluded():
    sets = calibration(aml=0.5, mpn=None)
    assert sets.without_claim == ("mpn",)
    assert sets.prediction_set(np.array([1.0, 0.0]), ("aml", "mpn")) == ("aml", "mpn")


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.0},
        {"temperature": float("inf")},
        {"alpha": 1.0},
        {"quantiles": {"aml": 1.5}},
        {"quantiles": {"mds": 0.5}},
        {"patients": {"aml": -1}},
        {"shift": 0.1},
    ],
)
def test_nonsense_is_refused(change):
    with pytest.raises(ValidationError):
        Calibration.model_validate(calibration(aml=0.5).model_dump() | change)


def test_it_comes_back_from_json():
    some = calibration(1.7, aml=0.1 + 0.2, mpn=None)
    assert Calibration.model_validate_json(some.model_dump_json()) == some


def test_a_calibrated_model_predicts_calibrated_and_keeps_its_members_raw(make_ensemble, make_features):
    raw = make_ensemble().predict(make_features())
    prediction = make_ensemble(calibration=FITTED).predict(make_features())
    np.testing.assert_array_equal(prediction.member_probabilities, raw.member_probabilities)
    assert (raw.calibrated, prediction.calibrated) == (False, True)
    assert prediction.probabilities.tolist() == FITTED.apply(raw.probabilities).tolist()
    assert prediction.predicted_class == raw.predicted_class
    np.testing.assert_array_equal(raw.shown_member_probabilities, raw.member_probabilities)
    np.testing.assert_array_equal(prediction.shown_member_probabilities, FITTED.apply(raw.member_probabilities))
    np.testing.assert_array_equal(prediction.alone, raw.alone)  # nothing was calibrated on bags of one cell
    assert prediction.malignancy == pytest.approx(prediction.probabilities[prediction.taxonomy.is_malignant].sum())


def test_the_set_of_a_prediction_is_that_of_its_calibrated_probabilities(make_ensemble, make_features):
    voted = np.zeros((3, 8))
    chosen = [SLUGS.index(slug) for slug in ("mds", "lymphoma", "healthy")]
    voted[:, chosen] = [0.5, 0.494, 0.006]
    raw = make_ensemble().predict(make_features()).model_copy(update={"member_probabilities": voted})
    assert raw.prediction_set is None
    assert raw.prediction_set_in_words is None
    calibrated = raw.model_copy(update={"calibration": FITTED})
    roots = np.sqrt([0.5, 0.494, 0.006])  # a temperature of 2; the last becomes 0.052, whose score exceeds 0.9
    assert calibrated.probabilities[chosen] == pytest.approx(roots / roots.sum())
    names = calibrated.taxonomy.names
    mds, lymphoma, mpn = (names[SLUGS.index(slug)] for slug in ("mds", "lymphoma", "mpn"))
    assert set(calibrated.prediction_set) == {mds, lymphoma, mpn}
    words = calibrated.prediction_set_in_words
    assert "at least 90 %" in words
    assert "on average over calibrations" in words
    assert f"{mds} (n = {FITTED.patients['mds']})" in words
    assert mpn in words.partition("; ")[2]


def test_a_patient_unlike_all_calibration_patients_has_an_empty_set(make_ensemble, make_features):
    strict = FITTED.model_copy(update={"quantiles": dict.fromkeys(SLUGS, 0.0)})
    prediction = make_ensemble(calibration=strict).predict(make_features())
    assert prediction.prediction_set == ()
    assert prediction.prediction_set_in_words.startswith("none")


def test_the_table_has_a_set_only_where_the_model_is_calibrated(make_ensemble, make_features):
    raw = patient_row(make_ensemble().predict(make_features()))
    prediction = make_ensemble(calibration=FITTED).predict(make_features())
    row = patient_row(prediction)
    assert set(row) == {*raw, "prediction_set"}
    assert row["prediction_set"].split("; ") == list(prediction.prediction_set)
    assert (raw["calibrated"], row["calibrated"]) == (False, True)


def test_a_calibrated_prediction_comes_back_whole(tmp_path, make_ensemble, make_features):
    prediction = make_ensemble(calibration=FITTED).predict(make_features())
    prediction.save(tmp_path / "prediction.json")
    assert Prediction.load(tmp_path) == prediction
    assert Prediction.load(tmp_path) != prediction.model_copy(update={"calibration": None})


def test_a_prediction_written_before_there_was_a_calibration_is_read(tmp_path, make_ensemble, make_features):
    prediction = make_ensemble().predict(make_features())
    old = json.loads(prediction.model_dump_json())
    del old["calibration"]
    (tmp_path / "prediction.json").write_text(json.dumps(old | {"calibrated": False}), "utf-8")
    assert Prediction.load(tmp_path) == prediction
    (tmp_path / "prediction.json").write_text(json.dumps(old | {"calibrated": True}), "utf-8")
    with pytest.raises(PredictionUnreadable, match="calibrated is not a field"):
        Prediction.load(tmp_path)


def test_a_calibration_is_part_of_the_fingerprint_and_not_of_the_seal(tmp_path, make_ensemble):
    saved = [make_ensemble(calibration=c).save(tmp_path / str(i)) for i, c in enumerate((None, FITTED))]
    raw, calibrated = (ensemble.description for ensemble in saved)
    assert raw.seal == calibrated.seal
    assert raw.fingerprint != calibrated.fingerprint
    assert Ensemble.load(tmp_path / "1").description == calibrated
    hotter = calibrated.model_copy(update={"calibration": FITTED.model_copy(update={"temperature": 2.5})})
    assert hotter.fingerprint != calibrated.fingerprint


def test_a_calibration_of_other_classes_is_refused(make_ensemble):
    with pytest.raises(ValidationError, match="calibration and taxonomy differ in"):
        make_ensemble(calibration=calibration(aml=0.5))


def test_the_card_describes_the_calibration(make_ensemble):
    card = model_card(make_ensemble(calibration=FITTED).description)
    assert "calibrated: temperature 2.00, fitted on 283 patients (the calibration split of Clinic A)" in card
    assert "at least 90 %" in card
    assert "guarantee for MPN: too few calibration patients" in card
    assert "not calibrated" not in card
