"""The *Open cohort* panel: the patients of a directory with their classes, and those left out with the reasons.

The panel makes a `CohortOptions`, calls `read_cohort` in a worker, and shows the `Cohort` that comes back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import napari
from qtpy.QtWidgets import QPushButton, QWidget

from napari_caltomorph.cohort import Cohort, read_cohort
from napari_caltomorph.plugin.cohort.encoding import CohortEncoding
from napari_caltomorph.plugin.cohort.view import CohortView
from napari_caltomorph.plugin.gallery.layers import show_smear
from napari_caltomorph.plugin.widgets.cohort_chooser import CohortChooser
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel
from napari_caltomorph.plugin.widgets.parts import line
from napari_caltomorph.plugin.widgets.settings import choose_new_file
from napari_caltomorph.plugin.widgets.task_row import TaskRow, shows_errors
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.smear import read_smear
from napari_caltomorph.storage import path_of

if TYPE_CHECKING:
    from napari_caltomorph.cohort import EncodeSummary

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
        self.chooser.section.toggled.connect(self._arrange)
        self.run = TaskRow("Read cohort")
        self.run.requested.connect(self.read)
        self.view = CohortView()
        self.view.patient_opened.connect(self.open_patient)
        self._save = QPushButton("Save cohort ...")
        self._save.setToolTip("Keep the patients, classes and splits in a file that later steps take")
        self._save.clicked.connect(self._save_dialog)
        self.encoding = CohortEncoding()
        self.encoding.requested.connect(self.encode)
        self.encoding.encoded.connect(self._on_encoded)
        self._empty = line(_EMPTY)
        self._rest = QWidget()
        parts = (self.chooser, self.run, self._empty, self.view, self._save, self.encoding, self._rest)
        self.lay_out(*parts, stretch=(self.view, self._rest))
        self._arrange()
        self.bind()

    @shows_errors
    def read(self) -> None:
        """Read the chosen cohort; a reading that still runs is cancelled first."""
        self.bind()
        place, options = self.chooser.path(), self.chooser.options()
        self.chooser.remember()

        def work(progress: OnProgress) -> Cohort:
            return read_cohort(place, options, progress=progress)

        self.run.start(work, self._show)

    @shows_errors
    def save(self, path: str | Path) -> None:
        """Write ``cohort.json``."""
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
        layer = show_smear(self._viewer, read_smear(path_of(place)))
        self._viewer.layers.selection.active = layer
        self.run.show_message("")

    def draw(self, style: PlotStyle) -> None:
        self.view.draw(style)

    def _arrange(self) -> None:
        """Show the cohort, or its options in its place while their section is open: a dock has little height."""
        is_read, is_open = self.cohort is not None, self.chooser.section.is_open
        self._empty.setVisible(not is_read and not is_open)
        self.view.setVisible(is_read and not is_open)
        self._save.setVisible(is_read and not is_open)
        self.encoding.setVisible(is_read)
        self._rest.setVisible(not is_read and not is_open)
        self._column.setStretchFactor(self.chooser, int(is_open))

    def _show(self, cohort: Cohort) -> None:
        self.cohort = cohort
        self.view.show_cohort(cohort, self.plot_style)
        self.chooser.section.set_open(False)
        self._arrange()

    def _on_encoded(self, summary: EncodeSummary) -> None:
        self.view.show_failed({record.patient_id: record.reason or "" for record in summary.failed})

    def _save_dialog(self) -> None:
        if path := choose_new_file(self, "Save cohort", "cohort.json", "Cohort (*.json)"):
            self.save(path)
