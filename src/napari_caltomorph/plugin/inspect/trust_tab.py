"""The tab *Trust*: how reliable is this prediction? Training cohort, members, certainty and similar patients.

What follows from the prediction alone is shown at once; what needs the training patients is then computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import napari
import numpy as np
import pandas as pd
from qtpy.QtCore import QModelIndex, QSize, Qt, Signal
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QHeaderView, QLabel, QListView, QListWidget, QListWidgetItem, QPushButton, QWidget

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.errors import CaltomorphError, printable
from napari_caltomorph.explanation.trust import NO_PATIENTS, Trust, trust
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.canvas import FigureCanvas
from napari_caltomorph.plugin.widgets.dock_panel import open_panel
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import (
    ERROR,
    WARNING,
    as_error,
    colored,
    column_of,
    line,
    plain,
    scroll_area,
    tip,
)
from napari_caltomorph.plugin.widgets.patient_cells import PatientCells, some_cells
from napari_caltomorph.plugin.widgets.table_view import TableView
from napari_caltomorph.plugin.widgets.task_row import TaskRow
from napari_caltomorph.plugin.widgets.thumbnails import Thumbnails, cells_of, icon
from napari_caltomorph.report.explanation_figures import draw_certainty, draw_domain, draw_members
from napari_caltomorph.smear import Smear, open_place
from napari_caltomorph.statistics.interval import percent

COLUMN = "unusual"
_SHOWN = 10
_SIDE = 54
_NAME = Qt.ItemDataRole.UserRole + 1
_ROOM_FOR_NAMES = 132
_COLUMNS = ["class", "distance", "Hb", "patient"]
_UNUSUAL = "The most unusual cells: those farthest from the typical training cells"


class TrustTab(InspectionView):
    """Shows what supports and what weakens trust in the result."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.trust: Trust | None = None
        self.run = TaskRow("Compare with training patients")
        self.run.requested.connect(self._compare)
        self.domain, self.members, self.certainty = (FigureCanvas(height) for height in (150, 165, 160))
        self.domain.mpl_connect("resize_event", lambda _: self._draw())
        self.unusual = UnusualCells()
        self.unusual.chosen.connect(lambda cell: self._select([cell]))
        self.select_all = QPushButton(clicked=self._select_unusual)
        self.similar = TableView()
        self.similar.opened.connect(self._open)
        self.similar.selectionModel().currentRowChanged.connect(self._show_cells)
        self.similar_cells = PatientCells()
        about = ("Training cohort", "Members", "Certainty", "Probabilities", "Similar patients")
        texts = self._texts = {name: line() for name in about}
        self._warnings, self._problem = line(), line()
        self._unusual_title = line(_UNUSUAL)
        self.similar.setFixedHeight(172)
        self.similar.setToolTip("Double-click, or Enter, opens the smear, if its images are still available")
        domain = (self._warnings, texts["Training cohort"], self.domain, self._unusual_title, self.unusual)
        members = (self.select_all, texts["Members"], self.members, texts["Certainty"], self.certainty)
        similar = (texts["Probabilities"], texts["Similar patients"], self.similar, self.similar_cells, self._problem)
        inside = QWidget()
        column = column_of(inside, self.run, *domain, *members, *similar)
        column.setContentsMargins(0, 0, 6, 0)
        column.addStretch()
        column_of(self, scroll_area(inside))

    def on_inspection(self) -> None:
        self.setEnabled(self.inspection is not None)
        if self.inspection is not None:
            self._show_unusual(self.inspection)
            self.on_result()

    def on_result(self) -> None:
        self._show(trust(self.inspected.result))
        self._compare()

    def on_closed(self) -> None:
        self.run.cancel()
        for one in (self.unusual, self.similar_cells):
            one.thumbnails.stop()
        self.trust = None

    def _compare(self) -> None:
        self.run.show()  # until it is done: to cancel it, or to start it again
        inspection = self.inspected
        self.run.start(lambda progress: inspection.trust(inspection.result, progress), self._on_compared)

    def _on_compared(self, found: Trust) -> None:
        # Where model or cells are not available now, the user can bring them back and start again.
        self.run.setVisible(found.similar is None and found.why_none_similar != NO_PATIENTS)
        self._show(found)

    def _show(self, found: Trust) -> None:
        self.trust = found
        others = []
        for text in self._texts.values():
            text.hide()
        for statement in found.statements:
            heading = f"<b>{statement.about}.</b>"
            heading = colored(f"! {heading}", WARNING) if statement.is_warning else heading
            text = f"{heading} {plain(statement.text)}"
            if statement.about in self._texts:
                _set_text(self._texts[statement.about], text)
            else:
                others.append(text)
        _set_text(self._warnings, "<br>".join(others))
        _set_text(self._problem, "")
        self._show_similar(found)
        self._draw()

    def _show_similar(self, found: Trust) -> None:
        patients = found.similar.patients if found.similar is not None and not found.prediction.withheld else ()
        rows = {
            "class": [one.label for one in patients],
            "distance": [round(one.distance, 2) for one in patients],
            "Hb": [one.hemoglobin_g_dl for one in patients],
            "patient": [one.patient_id for one in patients],
            "path": [printable(str(one.path)) if one.has_images else "" for one in patients],
        }
        self.similar_cells.begin(some_cells)
        self.similar.show_frame(pd.DataFrame(rows), _COLUMNS)
        self.similar.sortByColumn(1, Qt.SortOrder.AscendingOrder)
        self.similar.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.similar.setVisible(bool(patients))

    def _show_unusual(self, inspection: Inspection) -> None:
        domain, prediction = inspection.prediction.domain, inspection.prediction
        for widget in (self.domain, self._unusual_title, self.unusual, self.select_all):
            widget.setVisible(domain is not None)
        if domain is None:
            return
        inspection.cells.set_column(COLUMN, np.round(1 - np.array(domain.cell_tails), 4))
        most = [int(cell) for cell in domain.unusual[:_SHOWN]]
        self.unusual.show_cells(most, [domain.cell_tails[cell] for cell in most], prediction, inspection.smear)
        count = len(domain.unusual_cells)
        words = {0: "No cell is unusual", 1: "Select the unusual cell"}
        self.select_all.setText(words.get(count, f"Select all {count} unusual cells"))
        self.select_all.setEnabled(count > 0)

    def _select(self, cells: Iterable[int]) -> None:
        self.inspected.cells.select(map(int, cells), reveal=True)

    def _select_unusual(self) -> None:
        assert self.inspected.prediction.domain is not None
        self._select(self.inspected.prediction.domain.unusual_cells)

    def _show_cells(self, index: QModelIndex) -> None:
        row = self.similar.frame.iloc[self.similar.row_of(index)] if index.isValid() else None
        if row is not None and row["path"]:
            self.similar_cells.show_patient(row["path"], f"{row['patient']}: some of its cells, in no order")
        else:
            self.similar_cells.hide()

    def _open(self, index: QModelIndex) -> None:
        row = self.similar.frame.iloc[self.similar.row_of(index)]
        if not row["path"]:
            text = f"{plain(row['patient'])}: its images are no longer where they were in training."
            _set_text(self._problem, text, ERROR)
            return
        try:
            smear = open_place(row["path"])
            open_panel(self._viewer, "Predict patient").predict_smear(smear, str(self.inspected.ensemble().folder))
        except CaltomorphError as error:
            _set_text(self._problem, as_error(str(error)))

    def _draw(self) -> None:
        found, style = self.trust, self.plot_style
        if found is None:
            return
        domain = found.prediction.domain
        is_shown = not found.prediction.withheld
        self.members.setVisible(is_shown)
        self.certainty.setVisible(found.held_out is not None and is_shown)
        if domain is not None:
            draw_domain(self.domain.axes_inside(100, 74, 40), domain, style)
        draw_members(self.members.axes_inside(70, _ROOM_FOR_NAMES, 4), found.prediction, style)
        if found.held_out is not None and is_shown:
            draw_certainty(self.certainty.axes_inside(44, 12, 40, 22), found, style)

    on_look = _draw


class UnusualCells(QListWidget):
    """A row of pictures that wraps; `chosen` carries the index of the cell that was clicked."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setIconSize(QSize(_SIDE, _SIDE))
        self.setGridSize(QSize(_SIDE + 8, _SIDE + 20))  # the pictures come later than the layout
        self.setFixedHeight(2 * (_SIDE + 21))
        for signal in (self.itemClicked, self.itemActivated):  # with the mouse, and with Enter
            signal.connect(lambda item: self.chosen.emit(item.data(Qt.ItemDataRole.UserRole)))
        self.thumbnails: Thumbnails[str] = Thumbnails(self, _SIDE)
        self.thumbnails.loaded.connect(self._show_pictures)

    def show_cells(
        self, cells: Sequence[int], tails: Sequence[float], prediction: Prediction, smear: Smear | None
    ) -> None:
        """Show cells of a prediction, each with its rank; the tip gives the share of training cells as unusual."""
        self.clear()
        self._tips: dict[str, str] = {}
        self.thumbnails.show(cells_of(smear, self.thumbnails.pixels))
        for cell, tail in zip(cells, tails, strict=True):
            name = prediction.cells[cell]
            share = f"{percent(tail, 2)} of the training cells are" if tail > 0 else "no training cell is"
            self._tips[name] = f"{name}: {share} as unusual"
            item = QListWidgetItem(f"#{prediction.ranks[cell]}")
            item.setData(Qt.ItemDataRole.UserRole, int(cell))
            item.setData(_NAME, name)
            self.addItem(item)
        self._show_pictures()

    def _show_pictures(self) -> None:
        for item in map(self.item, range(self.count())):
            name = item.data(_NAME)
            if (picture := icon(self.thumbnails.of(name))) is not None:
                item.setIcon(picture)
            item.setToolTip(tip("\n".join(filter(None, (self._tips[name], self.thumbnails.problem(name))))))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave the wheel to the tab."""
        event.ignore()


def _set_text(label: QLabel, text: str, color: str = "") -> None:
    label.setText(colored(text, color) if color else text)
    label.setVisible(bool(text))
