"""What must hold for charts of values that come one after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_caltomorph.statistics.drift import WINDOW, chart_categories, chart_numbers, number_limit

REFERENCE, RATE, LENGTH, SERIES = 30, 0.001, 90, 300
DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(size=n),
    "many ties": lambda rng, n: rng.poisson(1, size=n).astype(float),
    "two values": lambda rng, n: (rng.random(n) < 0.3).astype(float),
    # Each series has its own level, as its reference has: exchangeable, and not independent
    "of another laboratory each": lambda rng, n: rng.normal(size=n) + 5 * rng.normal(),
}


def most(rate: float) -> float:
    """The number of alarms that a rate which holds exceeds in one of some thousand tests."""
    mean = SERIES * LENGTH * rate
    return mean + 3.3 * np.sqrt(mean)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_alarms_without_drift_are_no_more_than_stated(name: str) -> None:
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(SERIES):
        values = DISTRIBUTIONS[name](rng, REFERENCE + LENGTH)
        alarms += chart_numbers(values[REFERENCE:], values[:REFERENCE], RATE).alarm is not None
    assert alarms <= most(RATE)


def test_alarms_of_categories_without_drift_are_no_more_than_stated() -> None:
    rng, alarms = np.random.default_rng(6), 0
    for _ in range(SERIES // 3):
        values = rng.choice(5, p=(0.5, 0.3, 0.15, 0.04, 0.01), size=REFERENCE + LENGTH)
        alarms += chart_categories(values[REFERENCE:], values[:REFERENCE], RATE).alarm is not None
    assert alarms <= most(RATE) / 3 + 3


@pytest.mark.parametrize(("shift", "within", "direction"), [(1.5, 40, "risen"), (-1.5, 40, "fallen"), (3, 15, "risen")])
def test_a_shift_is_found_within_a_few_patients_and_dated(shift: float, within: int, direction: str) -> None:
    rng, found = np.random.default_rng(7), []
    for _ in range(30):
        values = rng.normal(size=REFERENCE + 120)
        values[REFERENCE + 30 :] += shift
        found.append(chart_numbers(values[REFERENCE:], values[:REFERENCE], RATE))
    delays = [one.alarm - 30 for one in found if one.alarm is not None and one.alarm >= 30]
    assert len(delays) >= 24
    assert np.median(delays) <= within
    late = [one for one in found if one.alarm is not None and one.alarm >= 30]
    assert all(one.direction == direction for one in late)
    assert abs(np.median([one.start - 30 for one in late])) <= 8


def test_a_changed_mix_is_found_in_the_first_window_of_it() -> None:
    rng = np.random.default_rng(8)
    before, after = rng.choice(4, size=60 + WINDOW), rng.choice(4, p=(0.9, 0.1, 0, 0), size=WINDOW + 5)
    found = chart_categories(np.concatenate([before[60:], after]), before[:60], RATE)
    assert (found.start, found.alarm, found.direction) == (WINDOW, 2 * WINDOW - 1, "changed")
    assert len(found.up) == 2 * WINDOW  # what is in no full window decides nothing


def test_a_smaller_reference_and_a_lower_rate_widen_the_limit() -> None:
    assert number_limit(20, RATE) > number_limit(REFERENCE, RATE) > number_limit(REFERENCE, 5 * RATE)


values = st.lists(st.one_of(st.floats(-1e300, 1e300), st.sampled_from([0.0, 1.0])), max_size=50)


@given(values, st.lists(st.sampled_from([0.0, 1.0, 1e300]), min_size=REFERENCE, max_size=REFERENCE))
def test_any_numbers_have_a_chart_that_depends_on_their_ranks_only(after: list[float], reference: list[float]) -> None:
    found = chart_numbers(np.array(after), np.array(reference), RATE)
    assert np.isfinite(found.up).all()
    assert np.isfinite(found.down).all()
    mirrored = chart_numbers(-np.array(after), -np.array(reference), RATE)
    np.testing.assert_allclose(mirrored.up, found.down, atol=1e-9)
    distinct = np.unique([*after, *reference])
    ranked = chart_numbers(np.searchsorted(distinct, after), np.searchsorted(distinct, reference), RATE)
    np.testing.assert_array_equal(ranked.up, found.up)


def test_a_constant_stays_silent_until_it_changes() -> None:
    same = np.zeros(200)
    assert chart_numbers(same, same[:REFERENCE], RATE).alarm is None
    changed = chart_numbers(np.r_[same[:50], np.ones(20)], same[:REFERENCE], RATE)
    assert changed.start == 50
    assert changed.direction == "risen"
