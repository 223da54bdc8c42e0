"""Counts corrected for a classifier's errors, against the same posterior computed another way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

from napari_caltomorph.differential.corrected_count import (
    _PRIOR_CELLS,
    DRAWS,
    corrected_counts,
    correlation_within_patients,
)


@settings(max_examples=10)
@given(st.lists(st.integers(0, 60), min_size=3, max_size=3), st.integers(0, 5))
def test_the_number_of_cells_stays_the_same(called, seed):
    drawn = corrected_counts(np.array(called), np.diag([9, 9, 9]) + 1, 0.1, seed=seed)
    assert drawn.shape == (DRAWS, 3)
    assert (drawn >= 0).all()
    assert (drawn.sum(axis=1) == sum(called)).all()


def test_the_same_seed_gives_the_same_samples():
    arguments = np.array([30, 10]), np.array([[40, 10], [5, 45]]), 0.0
    np.testing.assert_array_equal(corrected_counts(*arguments), corrected_counts(*arguments))


def test_a_perfect_classifier_needs_no_correction():
    drawn = corrected_counts(np.array([70, 20, 10]), np.diag([10**6] * 3), 0.0)
    assert np.abs(drawn.mean(axis=0) - [70, 20, 10]).max() < 0.1


def test_two_types_as_summed_over_all_possibilities():
    called, confusion = np.array([18, 12]), np.array([[40, 10], [8, 32]])
    exact = _posterior_of_first(called, confusion)
    drawn = corrected_counts(called, confusion, 0.0)[:, 0]
    counts = np.arange(len(exact))
    assert drawn.mean() == pytest.approx(counts @ exact, abs=0.4)
    assert drawn.std() == pytest.approx(np.sqrt(counts**2 @ exact - (counts @ exact) ** 2), rel=0.1)


def test_a_patient_unlike_others_makes_the_count_less_sure():
    arguments = np.array([60, 40]), np.array([[900, 100], [50, 950]])
    spreads = [corrected_counts(*arguments, correlation)[:, 0].std() for correlation in (0.0, 0.05, 0.2)]
    assert spreads[0] < spreads[1] < spreads[2]


def test_a_type_that_is_never_called_stays_as_rare_as_it_was_among_labelled_cells():
    confusion = np.array([[90, 10, 0], [10, 90, 0], [2, 2, 0]])  # the third is always called one of the others
    drawn = corrected_counts(np.array([50, 50, 0]), confusion, 0.0)
    assert drawn[:, 2].mean() < 15


def test_patients_that_do_not_differ_have_no_correlation():
    rng = np.random.default_rng(0)
    true, patients = np.repeat([0, 1], 400), np.tile(np.arange(8), 100)
    called = np.where(rng.random(800) < 0.8, true, 1 - true)
    assert correlation_within_patients(true, called, patients, 2) == pytest.approx(0, abs=0.03)


def test_patients_that_are_called_all_or_nothing_have_correlation_one():
    true, patients = np.zeros(80, int), np.repeat(np.arange(8), 10)
    assert correlation_within_patients(true, patients % 2, patients, 2) == pytest.approx(1, abs=1e-9)


def test_the_correlation_that_was_put_in_is_found():
    rng = np.random.default_rng(1)
    rates = rng.beta(0.7 * 4, 0.3 * 4, size=200)  # correlation 1 / (1 + 4)
    patients = np.repeat(np.arange(200), 30)
    called = (rng.random(6000) > rates[patients]).astype(int)
    assert correlation_within_patients(np.zeros(6000, int), called, patients, 2) == pytest.approx(0.2, abs=0.04)


def test_with_one_patient_the_correlation_is_unknown():
    assert correlation_within_patients(np.zeros(5, int), np.zeros(5, int), np.zeros(5, int), 2) is None


def _posterior_of_first(called, confusion):
    """(n + 1,) probabilities of the number of the first type, by summation instead of sampling.

    Of t true ones, i are called right; the shares and each row integrate to beta-binomial distributions.
    """
    n = int(called.sum())
    size = confusion.sum(axis=1) + 1.0
    prior = _PRIOR_CELLS * size / size.sum()
    (a, b), (c, d) = confusion + 0.5
    result = np.zeros(n + 1)
    for true in range(n + 1):
        for right in range(max(0, true - called[1]), min(true, called[0]) + 1):
            result[true] += (
                betabinom.pmf(true, n, *prior)
                * betabinom.pmf(right, true, a, b)
                * betabinom.pmf(called[0] - right, n - true, c, d)
            )
    return result / result.sum()
