"""A cohort as charts and tables: classes by split, cells, patients, who was left out and why, and who failed."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtCore import QModelIndex, Signal
from qtpy.QtWidgets import QHeaderView, QTabWidget, QVBoxLayout, QWidget

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.plugin.widgets.parts import counted, line, link, plain
from napari_caltomorph.plugin.widgets.table_view import TableView
from napari_caltomorph.report import Look, draw_classes, draw_flow
from napari_caltomorph.report.cohort_figures import draw_cells, draw_measured_hemoglobin, has_hemoglobin

# Longer notes stand behind a link: the charts need the room.
_SHORT = 110
_COLUMNS = ["patient", "class", "split", "fold", "cells", "Hb g/dl", "label"]
_REASON_WIDTH = 190


class CohortView(QWidget):
    """Shows a cohort. `patient_asked` carries the path of a patient that was double-clicked, "" where there is none."""

    patient_asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._cohort: Cohort | None = None
        self._all_notes = False
        self._about = line()
        self._about.linkActivated.connect(self._on_link)
        self.patients, self.left_out, self.failed = TableView(), TableView(), TableView()
        self.patients.doubleClicked.connect(self._on_double_click)
        self._classes, self._cells, self._flow = (FigureCanvasQTAgg(Figure(layout="constrained")) for _ in range(3))
        self._cells.setToolTip("A histogram for each class, as tall as its row; the number is the median")
        for table in (self.left_out, self.failed):
            table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
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
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self._about)
        column.addWidget(self.tabs, 1)

    @property
    def text(self) -> str:
        """What is said above the tables."""
        return str(self._about.text())

    def show_cohort(self, cohort: Cohort, look: Look) -> None:
        """Show a cohort; nobody failed yet."""
        self._cohort, self._all_notes = cohort, False
        self._say()
        self.patients.show_frame(_patients(cohort), _COLUMNS)
        left_out = cohort.left_out.rename(columns={"patient_id": "patient", "raw_label": "label"})
        show_reasons(self.left_out, left_out, ["patient", "reason", "rule", "label"])
        self.tabs.setTabText(self.tabs.indexOf(self.left_out), f"Left out ({len(left_out)})")
        self.show_failed({})
        self.draw(look)

    def show_failed(self, reasons: Mapping[str, str]) -> None:
        """List the patients who could not be encoded, each with the reason; no such table where there is none."""
        failed = pd.DataFrame({"patient": list(reasons), "reason": list(reasons.values())})
        show_reasons(self.failed, failed, ["patient", "reason"])
        tab = self.tabs.indexOf(self.failed)
        self.tabs.setTabText(tab, f"Failed ({len(reasons)})")
        self.tabs.setTabVisible(tab, bool(reasons))
        if reasons:
            self.tabs.setCurrentIndex(tab)

    def draw(self, look: Look) -> None:
        """Draw the charts again, in the colours of a theme."""
        if self._cohort is None:
            return
        by_class = [draw_cells, *([draw_measured_hemoglobin] if has_hemoglobin(self._cohort) else [])]
        for canvas, draws in ((self._classes, [draw_classes]), (self._cells, by_class), (self._flow, [draw_flow])):
            canvas.figure.clear()
            for draw, axes in zip(draws, canvas.figure.subplots(1, len(draws), squeeze=False)[0], strict=True):
                draw(axes, self._cohort, look)
                if axes is not canvas.figure.axes[0]:
                    axes.tick_params(labelleft=False)  # the rows are those of the first
            canvas.draw_idle()

    def _say(self) -> None:
        cohort = self._cohort
        assert cohort is not None
        found = len(cohort) + len(cohort.left_out)
        text = (
            f"<b>{plain(cohort.name)}: {len(cohort)} of {found} patients</b> are in ({cohort.layout} layout). "
            "Double-click one to open its cells."
        )
        if sum(map(len, cohort.notes)) <= _SHORT or self._all_notes:
            text += "".join(f"<br>&#8226; {plain(note)}" for note in cohort.notes)
        else:
            text += f" {link(counted(len(cohort.notes), 'note'))}"
        self._about.setText(text)

    def _on_link(self, target: str) -> None:
        self._all_notes = True
        self._say()

    def _on_double_click(self, index: QModelIndex) -> None:
        place = self.patients.frame["path"].iloc[self.patients.row_of(index)]
        self.patient_asked.emit("" if pd.isna(place) else place)


def show_reasons(view: TableView, table: pd.DataFrame, columns: list[str]) -> None:
    """Show a table whose reasons are sentences: in several lines rather than beyond the edge."""
    view.show_frame(table, columns)
    view.setColumnWidth(columns.index("reason"), _REASON_WIDTH)
    view.horizontalHeader().setStretchLastSection(columns[-1] == "reason")


def _patients(cohort: Cohort) -> pd.DataFrame:
    """The patients as a person reads them; several classes where more than one answer is right."""
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
