"""What must hold for the sentence that a bar shows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_caltomorph import progress
from napari_caltomorph.progress import Pace, Progress, format_seconds


class Clock:
    """A clock that a test sets; seconds."""

    now = 100.0

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_first_report_promises_nothing():
    assert Pace().describe(Progress("Encoding", 0, 487)) == "Encoding: 0/487 cells"


def test_speed_and_time_left_are_reported_once_they_are_known(clock):
    pace = Pace()
    pace.describe(Progress("Encoding", 0, 200))
    clock.wait(0.5)
    assert pace.describe(Progress("Encoding", 50, 200)) == "Encoding: 50/200 cells, 100/s, 2 s left"


@pytest.mark.parametrize("second", [Progress("Encoding", 0, 100), Progress("Checking", 0, 100)])
def test_next_stage_and_next_patient_start_their_own_clock(clock, second):
    pace = Pace()
    pace.describe(Progress("Encoding", 0, 100))
    clock.wait(0.5)
    pace.describe(Progress("Encoding", 100, 100))
    assert pace.describe(second) == f"{second.stage}: 0/100 cells"
    clock.wait(0.5)
    rate = pace.describe(Progress(second.stage, 4, 100)).split(", ")[1]
    assert rate == "8.0/s"


def test_slow_work_has_a_decimal(clock):
    pace = Pace()
    pace.describe(Progress("Encoding", 0, 10))
    clock.wait(0.6)
    assert "1.7/s" in pace.describe(Progress("Encoding", 1, 10))


@given(st.integers(0, 10), st.integers(0, 10))
def test_sentence_always_tells_how_far(done, total):
    assert f"{done}/{total} patients" in Pace().describe(Progress("Encoding", done, total, "patients"))


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (0, "0 s"), (4.4, "4 s"), (180, "3 min"), (3600, "60 min"), (5400, "1.5 h")]
)
def test_durations_are_readable(seconds, text):
    assert format_seconds(seconds) == text
