"""Choosing the model, the encoder's weights and the device."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_caltomorph.diagnosis import ModelDescription, PredictOptions, find_model, installed_models, read_description
from napari_caltomorph.encoding import find_encoder, find_weights
from napari_caltomorph.errors import CaltomorphError, WeightsMissing
from napari_caltomorph.plugin.widgets.parts import (
    ERROR,
    chooser_grid,
    colored,
    counted,
    line,
    link,
    narrow_combo,
    plain,
)
from napari_caltomorph.plugin.widgets.settings import preferences
from napari_caltomorph.plugin.widgets.weights_dialog import WeightsDialog

_GET = "Get the encoder's weights"


class ModelChooser(QWidget):
    """Two rows to choose a model and a device; what is chosen stands in napari's Preferences.

    `changed` says that another model is chosen now, or that its weights came.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.description: ModelDescription | None = None
        self._missing = ""
        self._choice = narrow_combo()
        self._choice.currentIndexChanged.connect(self._on_chosen)
        browse = QPushButton("Browse")
        browse.setToolTip("Choose a model folder")
        browse.clicked.connect(self._browse)
        self._about = line()
        self._weights = line()
        self._weights.linkActivated.connect(lambda _: self._get_weights())
        self.device = QComboBox()
        self.device.addItems(["auto", "cpu", "cuda", "mps"])
        self.device.setCurrentText(preferences().device)
        self.device.currentTextChanged.connect(self._on_device)
        self.device.setToolTip("Where to compute; auto takes a graphics card where there is one, else the processor")
        grid = chooser_grid(self, "Model", self._choice, browse, self._about)
        below = QHBoxLayout()
        below.addWidget(self._weights, 1)
        below.addWidget(QLabel("Device"))
        below.addWidget(self.device)
        grid.addLayout(below, 2, 0, 1, 3)
        self.choose(preferences().model)

    def options(self) -> PredictOptions:
        """What was chosen, here and in the Preferences.

        Raises
        ------
        WeightsMissing
            The encoder's weights are not here; the message names the link that gets them.
        """
        if self._missing:
            raise WeightsMissing(f'The weights of {self._missing} are not on this machine: click "{_GET}" above.')
        return self.chosen()

    def bind(self) -> None:
        """Follow what is changed in napari's Preferences."""
        preferences().events.connect(self._on_preferences)
        self._on_preferences()

    def unbind(self) -> None:
        """Let go of the Preferences."""
        preferences().events.disconnect(self._on_preferences)

    def chosen(self) -> PredictOptions:
        """What was chosen, whether or not the encoder's weights are here."""
        stored = preferences()
        return PredictOptions(
            model=self._choice.currentData(),
            device=self.device.currentText(),
            precision=stored.precision,
            weights=Path(stored.weights) if stored.weights else None,
        )

    def choose(self, model: str) -> None:
        """Choose an installed model by name, or a model folder."""
        self._choice.blockSignals(True)
        self._choice.clear()
        for name in installed_models():
            self._choice.addItem(name, name)
        if self._choice.findData(model) < 0:
            self._choice.addItem(Path(model).name, model)
        self._choice.setCurrentIndex(self._choice.findData(model))
        self._choice.blockSignals(False)
        self._on_chosen()

    def _on_chosen(self, index: int = 0) -> None:
        preferences().model = self._choice.currentData()
        self._weights.clear()
        self.description, self._missing = None, ""
        try:
            self.description = model = read_description(find_model(self._choice.currentData()))
            encoder = find_encoder(model.encoder_name)
            made = " &#183; <b>synthetic</b>" if model.synthetic else ""
            self._about.setText(
                f"{len(model.taxonomy.names)} classes, {counted(len(model.members), 'member')}, {encoder.name}{made}"
            )
            find_weights(encoder, self.chosen().weights)
        except WeightsMissing:
            self._missing = encoder.name
            self._weights.setText(link(f"{_GET} ..."))
        except CaltomorphError as error:
            self._about.setText(colored(plain(str(error)), ERROR))
        else:
            self._weights.setText("Encoder weights found")
        self.changed.emit()

    def _on_preferences(self, event: object = None) -> None:
        stored = preferences()
        if stored.model != self._choice.currentData():
            self.choose(stored.model)
        else:
            self._on_chosen()  # the weights file may be another
        self.device.setCurrentText(stored.device)

    def _on_device(self, device: str) -> None:
        preferences().device = device

    def _browse(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "Model folder", preferences().folder):
            self.choose(path)

    def _get_weights(self) -> None:
        if WeightsDialog(find_encoder(self._missing), self).exec():
            self._on_chosen()
