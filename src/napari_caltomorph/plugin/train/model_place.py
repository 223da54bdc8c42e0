"""The folder of the new model: a name or any folder, and whether a training of it was stopped there."""

from __future__ import annotations

import shutil
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLineEdit, QMessageBox, QPushButton, QWidget

from napari_caltomorph.diagnosis.installed import place_for
from napari_caltomorph.errors import CaltomorphError, ModelRefused
from napari_caltomorph.plugin.widgets.parts import chooser_grid, line, link, path_in
from napari_caltomorph.plugin.widgets.settings import choose_folder, last_training
from napari_caltomorph.storage import home
from napari_caltomorph.training import training_folder


class ModelPlace(QWidget):
    """A line for the name or folder of the model; `changed` follows each change of it and of `is_begun`."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.edit = QLineEdit(str(last_training().value("model", "")), placeholderText="name, or a new folder")
        self.edit.setToolTip(f"With a name, the model is in {home('models')}, and found by that name")
        self.edit.textChanged.connect(self.refresh)
        browse = QPushButton("Browse")
        browse.setToolTip("Choose the folder in which the model's own folder is made")
        browse.clicked.connect(self._browse)
        self._note = line()
        self._note.linkActivated.connect(lambda _: self._ask_to_discard())
        grid = chooser_grid(self, "Model", self.edit, browse, self._note)
        grid.setColumnMinimumWidth(0, 64)
        grid.addWidget(self._note, 1, 0, 1, 3)
        self.refresh()

    @property
    def is_begun(self) -> bool:
        """Whether a training of this model was stopped, and can be resumed."""
        return self._begun is not None

    @property
    def text(self) -> str:
        """The note below the name."""
        return str(self._note.text())

    def folder(self) -> Path:
        """Return the folder of the model.

        Raises
        ------
        ModelRefused
            There is no name, or one that no model can have.
        """
        text, path = self.edit.text().strip(), path_in(self.edit)
        if path is None:
            raise ModelRefused("Give the model a name, or choose a folder for it.")
        return path if _is_path(text) else place_for(text)

    def suggest(self, name: str) -> None:
        """Set a name, if there is none."""
        if not self.edit.text().strip():
            self.edit.setText(name)

    def remember(self) -> None:
        """Let the next session begin with this model."""
        last_training().setValue("model", self.edit.text().strip())

    def refresh(self) -> None:
        """Check whether a training of this model was stopped."""
        try:
            work = training_folder(self.folder())
        except CaltomorphError:
            self._begun = None
        else:
            self._begun = work if work.is_dir() else None
        self._note.setText(
            "A training of this model was stopped. It is resumed from the last finished epoch, with the options that "
            f"it was started with; or {link('discard it')}."
            if self.is_begun
            else ""
        )
        self._note.setVisible(self.is_begun)
        self.changed.emit()

    def discard(self) -> None:
        """Remove the checkpoints of the stopped training."""
        if self._begun is not None:
            shutil.rmtree(self._begun, ignore_errors=True)
        self.refresh()

    def _ask_to_discard(self) -> None:
        answer = QMessageBox.question(
            self, "Discard the training", f"Remove the checkpoints of this training? They are in\n{self._begun}"
        )
        if answer == QMessageBox.StandardButton.Yes:
            self.discard()

    def _browse(self) -> None:
        if parent := choose_folder(self, "Make the model's folder in"):
            self.edit.setText(str(parent / (Path(self.edit.text().strip()).name or "model")))


def _is_path(text: str) -> bool:
    return "/" in text or "\\" in text or text.startswith("~")
