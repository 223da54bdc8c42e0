"""What must hold for the sentence that a bar shows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_caltomorph import progress
from napari_caltomorph.jobs.predict import PatientResult, PatientSteps
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


def test_of_a_run_over_patients_the_time_of_all_is_told_and_only_computed_patients_count(clock):
    reports = []
    steps = PatientSteps(40, reports.append)
    steps.begin("p1")
    clock.wait(1)
    steps.end(is_cached=True, result=PatientResult("p1", Path("p1")))
    pace = Pace()
    for number in (2, 3):
        step = steps.begin(f"p{number}")
        step(Progress("Encoding", 0, 100))
        first = pace.describe(reports[-1])
        clock.wait(15)
        step(Progress("Encoding", 50, 100))
        half = pace.describe(reports[-1])
        clock.wait(15)
        steps.end()
    assert reports[1].seconds_left is None
    assert first == "3 of 40 patients, 19 min left. Encoding: 0/100 cells"
    assert half == "3 of 40 patients, 19 min left. Encoding: 50/100 cells, 3.3/s"
    assert [reports[i].whole for i in (0, 1, -1)] == [(1, 40), (1, 40), (2, 40)]


@given(st.integers(0, 10), st.integers(0, 10))
def test_sentence_always_tells_how_far(done, total):
    assert f"{done}/{total} patients" in Pace().describe(Progress("Encoding", done, total, "patients"))


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (0, "0 s"), (4.4, "4 s"), (180, "3 min"), (3600, "60 min"), (5400, "1.5 h")]
)
def test_durations_are_readable(seconds, text):
    assert format_seconds(seconds) == text
