"""Work in threads."""

from __future__ import annotations

import threading
import warnings

import pytest
from pytestqt.qtbot import QtBot

from napari_caltomorph.plugin.widgets.tasks import Task


@pytest.mark.filterwarnings("default")
def test_two_tasks_at_once_leave_the_warnings_of_the_process_as_they_were(qtbot: QtBot) -> None:
    before = warnings.showwarning, list(warnings.filters)
    second_runs, first_has_ended = threading.Event(), threading.Event()
    first = Task(lambda _: second_runs.wait(10))
    second = Task(lambda _: second_runs.set() or first_has_ended.wait(10))
    returned: list[bool] = []
    second.returned.connect(returned.append)
    first.finished.connect(first_has_ended.set)
    first.start()
    second.start()
    qtbot.waitUntil(lambda: returned == [True])
    assert (warnings.showwarning, list(warnings.filters)) == before
