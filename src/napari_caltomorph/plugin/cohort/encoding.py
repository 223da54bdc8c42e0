"""Encoding the patients of a cohort: the encoder, its weights, and the folder for the features."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QLineEdit, QWidget

from napari_caltomorph.cohort import Cohort, EncodeCohortOptions
from napari_caltomorph.encoding import known_encoders
from napari_caltomorph.encoding.torch_loading import load_torch
from napari_caltomorph.errors import OutputRefused, counted
from napari_caltomorph.plugin.widgets.model_chooser import WeightsLine
from napari_caltomorph.plugin.widgets.options_form import MoreOptions, options_of
from napari_caltomorph.plugin.widgets.parts import (
    NAMES_WIDTH,
    column_of,
    folder_row,
    in_window_words,
    narrow_combo,
    path_in,
)
from napari_caltomorph.plugin.widgets.settings import last_cohort, preferences
from napari_caltomorph.plugin.widgets.task_row import TaskRow, shows_errors
from napari_caltomorph.progress import OnProgress

if TYPE_CHECKING:
    from napari_caltomorph.cohort import EncodeSummary

_FIELDS = EncodeCohortOptions.model_fields
# Chosen here, and in napari's Preferences.
_ELSEWHERE = ("encoder", "field_of_view", "device", "precision")
_MORE = "More options for encoding"
_KEPT = "Features of patients that are done are kept; encode again to continue."


class CohortEncoding(QWidget):
    """Choose an encoder, a folder and, in `section`, other options, and encode; run it again to resume.

    `requested` follows the button, `encoded` (`EncodeSummary`) the end of the work.
    """

    requested = Signal()
    encoded = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        last = last_cohort()
        self.encoder = narrow_combo()
        self.encoder.addItems([encoder.name for encoder in known_encoders()])
        self.encoder.setCurrentText(str(last.value("encoder", EncodeCohortOptions().encoder)))
        self.encoder.currentTextChanged.connect(self._look_for_weights)
        self._weights = WeightsLine()
        self._weights.arrived.connect(self._look_for_weights)
        self.features = QLineEdit(str(last.value("features", "")), placeholderText="folder for one .h5 a patient")
        self.section = MoreOptions(EncodeCohortOptions, [n for n in _FIELDS if n not in _ELSEWHERE], _MORE)
        with suppress(ValidationError):  # options of another version
            kept = EncodeCohortOptions.model_validate_json(str(last.value("encode_options", "{}")))
            self.section.form.set(kept.model_dump())
        self.run = TaskRow("Encode patients", kept=_KEPT, is_main=False)
        self.run.button.setToolTip("Computes on the device that is chosen in Preferences")
        self.run.requested.connect(self.requested)
        inputs = (self.encoder.currentTextChanged, self.features.textChanged, self.section.form.changed)
        self.run.forget_on(*inputs, self._weights.arrived)
        self._form = form = QFormLayout()
        form.setVerticalSpacing(4)
        form.addRow(QLabel("Encoder", minimumWidth=NAMES_WIDTH), self.encoder)
        form.addRow("Features", folder_row(self.features, "Features"))
        column_of(self, form, self._weights, self.section, self.run)
        self._look_for_weights()
        self.section.form.widget("weights").textChanged.connect(self._look_for_weights)

    @shows_errors
    def start(self, cohort: Cohort) -> None:
        folder = path_in(self.features)
        if folder is None:
            raise OutputRefused("Choose a folder for the features first.")
        self._look_for_weights()
        self._weights.require()
        self.remember()
        options = self.options()

        def work(progress: OnProgress) -> EncodeSummary:
            load_torch(progress)
            from napari_caltomorph.cohort import encode_cohort

            return encode_cohort(cohort, folder, options, progress=progress)

        self.run.start(work, self._on_encoded)

    def set_needed(self, is_needed: bool) -> None:
        """Ask for an encoder and its weights, or not: features that are there were made with their own."""
        self._form.setRowVisible(self.encoder, is_needed)
        self._look_for_weights()

    def remember(self) -> None:
        last_cohort().setValue("encoder", self.encoder.currentText())
        last_cohort().setValue("features", self.features.text().strip())
        kept = self.options().model_dump_json(exclude=set(_ELSEWHERE))
        last_cohort().setValue("encode_options", kept)

    def options(self) -> EncodeCohortOptions:
        """Return what is chosen, here and in the Preferences; raise `OptionRefused` where it is not valid."""
        stored = preferences()
        return options_of(
            EncodeCohortOptions,
            encoder=self.encoder.currentText(),
            field_of_view=stored.field_of_view or None,
            device=stored.device,
            precision=stored.precision,
            **self.section.form.values(),
        )

    def _look_for_weights(self) -> None:
        if self._form.isRowVisible(self.encoder):
            self._weights.show_encoder(self.encoder.currentText(), self.section.form.value("weights"))
        else:
            self._weights.show_none()

    def _on_encoded(self, summary: EncodeSummary) -> None:
        done = f"{counted(summary.encoded, 'patient')} encoded, {summary.skipped} were done already"
        if failed := len(summary.failed):
            self.run.show_error(f'{done}, {failed} failed: see the table "Failed".')
        else:
            self.run.show_message(". ".join([f"{done}, none failed", *map(in_window_words, summary.assumed)]) + ".")
        self.encoded.emit(summary)
