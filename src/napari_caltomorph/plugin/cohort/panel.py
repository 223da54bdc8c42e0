"""The *Open cohort* panel: the patients of a directory with their classes, and those left out with the reasons."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import pandas as pd
from qtpy.QtCore import QEvent, QModelIndex, Signal
from qtpy.QtWidgets import QPushButton, QTabWidget, QWidget

from napari_caltomorph.cohort import Cohort, read_cohort
from napari_caltomorph.errors import counted
from napari_caltomorph.plugin.cohort.encoding import CohortEncoding
from napari_caltomorph.plugin.gallery.layers import show_smear
from napari_caltomorph.plugin.widgets.canvas import FigureCanvas
from napari_caltomorph.plugin.widgets.cohort_chooser import CohortChooser
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel
from napari_caltomorph.plugin.widgets.parts import (
    CollapsibleSection,
    FittedArea,
    column_of,
    in_window_words,
    line,
    link,
    plain,
)
from napari_caltomorph.plugin.widgets.settings import choose_new_file, when_chosen
from napari_caltomorph.plugin.widgets.table_view import TableView
from napari_caltomorph.plugin.widgets.task_row import TaskRow, shows_errors
from napari_caltomorph.report import PlotStyle, draw_classes, draw_flow
from napari_caltomorph.report.cohort_figures import draw_cells, draw_measured_hemoglobin, has_hemoglobin
from napari_caltomorph.smear import open_place
from napari_caltomorph.storage import StrPath

if TYPE_CHECKING:
    from napari_caltomorph.cohort import EncodeSummary


# Longer notes are shown after a click on a link: the charts need the room.
_SHORT = 110
_ROOM_FOR_BOTH = 900  # pixels of height
_COLUMNS = ["patient", "class", "split", "fold", "cells", "Hb g/dl", "label"]
_EMPTY = (
    "Choose a directory with one folder for each diagnosis and in it one for each patient, a directory of patients "
    "next to a table, or a table with the path of each patient; then click <b>Read cohort</b>. Nothing is changed."
)


class CohortPanel(DockPanel):
    """Choose a directory or table, read it, inspect its patients, and encode them."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.cohort: Cohort | None = None
        self.chooser = CohortChooser()
        self.chooser.submitted.connect(self.read)
        self.run = TaskRow("Read cohort")
        self.run.requested.connect(self.read)
        self.run.forget_on(self.chooser.changed)
        self.view = CohortView()
        self.view.patient_opened.connect(self.open_patient)
        self._save = QPushButton("Save cohort ...")
        self._save.setToolTip("Keep the patients, classes and splits in a file that later steps take")
        kinds = "Cohort (*.json)"
        self._save.clicked.connect(when_chosen(self.save, choose_new_file, self, "Save cohort", "cohort.json", kinds))
        self.encoding = CohortEncoding()
        self.encoding.requested.connect(self.encode)
        self.encoding.encoded.connect(self._on_encoded)
        self.section = CollapsibleSection("Encode patients", FittedArea(self.encoding))
        for section in (self.chooser.section, self.section, self.encoding.section):
            section.toggled.connect(self._arrange)
        self._empty = line(_EMPTY)
        self._rest = QWidget()
        parts = (FittedArea(self.chooser), self.run, self._empty, self.view, self._save, self.section, self._rest)
        self.lay_out(*parts, stretch=(self.view, self._rest))
        self._arrange()
        self.bind()

    def open(self, place: StrPath) -> None:
        """Read a cohort with the options that are chosen."""
        self.chooser.place.setText(str(place))
        self.read()

    @shows_errors
    def read(self) -> None:
        """Read the chosen cohort; a reading that still runs is cancelled first."""
        self.bind()
        place, options = self.chooser.path(), self.chooser.options()
        self.chooser.remember()
        self.run.start(lambda progress: read_cohort(place, options, progress=progress), self._show)

    @shows_errors
    def save(self, path: StrPath) -> None:
        if self.cohort is not None:
            self.cohort.save(Path(path))
            self.run.show_message(f"Saved {path}")

    def encode(self) -> None:
        """Encode all patients of the cohort into the chosen folder; run it again to resume."""
        self.bind()
        if self.cohort is not None:
            self.encoding.start(self.cohort)

    @shows_errors
    def open_patient(self, place: str) -> None:
        """Show the smear at a path as a layer, in place of other patients' cells."""
        if not place:
            self.run.show_error("This patient has features and no images.")
            return
        layer = show_smear(self._viewer, open_place(place))
        self._viewer.layers.selection.active = layer
        self.run.show_message("")

    def draw(self, style: PlotStyle) -> None:
        self.view.draw(style)

    def resizeEvent(self, event: QEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        """Show the cohort; while there are many options, only in a dock with room for both."""
        is_encoding = self.section.is_open and self.encoding.section.is_open
        is_read, is_open = self.cohort is not None, self.chooser.section.is_open or is_encoding
        has_room = not is_open or self.height() > _ROOM_FOR_BOTH
        self._empty.setVisible(not is_read and has_room)
        self.view.setVisible(is_read and has_room)
        self._save.setVisible(is_read and has_room)
        self.section.setVisible(is_read)
        self._rest.setVisible(self.view.isHidden())

    def _show(self, cohort: Cohort) -> None:
        self.cohort = cohort
        self.view.show_cohort(cohort, self.plot_style)
        self.chooser.section.set_open(False)
        self.encoding.set_needed(bool(cohort.table["features"].isna().any()))
        self._arrange()

    def _on_encoded(self, summary: EncodeSummary) -> None:
        self.view.show_failed({record.patient_id: record.reason or "" for record in summary.failed})


class CohortView(QWidget):
    """Shows a cohort. `patient_opened` carries the path of a patient that was double-clicked, "" without images."""

    patient_opened = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._cohort: Cohort | None = None
        self._all_notes = False
        self._about = line()
        self._about.linkActivated.connect(self._on_link)
        self.patients, self.left_out, self.failed = TableView(), TableView(), TableView()
        self.patients.opened.connect(self._on_opened)
        self._classes, self._cells, self._flow = (FigureCanvas() for _ in range(3))
        self._cells.setToolTip("A histogram for each class, as tall as its row; the number is the median")
        self.tabs = QTabWidget()
        # Six tabs side by side in a dock of 360 px.
        self.tabs.tabBar().setStyleSheet("QTabBar::tab { padding-left: 4px; padding-right: 4px; }")
        for name, widget in (
            ("Classes", self._classes),
            ("Cells", self._cells),
            ("Patients", self.patients),
            ("Left out", self.left_out),
            ("Flow", self._flow),
            ("Failed", self.failed),
        ):
            self.tabs.addTab(widget, name)
        column_of(self, self._about, self.tabs, stretch=(self.tabs,))

    @property
    def text(self) -> str:
        return str(self._about.text())

    def show_cohort(self, cohort: Cohort, style: PlotStyle) -> None:
        """Show a cohort, of which no patient has failed yet."""
        self._cohort, self._all_notes = cohort, False
        self._summarise()
        self.patients.show_frame(_patients(cohort), _COLUMNS)
        self.left_out.show_left_out(cohort, ["patient", "reason", "rule", "label"])
        self.tabs.setTabText(self.tabs.indexOf(self.left_out), f"Left out ({len(cohort.left_out)})")
        self.show_failed({})
        self.draw(style)

    def show_failed(self, reasons: Mapping[str, str]) -> None:
        """List the patients that could not be encoded, with the reasons; the table is hidden where all were."""
        failed = pd.DataFrame({"patient": list(reasons), "reason": list(reasons.values())})
        self.failed.show_reasons(failed, ["patient", "reason"])
        tab = self.tabs.indexOf(self.failed)
        self.tabs.setTabText(tab, f"Failed ({len(reasons)})")
        self.tabs.setTabVisible(tab, bool(reasons))
        if reasons:
            self.tabs.setCurrentIndex(tab)

    def draw(self, style: PlotStyle) -> None:
        if self._cohort is None:
            return
        by_class = [draw_cells, *([draw_measured_hemoglobin] if has_hemoglobin(self._cohort) else [])]
        for canvas, draws in ((self._classes, [draw_classes]), (self._cells, by_class), (self._flow, [draw_flow])):
            canvas.figure.clear()
            for draw, axes in zip(draws, canvas.figure.subplots(1, len(draws), squeeze=False)[0], strict=True):
                draw(axes, self._cohort, style)
                if axes is not canvas.figure.axes[0]:
                    axes.tick_params(labelleft=False)  # the rows are those of the first
            canvas.draw_idle()

    def _summarise(self) -> None:
        cohort = self._cohort
        assert cohort is not None
        total = len(cohort) + len(cohort.left_out)
        text = (
            f"<b>{plain(cohort.name)}: {len(cohort)} of {total} patients</b> are included ({cohort.layout} layout). "
            "Double-click one to open its cells."
        )
        if sum(map(len, cohort.notes)) <= _SHORT or self._all_notes:
            text += "".join(f"<br>&#8226; {plain(in_window_words(note))}" for note in cohort.notes)
        else:
            text += f" {link(counted(len(cohort.notes), 'note'))}"
        self._about.setText(text)

    def _on_link(self, target: str) -> None:
        self._all_notes = True
        self._summarise()

    def _on_opened(self, index: QModelIndex) -> None:
        place = self.patients.frame["path"].iloc[self.patients.row_of(index)]
        self.patient_opened.emit("" if pd.isna(place) else place)


def _patients(cohort: Cohort) -> pd.DataFrame:
    """The patients as a person reads them; several classes where more than one is right."""
    table, names = cohort.table, dict(zip(cohort.taxonomy.slugs, cohort.taxonomy.names, strict=True))
    several = table["coarse_set"].map(lambda slugs: " or ".join(names[slug] for slug in slugs.split("|")), "ignore")
    return pd.DataFrame(
        {
            "patient": table["patient_id"],
            "class": table["coarse"].map(names).fillna(several).fillna("other"),
            "label": table["raw_label"],
            "split": table["split"],
            "fold": table["fold"],
            "cells": table["n_cells"],
            "Hb g/dl": table["hemoglobin_g_dl"],
            "path": table["path"],
        }
    )
