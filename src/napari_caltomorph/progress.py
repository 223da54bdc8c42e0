"""How a long function reports its progress, and how the caller stops it.

A long function takes ``progress: OnProgress`` and calls it often. The callback may draw a bar, and it
may raise `Cancelled` to stop the function; so one implementation serves the terminal, napari and the tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


class Cancelled(Exception):
    """Raised inside a progress callback to stop the function."""


@dataclass(frozen=True)
class Progress:
    """One report of a long function."""

    stage: str  # What is being done, e.g. "Encoding"
    done: int  # In `unit`, as is `total`
    total: int
    unit: str = "cells"  # Plural noun of what is counted

    @property
    def in_words(self) -> str:
        """E.g. ``"Encoding: 312/487 cells"``."""
        return f"{self.stage}: {self.done}/{self.total} {self.unit}"


OnProgress = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """A callback that does nothing."""


@dataclass
class Pace:
    """Turns a stream of `Progress` into a sentence with speed and time left."""

    _stage: str = ""
    _start: float = 0.0
    _first: int = 0
    _last: int = 0

    def describe(self, progress: Progress) -> str:
        """Return e.g. ``"Encoding: 312/487 cells, 41/s, 4 s left"``."""
        now = time.monotonic()
        # Fewer than before: the same stage of the next patient.
        if progress.stage != self._stage or progress.done < self._last:
            self._stage, self._start, self._first = progress.stage, now, progress.done
        self._last = progress.done
        text = progress.in_words
        elapsed = now - self._start
        fresh = progress.done - self._first
        if fresh <= 0 or elapsed < 0.3:
            return text
        rate = fresh / elapsed
        left = (progress.total - progress.done) / rate
        speed = f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
        return f"{text}, {speed}, {format_seconds(left)} left"


def format_seconds(seconds: float) -> str:
    """Return a duration in short words: ``"4 s"``, ``"3 min"``, ``"1.5 h"``."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
