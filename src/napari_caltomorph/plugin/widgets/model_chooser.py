"""Choosing the model, the encoder's weights and the device."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QWidget

from napari_caltomorph.diagnosis import ModelDescription, PredictOptions, find_model, installed_models, read_description
from napari_caltomorph.encoding import find_encoder
from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.plugin.widgets.parts import (
    ERROR,
    chooser_grid,
    colored,
    counted,
    line,
    narrow_combo,
    plain,
    row_of,
)
from napari_caltomorph.plugin.widgets.settings import choose_folder, preferences
from napari_caltomorph.plugin.widgets.weights import WeightsLine


class ModelChooser(QWidget):
    """Two rows to choose a model and a device; the choice is kept in napari's Preferences.

    `changed`: another model is chosen, or its weights were added.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.description: ModelDescription | None = None
        self._choice = narrow_combo()
        self._choice.currentIndexChanged.connect(self._on_chosen)
        browse = QPushButton("Browse", toolTip="Choose a model folder", clicked=self._browse)
        self._about = line()
        self._weights = WeightsLine(found="Encoder weights found")
        self._weights.arrived.connect(self._on_chosen)
        self.device = QComboBox()
        self.device.addItems(["auto", "cpu", "cuda", "mps"])
        self.device.setCurrentText(preferences().device)
        self.device.currentTextChanged.connect(self._on_device)
        self.device.setToolTip("Where to compute; auto takes a graphics card where there is one, else the processor")
        grid = chooser_grid(self, "Model", self._choice, browse, self._about)
        grid.addLayout(row_of(self._weights, QLabel("Device"), self.device, stretch=(self._weights,)), 2, 0, 1, 3)
        self.choose(preferences().model)

    def options(self) -> PredictOptions:
        """Return the choice, here and in the Preferences; raise `WeightsMissing` where the encoder has no weights."""
        self._weights.require()
        return self.chosen()

    def bind(self) -> None:
        """Follow what is changed in napari's Preferences."""
        preferences().events.connect(self._on_preferences)
        self._on_preferences()

    def unbind(self) -> None:
        """Disconnect from the Preferences."""
        preferences().events.disconnect(self._on_preferences)

    def chosen(self) -> PredictOptions:
        """Return the choice, also where the encoder's weights are missing."""
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
        self._weights.show_none()
        self.description = None
        try:
            self.description = model = read_description(find_model(self._choice.currentData()))
            encoder = find_encoder(model.encoder_name)
        except CaltomorphError as error:
            self._about.setText(colored(plain(str(error)), ERROR))
        else:
            synthetic = " &#183; <b>synthetic</b>" if model.synthetic else ""
            members = counted(len(model.members), "member")
            self._about.setText(f"{len(model.taxonomy.names)} classes, {members}, {encoder.name}{synthetic}")
            self._weights.show_encoder(encoder.name, self.chosen().weights)
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
        if path := choose_folder(self, "Model folder"):
            self.choose(str(path))
