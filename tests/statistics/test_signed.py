"""What must hold for a difference that is written next to the numbers of which it is one."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from napari_caltomorph.statistics.metric import signed

numbers = st.floats(-1e4, 1e4)


@given(numbers, numbers, st.integers(1, 3))
def test_the_difference_shown_is_that_of_the_numbers_shown(before: float, after: float, digits: int) -> None:
    first, second = Decimal(f"{before:.{digits}f}"), Decimal(f"{after:.{digits}f}")
    shown = signed(before, after, digits)
    assert Decimal(shown.replace("±", "")) == second - first
    assert ("±" in shown) == (first == second)
