"""Choosing the model, the encoder's weights and the device."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QGridLayout, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_caltomorph.diagnose import PredictOptions, find_model, installed_models, read_description
from napari_caltomorph.encode import find_encoder, find_weights
from napari_caltomorph.errors import CaltomorphError, WeightsMissing
from napari_caltomorph.plugin.parts import line, link, narrow_combo
from napari_caltomorph.plugin.settings import preferences
from napari_caltomorph.plugin.theme import ERROR
from napari_caltomorph.plugin.weights_dialog import WeightsDialog


class ModelChooser(QWidget):
    """Two rows to choose a model and a device; what is chosen stands in napari's Preferences."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
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
        self.device.currentTextChanged.connect(lambda text: setattr(preferences(), "device", text))
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        grid.setColumnMinimumWidth(0, 44)
        grid.addWidget(QLabel("Model"), 0, 0)
        grid.addWidget(self._choice, 0, 1)
        grid.addWidget(browse, 0, 2)
        grid.addWidget(self._about, 1, 1, 1, 2)
        below = QHBoxLayout()
        below.addWidget(self._weights, 1)
        below.addWidget(QLabel("Device"))
        below.addWidget(self.device)
        grid.addLayout(below, 2, 0, 1, 3)
        self.choose(preferences().model)

    def options(self) -> PredictOptions:
        """What was chosen, here and in the Preferences."""
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
        try:
            model = read_description(find_model(self._choice.currentData()))
            encoder = find_encoder(model.encoder.name)
            made = " &#183; <b>synthetic</b>" if model.synthetic else ""
            self._about.setText(
                f"{len(model.taxonomy.classes)} classes, {len(model.members)} members, {encoder.name}{made}"
            )
            find_weights(encoder, self.options().weights)
        except WeightsMissing:
            self._weights.setText(link("Get the encoder's weights ..."))
        except CaltomorphError as error:
            self._about.setText(f"<span style='color:{ERROR}'>{error}</span>")
        else:
            self._weights.setText("Encoder weights found")
        self.changed.emit()

    def _browse(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "Model folder", preferences().folder):
            self.choose(path)

    def _get_weights(self) -> None:
        model = read_description(find_model(self._choice.currentData()))
        if WeightsDialog(find_encoder(model.encoder.name), self).exec():
            self._on_chosen()
