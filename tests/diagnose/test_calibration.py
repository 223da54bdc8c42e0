"""What a calibration does to one patient's probabilities, and which classes it excludes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from scipy.special import softmax

from napari_caltomorph.diagnose.calibration import Calibration


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
