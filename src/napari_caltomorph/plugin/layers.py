"""A prediction as napari layers: the ranked cells as one picture, and a square on each with the model's answer.

Everything here runs on the main thread; the picture is composed in the worker beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import napari
import numpy as np
import pandas as pd
from napari.layers import Image, Layer, Points
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_caltomorph.diagnose import Prediction
from napari_caltomorph.plugin.gallery import GalleryLevel, Grid, compose_gallery
from napari_caltomorph.plugin.reader import SMEAR_KEY, LayerData
from napari_caltomorph.plugin.stack import CellStack
from napari_caltomorph.plugin.theme import look_of
from napari_caltomorph.smear import Smear

Picture = NDArray[np.uint8] | list[GalleryLevel]

PREDICTION_KEY = "caltomorph_prediction"
"""Where the metadata of our layers keep the `Prediction` that they show."""

# A cell must be this wide on the screen, in pixels, for its rank to be written below it.
_READABLE = 110
_MOST_TEXTS = 150


def ranked_order(smear: Smear, prediction: Prediction) -> NDArray[np.intp]:
    """Return indices into the smear's cells, in rank order."""
    index = {cell: i for i, cell in enumerate(smear.cells)}
    return np.array([index[prediction.cells[i]] for i in prediction.order], dtype=np.intp)


def ranked_layer_data(smear: Smear, prediction: Prediction, picture: Picture | None = None) -> list[LayerData]:
    """Return the *ranked cells* and the *predictions* layer."""
    order = ranked_order(smear, prediction)
    if picture is None:
        picture = compose_gallery(smear, order)
    grid = Grid(len(order), smear.canvas)
    shared: dict[str, Any] = {"metadata": {PREDICTION_KEY: prediction, SMEAR_KEY: smear}, "axis_labels": ("y", "x")}
    if smear.pixel_size_um is not None:
        shared |= {"scale": (smear.pixel_size_um,) * 2, "units": ("um", "um")}
    image = {
        "name": f"{prediction.patient_id} ranked cells",
        "rgb": True,
        "multiscale": isinstance(picture, list),
        "interpolation2d": "linear",
        **shared,
    }
    ranked = prediction.order
    colors = np.array(prediction.taxonomy.colors)[prediction.alone_class[ranked]]
    points = {
        "name": f"{prediction.patient_id} predictions",
        "features": _features(smear, prediction),
        "symbol": "square",
        "size": 1.05 * max(grid.cell),
        "face_color": "transparent",
        "border_color": colors,
        "border_width": 0.035,
        **shared,
    }
    return [(picture, image, "image"), (grid.centers(), points, "points")]


def _features(smear: Smear, prediction: Prediction) -> pd.DataFrame:
    table = prediction.cell_table()[["cell", "rank", "attention", "alone_class"]]
    ranked = prediction.order
    table["label"] = [prediction.labels[i] or "" for i in ranked]
    if smear.grades is not None:
        blur = {cell: grade.blur for cell, grade in zip(smear.cells, smear.grades, strict=True)}
        table["blur"] = [blur[cell] for cell in table["cell"]]
    return table


def hide_all_but(viewer: napari.viewer.Viewer, *shown: Layer) -> None:
    """Hide every other smear and prediction: two patients' cells on top of each other would read as one."""
    for layer in viewer.layers:
        if layer not in shown and (SMEAR_KEY in layer.metadata or PREDICTION_KEY in layer.metadata):
            layer.visible = False


class RankedLayers(QObject):
    """The layers of one prediction in a viewer; made again, they replace themselves and nobody else's.

    `scrolled` carries the position (rank - 1) of the cell that the user scrolled to in the stack; `changed` says that
    some of the layers were deleted by hand.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    smear, prediction
    picture
        What `compose_gallery` made of the same prediction.
    """

    scrolled = Signal(int)
    changed = Signal()

    def __init__(self, viewer: napari.viewer.Viewer, smear: Smear, prediction: Prediction, picture: Picture) -> None:
        super().__init__()
        self.viewer, self.smear, self.prediction = viewer, smear, prediction
        self.grid = Grid(len(prediction.cells), smear.canvas)
        self._remove_of_same_patient()
        self.image, self.points = (
            viewer.add_layer(Layer.create(*data)) for data in ranked_layer_data(smear, prediction, picture)
        )
        assert isinstance(self.image, Image)
        assert isinstance(self.points, Points)
        self.stack: Image | None = None
        self._overlays: dict[str, tuple[Image, int]] = {}
        self._texts: tuple[int, ...] = ()
        # Zooming fires many events; one update when it comes to rest is enough.
        self._settle = QTimer(self, singleShot=True, interval=120)
        self._settle.timeout.connect(self._write_ranks_in_view)
        viewer.scene.camera.events.zoom.connect(self._on_camera)
        viewer.scene.camera.events.center.connect(self._on_camera)
        # When all layers are cleared, each goes by itself.
        self._removed = QTimer(self, singleShot=True, interval=0)
        self._removed.timeout.connect(self._on_removed)
        viewer.layers.events.removed.connect(self._on_layer_removed)
        viewer.events.theme.connect(self._on_theme)
        viewer.layers.selection.active = self.points
        hide_all_but(viewer, self.image, self.points)
        viewer.dims.events.current_step.connect(self._on_scroll)
        self._fit()

    def close(self) -> None:
        """Let go of the viewer; the layers stay."""
        self._settle.stop()
        self._removed.stop()
        self.viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self.viewer.events.theme.disconnect(self._on_theme)
        self.viewer.scene.camera.events.zoom.disconnect(self._on_camera)
        self.viewer.scene.camera.events.center.disconnect(self._on_camera)
        self.viewer.dims.events.current_step.disconnect(self._on_scroll)

    @property
    def is_shown(self) -> bool:
        """Whether both layers are still in the viewer."""
        return self.image in self.viewer.layers and self.points in self.viewer.layers

    @property
    def has_stack(self) -> bool:
        """Whether the cells are shown one at a time."""
        return self.stack is not None and self.stack in self.viewer.layers

    def position_at(self, world: tuple[float, ...]) -> int | None:
        """Return the position (rank - 1) of the cell at a place in the world, or None."""
        if not self.is_shown or not self.points.visible:
            return None
        row, column = self.points.world_to_data(world[-2:])
        return self.grid.at(float(row), float(column))

    def select(self, position: int, *, center: bool = False) -> None:
        """Mark one cell, and bring it into view if asked and needed."""
        if not self.is_shown:
            return
        self.points.selected_data = {position}
        if self.stack is not None:
            self.viewer.dims.set_point(0, position)
        elif center and not self._is_in_view(position):
            self.viewer.scene.camera.center = (0.0, *self.points.data_to_world(self.points.data[position])[-2:])
            self._write_ranks_in_view()

    def bind_key(self, key: str, function: Callable[[], None]) -> None:
        """Call a function when a key is pressed over the picture, whatever napari's layers do with that key."""
        for layer in (self.image, self.points):
            layer.bind_key(key, lambda _layer: function(), overwrite=True)

    def add_overlay(self, cell: int, name: str, image: NDArray[Any], **options: Any) -> Image | None:
        """Lay an image over a cell (an index into the prediction's cells), in place of the one of this name.

        Parameters
        ----------
        cell : int
        name : str
            Of the layer.
        image : (H, W) or (H, W, 3) array
            Of any size: it is stretched over the cell.
        **options
            Of napari's image layer.

        Returns
        -------
        Image or None
            None where the picture was deleted by hand.
        """
        if name in self._overlays and self._overlays[name][0] in self.viewer.layers:
            self.viewer.layers.remove(self._overlays[name][0])
        if not self.is_shown:
            return None
        active = self.viewer.layers.selection.active
        layer = self.viewer.add_image(image, name=name, units=self.points.units, **options)
        self._overlays[name] = layer, cell
        self._place_overlays()
        self.viewer.layers.selection.active = active
        return layer

    def _place_overlays(self) -> None:
        pixel = np.array(self.points.scale[-2:])
        for layer, cell in self._overlays.values():
            position = int(self.prediction.ranks[cell]) - 1
            step = np.array(self.grid.cell) / layer.data.shape[:2]
            layer.scale = pixel * step
            layer.translate = pixel * (np.array(self.grid.corner(position)) + (step - 1) / 2)

    def show_as_stack(self, on: bool) -> None:
        """Show the same cells one at a time, by rank, instead of all at once."""
        if on == (self.stack is not None) or (on and not self.is_shown):
            return
        if on:
            options: dict[str, Any] = {
                "name": f"{self.prediction.patient_id} cells by rank",
                "rgb": True,
                "interpolation2d": "linear",
                "metadata": self.image.metadata,
                "axis_labels": ("rank", "y", "x"),
            }
            if self.smear.pixel_size_um is not None:
                size = self.smear.pixel_size_um
                options |= {"scale": (1.0, size, size), "units": ("pixel", "um", "um")}
            self.stack = self.viewer.add_image(
                CellStack(self.smear, ranked_order(self.smear, self.prediction)), **options
            )
            self.viewer.dims.set_point(0, 0)
        else:
            if self.has_stack:
                self.viewer.layers.remove(self.stack)
            self.stack = None
        if not self.is_shown:
            return
        self.image.visible = self.points.visible = not on
        self.viewer.layers.selection.active = self.stack if on else self.points
        self._fit()

    def _fit(self) -> None:
        """Bring what is shown into view, whatever size another patient's hidden picture has."""
        # napari wants one layer with all of the viewer's dimensions; a smear is no larger than a cell of our picture.
        fitted = [
            layer
            for layer in self.viewer.layers
            if layer.ndim > 2 or layer == self.image or PREDICTION_KEY not in layer.metadata
        ]
        self.viewer.reset_view(layers=fitted if self.stack is None else [self.stack])

    def _remove_of_same_patient(self) -> None:
        for layer in list(self.viewer.layers):
            found = layer.metadata.get(PREDICTION_KEY)
            if found is not None and _whose(found) == _whose(self.prediction):
                self.viewer.layers.remove(layer)

    def _on_layer_removed(self, event: object = None) -> None:
        self._removed.start()

    def _on_removed(self) -> None:
        if self.stack is not None and not self.has_stack:
            self.show_as_stack(False)
        self.changed.emit()

    def _on_theme(self, event: object = None) -> None:
        self.points.text.color = look_of(self.viewer.theme).text

    def _on_scroll(self, event: object = None) -> None:
        if self.stack is not None:
            self.scrolled.emit(int(self.viewer.dims.current_step[0]))

    def _on_camera(self, event: object = None) -> None:
        self._settle.start()

    def _write_ranks_in_view(self) -> None:
        """Write rank and attention below the cells that can be read; text for all would freeze the window."""
        if not self.is_shown:
            return
        wanted = self._readable_positions()
        if wanted == self._texts:
            return
        self._texts = wanted
        if not wanted:
            self.points.text.visible = False
            return
        strings = [""] * self.grid.count
        for position in wanted:
            strings[position] = f"#{position + 1}"
            if self.prediction.has_attention:
                attention = self.prediction.attention[self.prediction.order[position]]
                strings[position] += f"   {attention:.1f}x"
        below = self.grid.pitch[0] / 2
        self.points.text = {
            "string": strings,
            "size": 9,
            "color": look_of(self.viewer.theme).text,
            "anchor": "center",
            "translation": (below, 0),
        }

    def _is_in_view(self, position: int) -> bool:
        # The corners are whole pixels, and never lie beyond the middles of the outermost cells.
        top_left, bottom_right = self.points.corner_pixels[:, -2:]
        middle = self.points.data[position]
        return bool(np.all((middle >= top_left - 1) & (middle <= bottom_right + 1)))

    def _readable_positions(self) -> tuple[int, ...]:
        pixel = float(self.points.scale[-1])
        on_screen = self.grid.cell[1] * pixel * self.viewer.scene.camera.zoom
        if on_screen < _READABLE or not self.points.visible:
            return ()
        top_left, bottom_right = self.points.corner_pixels[:, -2:]
        half = np.array(self.grid.cell) / 2
        inside = (self.points.data >= top_left - half) & (self.points.data <= bottom_right + half)
        return tuple(np.flatnonzero(inside.all(axis=1))[:_MOST_TEXTS].tolist())


def _whose(prediction: Prediction) -> tuple[str, str | None]:
    """Two exports may bear one name; their folders differ."""
    return prediction.patient_id, prediction.smear_path
