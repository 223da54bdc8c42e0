"""The *Open cohort* panel: who is in a directory of patients, with which class, and who was left out and why.

The panel makes a `CohortOptions`, calls `read_cohort` in a worker, and shows the `Cohort` that comes back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import napari
import pandas as pd
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from napari.layers import Layer
from qtpy.QtCore import QModelIndex
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QPushButton,
    QSpinBox,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_caltomorph.cohort import Cohort, CohortOptions, EncodeCohortOptions, read_cohort
from napari_caltomorph.encode import ENCODERS
from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.names import path_of
from napari_caltomorph.plugin.beside_opengl import load_triton_privately
from napari_caltomorph.plugin.parts import line, narrow_combo
from napari_caltomorph.plugin.reader import smear_layer
from napari_caltomorph.plugin.settings import preferences
from napari_caltomorph.plugin.table_view import TableView
from napari_caltomorph.plugin.task_row import TaskRow
from napari_caltomorph.plugin.theme import look_of
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.report import draw_classes, draw_flow
from napari_caltomorph.smear import read_smear

if TYPE_CHECKING:
    from napari_caltomorph.cohort import EncodeSummary

_EMPTY = (
    "Choose a directory with a folder a diagnosis and in it a folder a patient, a directory of patients beside a "
    "table, or a table with the path of each patient; then click <b>Read cohort</b>. Nothing is changed."
)
_PATIENT_COLUMNS = ["patient_id", "coarse", "raw_label", "split", "fold", "n_cells", "hemoglobin_g_dl"]


class CohortPanel(QWidget):
    """Choose a directory or table, read it, and look at its patients.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Given by napari.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.cohort: Cohort | None = None
        self.place = QLineEdit(placeholderText="directory, table or cohort.json")
        self.taxonomy = narrow_combo()
        self.taxonomy.addItems(["caltomorph", "aml-hehr", "apl-aml", "none"])
        self.min_cells = QSpinBox(maximum=100_000, value=CohortOptions().min_cells)
        self.check_cells = QCheckBox("look at every image")
        self.check_cells.setChecked(True)
        self.check_cells.setToolTip("Counts usable cells and finds images that two patients share; takes longer")
        self.run = TaskRow("Read cohort")
        self.run.asked.connect(self.read)
        self._about = line(_EMPTY)
        self.patients = TableView()
        self.patients.doubleClicked.connect(self._on_double_click)
        self.left_out = TableView()
        self._classes = FigureCanvasQTAgg(Figure(layout="constrained"))
        self._flow = FigureCanvasQTAgg(Figure(layout="constrained"))
        self.tabs = QTabWidget(visible=False)
        for name, widget in (
            ("Classes", self._classes),
            ("Patients", self.patients),
            ("Left out", self.left_out),
            ("Flow", self._flow),
        ):
            self.tabs.addTab(widget, name)
        self._save = QPushButton("Save cohort ...", visible=False)
        self._save.setToolTip("Keep the patients, classes and splits in a file that later steps take")
        self._save.clicked.connect(self._save_dialog)
        self.encoder = narrow_combo()
        self.encoder.addItems(list(ENCODERS))
        self.encoder.setCurrentText(EncodeCohortOptions().encoder)
        self.features = QLineEdit(placeholderText="folder for one .h5 a patient")
        self.encoding = TaskRow("Encode patients")
        self.encoding.asked.connect(self.encode)
        self._encode_part = QWidget(visible=False)
        self._build()
        viewer.events.theme.connect(self._draw)

    def read(self) -> None:
        """Read what was chosen; a reading that still runs is cancelled first."""
        place = self.place.text().strip()
        if not place:
            self.run.say("Choose a directory or a table first.", is_error=True)
            return
        options = CohortOptions(
            taxonomy=self.taxonomy.currentText(),
            min_cells=self.min_cells.value(),
            names_only=not self.check_cells.isChecked(),
        )

        def work(progress: OnProgress) -> Cohort:
            return read_cohort(place, options, progress=progress)

        self.run.start(work, self._show)

    def save(self, path: str | Path) -> None:
        """Write ``cohort.json``."""
        if self.cohort is None:
            return
        try:
            self.cohort.save(Path(path))
        except CaltomorphError as error:
            self.run.say(str(error), is_error=True)
        else:
            self.run.say(f"Saved {path}")

    def encode(self) -> None:
        """Encode all patients of the cohort into the chosen folder; run it again to resume."""
        cohort, folder = self.cohort, self.features.text().strip()
        if cohort is None or not folder:
            self.encoding.say("Choose a folder for the features first.", is_error=True)
            return
        options = EncodeCohortOptions(encoder=self.encoder.currentText())

        def work(progress: OnProgress) -> EncodeSummary:
            load_triton_privately()
            from napari_caltomorph.cohort import encode_cohort

            return encode_cohort(cohort, Path(folder), options, progress=progress)

        self.encoding.start(work, self._on_encoded)

    def open_patient(self, row: int) -> None:
        """Open the smear of the patient in a row as a layer."""
        place = self.patients.frame["path"].iloc[row]
        if pd.isna(place):
            self.run.say("This patient has features and no images.", is_error=True)
            return
        try:
            smear = read_smear(path_of(place))
        except CaltomorphError as error:
            self.run.say(str(error), is_error=True)
        else:
            self._viewer.add_layer(Layer.create(*smear_layer(smear)))

    def _build(self) -> None:
        chooser = QPushButton("Open")
        menu = QMenu(self)
        menu.addAction("Directory...", self._choose_directory)
        menu.addAction("Table or cohort.json...", self._choose_file)
        chooser.setMenu(menu)
        where = QHBoxLayout()
        where.addWidget(self.place, 1)
        where.addWidget(chooser)
        cells = QHBoxLayout()
        cells.addWidget(self.min_cells)
        cells.addWidget(self.check_cells, 1)
        form = QFormLayout()
        form.addRow("Cohort", where)
        form.addRow("Classes", self.taxonomy)
        form.addRow("Least cells", cells)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 4, 4)
        column.addLayout(form)
        column.addWidget(self.run)
        column.addWidget(self._about)
        column.addWidget(self.tabs, 1)
        column.addWidget(self._save)
        column.addWidget(self._encode_part)
        column.addStretch()
        column.addWidget(line("<b>Research use only. Not for diagnosis.</b>"))
        encode = QVBoxLayout(self._encode_part)
        encode.setContentsMargins(0, 0, 0, 0)
        browse = QPushButton("Browse")
        browse.clicked.connect(self._choose_features)
        where = QHBoxLayout()
        where.addWidget(self.features, 1)
        where.addWidget(browse)
        form = QFormLayout()
        form.addRow("Encoder", self.encoder)
        form.addRow("Features", where)
        encode.addLayout(form)
        encode.addWidget(self.encoding)
        self.setMinimumWidth(360)

    def _on_encoded(self, summary: EncodeSummary) -> None:
        failed = "".join(f"<br>&#8226; {record.patient_id}: {record.reason}" for record in summary.failed[:5])
        self.encoding.say(
            f"{summary.encoded} patients encoded, {summary.skipped} were done already, {len(summary.failed)} failed."
            f"{failed}",
            is_error=bool(summary.failed),
        )

    def _show(self, cohort: Cohort) -> None:
        self.cohort = cohort
        found = len(cohort) + len(cohort.left_out)
        notes = "".join(f"<br>&#8226; {note}" for note in cohort.notes)
        self._about.setText(
            f"<b>{len(cohort)} of {found} patients</b> are in ({cohort.layout} layout). Double-click one to open its "
            f"cells.<span style='font-size:8pt'>{notes}</span>"
        )
        names = dict(zip(cohort.taxonomy.slugs, cohort.taxonomy.names, strict=True))
        table = cohort.table.assign(coarse=cohort.table["coarse"].map(names))
        self.patients.show_frame(table, _PATIENT_COLUMNS)
        self.left_out.show_frame(cohort.left_out, ["patient_id", "rule", "reason", "raw_label"])
        self.tabs.setTabText(2, f"Left out ({len(cohort.left_out)})")
        self.tabs.show()
        self._save.show()
        self._encode_part.show()
        self._draw()

    def _draw(self, event: object = None) -> None:
        if self.cohort is None:
            return
        for canvas, draw in ((self._classes, draw_classes), (self._flow, draw_flow)):
            canvas.figure.clear()
            draw(canvas.figure.add_subplot(), self.cohort, look_of(self._viewer.theme))
            canvas.draw_idle()

    def _on_double_click(self, index: QModelIndex) -> None:
        self.open_patient(self.patients.row_of(index))

    def _choose_directory(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "Cohort", preferences().folder):
            self.place.setText(path)

    def _choose_file(self) -> None:
        pattern = "Cohorts (*.csv *.tsv *.xlsx *.parquet *.json)"
        path, _ = QFileDialog.getOpenFileName(self, "Cohort", preferences().folder, pattern)
        if path:
            self.place.setText(path)

    def _choose_features(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "Features", preferences().folder):
            self.features.setText(path)

    def _save_dialog(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save cohort", "cohort.json", "Cohort (*.json)")
        if path:
            self.save(path)
