"""What the tests of panels do with the mouse, and what they read from widgets."""

from __future__ import annotations

from typing import Any

from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QDockWidget, QTableView, QTabWidget, QWidget

from napari_caltomorph.plugin.widgets.task_row import TaskRow


def click(qtbot: QtBot, widget: QWidget, place: QPoint | None = None) -> None:
    """Click a widget, in its middle or at a place in it."""
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton, pos=place or QPoint())


def click_tab(qtbot: QtBot, tabs: QTabWidget, number: int) -> None:
    """Bring a tab to the front, and leave it the time to draw itself."""
    click(qtbot, tabs.tabBar(), tabs.tabBar().tabRect(number).center())
    qtbot.wait(60)


def double_click(qtbot: QtBot, table: QTableView, row: int) -> str:
    """Double-click the first cell of a row; return its text."""
    # Two clicks of one place, as a hand makes them: Qt's table wants the press before the double click.
    index = table.model().index(row, 0)
    place = table.visualRect(index).center()
    click(qtbot, table.viewport(), place)
    qtbot.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    return str(index.data())


def wait(qtbot: QtBot, run: TaskRow) -> None:
    """Wait until a task has ended."""
    qtbot.waitUntil(lambda: not run.is_busy, timeout=180_000)


def run_task(qtbot: QtBot, run: TaskRow) -> str:
    """Start a task with its button, wait until it has ended, and return the message."""
    click(qtbot, run.button)
    wait(qtbot, run)
    return run.text


def shown_rows(table: QTableView) -> list[list[Any]]:
    """Return the texts of a table, row by row."""
    model = table.model()
    columns = range(model.columnCount())
    return [[model.index(row, column).data() for column in columns] for row in range(model.rowCount())]


def dock_of(panel: QWidget) -> QDockWidget:
    """Return the dock that a panel is in."""
    parent = panel.parentWidget()
    while not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def is_in_sight(widget: QWidget) -> bool:
    """Whether a widget is visible, and inside a window of at most 1280 x 720."""
    window = widget.window()
    corner = widget.mapTo(window, widget.rect().bottomRight())
    is_small = window.width() <= 1280 and window.height() <= 720
    return is_small and widget.isVisible() and corner.x() <= window.width() and corner.y() <= window.height()


def visible_tabs(tabs: QTabWidget) -> list[int]:
    """Return the numbers of the tabs that are not hidden."""
    return [number for number in range(tabs.count()) if tabs.isTabVisible(number)]
