"""The tab *Trust*: should this be believed? Training cohort, members, certainty and similar patients.

What follows from the prediction alone is shown at once; what needs the training patients is then asked of the model.
"""

from __future__ import annotations

from functools import partial

import napari
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtWidgets import QFrame, QHeaderView, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_caltomorph.errors import CaltomorphError, printable
from napari_caltomorph.explanation.trust import NO_PATIENTS, Trust, available_trust, trust
from napari_caltomorph.plugin.inspect.explanation_row import ScrolledCanvas
from napari_caltomorph.plugin.inspect.unusual_cells import UnusualCells
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.dock_panel import open_panel
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import ERROR, WARNING, colored, line, plain
from napari_caltomorph.plugin.widgets.table_view import TableView
from napari_caltomorph.plugin.widgets.task_row import TaskRow
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.report.trust_figures import draw_certainty, draw_domain, draw_members
from napari_caltomorph.smear import read_smear
from napari_caltomorph.storage import path_of

COLUMN = "unusual"
_SHOWN = 10
_ROOM_FOR_NAMES = 132
_COLUMNS = ["class", "distance", "Hb", "patient"]
_UNUSUAL = "The most unusual cells: the farthest from the commonest looks of training cells"


class TrustTab(InspectionView):
    """Says what speaks for and against the answer to the cells that are not left out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Trust | None = None
        self.run = TaskRow("Compare with training patients")
        self.run.requested.connect(self._compare)
        self.domain, self.members, self.certainty = (_canvas(height) for height in (150, 165, 160))
        self.domain.mpl_connect("resize_event", lambda _: self._draw())
        self.unusual = UnusualCells()
        self.unusual.chosen.connect(lambda cell: self._select([cell]))
        self.select_all = QPushButton()
        self.select_all.clicked.connect(self._select_unusual)
        self.similar = TableView()
        self.similar.doubleClicked.connect(self._open)
        self._said = {about: line() for about in ("Training cohort", "Members", "Certainty", "Probabilities")}
        self._warnings, self._similar_said, self._problem = line(), line(), line()
        self._unusual_title = line(_UNUSUAL)
        self._build()

    def on_inspection(self) -> None:
        self.run.cancel()
        self.setEnabled(self.inspection is not None)
        if self.inspection is None:
            self.found = None
            return
        self._show_unusual(self.inspection)
        self.on_answer()

    def on_answer(self) -> None:
        if self.inspection is not None:
            self._show(trust(self.inspection.answer))
            self._compare()

    def on_look(self) -> None:
        self._draw()

    def on_closed(self) -> None:
        self.run.cancel()
        self.found = None

    def _build(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 6, 0)
        column.setSpacing(4)
        for widget in (
            self.run,
            self._warnings,
            self._said["Training cohort"],
            self.domain,
            self._unusual_title,
            self.unusual,
            self.select_all,
            self._said["Members"],
            self.members,
            self._said["Certainty"],
            self.certainty,
            self._said["Probabilities"],
            self._similar_said,
            self.similar,
            self._problem,
        ):
            column.addWidget(widget)
        column.addStretch()
        self.similar.setFixedHeight(172)
        self.similar.setToolTip("Double-click opens the smear, where its images are still at hand")
        area = QScrollArea(widgetResizable=True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 4, 0, 0)
        whole.addWidget(area)

    def _compare(self) -> None:
        assert self.inspection is not None
        self.run.show()  # until it is done: it is there to cancel, and to start again
        self.run.start(partial(_weigh, self.inspection), self._on_compared)

    def _on_compared(self, found: Trust) -> None:
        # Where model or cells are not available now, the user can bring them back and start again.
        self.run.setVisible(found.similar is None and found.why_none_similar != NO_PATIENTS)
        self._show(found)

    def _show(self, found: Trust) -> None:
        if self.inspection is None:
            return
        self.found = found
        others = []
        for said in found.statements:
            heading = f"<b>{said.about}.</b>"
            heading = colored(f"! {heading}", WARNING) if said.is_warning else heading
            text = f"{heading} {plain(said.text)}"
            if said.about == "Similar patients":
                self._similar_said.setText(text)
            elif said.about in self._said:
                self._said[said.about].setText(text)
            else:
                others.append(text)
        _say(self._warnings, "<br>".join(others))
        _say(self._problem, "")
        self._show_similar(found)
        self._draw()

    def _show_similar(self, found: Trust) -> None:
        patients = found.similar.patients if found.similar is not None else ()
        rows = {
            "class": [one.label for one in patients],
            "distance": [round(one.distance, 2) for one in patients],
            "Hb": [one.hemoglobin_g_dl for one in patients],
            "patient": [one.patient_id for one in patients],
            "path": [printable(str(one.path)) if one.has_images else "" for one in patients],
        }
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

    def _select(self, cells: list[int]) -> None:
        if self.inspection is not None:
            self.inspection.cells.select(cells, reveal=True)

    def _select_unusual(self) -> None:
        assert self.inspection is not None
        assert self.inspection.prediction.domain is not None
        self._select([int(cell) for cell in self.inspection.prediction.domain.unusual_cells])

    def _open(self, index: QModelIndex) -> None:
        assert self.inspection is not None
        row = self.similar.frame.iloc[self.similar.row_of(index)]
        if not row["path"]:
            _say(self._problem, f"{plain(row['patient'])}: its images are not where they were in training.", ERROR)
            return
        gallery = self.inspection.gallery
        viewer = napari.current_viewer() if gallery is None else gallery.viewer
        try:
            smear = read_smear(path_of(row["path"]))
            open_panel(viewer, "Predict patient").predict_smear(smear, str(self.inspection.ensemble().folder))
        except CaltomorphError as error:
            _say(self._problem, plain(str(error)), ERROR)

    def _draw(self) -> None:
        found, look = self.found, self.look
        if found is None:
            return
        prediction = found.prediction
        domain = prediction.domain
        self.certainty.setVisible(found.held_out is not None)
        if domain is not None:
            draw_domain(_axes(self.domain, 100, 74, 40), domain, look)
        draw_members(_axes(self.members, 70, _ROOM_FOR_NAMES, 4), prediction, look)
        if found.held_out is not None:
            draw_certainty(_axes(self.certainty, 44, 12, 40, top=22), found, look)


def _weigh(inspection: Inspection, progress: OnProgress) -> Trust:
    answer = inspection.answer
    return available_trust(answer, inspection.ensemble, lambda: inspection.features(progress).of_cells(answer.cells))


def _canvas(height: int) -> ScrolledCanvas:
    canvas = ScrolledCanvas()
    canvas.figure.set_layout_engine("none")
    canvas.setFixedHeight(height)
    return canvas


def _axes(canvas: ScrolledCanvas, left: int, right: int, bottom: int, *, top: int = 4) -> Axes:
    """Return new axes that leave their labels so many pixels, however wide the tab is."""
    canvas.figure.clear()
    canvas.draw_idle()
    width, height = max(canvas.width(), left + right + 60), canvas.height()
    place = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    return canvas.figure.add_axes(place)


def _say(label: QLabel, text: str, color: str = "") -> None:
    label.setText(colored(text, color) if color else text)
    label.setVisible(bool(text))
