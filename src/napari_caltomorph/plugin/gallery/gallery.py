"""The layers of one prediction in a viewer: they show the inspected cells, and selecting in them selects everywhere.

Points are always in rank order; sorting moves them, and a filter hides some.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Layer, Points
from napari.utils.notifications import show_info
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_caltomorph.plugin.gallery.decorations import CellOverlays, PictureTexts, RankTexts, paint, set_frames
from napari_caltomorph.plugin.gallery.layers import (
    PREDICTION_KEY,
    agree_on_scale,
    hide_all_but,
    ranked_layer_data,
    ranked_order,
    source_of,
    stack_options,
)
from napari_caltomorph.plugin.gallery.mouse import press
from napari_caltomorph.plugin.gallery.over_picture import Outlines
from napari_caltomorph.plugin.gallery.pictures import CellPictures, CellStack, Grid
from napari_caltomorph.plugin.gallery.together import Together
from napari_caltomorph.plugin.napari_versions import camera_of, canvas_size
from napari_caltomorph.plugin.plot_style import plot_style_of
from napari_caltomorph.plugin.session.inspection import Inspection, Overlay
from napari_caltomorph.smear import Smear

# What stays free around the cells, and below them, when all are in view, in pixels: below are the
# caption and napari's scale bar.
_ROUND, _BELOW = 12, 52
# napari's keys that paste and delete points, which do so in a locked layer too.
_REFUSED = ("Control-V", "Delete", "Backspace", "1")


class Gallery(QObject):
    """The picture of the cells and a square on each; they replace the earlier layers of the same smear.

    `pictures` are of the cells in rank order. `changed` is emitted when some of the layers were deleted by hand.
    """

    changed = Signal()

    def __init__(self, viewer: napari.viewer.Viewer, inspection: Inspection, pictures: CellPictures) -> None:
        super().__init__()
        assert inspection.smear is not None
        self.viewer, self.inspection, self._state = viewer, inspection, inspection.gallery
        self._smear: Smear = inspection.smear
        self._pictures = pictures
        self._state.replace()
        self._remove_of_same_smear()
        agree_on_scale(viewer, inspection.smear)
        self.image, self.points = (
            viewer.add_layer(Layer.create(*data)) for data in ranked_layer_data(self._smear, inspection.bag, pictures)
        )
        assert isinstance(self.image, Image)
        assert isinstance(self.points, Points)
        self._lock()
        self._stay_flat()
        for key in _REFUSED:
            self._bind_key(key)
        self.stack: Image | None = None
        self.grid = Grid(len(inspection.cells.order), self._smear.canvas)
        self._overlays = CellOverlays(viewer, self.points)
        self._ranks_below = RankTexts(viewer, self.points, inspection, self.grid, self)
        self._outlines = Outlines(viewer, self.points)
        self._texts = PictureTexts(viewer, inspection)
        self._together = Together(viewer, self._all_layers, lambda: self.is_shown)
        self._together.checked.connect(self._on_removed)
        viewer.layers.selection.active = self.points
        hide_all_but(viewer, self.image, self.points)
        self._state.columns = self.grid.columns
        for key in self._state.keys:
            self._bind_key(key)
        self._connect("connect")
        viewer.mouse_drag_callbacks.append(self._on_press)
        self._on_sight()
        if np.array_equal(inspection.cells.order, inspection.bag.order):
            self._fit()
        else:  # what was done in another gallery
            self._on_order()
        self._on_marks()  # with ranks below the cells, if they are wide enough in what is in view now
        self._on_selection()

    def close(self) -> None:
        """Disconnect from the viewer and the cells; the layers remain."""
        if self._on_press not in self.viewer.mouse_drag_callbacks:
            return
        self._ranks_below.stop()
        self._outlines.close()
        self._texts.close()
        self._connect("disconnect")
        for layer in (self.image, self.points):
            for key in self._state.keys:
                layer.bind_key(key, None, overwrite=True)
        self.viewer.mouse_drag_callbacks.remove(self._on_press)
        self._state.set_sight(is_available=False, is_in_sight=False)

    @property
    def is_shown(self) -> bool:
        """Whether both layers are still in the viewer, with a square for each cell."""
        layers = self.viewer.layers
        is_whole = len(self.points.data) == len(self.inspection.bag.cells)
        return is_whole and self.image in layers and self.points in layers

    @property
    def has_stack(self) -> bool:
        """Whether the cells are shown one at a time."""
        return self.stack is not None and self.stack in self.viewer.layers

    @property
    def _shown(self) -> list[Layer]:
        """The layers that show the cells, one at a time or all."""
        one_at_a_time = self.stack is not None and self.has_stack
        return [self.stack] if one_at_a_time else [self.image, self.points]

    def cell_at(self, world: tuple[float, ...]) -> int | None:
        """Return the cell at a place in the world, or None."""
        if not self.is_shown or not self.points.visible:
            return None
        row, column = self.points.world_to_data(world[-2:])
        position = self.grid.at(float(row), float(column))
        return None if position is None else int(self.inspection.cells.order[position])

    def cells_between(self, one: tuple[float, ...], other: tuple[float, ...]) -> NDArray[np.intp]:
        """Return the cells whose middle is in the rectangle between two places in the world."""
        if not self.is_shown:
            return np.zeros(0, dtype=np.intp)
        corners = np.array([self.points.world_to_data(place[-2:]) for place in (one, other)])
        inside = ((self.points.data >= corners.min(axis=0)) & (self.points.data <= corners.max(axis=0))).all(axis=1)
        return self.inspection.bag.order[inside & self.points.shown]

    def show_as_stack(self, on: bool) -> None:
        """Show the cells of the gallery one at a time, in its order, instead of all at once."""
        if on == (self.stack is not None) or (on and not self.is_shown):
            return
        if on:
            name = f"{self.inspection.bag.patient_id} cells by rank"
            options = stack_options(self._smear, "cell", self.image.metadata)
            current = self.inspection.cells.current
            self._stay_flat()
            self.stack = self.viewer.add_image(self._stack(), name=name, **options)
            self.stack.events.visible.connect(self._on_sight)
            self.viewer.dims.set_point(0, 0 if current is None else self.inspection.cells.position(current) or 0)
        else:
            if self.has_stack:
                self.viewer.layers.remove(self.stack)
            self.stack = None
        if not self.is_shown:
            return
        self.image.visible = self.points.visible = not on
        self.viewer.layers.selection.active = self.stack if on else self.points
        self._fit()

    def _connect(self, how: str) -> None:
        viewer, cells = self.viewer, self.inspection.cells
        for signal, slot in (
            (cells.selection_changed, self._on_selection),
            (cells.order_changed, self._on_order),
            (cells.edited, self._on_marks),
            (self.inspection.colors_changed, self._on_marks),
            (self._state.heat_changed, self._on_marks),
            (self._state.legend_changed, self._on_texts),
            (self._state.show_requested, self._on_show_requested),
            (self._state.replaced, self.close),
            (self._state.cell_width_changed, self._on_order),
            (self._state.overlay_added, self._on_overlay),
            (self._state.key_changed, self._bind_key),
            (self.points.selected_data.events.items_changed, self._on_points_selected),
            (self.image.events.editable, self._lock),
            (self.points.events.editable, self._lock),
            (self.points.events.data, self._on_data),
            (self.points.events.set_data, self._on_data),
            (self.image.events.visible, self._on_sight),
            (self.points.events.visible, self._on_sight),
            (camera_of(viewer).events.zoom, self._outlines.update),
            (camera_of(viewer).events.zoom, self._ranks_below.on_camera),
            (camera_of(viewer).events.center, self._ranks_below.on_camera),
            (viewer.events.theme, self._on_marks),
            (viewer.dims.events.current_step, self._on_scroll),
            (viewer.dims.events.ndisplay, self._stay_flat),
            (viewer.dims.events.order, self._stay_flat),
        ):
            getattr(signal, how)(slot)

    def _bind_key(self, key: str) -> None:
        function = self._state.keys.get(key, (lambda: None) if key in _REFUSED else None)
        for layer in (self.image, self.points):
            layer.bind_key(key, None if function is None else lambda _: function(), overwrite=True)

    def _on_overlay(self, overlay: Overlay) -> None:
        if self.is_shown:
            self._overlays.add(overlay)
            self._overlays.place(self.inspection.cells, self.grid)

    def _ranks(self, cells: NDArray[np.intp] | list[int]) -> NDArray[np.intp]:
        """Return the indices of the points that belong to cells."""
        return self.inspection.bag.ranks[cells] - 1

    def _on_order(self) -> None:
        if not self.is_shown:
            return
        order = self.inspection.cells.order
        across = None
        if self._state.cell_width:
            pitch = self.grid.pitch[1] / self.grid.cell[1] * self._state.cell_width
            across = max(1, int(canvas_size(self.viewer)[1] / pitch))
        self.grid = Grid(len(order), self._smear.canvas, across)
        ranks = self._ranks(order)
        self._state.columns = self.grid.columns
        self.image.data = self._pictures.arranged(ranks, self.grid)
        shown = np.zeros(len(self.points.data), dtype=bool)
        shown[ranks] = True
        places = np.broadcast_to(Grid(1, self.grid.cell).centers(), (len(shown), 2)).copy()
        places[ranks] = self.grid.centers()
        self.points.shown = shown
        set_frames(self.points, self.inspection, self.grid)
        self.points.data = places
        if self.stack is not None and self.has_stack:
            self.stack.data = self._stack()
        self._overlays.place(self.inspection.cells, self.grid)
        self._on_texts()
        self._center_on_order()
        self._outline()
        self._ranks_below.update(self.grid)

    def _center_on_order(self) -> None:
        """Bring all cells into view, or as many as their size allows, the current one among them."""
        if self.stack is not None:
            return
        if not self._state.cell_width:
            self._fit()
            return
        camera, pixel = camera_of(self.viewer), float(self.points.scale[-1])
        camera.zoom = self._state.cell_width / (self.grid.cell[1] * pixel)
        current = self.inspection.cells.current
        row = 0 if current is None else self.points.data[int(self._ranks([current])[0]), 0]
        half = canvas_size(self.viewer)[0] / camera.zoom / pixel / 2
        above = self._texts.legend.height / camera.zoom / pixel
        row = np.clip(row, min(half - above, self.grid.shape[0] / 2), max(self.grid.shape[0] - half, half - above))
        camera.center = (0.0, *self.points.data_to_world((row, self.grid.shape[1] / 2))[-2:])

    def _on_selection(self) -> None:
        cells = self.inspection.cells
        if not self.is_shown:
            return
        wanted = set(self._ranks(list(cells.selected)).tolist())
        if wanted != set(self.points.selected_data):
            self.points.selected_data = wanted
        self._outline()
        self._texts.update_caption(cells=self._state.is_in_sight)
        if cells.current is None:
            return
        place = self.points.data[int(self._ranks([cells.current])[0])]
        if self.has_stack:
            self.viewer.dims.set_point(0, cells.position(cells.current))
        elif not self._is_in_view(place):
            camera_of(self.viewer).center = (0.0, *self.points.data_to_world(place)[-2:])

    def _outline(self) -> None:
        cells = self.inspection.cells
        selected = np.fromiter(cells.selected, np.intp, len(cells.selected))
        self._outlines.show(self.points.data[self._ranks(selected)], selected == cells.current, self.grid.framed)

    def _on_texts(self, event: object = None) -> None:
        """Write legend and caption anew."""
        sight = self._state.is_in_sight
        self._texts.update(frames=sight and self.is_shown and self.points.visible, cells=sight)

    def _on_sight(self, event: object = None) -> None:
        """Note which of the layers are visible: another patient's may have been shown instead."""
        self._state.set_sight(is_available=self.is_shown, is_in_sight=self.is_shown and self._shown[0].visible)
        if self.is_shown:
            self._overlays.place(self.inspection.cells, self.grid)
        self._on_texts()

    def _on_show_requested(self) -> None:
        if not self.is_shown:
            return
        self._stay_flat()  # the view in 3D may be older than this result
        for layer in self._shown:
            layer.visible = True
        hide_all_but(self.viewer, *self._shown, *self._overlays.layers)
        self.viewer.layers.selection.active = self._shown[-1]
        self._fit()

    def _on_points_selected(self, event: object = None) -> None:
        """Select the cells of points that were selected with napari's own tools, such as the features table."""
        if not self.is_shown:
            return
        ranked, chosen = self.inspection.bag.order, self.points.selected_data
        wanted = frozenset(int(ranked[point]) for point in chosen)
        if wanted != self.inspection.cells.selected:
            self.inspection.cells.select(wanted, current=self.inspection.cells.current)
            self._on_selection()  # those that a filter hides are not selected

    def _on_marks(self, event: object = None) -> None:
        if self.is_shown:
            set_frames(self.points, self.inspection, self.grid)
            paint(self.points, self.inspection, plot_style_of(self.viewer.theme))
            self._ranks_below.update(self.grid)
            self._on_texts()

    def _stack(self) -> CellStack:
        in_smear = ranked_order(self._smear, self.inspection.bag)
        return CellStack(self._smear, in_smear[self._ranks(self.inspection.cells.order)])

    def _fit(self) -> None:
        """Bring what is shown into view, between legend and caption."""
        camera, (height, width) = camera_of(self.viewer), canvas_size(self.viewer)
        above = max(self._texts.legend.height, _ROUND)
        top_left, bottom_right = (self.image if self.stack is None else self.stack).extent.world[:, -2:]
        free = np.array([max(height - above - _BELOW, height / 4), width - 2 * _ROUND])
        camera.zoom = float(np.min(free / (bottom_right - top_left)))
        row, column = (top_left + bottom_right) / 2
        camera.center = (0.0, row + (_BELOW - above) / 2 / camera.zoom, column)

    def _remove_of_same_smear(self) -> None:
        for layer in list(self.viewer.layers):
            prediction = layer.metadata.get(PREDICTION_KEY)
            if prediction is not None and source_of(prediction) == source_of(self.inspection.bag):
                self.viewer.layers.remove(layer)

    def _lock(self, event: object = None) -> None:
        """Let nobody drag or delete a square, or move the picture under them; napari unlocks what has new data."""
        self.image.editable = self.points.editable = False

    def _stay_flat(self, event: Any = None) -> None:
        """Refuse 3D and other axes: napari fails to slice pictures of colours there, and can then remove no layer."""
        dims = self.viewer.dims
        if not self.is_shown or (dims.ndisplay == 2 and list(dims.order) == sorted(dims.order)):
            return
        if event is not None:
            event.blocked = True  # nobody else learns of it
            show_info("The cells are flat pictures. To see other layers in 3D, remove those of this result.")
        dims.ndisplay, dims.order = 2, tuple(sorted(dims.order))

    def _all_layers(self) -> tuple[Layer | None, ...]:
        return self.image, self.points, self.stack, *self._overlays.layers

    def _on_data(self, event: object = None) -> None:
        if not self.is_shown:
            self._together.check()

    def _on_removed(self) -> None:
        if not self.is_shown:
            self.stack = None
            self.close()  # or the viewer would keep the decoded cells
        elif self.stack is not None and not self.has_stack:
            self.show_as_stack(False)
        self.changed.emit()

    def _on_scroll(self, event: object = None) -> None:
        step, cells = int(self.viewer.dims.current_step[0]), self.inspection.cells
        if not self.has_stack or not len(cells.order):
            return
        if step >= len(cells.order):  # the slider is as long as the longest layer, shown or hidden
            self.viewer.dims.set_point(0, len(cells.order) - 1)
        else:
            cells.select([int(cells.order[step])])

    def _is_in_view(self, place: NDArray[np.float64]) -> bool:
        # The corners are whole pixels, and never beyond the middles of the outermost cells.
        top_left, bottom_right = self.points.corner_pixels[:, -2:]
        return bool(np.all((place >= top_left - 1) & (place <= bottom_right + 1)))

    def _on_press(self, viewer: object, event: Any) -> Iterator[None]:
        return press(event, camera_of(self.viewer), self.inspection.cells, self.cell_at, self.cells_between)
