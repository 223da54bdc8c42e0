"""Tables show texts from files and folders as they are, in their tool tips too."""

from __future__ import annotations

import pandas as pd
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtGui import QTextDocument

from napari_caltomorph.plugin.widgets.table_view import TableView


@pytest.mark.parametrize("text", ["<b>O'Hara</b> & sons", "a<br>b", "&lt;", "/ward/" + 200 * "x", "two\nlines"])
def test_a_tool_tip_shows_a_text_as_it_is(qtbot: QtBot, text: str) -> None:
    table = TableView()
    qtbot.addWidget(table)
    table.show_frame(pd.DataFrame({"patient": [text]}), ["patient"])
    place = table.model().index(0, 0)
    assert place.data() == text
    shown = QTextDocument()
    shown.setHtml(place.data(Qt.ItemDataRole.ToolTipRole))  # which Qt does with a tool tip that looks like HTML
    assert shown.toPlainText().replace("\u200b", "") == text
    assert Qt.mightBeRichText(place.data(Qt.ItemDataRole.ToolTipRole))


def test_a_row_is_opened_by_a_double_click_or_by_enter(qtbot: QtBot) -> None:
    table, opened = TableView(), []
    qtbot.addWidget(table)
    table.opened.connect(lambda index: opened.append(table.row_of(index)))
    table.show_frame(pd.DataFrame({"patient": ["b", "a"]}), ["patient"])
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert not opened
    table.setCurrentIndex(table.model().index(0, 0))
    qtbot.keyClick(table, Qt.Key.Key_Return)
    table.doubleClicked.emit(table.model().index(1, 0))
    assert opened == [1, 0]
