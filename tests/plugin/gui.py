"""What the tests of panels do with the mouse, and what they read from widgets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QTextDocument
from qtpy.QtWidgets import (
    QAbstractButton,
    QDockWidget,
    QLabel,
    QListWidget,
    QMenu,
    QTableView,
    QTabWidget,
    QWidget,
)

from napari_caltomorph.plugin.widgets.task_row import TaskRow


def click(qtbot: QtBot, widget: QWidget, place: QPoint | None = None) -> None:
    """Click a widget, in its middle or at a place in it."""
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton, pos=place or QPoint())


def drag(qtbot: QtBot, widget: QWidget, corners: Sequence[QPoint]) -> None:
    """Move the mouse from corner to corner with the left button held."""
    qtbot.mousePress(widget, Qt.MouseButton.LeftButton, pos=corners[0])
    for corner in corners[1:]:
        qtbot.mouseMove(widget, corner)
        qtbot.wait(5)
    qtbot.mouseRelease(widget, Qt.MouseButton.LeftButton, pos=corners[-1])


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


def menu_of(viewer: Viewer, *titles: str) -> QMenu:
    """Return a menu of the window, by the titles on the way to it, as it is when it is opened."""
    menu = viewer.window._qt_window.menuBar()
    for title in titles:
        menu = next(one.menu() for one in menu.actions() if one.menu() and one.text().replace("&", "") == title)
        menu.aboutToShow.emit()
    return menu


def misread(panel: QWidget, name: str) -> list[str]:
    """Return what a person reads in labels, buttons, tables and tool tips with escapes in it, or a part of `name`."""
    texts = [as_read(label.text(), label.textFormat()) for label in panel.findChildren(QLabel)]
    texts += [re.sub("&(.)", r"\1", button.text()) for button in panel.findChildren(QAbstractButton)]
    texts += [as_read(widget.toolTip()) for widget in panel.findChildren(QWidget)]
    for view in panel.findChildren(QTableView):
        model = view.model()
        places = [(row, column) for row in range(model.rowCount()) for column in range(model.columnCount())]
        texts += [as_read(model.index(*place).data(Qt.ItemDataRole.ToolTipRole) or "") for place in places]
    for view in panel.findChildren(QListWidget):
        texts += [as_read(view.item(row).toolTip()) for row in range(view.count())]
    texts = [text.replace("\u200b", "") for text in texts]
    first = name.split()[0]
    is_escaped = re.compile("&(#x27|amp|lt|gt|quot);").search
    return [text for text in texts if is_escaped(text) or (first in text and name not in text)]


def as_read(text: str, kind: Qt.TextFormat = Qt.TextFormat.AutoText) -> str:
    """Return a text of Qt as a person reads it."""
    is_rich = kind == Qt.TextFormat.RichText or (kind == Qt.TextFormat.AutoText and Qt.mightBeRichText(text))
    document = QTextDocument()
    document.setHtml(text) if is_rich else document.setPlainText(text)
    return document.toPlainText()


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
