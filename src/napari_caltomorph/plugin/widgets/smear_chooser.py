"""Choosing the smear: a layer of the viewer, or an export from disk; how many of its cells are usable, and why not."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import napari
from napari.layers import Image, Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMenu, QPushButton, QWidget

from napari_caltomorph.errors import CaltomorphError, printable
from napari_caltomorph.plugin.gallery.layers import PREDICTION_KEY, SMEAR_KEY, hide_all_but, show_smear, smear_layer
from napari_caltomorph.plugin.widgets.left_out_dialog import LeftOutDialog
from napari_caltomorph.plugin.widgets.parts import chooser_grid, counted, line, link, narrow_combo
from napari_caltomorph.plugin.widgets.settings import choose_file, choose_folder, preferences
from napari_caltomorph.plugin.widgets.task_row import LatestJob
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.smear import Smear, check_smear, read_smear, smear_from_array


class SmearChooser(QWidget):
    """A row to choose a smear.

    `changed`: another smear is chosen, or other cells of it. `problem` carries a sentence for the user (empty when
    there is none), `prediction_chosen` the path of a saved prediction to open.
    """

    changed = Signal()
    problem = Signal(str)
    prediction_chosen = Signal(str)

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._check = LatestJob(self)
        self._choice = narrow_combo()
        self._choice.currentIndexChanged.connect(self._on_chosen)
        menu = QMenu(self)
        menu.addAction("Folder of cells...", self._open_folder)
        menu.addAction("Zip archive or TIFF stack...", self._open_file)
        menu.addAction("Saved prediction...", self._open_prediction)
        opener = QPushButton("Open")
        opener.setMenu(menu)
        self._about = line()
        self._about.linkActivated.connect(lambda _: self._show_left_out())
        chooser_grid(self, "Smear", self._choice, opener, self._about)

    @property
    def layer(self) -> Image | None:
        """The chosen layer."""
        layer: Image | None = self._choice.currentData()
        return layer

    @property
    def text(self) -> str:
        """The summary of the chosen smear."""
        return self._about.text()

    def smear(self) -> Smear | None:
        """The chosen smear; of any other stack of cells, the array itself."""
        return None if self.layer is None else _smear_of(self.layer)

    def open(self, path: str | Path) -> None:
        """Open an export as a layer, and choose it."""
        try:
            smear = read_smear(path)
        except CaltomorphError as error:
            self.problem.emit(str(error))
            return
        self.problem.emit("")
        preferences().folder = printable(str(Path(path).parent))
        self._viewer.add_layer(Layer.create(*smear_layer(smear)))

    def show_smear(self, smear: Smear) -> None:
        """Choose the layer of an export, opened if necessary, and show it alone."""
        layer = show_smear(self._viewer, smear)
        self._choice.setCurrentIndex(self._choice.findData(layer))

    def keep(self, layer: Image, graded: Smear) -> None:
        """Keep the graded smear of a layer."""
        if layer in self._viewer.layers:
            layer.metadata[SMEAR_KEY] = graded
        self._describe()

    def bind(self) -> None:
        """Follow the viewer's layers."""
        events = self._viewer.layers.events
        events.inserted.connect(self._on_inserted, position="last")  # when napari has shown the layer
        events.removed.connect(self._refresh)
        events.renamed.connect(self._refresh)
        self._refresh()

    def unbind(self) -> None:
        """Disconnect from the viewer, and stop checking."""
        events = self._viewer.layers.events
        events.inserted.disconnect(self._on_inserted)
        events.removed.disconnect(self._refresh)
        events.renamed.disconnect(self._refresh)
        self.stop_checking()

    def stop_checking(self) -> None:
        """Stop the check in the background, if one runs."""
        self._check.stop()

    def _on_inserted(self, event: Any) -> None:
        """Choose a smear that was opened, in the panel or elsewhere, and show it alone."""
        self._refresh()
        if not _is_smear(event.value):
            return
        self._choice.setCurrentIndex(self._choice.findData(event.value))
        if SMEAR_KEY in event.value.metadata:
            hide_all_but(self._viewer, event.value)
            self._viewer.dims.set_point(0, 0)
            self._viewer.reset_view(layers=[event.value])

    def _refresh(self, event: object = None) -> None:
        chosen = self.layer
        self._choice.blockSignals(True)
        self._choice.clear()
        for layer in self._viewer.layers:
            if _is_smear(layer):
                self._choice.addItem(layer.name, layer)
        index = self._choice.findData(chosen)
        self._choice.setCurrentIndex(index if index >= 0 else self._choice.count() - 1)
        self._choice.blockSignals(False)
        if self.layer != chosen or self.layer is None:
            self._on_chosen()

    def _on_chosen(self, index: int = 0) -> None:
        self.stop_checking()
        smear, layer = self.smear(), self.layer
        if smear is not None and smear.pixel_size_um is not None:
            self._viewer.canvas.overlays.scale_bar.visible = True
        if layer is not None and smear is not None and smear.grades is None:
            work = partial(_checked, smear)
            self._check.start(work, partial(self.keep, layer), partial(self._on_check_failed, layer))
        self._describe()

    def _on_check_failed(self, layer: Image, problem: str) -> None:
        if layer == self.layer:
            self._about.setText("no usable cell")
            self.problem.emit(problem)

    def _describe(self) -> None:
        smear = self.smear()
        if smear is None:
            self._about.setText("none open")
        elif smear.grades is None:
            self._about.setText(f"{counted(len(smear), 'image')}, checking ...")
        elif any(grade.reason is not None for grade in smear.grades):
            cells = counted(len(smear.usable), "cell")
            self._about.setText(f"{cells}, {len(smear.left_out)} left out {link('why?')}")
        else:
            others = f"; {counted(len(smear.passed_over), 'other file')}" if smear.passed_over else ""
            self._about.setText(f"{counted(len(smear.usable), 'cell')}, all usable{others}")
        self.changed.emit()

    def _show_left_out(self) -> None:
        smear, layer = self.smear(), self.layer
        assert smear is not None
        assert layer is not None
        dialog = LeftOutDialog(smear, self)
        if not dialog.exec():
            return
        try:
            self.keep(layer, smear.choosing(take_back=dialog.included_again, set_aside=smear.set_aside))
        except CaltomorphError as error:
            self.problem.emit(str(error))

    def _open_folder(self) -> None:
        if path := choose_folder(self, "One patient's cells"):
            self.open(path)

    def _open_file(self) -> None:
        if path := choose_file(self, "One patient's cells", "Smears (*.zip *.tif *.tiff *.TIF *.TIFF)"):
            self.open(path)

    def _open_prediction(self) -> None:
        if path := choose_file(self, "Saved prediction", "Predictions (*prediction.json)"):
            self.prediction_chosen.emit(str(path))


def _checked(smear: Smear, progress: OnProgress) -> Smear:
    return check_smear(smear, progress=progress)


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
    if SMEAR_KEY not in layer.metadata:
        is_micrometre = str(layer.units[-1]) in ("micrometer", "micron", "um")
        size = float(layer.scale[-1]) if is_micrometre else None
        layer.metadata[SMEAR_KEY] = smear_from_array(layer.data, layer.name, size)
    smear: Smear = layer.metadata[SMEAR_KEY]
    return smear
