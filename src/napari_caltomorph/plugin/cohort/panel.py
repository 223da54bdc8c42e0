"""The *Open cohort* panel: who is in a directory of patients, with which class, and who was left out and why.

The panel makes a `CohortOptions`, calls `read_cohort` in a worker, and shows the `Cohort` that comes back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import napari
from napari.layers import Layer
from qtpy.QtWidgets import QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.cohort import Cohort, read_cohort
from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.names import path_of
from napari_caltomorph.plugin.cohort.encoding import CohortEncoding
from napari_caltomorph.plugin.cohort.view import CohortView
from napari_caltomorph.plugin.reader import SMEAR_KEY, smear_layer
from napari_caltomorph.plugin.widgets.cohort_chooser import CohortChooser
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel
from napari_caltomorph.plugin.widgets.parts import line
from napari_caltomorph.plugin.widgets.task_row import TaskRow
from napari_caltomorph.plugin.widgets.theme import look_of
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.smear import Smear, read_smear

if TYPE_CHECKING:
    from napari_caltomorph.cohort import EncodeSummary

_EMPTY = (
    "Choose a directory with a folder a diagnosis and in it a folder a patient, a directory of patients beside a "
    "table, or a table with the path of each patient; then click <b>Read cohort</b>. Nothing is changed."
)


class CohortPanel(DockPanel):
    """Choose a directory or table, read it, look at its patients, and encode them.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Given by napari.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.cohort: Cohort | None = None
        self.chooser = CohortChooser()
        self.chooser.asked.connect(self.read)
        self.chooser.fold.toggled.connect(self._arrange)
        self.run = TaskRow("Read cohort")
        self.run.asked.connect(self.read)
        self.view = CohortView()
        self.view.patient_asked.connect(self.open_patient)
        self._save = QPushButton("Save cohort ...")
        self._save.setToolTip("Keep the patients, classes and splits in a file that later steps take")
        self._save.clicked.connect(self._save_dialog)
        self.encoding = CohortEncoding()
        self.encoding.asked.connect(self.encode)
        self.encoding.encoded.connect(self._on_encoded)
        self._empty = line(_EMPTY)
        self._build()
        self._arrange()
        self.bind()

    def read(self) -> None:
        """Read what was chosen; a reading that still runs is cancelled first."""
        self.bind()
        place = self.chooser.place.text().strip()
        if not place:
            self.run.say("Choose a directory or a table first.", is_error=True)
            return
        try:
            options = self.chooser.options()
        except CaltomorphError as error:
            self.run.say(str(error), is_error=True)
            return
        self.chooser.remember()

        def work(progress: OnProgress) -> Cohort:
            return read_cohort(Path(place).expanduser(), options, progress=progress)

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
        self.bind()
        if self.cohort is not None:
            self.encoding.start(self.cohort)

    def open_patient(self, place: str) -> None:
        """Show the smear at a path as a layer, in place of other patients' cells."""
        if not place:
            self.run.say("This patient has features and no images.", is_error=True)
            return
        try:
            smear = read_smear(path_of(place))
        except CaltomorphError as error:
            self.run.say(str(error), is_error=True)
            return
        self.run.say("")
        layers = self._viewer.layers
        shown = next((layer for layer in layers if _is_of(layer, smear)), None)
        for layer in layers:
            if SMEAR_KEY in layer.metadata:
                layer.visible = layer is shown
        if shown is None:
            shown = self._viewer.add_layer(Layer.create(*smear_layer(smear)))
            self._viewer.reset_view()
        layers.selection.active = shown
        self._viewer.dims.set_point(0, 0)

    def on_bound(self) -> None:
        self._viewer.events.theme.connect(self._draw)
        self._draw()

    def on_unbound(self) -> None:
        """Stop reading and encoding, and let go of the viewer."""
        if self.run.is_busy:
            self.run.cancel()
            self.run.say("Stopped, because the panel was closed.")
        self.encoding.stop("Stopped, because the panel was closed.")
        self._viewer.events.theme.disconnect(self._draw)

    def _build(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 4, 4)
        column.setSpacing(4)
        column.addWidget(self.chooser)
        column.addWidget(self.run)
        column.addWidget(self._empty)
        column.addWidget(self.view, 1)
        column.addWidget(self._save)
        column.addWidget(self.encoding)
        self._rest = QWidget()
        column.addWidget(self._rest, 1)
        column.addWidget(line(f"<b>{RESEARCH_USE}</b>"))
        self._column = column
        self.setMinimumWidth(360)

    def _arrange(self) -> None:
        """Show what there is, and the options in place of the cohort while they are unfolded: a dock is low."""
        is_read, is_open = self.cohort is not None, self.chooser.fold.is_open
        self._empty.setVisible(not is_read and not is_open)
        self.view.setVisible(is_read and not is_open)
        self._save.setVisible(is_read and not is_open)
        self.encoding.setVisible(is_read)
        self._rest.setVisible(not is_read and not is_open)
        self._column.setStretchFactor(self.chooser, int(is_open))

    def _show(self, cohort: Cohort) -> None:
        self.cohort = cohort
        self.view.show_cohort(cohort, look_of(self._viewer.theme))
        self.chooser.fold.fold()
        self._arrange()

    def _on_encoded(self, summary: EncodeSummary) -> None:
        self.view.show_failed({record.patient_id: record.reason or "" for record in summary.failed})

    def _draw(self, event: object = None) -> None:
        self.view.draw(look_of(self._viewer.theme))

    def _save_dialog(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save cohort", "cohort.json", "Cohort (*.json)")
        if path:
            self.save(path)


def _is_of(layer: Layer, smear: Smear) -> bool:
    shown = layer.metadata.get(SMEAR_KEY)
    return isinstance(shown, Smear) and shown.path == smear.path
