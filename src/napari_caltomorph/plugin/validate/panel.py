"""The *Validate* panel: a model, a laboratory's own patients and its criteria -> a verdict and a record to sign."""

from __future__ import annotations

from pathlib import Path

import napari
import pandas as pd
from pydantic import ValidationError
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QHeaderView, QLineEdit, QPushButton, QWidget

from napari_caltomorph.encoding.torch_loading import load_torch
from napari_caltomorph.jobs import (
    ValidateOptions,
    ValidateRequest,
    evaluation_folder,
    save_validation,
    validate_command,
    validate_model,
)
from napari_caltomorph.jobs.validate import RECORD_NAME
from napari_caltomorph.laboratory import Validation
from napari_caltomorph.plugin.evaluate.setup import ModelSetup, OldResultNote
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel
from napari_caltomorph.plugin.widgets.options_form import JobOptionsForm, OptionRefused, options_of
from napari_caltomorph.plugin.widgets.parts import (
    ERROR,
    WARNING,
    CollapsibleSection,
    CopyLink,
    colored,
    column_of,
    line,
    named_folder,
    path_in,
    plain,
    row_of,
    scroll_area,
)
from napari_caltomorph.plugin.widgets.settings import last_validation, preferences
from napari_caltomorph.plugin.widgets.table_view import TableView
from napari_caltomorph.plugin.widgets.task_row import TaskRow, shows_errors
from napari_caltomorph.progress import OnProgress

_ABOUT = (
    "Is a model good enough for your laboratory? Choose patients of known diagnosis that it was not trained on, and a "
    "file of criteria that was written before. Then click <b>Validate</b>. The model is not changed."
)
_OUT = "The record to print and sign, its data and the evaluation are written into this folder"
_COLORS = {"use with changed threshold": WARNING, "do not use": ERROR}
_COLUMNS = ["criterion", "result", "here (95 %)", "changed"]


class ValidatePanel(DockPanel):
    """Choose a model, patients and criteria; see the verdict, why it is so, and open the record."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.setup = ValidateSetup()
        self.section = CollapsibleSection("Setup", scroll_area(self.setup))
        self.run = TaskRow("Validate", kept="What was encoded before is kept.")
        sentence = "The verdict belongs to an earlier choice. Validate again."
        self.stale = OldResultNote(sentence, self.setup, self.run, lambda: self._shown and self._shown[0])
        self.verdict, self.reasons, self.source = line(), line(), line()
        self.table = TableView()
        self.open_button = QPushButton("Open record", clicked=self.open_record)
        self.open_button.setToolTip("Two pages to print, sign and file, in the browser")
        self.copy = CopyLink()
        self._shown: tuple[ValidateRequest, Path] | None = None
        self.setup.submitted.connect(self.validate)
        self.section.toggled.connect(self._arrange)
        self.run.requested.connect(self.validate)
        self.run.ended.connect(lambda: self.setup.setEnabled(True))
        self.run.forget_on(self.setup.changed)
        self.copy.linkActivated.connect(lambda _: self.copy_command())
        self._result = QWidget()
        parts = (self.verdict, self.reasons, self.table, self.source)
        column_of(self._result, *parts, row_of(self.open_button), stretch=(self.table,))
        widgets = (self.section, self.run, self.stale, self._result, self.copy)
        self.lay_out(*widgets, stretch=(self.section, self._result), spacing=3)
        self.section.set_open(True)
        self.bind()

    @shows_errors
    def validate(self) -> None:
        """Validate with the chosen options, and write the record; patients without features are encoded first."""
        self.bind()
        request, out = self.setup.request(), self.setup.folder()
        self.setup.remember()

        def work(progress: OnProgress) -> Validation:
            load_torch(progress)
            with evaluation_folder(out):
                result = validate_model(request, progress=progress)
                save_validation(result, out, command=validate_command(request, out), progress=progress)
            return result.validation

        def show(validation: Validation) -> None:
            self._shown = request, out
            self.show_validation(validation)
            self.run.show_message(f"Saved in {out}")

        self.setup.setEnabled(False)
        self.run.start(work, show)

    def show_validation(self, validation: Validation) -> None:
        """Show the verdict, its reasons, and all criteria."""
        kind = validation.verdict.kind
        headline = f"<h3>Verdict: {kind}</h3>"
        self.verdict.setText(colored(headline, _COLORS[kind]) if kind in _COLORS else headline)
        self.reasons.setText("<br>".join(map(plain, validation.verdict.reasons)))
        self.source.setText(plain(f"Criteria: {validation.stated.source}."))
        changed = {check.name: f"{check.outcome}: {check.shown}" for check in validation.at_changed or ()}
        rows = [
            (f"{check.name}, {check.limit_in_words}", check.outcome, check.shown, changed.get(check.name, ""))
            for check in (*validation.at_model, *validation.fixed)
        ]
        shown = _COLUMNS if changed else _COLUMNS[:-1]
        self.table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.show_frame(pd.DataFrame(rows, columns=_COLUMNS), shown)
        head = self.table.horizontalHeader()
        for name in (shown[0], *shown[2:]):  # nothing is scrolled sideways: long texts take two lines
            head.setSectionResizeMode(_COLUMNS.index(name), QHeaderView.ResizeMode.Stretch)
        self.section.set_open(False)
        self._arrange()

    def open_record(self) -> None:
        if self._shown is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._shown[1] / RECORD_NAME)))

    @shows_errors
    def copy_command(self) -> None:
        self.copy.copy(validate_command(self.setup.request(), self.setup.folder()))

    def on_bound(self) -> None:
        self.setup.models.bind()

    def on_unbound(self) -> None:
        self.setup.models.unbind()

    def _arrange(self) -> None:
        """Show the setup or the result: one at a time, as a dock has little height."""
        is_result = self._shown is not None and not self.section.is_open
        self._result.setVisible(is_result)
        self._column.setStretchFactor(self.section, int(not is_result))
        self.stale.update_note()


class ValidateSetup(ModelSetup[ValidateRequest]):
    """All inputs of a validation, and the folder of its record."""

    def __init__(self) -> None:
        options = ValidateOptionsForm()
        super().__init__(ValidateRequest, options, last_validation(), _ABOUT)
        self.out = options.out
        self.out.textChanged.connect(lambda _: self.changed.emit())

    def folder(self) -> Path:
        """Return the folder of the record; raise where none is chosen."""
        if (path := path_in(self.out)) is None:
            raise OptionRefused("Choose a folder for the record first.")
        return path


class ValidateOptionsForm(JobOptionsForm):
    """Criteria, whether images are read, and the folder of the record are shown."""

    def __init__(self) -> None:
        super().__init__(ValidateOptions, ("criteria", "skip_audit"), ("device", "encode_missing"))
        settings = last_validation()
        self.out = QLineEdit(str(settings.value("out", "")), placeholderText="folder for the record", toolTip=_OUT)
        for form in self.shown.values():
            form.align()
        folder = named_folder("Record", self.out)
        column_of(self, self.shown["criteria"], folder, self.shown["skip_audit"], self.section)
        try:
            last = ValidateOptions.model_validate_json(str(settings.value("options", "{}")))
        except ValidationError:  # options of another version
            last = ValidateOptions()
        self.set(**last.model_dump())

    def options(self) -> ValidateOptions:
        """Return the choice, here and in the Preferences; raise `OptionRefused` for a text that is not valid."""
        return options_of(ValidateOptions, **self.values(), device=preferences().device, encode_missing=True)

    def remember(self) -> None:
        last_validation().setValue("options", self.options().model_dump_json(exclude={"device", "encode_missing"}))
        last_validation().setValue("out", self.out.text().strip())
