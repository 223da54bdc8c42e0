"""The cells that are left out, each with its picture and reason; the user can include them again."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from qtpy.QtCore import QModelIndex, QSize, Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QHeaderView, QLabel, QTableView, QVBoxLayout, QWidget

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.plugin.widgets.parts import add_items, counted, pixmap, plain
from napari_caltomorph.plugin.widgets.table_view import RowsModel
from napari_caltomorph.smear import Reason, Smear

_THUMBNAIL = 72
# napari's theme draws the frame of a tick in a table almost as dark as the table.
_TICKS = """
QTableView::indicator { width: 14px; height: 14px; border: 1px solid #9a9a9a; }
QTableView::indicator:checked { background: #4d94e8; }
QTableView::indicator:disabled { border: 1px dotted #6a6a6a; }
"""


class LeftOutDialog(QDialog):
    """Lists what the quality rules leave out of a graded smear.

    When it was accepted, `included_again` has the cells to use nevertheless.
    """

    def __init__(self, smear: Smear, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"{smear.patient_id}: cells left out")
        self.resize(720, 460)
        self.model = _LeftOutModel(smear)
        table = QTableView()
        table.setModel(self.model)
        table.setStyleSheet(_TICKS)
        table.setIconSize(QSize(_THUMBNAIL, _THUMBNAIL))
        table.setSelectionMode(QTableView.SelectionMode.NoSelection)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(_THUMBNAIL + 6)
        header = table.horizontalHeader()
        header.setSectionResizeMode(3, QHeaderView.ResizeMode.Stretch)
        for column, width in enumerate((60, _THUMBNAIL + 12, 250)):
            table.setColumnWidth(column, width)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        hint = QLabel("Tick a cell to use it nevertheless; an unreadable one cannot be used.")
        add_items(QVBoxLayout(self), QLabel(plain(_summary(smear)), wordWrap=True), table, hint, buttons)

    @property
    def included_again(self) -> frozenset[str]:
        """Cells that the user ticked."""
        return frozenset(self.model.ticked)


class _LeftOutModel(RowsModel):
    """One row a cell that the rules leave out; pictures are decoded for the rows that are in view."""

    heads = ("Use it", "Cell", "Why it is left out", "File")

    def __init__(self, smear: Smear) -> None:
        super().__init__()
        assert smear.grades is not None
        graded = zip(range(len(smear)), smear.cells, smear.grades, strict=True)
        self.rows = [(index, cell, grade) for index, cell, grade in graded if grade.reason is not None]
        self._smear = smear
        self.ticked = set(smear.taken_back)
        self._picture = lru_cache(maxsize=512)(self._decode)

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        number, cell, grade = self.rows[index.row()]
        match index.column(), role:
            case 0, Qt.ItemDataRole.CheckStateRole:
                return Qt.CheckState.Checked if cell in self.ticked else Qt.CheckState.Unchecked
            case 1, Qt.ItemDataRole.DecorationRole:
                return self._picture(number)
            case 2, Qt.ItemDataRole.DisplayRole:
                return f"{grade.reason}{': ' + grade.note if grade.note else ''}"
            case 3, Qt.ItemDataRole.DisplayRole:
                return cell
            case ((2 | 3), Qt.ItemDataRole.ToolTipRole):
                return f"<p>{plain(cell)}<br>{plain(f'{grade.reason} {grade.note}')}</p>"
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        if index.column() == 0 and self.rows[index.row()][2].reason is not Reason.UNREADABLE:
            return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable
        return Qt.ItemFlag.ItemIsEnabled if index.column() else Qt.ItemFlag.NoItemFlags

    def setData(self, index: QModelIndex, value: Any, role: int = 0) -> bool:
        if index.column() or role != Qt.ItemDataRole.CheckStateRole:
            return False
        cell = self.rows[index.row()][1]
        if Qt.CheckState(value) == Qt.CheckState.Checked:
            self.ticked.add(cell)
        else:
            self.ticked.discard(cell)
        self.dataChanged.emit(index, index)
        return True

    def _decode(self, number: int) -> QPixmap:
        try:
            return pixmap(self._smear.on_canvas(number), side=_THUMBNAIL)
        except CellUnreadable:
            return pixmap(np.full((_THUMBNAIL, _THUMBNAIL, 3), 90, np.uint8))


def _summary(smear: Smear) -> str:
    counts = [f"{count} {reason}" for reason, count in smear.left_out_counts().items()]
    text = f"{len(smear.usable)} of {len(smear)} images are used. Left out: {', '.join(counts) or 'none'}."
    if smear.passed_over:
        names = ", ".join(smear.passed_over[:3]) + (" ..." if len(smear.passed_over) > 3 else "")
        text += f" {counted(len(smear.passed_over), 'other file')} passed over ({names})."
    return text
