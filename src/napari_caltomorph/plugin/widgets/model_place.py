"""Where the model goes: a name, by which it is found, or any folder; and whether a training of it was stopped there."""

from __future__ import annotations

import shutil
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QLabel, QLineEdit, QMessageBox, QPushButton, QWidget

from napari_caltomorph.diagnosis.installed import place_for
from napari_caltomorph.errors import CaltomorphError, ModelRefused
from napari_caltomorph.plugin.widgets.parts import line, link
from napari_caltomorph.plugin.widgets.settings import last_training, preferences
from napari_caltomorph.storage import home, path_of
from napari_caltomorph.training import training_folder


class ModelPlace(QWidget):
    """A line for the name or folder of the model; `changed` says that it may be another, or that `is_begun` may be."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.edit = QLineEdit(str(last_training().value("model", "")), placeholderText="name, or a new folder")
        self.edit.setToolTip(f"A name puts it into {home('models')}, where it is found by that name")
        self.edit.textChanged.connect(self.look)
        browse = QPushButton("Browse")
        browse.setFixedWidth(60)
        browse.setToolTip("Choose the folder in which the model's own folder is made")
        browse.clicked.connect(self._browse)
        self._note = line()
        self._note.linkActivated.connect(lambda _: self._ask_to_discard())
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        grid.setColumnMinimumWidth(0, 64)
        grid.addWidget(QLabel("Model"), 0, 0)
        grid.addWidget(self.edit, 0, 1)
        grid.addWidget(browse, 0, 2)
        grid.addWidget(self._note, 1, 0, 1, 3)
        self.look()

    @property
    def is_begun(self) -> bool:
        """Whether a training of this model was stopped, and can go on."""
        return self._begun is not None

    @property
    def text(self) -> str:
        """What is said below the name."""
        return str(self._note.text())

    def folder(self) -> Path:
        """Return the folder of the model.

        Raises
        ------
        ModelRefused
            There is no name, or one that no model can have.
        """
        text = self.edit.text().strip()
        if not text:
            raise ModelRefused("Give the model a name, or choose a folder for it.")
        return path_of(text).expanduser().absolute() if _is_path(text) else place_for(text)

    def suggest(self, name: str) -> None:
        """Write a name, where there is none."""
        if not self.edit.text().strip():
            self.edit.setText(name)

    def remember(self) -> None:
        """Let the next session begin with this model."""
        last_training().setValue("model", self.edit.text().strip())

    def look(self) -> None:
        """Look whether a training of this model was stopped."""
        try:
            work = training_folder(self.folder())
        except CaltomorphError:
            self._begun = None
        else:
            self._begun = work if work.is_dir() else None
        self._note.setText(
            "A training of this model was stopped. It goes on from the last finished epoch, with the options that it "
            f"was begun with; or {link('discard it')}."
            if self.is_begun
            else ""
        )
        self._note.setVisible(self.is_begun)
        self.changed.emit()

    def discard(self) -> None:
        """Remove what the stopped training has kept."""
        if self._begun is not None:
            shutil.rmtree(self._begun, ignore_errors=True)
        self.look()

    def _ask_to_discard(self) -> None:
        answer = QMessageBox.question(
            self, "Discard the training", f"Remove what was learnt so far? It stands in\n{self._begun}"
        )
        if answer == QMessageBox.StandardButton.Yes:
            self.discard()

    def _browse(self) -> None:
        if parent := QFileDialog.getExistingDirectory(self, "Make the model's folder in", preferences().folder):
            name = Path(self.edit.text().strip()).name or "model"
            self.edit.setText(str(Path(parent) / name))


def _is_path(text: str) -> bool:
    return "/" in text or "\\" in text or text.startswith("~")
