"""How many patients an interval needs: before a study, for its width; after it, until it excludes a limit.

The intervals are those that the numbers have themselves: Wilson's of a share, Newcombe's of an AUROC. A number of
patients need not be whole in them, so that both narrow steadily with it.
"""

from __future__ import annotations

from collections.abc import Callable

from napari_caltomorph.statistics.interval import Interval, wilson
from napari_caltomorph.statistics.roc import area_interval

MOST = 100_000
"""More patients than this are no answer."""


def cases_for_share(share: float, half_width: float) -> int | None:
    """Return the least patients on which a share has an interval of at most this half width; None above `MOST`."""
    return _least(lambda cases: _half_width(wilson(share, cases)) <= half_width)


def cases_for_area(area: float, half_width: float, prevalence: float) -> int | None:
    """Return the same of an AUROC, with this share of the patients malignant: malignant and others together."""
    return _least_of_area(area, prevalence, lambda interval: _half_width(interval) <= half_width)


def cases_to_decide_share(share: float, limit: float) -> int | None:
    """Return the least patients on which the interval of a share excludes a limit; None above `MOST`."""
    return _least(lambda cases: _excludes(wilson(share, cases), limit))


def cases_to_decide_area(area: float, limit: float, prevalence: float) -> int | None:
    """Return the same of an AUROC, with this share of the patients malignant: malignant and others together."""
    return _least_of_area(area, prevalence, lambda interval: _excludes(interval, limit))


def _least_of_area(area: float, prevalence: float, holds: Callable[[Interval], bool]) -> int | None:
    def is_enough(cases: int) -> bool:
        ours, theirs = cases * prevalence, cases * (1 - prevalence)
        return min(ours, theirs) >= 1 and holds(area_interval(area, ours, theirs))

    return _least(is_enough)


def _least(holds: Callable[[int], bool]) -> int | None:
    """Return the least number for which a condition holds that also holds for all larger ones."""
    if not holds(MOST):
        return None
    low, high = 0, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _half_width(interval: Interval) -> float:
    assert interval.low is not None
    assert interval.high is not None
    return (interval.high - interval.low) / 2


def _excludes(interval: Interval, limit: float) -> bool:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low >= limit or interval.high < limit
