"""Encoding the patients of a cohort: the encoder, its weights, and the folder for the features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_caltomorph.cohort import Cohort, EncodeCohortOptions
from napari_caltomorph.encoding import ENCODERS, find_encoder, find_weights
from napari_caltomorph.errors import CaltomorphError, OutputRefused, WeightsMissing
from napari_caltomorph.plugin.torch_loading import prepare_torch_import
from napari_caltomorph.plugin.widgets.parts import counted, line, link, narrow_combo
from napari_caltomorph.plugin.widgets.settings import last_cohort, preferences
from napari_caltomorph.plugin.widgets.task_row import TaskRow
from napari_caltomorph.plugin.widgets.weights_dialog import WeightsDialog
from napari_caltomorph.progress import OnProgress

if TYPE_CHECKING:
    from napari_caltomorph.cohort import EncodeSummary

_GET = "Get the encoder's weights"
_CANCELLED = "Cancelled. The features of patients who are done are kept; encode again to go on."


class CohortEncoding(QWidget):
    """Choose an encoder and a folder, and encode; run it again to resume.

    `asked` is emitted when the user clicks the button, `encoded` (`EncodeSummary`) when all patients were gone through.
    """

    asked = Signal()
    encoded = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        last = last_cohort()
        self.encoder = narrow_combo()
        self.encoder.addItems(list(ENCODERS))
        self.encoder.setCurrentText(str(last.value("encoder", EncodeCohortOptions().encoder)))
        self.encoder.currentTextChanged.connect(self._look_for_weights)
        self._missing = ""
        self._weights = line()
        self._weights.linkActivated.connect(lambda _: self._get_weights())
        self.features = QLineEdit(str(last.value("features", "")), placeholderText="folder for one .h5 a patient")
        self.run = TaskRow("Encode patients")
        self.run.button.setToolTip("Computes on the device that is chosen in Preferences")
        self.run.asked.connect(self.asked)
        self.run.button.clicked.connect(self._on_clicked)
        self._build()
        self._look_for_weights()

    def start(self, cohort: Cohort) -> None:
        """Encode all patients of a cohort."""
        try:
            work = self.task(cohort)
        except CaltomorphError as error:
            self.run.say(str(error), is_error=True)
        else:
            self.run.start(work, self._on_encoded)

    def task(self, cohort: Cohort) -> Callable[[OnProgress], EncodeSummary]:
        """Return the work of encoding all patients of a cohort, with what is chosen now.

        Raises
        ------
        OutputRefused, WeightsMissing
            There is no folder yet, or no weights; the message says what to click.
        """
        folder = self.features.text().strip()
        if not folder:
            raise OutputRefused("Choose a folder for the features first.")
        self._look_for_weights()
        if self._missing:
            raise WeightsMissing(f'The weights of {self._missing} are not on this machine: click "{_GET}" above.')
        last_cohort().setValue("encoder", self.encoder.currentText())
        last_cohort().setValue("features", folder)
        options = self.options()

        def work(progress: OnProgress) -> EncodeSummary:
            prepare_torch_import()
            from napari_caltomorph.cohort import encode_cohort

            return encode_cohort(cohort, Path(folder).expanduser(), options, progress=progress)

        return work

    def options(self) -> EncodeCohortOptions:
        """Return what is chosen, here and in the Preferences."""
        stored = preferences()
        return EncodeCohortOptions(encoder=self.encoder.currentText(), device=stored.device, precision=stored.precision)

    def stop(self, reason: str) -> None:
        """Stop encoding, if it goes on, and say why."""
        if self.run.is_busy:
            self.run.cancel()
            self.run.say(f"{reason} The features of patients who are done are kept; encode again to go on.")

    def _build(self) -> None:
        browse = QPushButton("Browse")
        browse.setFixedWidth(60)
        browse.clicked.connect(self._choose_features)
        folder = QHBoxLayout()
        folder.addWidget(self.features, 1)
        folder.addWidget(browse)
        form = QFormLayout()
        form.setVerticalSpacing(4)
        form.addRow("Encoder", self.encoder)
        form.addRow("Features", folder)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(form)
        column.addWidget(self._weights)
        column.addWidget(self.run)

    def _look_for_weights(self) -> None:
        name = self.encoder.currentText()
        try:
            find_weights(find_encoder(name))
        except WeightsMissing as error:
            self._missing = name
            self._weights.setText(link(f"{_GET} ..."))
            self._weights.setToolTip(str(error))
        else:
            self._missing = ""
        self._weights.setVisible(bool(self._missing))

    def _get_weights(self) -> None:
        WeightsDialog(find_encoder(self.encoder.currentText()), self).exec()
        self._look_for_weights()

    def _on_clicked(self) -> None:
        if not self.run.button.isEnabled():  # the click cancelled
            self.run.say(_CANCELLED)

    def _on_encoded(self, summary: EncodeSummary) -> None:
        failed = len(summary.failed)
        self.run.say(
            f"{counted(summary.encoded, 'patient')} encoded, {summary.skipped} were done already, "
            + (f'{failed} failed: see the table "Failed".' if failed else "none failed."),
            is_error=bool(failed),
        )
        self.encoded.emit(summary)

    def _choose_features(self) -> None:
        start = self.features.text().strip() or preferences().folder
        if path := QFileDialog.getExistingDirectory(self, "Features", start):
            self.features.setText(path)
