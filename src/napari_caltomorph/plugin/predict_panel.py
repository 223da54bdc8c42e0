"""The *Predict patient* panel: choose a smear and a model, predict, and read the result.

The panel holds no logic of its own: it makes a `PredictOptions`, calls `Predictor` in a worker, and shows the
`Prediction` that comes back. torch is imported in the worker, never here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import napari
from napari.layers import Image, Layer
from napari.utils.notifications import notification_manager, show_info
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDockWidget,
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_caltomorph.diagnose import Prediction, find_model, installed_models, read_description, save_predictions
from napari_caltomorph.diagnose.model_file import ModelDescription
from napari_caltomorph.encode import find_encoder
from napari_caltomorph.errors import CaltomorphError, SmearUnreadable
from napari_caltomorph.plugin.beside_opengl import load_triton_privately
from napari_caltomorph.plugin.gallery import compose_gallery
from napari_caltomorph.plugin.layers import PREDICTION_KEY, Picture, RankedLayers, ranked_order
from napari_caltomorph.plugin.left_out_dialog import LeftOutDialog
from napari_caltomorph.plugin.reader import SMEAR_KEY, find_smear, smear_layer
from napari_caltomorph.plugin.result_view import ResultView
from napari_caltomorph.plugin.settings import predict_options, preferences
from napari_caltomorph.plugin.theme import ERROR, look_of
from napari_caltomorph.plugin.weights_dialog import WeightsDialog
from napari_caltomorph.plugin.worker import Task
from napari_caltomorph.progress import OnProgress, Pace, Progress
from napari_caltomorph.smear import Smear, check_smear, read_smear, smear_from_array

_PREDICT, _CANCEL, _CANCELLING = "Predict patient", "Cancel", "Cancelling ..."
_EMPTY = (
    "Open the folder that the scanner exported for one patient, or a synthetic one from<br>"
    "<i>File &#8594; Open Sample &#8594; cAItomorph</i>, and click <b>Predict patient</b>."
)


@dataclass(frozen=True)
class _Found:
    """What the worker brings back."""

    smear: Smear | None
    prediction: Prediction
    picture: Picture | None
    problem: str = ""


class PredictPanel(QWidget):
    """Choose a smear and a model, predict, and read the result.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Given by napari.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._task: Task[object] | None = None
        self._check: Task[Smear] | None = None
        self._generation = 0  # results of an older generation are dropped
        self._predictor: object | None = None
        self._ranked: RankedLayers | None = None
        self._is_bound = False
        self._pace = Pace()
        self._build()
        self._refresh_models(preferences().model)
        self._bind()

    # What others may call --------------------------------------------------------------------------------------

    def open_smear(self, path: str | Path) -> None:
        """Open an export and choose it; a problem is shown in the panel."""
        try:
            smear = read_smear(path)
        except CaltomorphError as error:
            self._say(str(error), is_error=True)
            return
        preferences().folder = str(Path(path).parent)
        layer = self._viewer.add_layer(Layer.create(*smear_layer(smear)))
        self._refresh_smears()
        self._smears.setCurrentIndex(self._smears.findData(layer))

    def predict(self) -> None:
        """Predict the chosen smear; a prediction that still runs is cancelled first, and its result dropped."""
        layer = self._smears.currentData()
        if layer is None:
            self._say("There is no smear yet. " + _EMPTY)
            return
        self.cancel()
        try:
            smear = _smear_of(layer)
            options = predict_options(self._models.currentData(), self._devices.currentText())
        except (CaltomorphError, ValueError) as error:
            self._say(str(error), is_error=True)
            return

        def work(progress: OnProgress) -> _Found:
            load_triton_privately()
            from napari_caltomorph.diagnose import Predictor

            if not isinstance(self._predictor, Predictor) or self._predictor.options != options:
                self._predictor = Predictor(options)
            graded, prediction = self._predictor.predict(smear, progress=progress)
            picture = compose_gallery(graded, ranked_order(graded, prediction), progress=progress)
            return _Found(graded, prediction, picture)

        self._start(work, layer)

    def open_prediction(self, path: str | Path) -> None:
        """Show a saved prediction, with its layers where its smear still is."""
        self.cancel()

        def work(progress: OnProgress) -> _Found:
            prediction = Prediction.load(Path(path))
            try:
                smear = find_smear(prediction)
            except SmearUnreadable as error:
                return _Found(None, prediction, None, f"The cells cannot be shown: {error}")
            picture = compose_gallery(smear, ranked_order(smear, prediction), progress=progress)
            return _Found(smear, prediction, picture)

        self._start(work, None)

    def save(self, folder: str | Path) -> None:
        """Save the shown prediction: prediction.json, predictions.csv and cells.csv."""
        prediction = self.results.prediction
        if prediction is None:
            return
        try:
            save_predictions([prediction], Path(folder))
        except CaltomorphError as error:
            self._say(str(error), is_error=True)
            return
        show_info(f"Saved prediction.json, predictions.csv and cells.csv in {folder}")

    @property
    def is_busy(self) -> bool:
        """Whether a prediction is being made or opened."""
        return self._task is not None

    def cancel(self) -> None:
        """Stop what runs; its result, if it comes all the same, is dropped."""
        self._generation += 1
        for task in (self._task, self._check):
            if task is not None:
                task.quit()
        if self._task is not None:
            self._button.setText(_CANCELLING)
            self._button.setEnabled(False)

    # Building --------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self._smears = _combo()
        self._smears.currentIndexChanged.connect(self._on_smear_chosen)
        self._open = QToolButton(text="Open...", popupMode=QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self._open)
        menu.addAction("Folder of cells...", self._open_folder)
        menu.addAction("Zip archive or TIFF stack...", self._open_file)
        menu.addAction("Saved prediction...", self._open_saved)
        self._open.setMenu(menu)
        self._smear_line = _line()
        self._smear_line.linkActivated.connect(lambda _: self._show_left_out())
        self._models = _combo()
        self._models.currentIndexChanged.connect(self._on_model_chosen)
        browse = QToolButton(text="...", toolTip="Choose a model folder")
        browse.clicked.connect(self._browse_model)
        self._model_line = _line()
        self._weights_line = _line()
        self._weights_line.linkActivated.connect(lambda _: self._get_weights())
        self._devices = QComboBox()
        self._devices.addItems(["auto", "cpu", "cuda", "mps"])
        self._devices.setCurrentText(preferences().device)
        self._devices.currentTextChanged.connect(lambda text: setattr(preferences(), "device", text))
        self._button = QPushButton(_PREDICT)
        self._button.setMinimumHeight(34)
        self._button.clicked.connect(self._on_button)
        self._bar = QProgressBar(textVisible=False, visible=False)
        self._bar.setFixedHeight(8)
        self._state = _line()
        self.results = ResultView()
        self.results.cell_chosen.connect(lambda position: self._choose_cell(position, center=True))
        self._as_stack = QCheckBox("One cell at a time")
        self._as_stack.toggled.connect(self._on_as_stack)
        self._save_button = QPushButton("Save...")
        self._save_button.clicked.connect(self._save_dialog)
        self._scroll = QScrollArea(widgetResizable=True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setWidget(self.results)

        top = QGridLayout()
        top.setColumnStretch(1, 1)
        top.addWidget(QLabel("Smear"), 0, 0)
        top.addWidget(self._smears, 0, 1)
        top.addWidget(self._open, 0, 2)
        top.addWidget(self._smear_line, 1, 1, 1, 2)
        top.addWidget(QLabel("Model"), 2, 0)
        top.addWidget(self._models, 2, 1)
        top.addWidget(browse, 2, 2)
        top.addWidget(self._model_line, 3, 1, 1, 2)
        device = QHBoxLayout()
        device.addWidget(self._weights_line, 1)
        device.addWidget(QLabel("Device"))
        device.addWidget(self._devices)
        self._tools = QWidget()
        tools = QHBoxLayout(self._tools)
        tools.setContentsMargins(0, 0, 0, 0)
        tools.addWidget(self._as_stack)
        tools.addStretch()
        tools.addWidget(self._save_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 4, 4)
        column.setSpacing(4)
        column.addLayout(top)
        column.addLayout(device)
        column.addWidget(self._button)
        column.addWidget(self._bar)
        column.addWidget(self._state)
        column.addWidget(self._scroll, 1)
        column.addWidget(self._tools)
        column.addWidget(_line("Research use only. Not for diagnosis."))
        self.setMinimumWidth(360)
        self._show_results(False)
        self._say(_EMPTY)

    # Binding to the viewer; closing a dock only hides it, and it may be shown again -----------------------------

    def showEvent(self, event: QEvent) -> None:
        super().showEvent(event)
        self._bind()
        dock = self._dock()
        if dock is not None:
            dock.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Close and watched is self._dock():
            self.unbind()
        return super().eventFilter(watched, event)

    def _dock(self) -> QDockWidget | None:
        parent = self.parent()
        while parent is not None and not isinstance(parent, QDockWidget):
            parent = parent.parent()
        return parent

    def _bind(self) -> None:
        if self._is_bound:
            return
        self._is_bound = True
        layers = self._viewer.layers.events
        layers.inserted.connect(self._refresh_smears)
        layers.removed.connect(self._refresh_smears)
        self._viewer.events.theme.connect(self._on_theme)
        self._viewer.mouse_drag_callbacks.append(self._on_viewer_click)
        self._refresh_smears()

    def unbind(self) -> None:
        """Stop the worker and let go of the viewer."""
        if not self._is_bound:
            return
        self._is_bound = False
        self.cancel()
        layers = self._viewer.layers.events
        layers.inserted.disconnect(self._refresh_smears)
        layers.removed.disconnect(self._refresh_smears)
        self._viewer.events.theme.disconnect(self._on_theme)
        self._viewer.mouse_drag_callbacks.remove(self._on_viewer_click)

    # The worker -------------------------------------------------------------------------------------------------

    def _start(self, work: Callable[[OnProgress], _Found], layer: Image | None) -> None:
        self._generation += 1
        generation = self._generation
        task: Task[object] = Task(work)
        task.progressed.connect(lambda progress: self._on_progress(generation, progress))
        task.returned.connect(lambda found: self._on_found(generation, found, layer))
        task.errored.connect(lambda error: self._on_error(generation, error))
        task.finished.connect(partial(self._on_finished, task))
        self._task = task
        self._pace = Pace()
        self._button.setText(_CANCEL)
        self._button.setEnabled(True)
        self._bar.setRange(0, 0)
        self._bar.show()
        self._say("Starting ...")
        task.start()

    def _on_button(self) -> None:
        if self._task is None:
            self.predict()
        else:
            self.cancel()
            self._say("Cancelled; nothing was changed.")

    def _on_progress(self, generation: int, progress: Progress) -> None:
        if generation != self._generation:
            return
        self._bar.setRange(0, progress.total if progress.unit == "cells" else 0)
        self._bar.setValue(progress.done)
        self._say(self._pace.describe(progress))

    def _on_found(self, generation: int, found: _Found, layer: Image | None) -> None:
        if generation != self._generation:
            return
        if layer is not None and found.smear is not None and layer in self._viewer.layers:
            layer.metadata[SMEAR_KEY] = found.smear
        if self._ranked is not None:
            self._ranked.close()
            self._ranked = None
        self._as_stack.setChecked(False)
        if found.smear is not None and found.picture is not None:
            self._ranked = RankedLayers(self._viewer, found.smear, found.prediction, found.picture)
        self._as_stack.setEnabled(self._ranked is not None)
        self.results.show_prediction(found.prediction, found.smear, look_of(self._viewer.theme))
        self._show_results(True)
        self._say(found.problem, is_error=bool(found.problem))
        self._describe_smear()

    def _on_error(self, generation: int, error: Exception) -> None:
        if generation != self._generation:
            return
        from napari_caltomorph.encode.device import is_out_of_memory

        if isinstance(error, CaltomorphError):
            self._say(str(error), is_error=True)
        elif is_out_of_memory(error):
            self._predictor = None
            self._say(
                "There is not enough memory for this; choose the device cpu, or close other programs.", is_error=True
            )
        else:
            self._say(f"This should not have happened: {error}", is_error=True)
            notification_manager.receive_error(type(error), error, error.__traceback__)

    def _on_finished(self, task: Task[object]) -> None:
        if task is not self._task:
            return
        self._task = None
        self._bar.hide()
        self._button.setText(_PREDICT)
        self._button.setEnabled(True)

    # Smears -----------------------------------------------------------------------------------------------------

    def _refresh_smears(self, event: object = None) -> None:
        chosen = self._smears.currentData()
        self._smears.blockSignals(True)
        self._smears.clear()
        for layer in self._viewer.layers:
            if _is_smear(layer):
                self._smears.addItem(layer.name, layer)
        index = self._smears.findData(chosen)
        self._smears.setCurrentIndex(index if index >= 0 else self._smears.count() - 1)
        self._smears.blockSignals(False)
        if self._smears.currentData() is not chosen:
            self._on_smear_chosen()

    def _on_smear_chosen(self, index: int = 0) -> None:
        if self._check is not None:
            self._check.quit()
        self._describe_smear()
        layer = self._smears.currentData()
        if layer is None:
            return
        smear = _smear_of(layer)
        if smear.grades is not None or self._task is not None:
            return
        task: Task[Smear] = Task(lambda progress: check_smear(smear, progress=progress))
        task.returned.connect(lambda graded: self._on_checked(layer, graded))
        task.errored.connect(lambda error: self._on_check_failed(layer, error))
        self._check = task
        task.start()

    def _on_checked(self, layer: Image, graded: Smear) -> None:
        layer.metadata[SMEAR_KEY] = graded
        if layer is self._smears.currentData():
            self._describe_smear()

    def _on_check_failed(self, layer: Image, error: Exception) -> None:
        if layer is self._smears.currentData():
            self._say(str(error), is_error=True)

    def _describe_smear(self) -> None:
        layer = self._smears.currentData()
        if layer is None:
            self._smear_line.setText("none open")
            return
        smear = _smear_of(layer)
        if smear.grades is None:
            self._smear_line.setText(f"{len(smear)} images, checking ...")
            return
        out = len(smear.left_out)
        link = ", all usable"
        if any(grade.reason is not None for grade in smear.grades):
            link = f", {out} left out &nbsp;<a href='why'>(why?)</a>"
        self._smear_line.setText(f"{len(smear.usable)} cells{link}")

    def _show_left_out(self) -> None:
        layer = self._smears.currentData()
        dialog = LeftOutDialog(_smear_of(layer), self)
        if dialog.exec():
            try:
                layer.metadata[SMEAR_KEY] = _smear_of(layer).choosing(take_back=dialog.taken_back)
            except CaltomorphError as error:
                self._say(str(error), is_error=True)
            self._describe_smear()

    def _open_folder(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "One patient's cells", preferences().folder):
            self.open_smear(path)

    def _open_file(self) -> None:
        pattern = "Smears (*.zip *.tif *.tiff *.TIF *.TIFF)"
        path, _ = QFileDialog.getOpenFileName(self, "One patient's cells", preferences().folder, pattern)
        if path:
            self.open_smear(path)

    def _open_saved(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Prediction", preferences().folder, "Predictions (*prediction.json)"
        )
        if path:
            self.open_prediction(path)

    # Models and weights -----------------------------------------------------------------------------------------

    def _refresh_models(self, chosen: str) -> None:
        self._models.blockSignals(True)
        self._models.clear()
        for name in installed_models():
            self._models.addItem(name, name)
        if self._models.findData(chosen) < 0:
            self._models.addItem(Path(chosen).name, chosen)
        self._models.setCurrentIndex(self._models.findData(chosen))
        self._models.blockSignals(False)
        self._on_model_chosen()

    def _on_model_chosen(self, index: int = 0) -> None:
        model = self._description()
        if model is None:
            return
        preferences().model = self._models.currentData()
        made = " &#183; <b>synthetic</b>" if model.synthetic else ""
        self._model_line.setText(
            f"{len(model.taxonomy.classes)} classes, {len(model.members)} members, {model.encoder.name}{made}"
        )
        encoder = find_encoder(model.encoder.name)
        stored = preferences().weights
        if (stored and Path(stored).is_file()) or encoder.keeper.find(encoder.name) is not None:
            self._weights_line.setText("Encoder weights found")
        else:
            self._weights_line.setText(f"<a href='get'>Get {encoder.name} ...</a>")

    def _description(self) -> ModelDescription | None:
        try:
            return read_description(find_model(self._models.currentData()))
        except CaltomorphError as error:
            self._model_line.setText(f"<span style='color:{ERROR}'>{error}</span>")
            self._weights_line.clear()
            return None

    def _browse_model(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "Model folder", preferences().folder):
            self._refresh_models(path)

    def _get_weights(self) -> None:
        model = self._description()
        if model is not None and WeightsDialog(find_encoder(model.encoder.name), self).exec():
            self._on_model_chosen()

    # Results ----------------------------------------------------------------------------------------------------

    def _save_dialog(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "Save the prediction in", preferences().folder):
            self.save(path)

    def _on_viewer_click(self, viewer: object, event: object) -> object:
        """Choose the cell under a click; a drag pans, as always."""
        start = tuple(event.pos)  # type: ignore[attr-defined]
        yield
        while event.type == "mouse_move":  # type: ignore[attr-defined]
            yield
        end = tuple(event.pos)  # type: ignore[attr-defined]
        if self._ranked is None or max(abs(a - b) for a, b in zip(start, end, strict=True)) > 4:
            return
        position = self._ranked.position_at(event.position)  # type: ignore[attr-defined]
        if position is not None:
            self._choose_cell(position, center=False)

    def _choose_cell(self, position: int, *, center: bool) -> None:
        self.results.select(position)
        self._scroll.ensureWidgetVisible(self.results.card)
        if self._ranked is not None:
            self._ranked.select(position, center=center)

    def _on_as_stack(self, on: bool) -> None:
        if self._ranked is not None:
            self._ranked.show_as_stack(on)

    def _on_theme(self, event: object = None) -> None:
        self.results.draw(look_of(self._viewer.theme))

    def _show_results(self, are_there: bool) -> None:
        self._scroll.setVisible(are_there)
        self._tools.setVisible(are_there)

    def _say(self, text: str, *, is_error: bool = False) -> None:
        self._state.setText(f"<span style='color:{ERROR}'>{text}</span>" if is_error else text)
        self._state.setVisible(bool(text))


def _is_smear(layer: Layer) -> bool:
    """Whether a layer shows single cells: 8-bit RGB of shape (N, H, W, 3), and none of our own pictures."""
    return (
        isinstance(layer, Image)
        and layer.rgb
        and not layer.multiscale
        and layer.ndim == 3
        and layer.dtype == "uint8"
        and layer.data.shape[-1] == 3
        and PREDICTION_KEY not in layer.metadata
    )


def _smear_of(layer: Image) -> Smear:
    """Return the smear that a layer shows; of any other stack of cells, the array itself."""
    if SMEAR_KEY not in layer.metadata:
        is_micrometre = str(layer.units[-1]) in ("micrometer", "micron", "um")
        size = float(layer.scale[-1]) if is_micrometre else None
        layer.metadata[SMEAR_KEY] = smear_from_array(layer.data, layer.name, size)
    smear: Smear = layer.metadata[SMEAR_KEY]
    return smear


def _combo() -> QComboBox:
    combo = QComboBox()
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(12)
    return combo


def _line(text: str = "") -> QLabel:
    return QLabel(text, wordWrap=True)
