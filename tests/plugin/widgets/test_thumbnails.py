"""Small pictures: the latest that a view asked for come first, in a thread, and what is missing is said."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QLabel

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.plugin.widgets.patient_cells import PatientCells
from napari_caltomorph.plugin.widgets.tasks import Task
from napari_caltomorph.plugin.widgets.thumbnails import Thumbnails


@pytest.fixture
def thumbnails(qtbot: QtBot) -> Iterator[Thumbnails[int]]:
    owner = QLabel()
    qtbot.addWidget(owner)
    yield Thumbnails(owner, 30)
    Task.await_workers(60_000)
    qtbot.wait(10)


def test_the_latest_come_first_in_a_thread_and_what_was_scrolled_past_never(
    qtbot: QtBot, thumbnails: Thumbnails[int]
) -> None:
    decoded: list[int] = []
    may_decode = threading.Event()
    may_decode.set()

    def decode(key: int) -> NDArray[np.uint8]:
        assert threading.current_thread() is not threading.main_thread()
        may_decode.wait(10)
        decoded.append(key)
        if key == 999:
            raise CellUnreadable("999 is zero-filled")
        return np.full((30, 20, 3), key % 256, np.uint8)

    thumbnails.show(decode)
    assert all(thumbnails.of(key) is None for key in range(1000))
    qtbot.waitUntil(lambda: len(decoded) == 120 and not thumbnails.is_busy)
    assert decoded == list(range(999, 879, -1))
    assert thumbnails.problem(999) == "999 is zero-filled"
    assert thumbnails.of(998).toImage().pixelColor(3, 3).red() == 998 % 256
    assert not thumbnails.problem(998)
    # What was stopped, as where a panel closes, comes when it is asked for again.
    thumbnails.of(5)
    may_decode.clear()
    qtbot.waitUntil(lambda: thumbnails.is_busy)
    thumbnails.stop()
    may_decode.set()
    qtbot.waitUntil(lambda: thumbnails.of(5) is not None)
    thumbnails.show(None)
    assert thumbnails.of(998) is None


def test_cells_of_a_patient_are_shown_side_by_side_or_the_reason_why_not(qtbot: QtBot) -> None:
    cells = PatientCells()
    qtbot.addWidget(cells)
    cells.begin(lambda key: [np.full((60, 60, 3), 200, np.uint8)] * 3 if key == "a" else [])
    assert cells.isHidden()
    cells.show_patient("a", "<a> & b")
    qtbot.waitUntil(lambda: not cells.picture.pixmap().isNull())
    assert cells.text == "&lt;a&gt; &amp; b"
    assert cells.picture.pixmap().width() > 2.5 * cells.picture.pixmap().height()
    cells.show_patient("b", "b")
    qtbot.waitUntil(lambda: "not at hand" in cells.text)
    assert cells.picture.isHidden()
    Task.await_workers(60_000)
