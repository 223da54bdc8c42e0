"""Intervals of hemoglobin contain low measured values as often as others, whatever the estimates are drawn to."""

from __future__ import annotations

import numpy as np
import pytest

from napari_caltomorph.diagnosis.hemoglobin_error import ErrorBand, ErrorInterval
from napari_caltomorph.evaluation.hemoglobin_error import fit_error_interval

FOLDS = 5


def drawn_to_the_mean(patients: int, seed: int, *, sick: float = 0.65) -> tuple[np.ndarray, np.ndarray]:
    """Measured hemoglobin, and estimates of it that see little of low values: r is 0.7."""
    rng = np.random.default_rng(seed)
    is_sick = rng.random(patients) < sick
    measured = np.where(is_sick, rng.normal(9.6, 2.1, patients), rng.normal(13.8, 1.3, patients)).clip(3.5, 18)
    seen = measured + rng.normal(0, 2.5, patients) * np.where(measured < 9, 1.8, 1)
    return measured, 11 + 0.45 * (seen - 11)


def contained(error: ErrorInterval, measured: np.ndarray, estimated: np.ndarray) -> np.ndarray:
    low, high = np.array([error.around(one) for one in estimated]).T
    return (low <= measured) & (measured <= high)


def test_each_band_of_measured_values_is_covered_on_average_where_one_interval_for_all_fails():
    measured, estimated = drawn_to_the_mean(4000, seed=1)
    bands = [measured < 8, (measured >= 8) & (measured < 10), measured >= 10]
    shares, same_for_all = [], []
    for seed in range(10):
        known = drawn_to_the_mean(205, seed=100 + seed)
        error = fit_error_interval(*known, np.arange(205) % FOLDS)
        is_in = contained(error, measured, estimated)
        constant = contained(error.model_copy(update={"bands": ()}), measured, estimated)
        shares.append([is_in[band].mean() for band in bands])
        same_for_all.append(constant[bands[0]].mean())
    assert np.mean(same_for_all) < 0.8
    assert np.mean(shares, axis=0).min() > 0.89
    low, high = np.array([error.around(one) for one in estimated]).T
    assert (high - low).mean() < 1.5 * (error.high - error.low)


def test_coverage_is_counted_in_intervals_that_other_folds_set():
    measured, estimated = drawn_to_the_mean(120, seed=3)
    folds = np.arange(120) % FOLDS
    error = fit_error_interval(measured, estimated, folds)
    expected = np.zeros(3, int)
    for fold in range(FOLDS):
        mine = folds == fold
        others = fit_error_interval(measured[~mine], estimated[~mine], folds[~mine])
        is_in = contained(others, measured[mine], estimated[mine])
        expected += np.bincount(np.digitize(measured[mine], [8, 10])[is_in], minlength=3)
    assert [band.covered for band in error.bands] == expected.tolist()
    assert sum(band.patients for band in error.bands) == error.patients == 120
    alone = fit_error_interval(measured, estimated, np.zeros(120, int))
    assert [band.covered for band in alone.bands] == [None] * 3


def test_bounds_are_ranks_of_n_plus_one_and_a_small_band_is_joined_with_its_neighbour():
    measured = np.concatenate([np.full(4, 7.0), np.linspace(8, 9.9, 20), np.linspace(10, 15, 39)])
    rng = np.random.default_rng(0)
    estimated = measured + rng.normal(size=63)
    severe, middle, rest = fit_error_interval(measured, estimated, np.arange(63) % FOLDS).bands
    assert (severe.patients, middle.patients, rest.patients) == (4, 20, 39)
    assert (severe.low, severe.high) == (middle.low, middle.high)
    errors = np.sort((measured - estimated)[measured >= 10])
    assert (rest.low, rest.high) == pytest.approx((errors[1], errors[-2]), abs=0.011)
    assert rest.low <= errors[1] <= errors[-2] <= rest.high


def test_too_few_patients_make_no_interval():
    measured = np.r_[np.linspace(6, 14, 19), np.nan]
    folds = np.arange(20) % FOLDS
    assert fit_error_interval(measured, np.full(20, 10.0), folds).patients == 19
    assert fit_error_interval(measured[1:], np.full(19, 10.0), folds[1:]) is None
    assert fit_error_interval(np.full(20, np.nan), np.full(20, 10.0), folds) is None


def test_an_interval_contains_its_estimate_and_crosses_no_band_that_is_excluded():
    def band(start, end, low, high):
        return ErrorBand(start=start, end=end, low=low, high=high, patients=30)

    bands = (band(None, 8, -4, -1), band(8, 10, -2, 1), band(10, None, -1, 2))
    error = ErrorInterval(level=0.9, low=-3, high=2, patients=90, bands=bands)
    assert error.around(11.5) == (7.5, 13.5)  # below 8: 7.5 is allowed
    assert error.around(14) == (13, 16)
    assert error.around(6) == (2, 6)  # of the lowest band only 2 to 5 is allowed
    assert error.around(30) == (29, 32)
    assert ErrorInterval(level=0.9, low=-3, high=2, patients=90).around(11.5) == (8.5, 13.5)
