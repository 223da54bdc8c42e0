"""Tables: the base of their models, and a pandas table as a view that can be sorted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QHeaderView, QTableView

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.plugin.widgets.parts import tip

_REASON_WIDTH = 190


class RowsModel(QAbstractTableModel):
    """A table of `rows` below `heads`; a subclass sets both, and returns the `value` of each place."""

    heads: Sequence[str] = ()
    rows: Any = ()  # anything with a length

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return len(self.heads)

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Return what is shown; a tool tip shows its text as it is, also where that looks like HTML."""
        shown = self.value(index, role)
        return tip(shown) if role == Qt.ItemDataRole.ToolTipRole and isinstance(shown, str) else shown

    def value(self, index: QModelIndex, role: int) -> Any:
        """Return what `data` returns, with a tool tip as plain text."""
        raise NotImplementedError

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        is_head = orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole
        return self.heads[section] if is_head else None


class RowsView(QTableView):
    """A table whose rows can be opened: `opened` carries where it was double-clicked, or is when Enter is pressed."""

    opened = Signal(QModelIndex)

    def __init__(self) -> None:
        super().__init__()
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # ids of patients differ at their end
        self.doubleClicked.connect(self.opened)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.opened.emit(self.currentIndex())
        else:
            super().keyPressEvent(event)


class TableView(RowsView):
    """Shows some columns of a table, one row for each of its rows; `frame` is the whole table."""

    def __init__(self) -> None:
        super().__init__()
        self.frame = pd.DataFrame()
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSortRole(Qt.ItemDataRole.UserRole)
        self.setModel(self._sorted)
        self.setSortingEnabled(True)
        self.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QTableView.EditTrigger.NoEditTriggers)
        self.verticalHeader().hide()

    def show_frame(self, frame: pd.DataFrame, columns: list[str]) -> None:
        self.frame = frame.reset_index(drop=True)
        self._sorted.setSourceModel(_FrameModel(self.frame[columns], self))
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.resizeColumnsToContents()

    def show_reasons(self, frame: pd.DataFrame, columns: list[str]) -> None:
        """Show these columns, one of which is ``reason``: sentences, in several lines rather than beyond the edge."""
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.show_frame(frame, columns)
        self.setColumnWidth(columns.index("reason"), _REASON_WIDTH)
        self.horizontalHeader().setStretchLastSection(columns[-1] == "reason")

    def show_left_out(self, cohort: Cohort, columns: list[str]) -> None:
        """Show the patients that are left out of a cohort: ``patient``, ``label``, ``rule`` and ``reason``."""
        known = cohort.left_out[["patient_id", "raw_label", "rule", "reason"]]
        self.show_reasons(known.rename(columns={"patient_id": "patient", "raw_label": "label"}), columns)

    def row_of(self, index: QModelIndex) -> int:
        """Return the row of `frame` that is shown at an index."""
        return int(self._sorted.mapToSource(index).row())


class _FrameModel(RowsModel):
    def __init__(self, frame: pd.DataFrame, parent: QTableView) -> None:
        super().__init__(parent)
        self.rows = frame
        self.heads = [str(name).replace("_", " ") for name in frame.columns]

    def value(self, index: QModelIndex, role: int) -> Any:
        if role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.UserRole, Qt.ItemDataRole.ToolTipRole):
            return None
        value: Any = self.rows.iat[index.row(), index.column()]
        if pd.isna(value):
            return None
        if role == Qt.ItemDataRole.UserRole and isinstance(value, (int, float)):
            return float(value)
        return str(value)
