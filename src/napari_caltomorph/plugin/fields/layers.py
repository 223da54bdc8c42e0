"""A microscope field in the viewer: its picture, and a square on each cell, which a person adds, moves or deletes.

A large field is shown in two levels: one that is read where the viewer looks, and a small one of the whole.
"""

from __future__ import annotations

import napari
import numpy as np
from napari.layers import Image, Points
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_caltomorph.fields import FieldImage, FoundCell, FoundCells
from napari_caltomorph.plugin.gallery.layers import FIELD_KEY, hide_all_but
from napari_caltomorph.plugin.napari_versions import camera_of, canvas_size, scale_bar_of
from napari_caltomorph.progress import OnProgress, Progress

_EAGER_PX = 16_000_000  # Larger fields are read where the viewer looks
_STRIP_PX = 2_048  # Rows that are decoded at a time for the small level
_SMALL_PX = 4_000_000
_SURE, _UNSURE, _BY_HAND = "#2ca02c", "#e0a100", "#4d94e8"
_DOUBTFUL = 0.9  # Below this confidence a person should look


class FieldLevel:
    """A field as an array (H, W, 3) uint8 that reads what is indexed."""

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, field: FieldImage) -> None:
        self._field = field
        self.shape = (field.height, field.width, 3)
        self.size = field.height * field.width * 3

    def __getitem__(self, key: object) -> NDArray[np.uint8]:
        slices = key if isinstance(key, tuple) else (key,)
        slices = (*slices, *(slice(None),) * (3 - len(slices)))
        rows, columns = (range(*one.indices(n)) for one, n in zip(slices[:2], self.shape, strict=False))
        if not rows or not columns:
            return np.empty((len(rows), len(columns), 3), np.uint8)
        pixels = self._field.read(rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        return pixels[:: rows.step, :: columns.step, slices[2]]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> NDArray[np.uint8]:
        return self[:, :].astype(dtype or self.dtype, copy=False)


Picture = NDArray[np.uint8] | list[FieldLevel | NDArray[np.uint8]]


def picture_of(field: FieldImage, progress: OnProgress) -> Picture:
    """Return a field for an image layer, as it is or in two levels; call it in a worker."""
    if field.height * field.width <= _EAGER_PX:
        progress(Progress("Reading the field", 0, 1, "fields"))
        return field.read(0, 0, field.height, field.width)
    step = int(np.ceil(np.sqrt(field.height * field.width / _SMALL_PX)))
    rows = max(1, _STRIP_PX // step) * step
    strips = []
    for top in range(0, field.height, rows):
        progress(Progress("Reading the field", top, field.height, "rows"))
        strip = field.read(top, 0, min(top + rows, field.height), field.width)
        strips.append(strip[::step, ::step].copy())  # a view would keep the whole strip
    return [FieldLevel(field), np.concatenate(strips)]


class FieldView(QObject):
    """The layers of one field at a time.

    `edited`: cells were added, moved or deleted. `current_changed`: another cell is selected, or none.
    """

    edited = Signal()
    current_changed = Signal()

    def __init__(self, viewer: napari.viewer.Viewer, owner: QObject) -> None:
        super().__init__(owner)
        self._viewer = viewer
        self._image: Image | None = None
        self._points: Points | None = None
        self._found: FoundCells | None = None

    @property
    def field(self) -> str | None:
        """The name of the field that is shown; None where its layers were removed."""
        is_shown = self._found is not None and self._points is not None and self._points in self._viewer.layers
        return self._found.field if is_shown and self._found is not None else None

    @property
    def current(self) -> FoundCell | None:
        """The selected cell; of several, the last."""
        if self.field is None or self._points is None or not self._points.selected_data:
            return None
        row = max(self._points.selected_data)
        return self.cells[row] if row < len(self._points.data) else None

    @property
    def cells(self) -> tuple[FoundCell, ...]:
        """The cells as the squares are now; those that a person placed have the confidence 1."""
        assert self._points is not None
        assert self._found is not None
        known = {(cell.y_px, cell.x_px): cell for cell in self._found.cells}
        size = float(self._points.current_size) / 2
        return tuple(
            known.get((float(y), float(x)), FoundCell(float(x), float(y), size, size, 1.0))
            for y, x in self._points.data
        )

    def show(self, picture: Picture, found: FoundCells, width_um: float) -> None:
        """Show a field and its cells, each with the square that is cut out, in place of the field before."""
        self.remove()
        pixel, side = found.scale.pixel_size_um, width_um / found.scale.pixel_size_um
        shared = {"metadata": {FIELD_KEY: found.field}, "scale": (pixel, pixel), "units": ("um", "um")}
        options = {"name": found.field, "rgb": True, "multiscale": isinstance(picture, list)}
        self._viewer.add_layer(image := Image(picture, **options, axis_labels=("y", "x"), **shared))
        places = np.array([(cell.y_px, cell.x_px) for cell in found.cells]).reshape(-1, 2)
        points = Points(
            places,
            ndim=2,
            name=f"cells of {found.field}",
            symbol="square",
            size=side,
            face_color="transparent",
            border_color=[_color(cell) for cell in found.cells] or _BY_HAND,
            border_width=0.02,
            canvas_size_limits=(0, 10_000),
            axis_labels=("y", "x"),
            **shared,
        )
        points.current_size, points.current_border_color, points.current_face_color = side, _BY_HAND, "transparent"
        points.selected_data = set()
        self._viewer.add_layer(points)
        self._image, self._points, self._found = image, points, found
        points.events.data.connect(self._on_data)
        points.selected_data.events.items_changed.connect(self._on_selected)
        hide_all_but(self._viewer, image, points)
        self._viewer.layers.selection.active = points
        scale_bar_of(self._viewer).visible = True
        self._look_at(found.height_px / 2, found.width_px / 2, found.height_px * pixel, found.width_px * pixel)

    def add_with_clicks(self, on: bool) -> None:
        """Let each click in the picture add a cell, or select again."""
        if self.field is not None and self._points is not None:
            self._viewer.layers.selection.active = self._points
            self._points.mode = "add" if on else "select"

    def go_to(self, x_px: float, y_px: float, width_um: float) -> None:
        """Bring a place of the shown field into view, alone, about four cells' images wide."""
        assert self._image is not None
        assert self._points is not None
        hide_all_but(self._viewer, self._image, self._points)
        self._image.visible = self._points.visible = True
        self._look_at(y_px, x_px, 4 * width_um, 4 * width_um)

    def _look_at(self, y_px: float, x_px: float, height_um: float, width_um: float) -> None:
        """Bring a place into the middle, with so much around it; napari's own fit wants a layer of all dimensions."""
        assert self._image is not None
        camera, (rows, columns) = camera_of(self._viewer), canvas_size(self._viewer)
        camera.center = (0.0, *self._image.data_to_world((y_px, x_px))[-2:])
        camera.zoom = 0.95 * min(rows / height_um, columns / width_um)

    def remove(self) -> None:
        """Remove the layers of the field."""
        for layer in (self._image, self._points):
            if layer is not None and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._image = self._points = self._found = None

    def _on_data(self, event: object = None) -> None:
        if self.field is not None:
            self.edited.emit()

    def _on_selected(self, event: object = None) -> None:
        self.current_changed.emit()


def _color(cell: FoundCell) -> str:
    if cell.nucleus_um2 is None:
        return _BY_HAND
    return _SURE if cell.confidence >= _DOUBTFUL else _UNSURE
