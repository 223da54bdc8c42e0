"""The cases that an interval needs: the least number, by intervals computed at each number."""

from __future__ import annotations

import pytest

from napari_caltomorph.statistics.interval import wilson
from napari_caltomorph.statistics.roc import area_interval
from napari_caltomorph.statistics.sample_size import (
    cases_for_area,
    cases_for_share,
    cases_to_decide_area,
    cases_to_decide_share,
)


def _half(interval):
    return (interval.high - interval.low) / 2


@pytest.mark.parametrize(("share", "half"), [(0.95, 0.05), (0.5, 0.1), (1.0, 0.03)])
def test_so_many_cases_give_the_interval_that_was_asked_and_one_fewer_does_not(share, half):
    cases = cases_for_share(share, half)
    assert _half(wilson(share, cases)) <= half < _half(wilson(share, cases - 1))


def test_an_area_needs_more_patients_where_the_kinds_are_uneven():
    even, uneven = cases_for_area(0.9, 0.05, 0.5), cases_for_area(0.9, 0.05, 0.1)
    assert even < uneven
    assert _half(area_interval(0.9, even / 2, even / 2)) <= 0.05


def test_a_limit_is_decided_by_so_many_cases_on_both_sides_and_never_by_a_share_on_it():
    above, below = cases_to_decide_share(0.95, 0.9), cases_to_decide_share(0.85, 0.9)
    assert wilson(0.95, above).low >= 0.9 > wilson(0.95, above - 1).low
    assert wilson(0.85, below).high < 0.9 <= wilson(0.85, below - 1).high
    assert cases_to_decide_share(0.9, 0.9) is None
    assert cases_to_decide_area(0.9, 0.8, 0.5) < cases_to_decide_area(0.85, 0.8, 0.5)
    assert cases_for_share(0.5, 0) is None
