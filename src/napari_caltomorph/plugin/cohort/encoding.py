"""Encoding the patients of a cohort: the encoder, its weights, and the folder for the features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QLineEdit, QWidget

from napari_caltomorph.cohort import Cohort, EncodeCohortOptions
from napari_caltomorph.encoding import ENCODERS, find_encoder, find_weights
from napari_caltomorph.errors import OutputRefused, WeightsMissing
from napari_caltomorph.plugin.torch_loading import prepare_torch_import
from napari_caltomorph.plugin.widgets.parts import column_of, counted, folder_row, line, link, narrow_combo
from napari_caltomorph.plugin.widgets.settings import last_cohort, preferences
from napari_caltomorph.plugin.widgets.task_row import TaskRow, shows_errors
from napari_caltomorph.plugin.widgets.weights_dialog import WeightsDialog
from napari_caltomorph.progress import OnProgress

if TYPE_CHECKING:
    from napari_caltomorph.cohort import EncodeSummary

_GET = "Get the encoder's weights"
_KEPT = "Features of patients that are done are kept; encode again to continue."


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
        self.run = TaskRow("Encode patients", kept=_KEPT)
        self.run.button.setToolTip("Computes on the device that is chosen in Preferences")
        self.run.requested.connect(self.asked)
        self._build()
        self._look_for_weights()

    @shows_errors
    def start(self, cohort: Cohort) -> None:
        """Encode all patients of a cohort."""
        self.run.start(self.task(cohort), self._on_encoded)

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

    def _build(self) -> None:
        form = QFormLayout()
        form.setVerticalSpacing(4)
        form.addRow("Encoder", self.encoder)
        form.addRow("Features", folder_row(self.features, "Features"))
        column_of(self, form, self._weights, self.run)

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

    def _on_encoded(self, summary: EncodeSummary) -> None:
        done = f"{counted(summary.encoded, 'patient')} encoded, {summary.skipped} were done already"
        if failed := len(summary.failed):
            self.run.show_error(f'{done}, {failed} failed: see the table "Failed".')
        else:
            self.run.show_message(f"{done}, none failed.")
        self.encoded.emit(summary)
