"""Errors and correlations against scikit-learn and by hand, and whether their intervals contain the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr
from sklearn.metrics import (
    mean_absolute_error,
    root_mean_squared_error,
)

from napari_caltomorph.statistics import Interval, hemoglobin_metrics
from napari_caltomorph.statistics.interval import quantile, root_mean_square
from napari_caltomorph.statistics.regression import spearman, within_class_correlation

hemoglobin = arrays(float, st.integers(3, 40), elements=st.floats(4, 18))


@settings(deadline=None, max_examples=40)
@given(hemoglobin, st.integers(0, 2**31))
def test_hemoglobin_is_evaluated_as_by_scikit_learn(measured, seed):
    predicted = measured + np.random.default_rng(seed).normal(0.3, 1.0, len(measured))
    result = hemoglobin_metrics(measured, predicted)
    assert result["mae"].value == pytest.approx(mean_absolute_error(measured, predicted))
    assert result["rmse"].value == pytest.approx(root_mean_squared_error(measured, predicted))
    assert result["bias"].value == pytest.approx(np.mean(predicted - measured))
    if "pearson_r" in result:
        assert result["pearson_r"].value == pytest.approx(np.corrcoef(measured, predicted)[0, 1], abs=1e-6)
    else:
        assert np.ptp(measured) < 1e-9


def test_hemoglobin_intervals_are_those_of_an_explicit_loop():
    rng = np.random.default_rng(0)
    measured = rng.normal(10, 2, 200)
    predicted = 10 + 0.7 * (measured - 10) + rng.normal(0.2, 1, 200)
    result = hemoglobin_metrics(measured, predicted)
    rows = [rng.integers(200, size=200) for _ in range(2000)]
    by_hand = {
        "bias": [np.mean(predicted[r] - measured[r]) for r in rows],
        "mae": [np.mean(np.abs(predicted[r] - measured[r])) for r in rows],
        "pearson_r": [np.corrcoef(predicted[r], measured[r])[0, 1] for r in rows],
    }
    for name, values in by_hand.items():
        assert (result[name].low, result[name].high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.03)


@pytest.mark.parametrize("patients", [19, 40])
def test_nine_of_ten_other_patients_err_between_the_quantiles(patients):
    rng = np.random.default_rng(patients)
    others = rng.normal(size=5_000)
    shares = []
    for _ in range(300):
        result = hemoglobin_metrics(rng.normal(size=patients), np.zeros(patients))
        low, high = result["error_low"].value, result["error_high"].value
        shares.append(((others >= low) & (others <= high)).mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.015)


@pytest.mark.parametrize("patients", [12, 40])
@pytest.mark.parametrize("draw", [np.random.Generator.standard_normal, np.random.Generator.laplace])
def test_the_interval_of_the_root_mean_square_holds_the_truth(patients, draw):
    errors = [draw(np.random.default_rng(seed), size=patients) for seed in range(400)]
    truth = 1 if draw is np.random.Generator.standard_normal else np.sqrt(2)
    found = [root_mean_square(one) for one in errors]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.92
    assert root_mean_square(np.ones(patients)) == Interval(1.0)


def test_quantiles_have_an_interval_from_72_patients_on():
    rng, held = np.random.default_rng(0), []
    assert quantile(rng.normal(size=71), 0.05).low is None
    for _ in range(400):
        one = quantile(rng.uniform(size=72), 0.95)
        held.append(one.low <= 0.95 <= one.high)
    assert np.mean(held) >= 0.94


def test_patients_without_hemoglobin_are_left_out():
    measured, predicted = np.array([8.0, np.nan, 10.0, 12.0, 9.0]), np.array([9.0, 9.0, 11.0, 13.0, np.nan])
    result = hemoglobin_metrics(measured, predicted)
    assert result["bias"] == Interval(1.0)  # the same error in all
    assert result["pearson_r"].value == pytest.approx(1.0)
    assert hemoglobin_metrics(measured[:3], predicted[:3]) == {}


def test_hemoglobin_that_does_not_vary_has_no_correlation():
    result = hemoglobin_metrics(np.array([9.0, 10.0, 11.0]), np.full(3, 10.0))
    assert "pearson_r" not in result
    assert result["mae"].value == pytest.approx(2 / 3)


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
def test_the_interval_of_spearmans_r_holds_the_truth(patients):
    true = 6 / np.pi * np.arcsin(0.6 / 2)  # of two normal variables with Pearson's r = 0.6
    rng, held = np.random.default_rng(patients), []
    for _ in range(400):
        r = spearman(*rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], patients).T)
        held.append(r.low <= true <= r.high)
    assert 0.92 <= np.mean(held) <= 0.99
