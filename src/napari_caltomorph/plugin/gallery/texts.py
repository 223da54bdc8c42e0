"""Ranks below the cells of the gallery that are in view and large enough; text for all would freeze the window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer

from napari_caltomorph.plugin.gallery.colors import BY_LABEL
from napari_caltomorph.plugin.gallery.pictures import Grid
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.parts import look_of
from napari_caltomorph.report import Look
from napari_caltomorph.report.drawing import short

if TYPE_CHECKING:
    from napari_caltomorph.plugin.gallery.gallery import Gallery

# A cell must be this wide on the screen, in pixels, for its rank to be written below it.
_READABLE = 110
_MOST_TEXTS = 150
# Letters that fit below such a cell.
_LONGEST = 13


class RanksInView(QObject):
    """Writes the ranks when the camera has come to rest."""

    def __init__(self, gallery: Gallery) -> None:
        super().__init__(gallery)
        self._gallery = gallery
        self._written: tuple[int, ...] | None = None
        # Zooming fires many events; one update when it comes to rest is enough.
        self._settle = QTimer(self, singleShot=True, interval=120)
        self._settle.timeout.connect(self._write)

    def on_camera(self, event: object = None) -> None:
        """Write them soon."""
        self._settle.start()

    def write_anew(self) -> None:
        """Write them now: other cells stand there, or other things are said of them."""
        self._written = None
        self._write()

    def stop(self) -> None:
        """Write no more."""
        self._settle.stop()

    def _write(self) -> None:
        gallery = self._gallery
        if not gallery.is_shown:
            return
        points, inspection, grid = gallery.points, gallery.inspection, gallery.grid
        order = inspection.cells.order
        places = points.data[inspection.prediction.ranks[order] - 1]
        wanted = _readable_positions(points, grid, places, gallery.viewer.scene.camera.zoom)
        if wanted == self._written:
            return
        self._written = wanted
        if wanted:
            cells = [int(order[position]) for position in wanted]
            _write_ranks(points, inspection, cells, grid, look_of(gallery.viewer.theme))
        else:
            points.text.visible = False


def _readable_positions(points: Points, grid: Grid, places: NDArray[np.float64], zoom: float) -> tuple[int, ...]:
    """Return the positions in view whose cells are wide enough to bear a text."""
    on_screen = grid.cell[1] * float(points.scale[-1]) * zoom
    if on_screen < _READABLE or not points.visible:
        return ()
    top_left, bottom_right = points.corner_pixels[:, -2:]
    half = np.array(grid.cell) / 2
    inside = (places >= top_left - half) & (places <= bottom_right + half)
    return tuple(np.flatnonzero(inside.all(axis=1))[:_MOST_TEXTS].tolist())


def _write_ranks(points: Points, inspection: Inspection, cells: list[int], grid: Grid, look: Look) -> None:
    """Write rank and attention below these cells, and the type where the frames are coloured by it."""
    prediction = inspection.prediction
    labels = inspection.cells.labels if inspection.coloring == BY_LABEL else None
    strings = [""] * len(prediction.cells)
    for cell in cells:
        rank = int(prediction.ranks[cell])
        said = f"#{rank}"
        if cell in inspection.cells.left_out:
            said += "   left out"
        elif labels and labels[cell]:
            said = short(labels[cell], _LONGEST)
        elif prediction.has_attention:
            said += f"   {prediction.attention[cell]:.1f}x"
        strings[rank - 1] = said
    text: dict[str, Any] = {
        "string": strings,
        "size": 9,
        "color": look.text,
        "anchor": "center",
        "translation": (grid.pitch[0] / 2, 0),
    }
    points.text = text
