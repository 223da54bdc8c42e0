"""Fitting a calibration: what it finds, what it promises of new patients, and when it is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from napari_caltomorph.errors import CalibrationRefused
from napari_caltomorph.evaluation.calibrate import fit_calibration

SLUGS = ("aml", "mds", "mpn", "control")


def patients(rng, per_class, *, overconfident=1.0):
    """Gaussian classes as one fixed model sees them; if equally frequent, the temperature is `overconfident`."""
    classes = np.repeat(np.arange(len(per_class)), per_class)
    centres = 1.6 * np.eye(len(per_class))
    seen = centres[classes] + rng.normal(size=(len(classes), len(per_class)))
    return classes, softmax(overconfident * seen @ centres.T, axis=1)  # log p(x | c) up to a constant


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5, 6.0])
def test_the_temperature_is_recovered(temperature):
    classes, probabilities = patients(np.random.default_rng(0), (500,) * 4, overconfident=temperature)
    result = fit_calibration(classes, probabilities, SLUGS, source="simulated")
    assert result.temperature == pytest.approx(temperature, rel=0.12)


def test_new_patients_are_likelier_under_it():
    rng = np.random.default_rng(1)
    result = fit_calibration(*patients(rng, (80,) * 4, overconfident=3), SLUGS, source="simulated")
    classes, probabilities = patients(rng, (500,) * 4, overconfident=3)
    rows = np.arange(len(classes))
    raw = -log_softmax(np.log(probabilities), axis=1)[rows, classes].mean()
    assert -np.log(result.apply(probabilities)[rows, classes]).mean() < raw - 0.2


@pytest.mark.parametrize("alpha", [0.1, 0.2])
def test_of_each_class_at_least_1_minus_alpha_of_new_patients_have_it_in_their_set(alpha):
    sizes, rng = (120, 60, 29, 19), np.random.default_rng(2)
    test_classes, test_probabilities = patients(rng, (4000,) * 4, overconfident=3)
    # Classes may be more or less frequent among new patients: the promise is made for each of them.
    held = []
    for _ in range(150):
        fitted = fit_calibration(*patients(rng, sizes, overconfident=3), SLUGS, alpha=alpha, source="simulated")
        scores = 1 - fitted.apply(test_probabilities)
        limits = np.array([fitted.quantiles[slug] for slug in SLUGS])
        within = (scores <= limits)[np.arange(len(test_classes)), test_classes]
        held.append([within[test_classes == c].mean() for c in range(4)])
    exact = [np.ceil((n + 1) * (1 - alpha) - 1e-9) / (n + 1) for n in sizes]
    covered = np.mean(held, axis=0)
    assert (covered >= 1 - alpha - 0.02).all(), covered
    np.testing.assert_allclose(covered, exact, atol=0.03)


def test_the_quantile_is_the_score_of_that_rank():
    # Two classes: a temperature keeps the order of the scores, so the rank can be read from the raw ones.
    rng = np.random.default_rng(3)
    classes, probabilities = patients(rng, (180, 39), overconfident=2)
    result = fit_calibration(classes, probabilities, SLUGS[:2], source="simulated")
    own = 1 - result.apply(probabilities)[np.arange(len(classes)), classes]
    assert (own[classes == 1] <= result.quantiles["mds"] + 0.01).sum() in {36, 37}  # ceil(40 * 0.9) = 36
    assert result.patients == {"aml": 180, "mds": 39}


@pytest.mark.parametrize(("few", "has_claim"), [(0, False), (1, False), (8, False), (9, True)])
def test_a_small_class_gets_no_claim(few, has_claim):
    classes, probabilities = patients(np.random.default_rng(4), (100, 100, 100, 20), overconfident=2)
    kept = np.ones(len(classes), dtype=bool)
    kept[320 - 20 + few :] = False
    result = fit_calibration(classes[kept], probabilities[kept], SLUGS, source="simulated")  # 1 / 0.1 - 1 = 9
    assert (result.quantiles["control"] is not None) is has_claim
    assert result.without_claim == (() if has_claim else ("control",))
    assert result.patients["control"] == few


def test_fewer_than_200_patients_are_refused():
    classes, probabilities = patients(np.random.default_rng(5), (50, 50, 50, 49))
    with pytest.raises(CalibrationRefused, match=r"199 patients .* 200 are needed: set more aside"):
        fit_calibration(classes, probabilities, SLUGS, source="simulated")


def test_a_cohort_without_errors_does_not_give_a_temperature_of_zero():
    classes = np.repeat(np.arange(4), 60)
    probabilities = np.full((240, 4), 0.1)
    probabilities[np.arange(240), classes] = 0.7
    result = fit_calibration(classes, probabilities, SLUGS, source="simulated")
    assert result.temperature == pytest.approx(0.25, rel=0.01)


def test_a_true_class_of_probability_zero_is_survived():
    classes, probabilities = patients(np.random.default_rng(6), (100,) * 4, overconfident=2)
    probabilities[0] = [0, 1, 0, 0]
    result = fit_calibration(classes, probabilities, SLUGS, source="simulated")
    assert result.temperature > 2


def test_the_order_of_the_patients_hardly_matters():
    rng = np.random.default_rng(7)
    classes, probabilities = patients(rng, (100,) * 4, overconfident=2)
    shuffle = rng.permutation(400)
    one = fit_calibration(classes, probabilities, SLUGS, source="simulated")
    other = fit_calibration(classes[shuffle], probabilities[shuffle], SLUGS, source="simulated")
    assert one.temperature == pytest.approx(other.temperature)
    assert list(one.quantiles.values()) == pytest.approx(list(other.quantiles.values()), abs=0.02)
