"""Choosing the smear: a layer of the viewer, or an export from disk; which of its cells are left out, and why."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import QModelIndex, QSize, Qt, Signal
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QHeaderView, QLabel, QTableView, QVBoxLayout, QWidget

from napari_caltomorph.errors import CaltomorphError, CellUnreadable, SmearUnreadable, counted, printable
from napari_caltomorph.plugin.gallery.layers import (
    FIELD_KEY,
    PREDICTION_KEY,
    SMEAR_KEY,
    hide_all_but,
    show_smear,
    smear_layer,
)
from napari_caltomorph.plugin.napari_versions import fit_to, scale_bar_of
from napari_caltomorph.plugin.widgets.parts import (
    add_items,
    chooser_grid,
    line,
    link,
    menu_button,
    narrow_combo,
    pixmap,
    plain,
)
from napari_caltomorph.plugin.widgets.settings import choose_file, choose_folder, preferences, when_chosen
from napari_caltomorph.plugin.widgets.table_view import RowsModel
from napari_caltomorph.plugin.widgets.tasks import LatestJob
from napari_caltomorph.smear import Reason, Smear, check_smear, read_smear, smear_from_array
from napari_caltomorph.storage import StrPath

_SMEARS, _PREDICTIONS = "Smears (*.zip *.tif *.tiff *.btf *.TIF *.TIFF *.BTF)", "Predictions (*prediction.json)"
_BAGS = "Feature files (*.h5 *.hdf5)"
_THUMBNAIL = 72
# napari's theme draws the frame of a tick in a table almost as dark as the table.
_TICKS = """
QTableView::indicator { width: 14px; height: 14px; border: 1px solid #9a9a9a; }
QTableView::indicator:checked { background: #4d94e8; }
QTableView::indicator:disabled { border: 1px dotted #6a6a6a; }
"""


class LeftOutDialog(QDialog):
    """Lists what the quality rules leave out of a graded smear.

    When it was accepted, `included_again` has the cells to use nevertheless.
    """

    def __init__(self, smear: Smear, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"{smear.patient_id}: cells left out")
        self.resize(720, 460)
        self.model = _LeftOutModel(smear)
        table = QTableView()
        table.setModel(self.model)
        table.setStyleSheet(_TICKS)
        table.setIconSize(QSize(_THUMBNAIL, _THUMBNAIL))
        table.setSelectionMode(QTableView.SelectionMode.NoSelection)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(_THUMBNAIL + 6)
        header = table.horizontalHeader()
        header.setSectionResizeMode(3, QHeaderView.ResizeMode.Stretch)
        for column, width in enumerate((60, _THUMBNAIL + 12, 250)):
            table.setColumnWidth(column, width)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        hint = QLabel("Tick a cell to use it nevertheless; an unreadable one cannot be used.")
        add_items(QVBoxLayout(self), line(plain(_summary(smear))), table, hint, buttons)

    @property
    def included_again(self) -> frozenset[str]:
        return frozenset(self.model.ticked)


class _LeftOutModel(RowsModel):
    """One row a cell that the rules leave out; pictures are decoded for the rows that are in view."""

    heads = ("Use it", "Cell", "Why it is left out", "File")

    def __init__(self, smear: Smear) -> None:
        super().__init__()
        assert smear.grades is not None
        graded = zip(range(len(smear)), smear.cells, smear.grades, strict=True)
        self.rows = [(index, cell, grade) for index, cell, grade in graded if grade.reason is not None]
        self._smear = smear
        self.ticked = set(smear.taken_back)
        self._picture = lru_cache(maxsize=512)(self._decode)

    def value(self, index: QModelIndex, role: int) -> Any:
        number, cell, grade = self.rows[index.row()]
        match index.column(), role:
            case 0, Qt.ItemDataRole.CheckStateRole:
                return Qt.CheckState.Checked if cell in self.ticked else Qt.CheckState.Unchecked
            case 1, Qt.ItemDataRole.DecorationRole:
                return self._picture(number)
            case 2, Qt.ItemDataRole.DisplayRole:
                return f"{grade.reason}{': ' + grade.note if grade.note else ''}"
            case 3, Qt.ItemDataRole.DisplayRole:
                return cell
            case ((2 | 3), Qt.ItemDataRole.ToolTipRole):
                return f"{cell}\n{grade.reason} {grade.note}"
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        if index.column() == 0 and self.rows[index.row()][2].reason is not Reason.UNREADABLE:
            return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable
        return Qt.ItemFlag.ItemIsEnabled if index.column() else Qt.ItemFlag.NoItemFlags

    def setData(self, index: QModelIndex, value: Any, role: int = 0) -> bool:
        if index.column() or role != Qt.ItemDataRole.CheckStateRole:
            return False
        cell = self.rows[index.row()][1]
        if Qt.CheckState(value) == Qt.CheckState.Checked:
            self.ticked.add(cell)
        else:
            self.ticked.discard(cell)
        self.dataChanged.emit(index, index)
        return True

    def _decode(self, number: int) -> QPixmap:
        try:
            return pixmap(self._smear.on_canvas(number), side=_THUMBNAIL)
        except CellUnreadable:
            return pixmap(np.full((_THUMBNAIL, _THUMBNAIL, 3), 90, np.uint8))


def _summary(smear: Smear) -> str:
    counts = [f"{count} {reason}" for reason, count in smear.left_out_counts().items()]
    text = f"{len(smear.usable)} of {len(smear)} images are used. Left out: {', '.join(counts) or 'none'}."
    if smear.passed_over:
        names = ", ".join(smear.passed_over[:3]) + (" ..." if len(smear.passed_over) > 3 else "")
        text += f" {counted(len(smear.passed_over), 'other file')} passed over ({names})."
    return " ".join([text, *(f"{note}." for note in smear.notes)])


class SmearChooser(QWidget):
    """A row to choose a smear.

    `changed`: another smear is chosen, or other cells of it. `problem` carries a sentence for the user (empty when
    there is none), `prediction_chosen` the path of a saved prediction to open, `bag_chosen` that of a feature file.
    """

    changed = Signal()
    problem = Signal(str)
    prediction_chosen = Signal(str)
    bag_chosen = Signal(str)

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._check = LatestJob(self)
        self._choice = narrow_combo()
        self._choice.currentIndexChanged.connect(self._on_chosen)
        title = "One patient's cells"
        folder = when_chosen(self.open, choose_folder, self, title)
        file = when_chosen(self.open, choose_file, self, title, _SMEARS)
        saved = when_chosen(self._emit_prediction, choose_file, self, "Saved prediction", _PREDICTIONS)
        bag = when_chosen(self._emit_bag, choose_file, self, "One patient's features", _BAGS)
        actions = {
            "Folder of cells...": folder,
            "Zip archive or TIFF stack...": file,
            "Feature file, without images...": bag,
            "Saved prediction...": saved,
        }
        opener = menu_button("Open", actions)
        self._about = line()
        self._about.linkActivated.connect(lambda _: self._show_left_out())
        chooser_grid(self, "Smear", self._choice, opener, self._about)

    @property
    def layer(self) -> Image | None:
        layer: Image | None = self._choice.currentData()
        return layer

    @property
    def text(self) -> str:
        return self._about.text()

    def smear(self) -> Smear | None:
        """The chosen smear; of any other stack of cells, the array itself."""
        return None if self.layer is None else _smear_of(self.layer)

    def open(self, path: StrPath) -> None:
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

    def choose(self, layer: Layer | None) -> None:
        """Choose a layer of the viewer, or the smear that a result in it is of; `SmearUnreadable` for any other."""
        if layer is None:
            raise SmearUnreadable("Select the layer of a smear in the layer list first.")
        if PREDICTION_KEY in layer.metadata:
            self.show_smear(layer.metadata[SMEAR_KEY])
            return
        places = [index for index in range(self._choice.count()) if self._choice.itemData(index) == layer]
        if not places:
            needed = "select a layer of 8-bit RGB images of single cells, of shape (cells, height, width, 3)"
            instead = ", or cut its cells with *Cut cells*" if FIELD_KEY in layer.metadata else ""
            raise SmearUnreadable(f"The layer {layer.name!r} is no smear: {needed}{instead}.")
        self._choice.setCurrentIndex(places[0])

    def keep(self, layer: Image, graded: Smear) -> None:
        """Keep the graded smear of a layer."""
        if layer in self._viewer.layers:
            layer.metadata[SMEAR_KEY] = graded
        self._describe()

    def bind(self) -> None:
        events = self._viewer.layers.events
        events.inserted.connect(self._on_inserted, position="last")  # when napari has shown the layer
        events.removed.connect(self._refresh)
        events.renamed.connect(self._refresh)
        self._refresh()

    def unbind(self) -> None:
        events = self._viewer.layers.events
        events.inserted.disconnect(self._on_inserted)
        events.removed.disconnect(self._refresh)
        events.renamed.disconnect(self._refresh)
        self.stop_checking()

    def stop_checking(self) -> None:
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
            fit_to(self._viewer, [event.value])

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
            scale_bar_of(self._viewer).visible = True
        if layer is not None and smear is not None and smear.grades is None:
            self._check.start(
                lambda progress: check_smear(smear, progress=progress),
                partial(self.keep, layer),
                partial(self._on_check_failed, layer),
            )
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

    def _emit_prediction(self, path: Path) -> None:
        self.prediction_chosen.emit(str(path))

    def _emit_bag(self, path: Path) -> None:
        self.bag_chosen.emit(str(path))

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
