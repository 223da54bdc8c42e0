"""All cells of the inspected prediction with their numbers; a header sorts every view, a row selects in all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from qtpy.QtCore import QItemSelection, QItemSelectionModel, QModelIndex, QSignalBlocker, QSize, Qt
from qtpy.QtWidgets import QPushButton, QTableView, QWidget

from napari_caltomorph.csv_files import write_csv
from napari_caltomorph.diagnosis.prediction_files import folder_name
from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.plugin.session.cell_columns import BY_CLASS, GROUPED
from napari_caltomorph.plugin.session.selection import CellSelection
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import (
    as_error,
    column_of,
    line,
    plain,
    row_of,
)
from napari_caltomorph.plugin.widgets.settings import choose_new_file
from napari_caltomorph.plugin.widgets.table_view import RowsModel
from napari_caltomorph.plugin.widgets.thumbnails import Thumbnails, cells_of, icon

_STATE, _PICTURE = "state", "picture"
_SIDE = 28  # of a picture, in pixels
_FIRST = ("rank", "attention", "alone_class", "label", "quality", _STATE, "cell")
_HEADS = {"alone_class": "cell alone", _PICTURE: ""}


class TableTab(InspectionView):
    """The table of the cells that are shown, as they are sorted."""

    def __init__(self) -> None:
        super().__init__()
        self.thumbnails: Thumbnails[str] = Thumbnails(self, _SIDE)
        self.model = CellTableModel(self.thumbnails)
        self.table = QTableView(wordWrap=False, selectionBehavior=QTableView.SelectionBehavior.SelectRows)
        self.table.setModel(self.model)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(_SIDE + 2)
        self.table.setIconSize(QSize(_SIDE, _SIDE))
        self.thumbnails.loaded.connect(self.table.viewport().update)
        head = self.table.horizontalHeader()
        head.setSectionsClickable(True)
        head.setSortIndicatorShown(True)
        head.setHighlightSections(False)
        head.sectionClicked.connect(self._on_head_clicked)
        self.table.selectionModel().selectionChanged.connect(self._on_rows_chosen)
        export = QPushButton("Export ...", clicked=self._export_dialog)
        export.setToolTip("Write the shown cells, in this order, with all their numbers, into a CSV file")
        self._message = line()
        column_of(self, self.table, row_of(self._message, export, stretch=(self._message,)), stretch=(self.table,))

    def key_widgets(self) -> list[QWidget]:
        return [self.table]

    def export(self, path: Path) -> None:
        """Write the cells that are shown, in their order, with all columns."""
        try:
            write_csv(table_of(self.inspected.cells), path)
        except CaltomorphError as error:
            self._message.setText(as_error(str(error)))
        else:
            self._message.setText(plain(f"Written: {path.name}"))

    def on_closed(self) -> None:
        self.thumbnails.show(None)

    def on_inspection(self) -> None:
        self._message.clear()
        smear = None if self.inspection is None else self.inspection.smear
        self.thumbnails.show(cells_of(smear, self.thumbnails.pixels))
        self.model.show_cells(None if self.inspection is None else self.inspection.cells)
        for column, name in enumerate(self.model.names):
            if name == _PICTURE:  # for a width of its own Qt would ask for the pictures of a thousand rows
                self.table.setColumnWidth(column, _SIDE + 6)
            else:
                self.table.resizeColumnToContents(column)
        if self.inspection is not None:
            self._show_sort()
            self.on_selection()

    def on_order(self) -> None:
        self.model.show_order()
        self._show_sort()
        self.on_selection()

    on_columns = on_colors = on_order

    def on_edits(self) -> None:
        self.model.show_values()

    def on_selection(self) -> None:
        cells = self.inspected.cells
        rows = np.flatnonzero(np.isin(cells.order, list(cells.selected)))
        chosen = QItemSelection()
        for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            if len(run):
                first, last = self.model.index(int(run[0]), 0), self.model.index(int(run[-1]), 0)
                chosen.select(first, last)
        rows_of = self.table.selectionModel()
        with QSignalBlocker(rows_of):  # the user chose nothing new
            rows_of.select(
                chosen, QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            )
            place = None if cells.current is None else cells.position(cells.current)
            if place is not None:
                index = self.model.index(place, max(0, self.table.currentIndex().column()))
                rows_of.setCurrentIndex(index, QItemSelectionModel.SelectionFlag.NoUpdate)
                self.table.scrollTo(index)
        self.table.viewport().update()

    def _on_rows_chosen(self) -> None:
        if self.inspection is None:
            return
        cells, chosen = self.inspection.cells, self.table.selectionModel()
        rows = [range(one.top(), one.bottom() + 1) for one in chosen.selection()]
        current = chosen.currentIndex().row()
        cells.select(
            (int(cell) for one in rows for cell in cells.order[one.start : one.stop]),
            current=int(cells.order[current]) if 0 <= current < len(cells.order) else None,
        )

    def _on_head_clicked(self, section: int) -> None:
        name, cells = self.model.names[section], self.inspected.cells
        if name not in (_STATE, _PICTURE):
            numbers = cells.columns[name].dtype.kind in "fiu" and name != "rank"
            cells.sort_by(name, descending=not cells.sort.descending if cells.sort.column == name else numbers)
        self._show_sort()

    def _show_sort(self) -> None:
        for column, name in enumerate(self.model.names):
            self.table.setColumnHidden(column, name == BY_CLASS and not self.inspected.shows_classes)
        sort = self.inspected.cells.sort
        place = self.model.names.index(sort.column) if sort.column in self.model.names else -1
        way = Qt.SortOrder.DescendingOrder if sort.descending else Qt.SortOrder.AscendingOrder
        self.table.horizontalHeader().setSortIndicator(place, way)

    def _export_dialog(self) -> None:
        name = f"{folder_name(self.inspected.bag.patient_id)}_cells.csv"
        if path := choose_new_file(self, "Export the cells", name, "Tables (*.csv)"):
            self.export(path)


class CellTableModel(RowsModel):
    """The shown cells as a Qt model: `rows` are their indices; values are formatted only when their row is visible."""

    def __init__(self, thumbnails: Thumbnails[str]) -> None:
        super().__init__()
        self._thumbnails = thumbnails
        self._cells: CellSelection | None = None
        self._columns: dict[str, Any] = {}
        self.names: list[str] = []

    def show_cells(self, cells: CellSelection | None) -> None:
        """Show other cells, or none."""
        self._cells = cells
        self.show_order()

    def show_order(self) -> None:
        """Show other cells, another order, or other columns."""
        self.beginResetModel()
        if self._cells is None:
            self.rows, self._columns, self.names = (), {}, []
        else:
            self.rows = self._cells.order
            self._columns = dict(self._cells.columns)
            by = self._cells.sort.column
            known = (*_FIRST, GROUPED)
            more = [name for name in self._columns if name not in known and not name.startswith("alone_p_")]
            more += [by] if by.startswith("alone_p_") else []
            first = [name for name in _FIRST if name in self._columns or name == _STATE]
            pictures = [_PICTURE] if self._thumbnails.are_there else []
            self.names = [*pictures, *first[:-1], *more, first[-1]]
        self.heads = [_HEADS.get(name, name.removeprefix("alone_p_").replace("_", " ")) for name in self.names]
        self.endResetModel()

    def show_values(self) -> None:
        """Show other marks and labels on the same rows."""
        if self._cells is not None:
            self._columns = dict(self._cells.columns)
            self.dataChanged.emit(self.index(0, 0), self.index(self.rowCount() - 1, self.columnCount() - 1))

    def value(self, index: QModelIndex, role: int) -> Any:
        if self._cells is None:
            return None
        cell, name = int(self.rows[index.row()]), self.names[index.column()]
        if name == _PICTURE:
            return self._picture(cell, role)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return _state(self._cells, cell) if name == _STATE else _shown(self._columns[name][cell])
        if role == Qt.ItemDataRole.TextAlignmentRole and name != _STATE and self._columns[name].dtype.kind in "fiu":
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def _picture(self, cell: int, role: int) -> Any:
        """Return the picture of a cell, once it is decoded; Qt asks only for rows that are visible."""
        name = str(self._columns["cell"][cell])
        if role == Qt.ItemDataRole.DecorationRole:
            return icon(self._thumbnails.of(name))
        return self._thumbnails.problem(name) if role == Qt.ItemDataRole.ToolTipRole else None


def table_of(cells: CellSelection) -> pd.DataFrame:
    """Return the shown cells, in their order, with all columns and what the user did to them."""
    order = cells.order
    columns = {name: values[order] for name, values in cells.columns.items() if name != GROUPED}
    columns |= {name: np.isin(order, list(those)) for name, those in _edits(cells).items()}
    return pd.DataFrame(columns)


def _edits(cells: CellSelection) -> dict[str, frozenset[int]]:
    return {"marked": cells.marked, "left_out": cells.left_out}


def _state(cells: CellSelection, cell: int) -> str:
    return ", ".join(name.replace("_", " ") for name, those in _edits(cells).items() if cell in those)


def _shown(value: Any) -> str:
    if isinstance(value, float):  # NumPy's float64 is one
        return "" if np.isnan(value) else f"{value:.2f}" if abs(value) >= 0.01 or not value else f"{value:.1g}"
    return str(value)
