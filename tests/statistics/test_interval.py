"""Closed intervals of shares contain the truth as often as they claim; the reliability diagram."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from napari_caltomorph.statistics.interval import Interval, false_discovery_rate, mean, proportion, share_upper_bound
from napari_caltomorph.statistics.reliability import reliability


@pytest.mark.parametrize("patients", [12, 22, 46])
def test_wilson_intervals_hold_the_truth_in_92_to_99_of_100_cohorts(patients):
    for share in (0.5, 0.7, 0.8, 0.9):
        held = 0.0
        for right in range(patients + 1):
            result = proportion(right, patients)
            held += binom.pmf(right, patients, share) * (result.low <= share <= result.high)
        assert 0.92 <= held <= 0.99, (patients, share, held)


def test_the_interval_of_a_mean_holds_the_truth_on_few_patients():
    rng, strata = np.random.default_rng(0), np.repeat([0, 1], 12)
    results = [mean(rng.gamma(4, size=24) + 3 * strata, strata, least=0.0) for _ in range(600)]
    assert 0.92 <= np.mean([one.low <= 5.5 <= one.high for one in results]) <= 0.98
    assert max(one.high - one.low for one in results) < 4  # the strata's distance is no spread


def test_a_mean_has_no_bounds_where_nothing_differs_and_none_below_the_least():
    assert mean(np.array([2.0]), np.array([0])) == Interval(2.0)
    assert mean(np.array([1.0, 1.0, 4.0, 4.0]), np.array([0, 0, 1, 1])) == Interval(2.5)
    assert mean(np.array([0.1, 3.0]), np.array([0, 0]), least=0.0).low == 0
    apart = mean(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 2]))  # strata of one patient are one stratum
    assert apart.low < 1 < 3 < apart.high


def test_none_missed_of_46_still_allows_six_percent():
    assert share_upper_bound(0, 46) == pytest.approx(1 - 0.05 ** (1 / 46))
    assert 0.06 < share_upper_bound(0, 46) < 3 / 46
    assert share_upper_bound(0, 0) == share_upper_bound(5, 5) == 1.0
    rng = np.random.default_rng(0)
    held = [share_upper_bound(int(rng.binomial(46, 0.1)), 46) >= 0.1 for _ in range(2000)]
    assert np.mean(held) >= 0.94


def test_the_interval_of_a_false_discovery_rate_holds_the_truth_in_90_to_99_of_100_cohorts():
    patients, prevalence = 25, 0.1
    for alarms, sensitivity in ((0.01, 0.95), (0.2, 0.7)):
        true = (1 - prevalence) * alarms / ((1 - prevalence) * alarms + prevalence * sensitivity)
        held = 0.0
        for called in range(12):
            for found in range(10, patients + 1):
                likely = binom.pmf(called, patients, alarms) * binom.pmf(found, patients, sensitivity)
                if likely > 1e-4:
                    rate = false_discovery_rate((called, patients), (found, patients), prevalence)
                    held += likely * (rate.low <= true <= rate.high)
        assert 0.9 <= held <= 0.995, (alarms, held)


def test_no_false_alarm_among_few_is_no_false_discovery_rate_of_zero():
    few, many = (false_discovery_rate((0, n), (n, n), 0.1) for n in (25, 1000))
    assert few.value == few.low == 0
    assert few.high > 0.3 > 0.05 > many.high
    none_found = false_discovery_rate((3, 25), (0, 25), 0.1)
    assert (none_found.value, none_found.high) == (1, 1)
    assert none_found.low < 1
    assert false_discovery_rate((0, 25), (0, 25), 0.1) is None
    assert false_discovery_rate((3, 25), (20, 25), 1.0).high is None


def test_a_calibrated_model_is_within_chance_and_a_boaster_is_not():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 150)
    calibrated = [reliability(confidence, rng.random(150) < confidence, resamples=200, seed=s) for s in range(100)]
    assert np.mean([one.ece <= one.chance.high for one in calibrated]) > 0.9
    boaster = reliability(np.full(150, 0.95), rng.random(150) < 0.6, resamples=200)
    assert boaster.chance.value < boaster.chance.high < boaster.ece
    assert reliability(confidence, confidence > 0.5, resamples=0).chance is None
    assert reliability(np.empty(0), np.empty(0, bool)) is None
