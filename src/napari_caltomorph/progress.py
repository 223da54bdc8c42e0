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

    @property
    def whole(self) -> tuple[int, int] | None:
        """Parts that are done, and all parts, where this is a step of one part of a longer run, such as a patient."""
        return None


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
        if progress.whole is not None:  # its words have the time left for the run
            return f"{text}, {speed}"
        return f"{text}, {speed}, {format_seconds(left)} left"


@dataclass
class TimeLeft:
    """The time left for a run over parts that each take about as long, such as patients."""

    parts: int
    _begun: int = 0
    _start: float = 0.0
    _took: float = 0.0
    _counted: int = 0

    def begin(self) -> None:
        """Begin the next part."""
        self._begun, self._start = self._begun + 1, time.monotonic()

    def end(self, *, counts: bool = True) -> None:
        """End this part; one that was only looked up does not count."""
        if counts:
            self._took, self._counted = self._took + time.monotonic() - self._start, self._counted + 1

    @property
    def seconds(self) -> float | None:
        """Seconds until the end of the last part; None while no part has been measured."""
        if not self._counted:
            return None
        mean = self._took / self._counted
        return mean * (self.parts - self._begun) + max(mean - (time.monotonic() - self._start), 0)


def format_seconds(seconds: float) -> str:
    """Return a duration in short words: ``"4 s"``, ``"3 min"``, ``"1.5 h"``."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
