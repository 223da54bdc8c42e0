"""Cells as dots of a plot: a click or a lasso selects, selected cells are ringed, filtered cells are faint.

The dots are drawn once; rings are drawn over a copy of them, so that selecting among thousands of cells remains fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import MouseButton
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.widgets import LassoSelector
from qtpy.QtCore import Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QSizePolicy

from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.report import PlotStyle

# A lasso smaller than this, in pixels, is a click; a click this far from a dot still selects it.
_CLICK = 4
_REACH = 12
_FAINT = 0.1
# Above these, dots and rings shrink, or they would hide each other.
_MANY_DOTS, _MANY_RINGS = 800, 60


class FigureCanvas(FigureCanvasQTAgg):
    """An empty figure. The wheel scrolls the area that it is in, if any.

    Of a given height, the figure has no layout of its own: see `axes_inside`.
    """

    def __init__(self, height: int | None = None) -> None:
        super().__init__(Figure(layout="constrained" if height is None else None))
        if height is not None:
            self.setFixedHeight(height)
            self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()  # matplotlib would keep it

    def redraw(self, draw: Callable[[Axes], object]) -> None:
        """Draw into new axes, in place of what is shown."""
        self.figure.clear()
        draw(self.figure.subplots())
        self.draw_idle()

    def axes_inside(self, left: int, right: int, bottom: int, top: int = 4) -> Axes:
        """Return new axes, in place of what is shown, with margins in pixels for texts, however wide the canvas is."""
        self.figure.clear()
        self.draw_idle()
        width, height = max(self.width(), left + right + 60), max(self.height(), bottom + top + 20)
        place = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
        return self.figure.add_axes(place)


class CellPlot(FigureCanvas):
    """A canvas with one dot a cell, linked to the selection."""

    def __init__(self, height: int | None = None) -> None:
        super().__init__(height)
        self.figure.set_layout_engine("none")
        self._inspection: Inspection | None = None
        self._dots: PathCollection | None = None
        self._plot_style = PlotStyle()
        self.mpl_connect("draw_event", self._on_drawn)

    def show_dots(
        self,
        inspection: Inspection,
        draw: Callable[[Axes], PathCollection],
        style: PlotStyle,
        *,
        place: tuple[float, float, float, float] = (0.03, 0.26, 0.94, 0.72),
    ) -> None:
        """Draw the cells into axes at a `place` of the figure (left, bottom, width, height).

        `draw` returns dots whose offsets are in the order of the prediction's cells; none if it draws the reason.
        """
        self._inspection, self._plot_style = inspection, style
        self.figure.clear()
        self._axes = axes = self.figure.add_axes(place)
        self._dots = draw(axes)
        self._background: Any = None
        self._rings = axes.scatter([], [], s=42, facecolor="none", edgecolor=style.text, linewidth=1.0, animated=True)
        self._ring = axes.scatter([], [], s=110, facecolor="none", edgecolor=style.text, linewidth=1.8, animated=True)
        # A reference, or it would be deleted.
        self._lasso = LassoSelector(
            axes,
            self._on_lasso,
            useblit=True,
            button=[MouseButton.LEFT],
            props={"color": style.text, "linewidth": 1, "alpha": 0.8},
        )
        self.show_state()

    @property
    def places(self) -> np.ndarray:
        """(N, 2) position of each cell's dot, in the axes' units; (0, 2) if there are none."""
        offsets = np.zeros((0, 2)) if self._dots is None else np.asarray(self._dots.get_offsets(), dtype=float)
        return offsets.reshape(-1, 2)

    @property
    def ringed(self) -> np.ndarray:
        return np.asarray(self._rings.get_offsets(), dtype=float).reshape(-1, 2)

    def show_state(self) -> None:
        """Show colours, and which cells are hidden by the filter (faint) or left out (hollow)."""
        if self._inspection is None or self._dots is None or not len(self.places):
            self.draw_idle()
            return
        cells = self._inspection.cells
        faces = to_rgba_array(self._inspection.colors)
        edges = np.broadcast_to(to_rgba(self._plot_style.background), faces.shape).copy()
        out = list(cells.left_out)
        edges[out] = faces[out]
        faces[out, 3] = 0
        hidden = np.ones(len(faces), dtype=bool)
        hidden[cells.order] = False
        faces[hidden, 3] *= _FAINT
        edges[hidden, 3] *= _FAINT
        self._dots.set_facecolor(faces)
        self._dots.set_edgecolor(edges)
        outline = 0.3 if len(faces) <= _MANY_DOTS else 0.0
        self._dots.set_linewidth(np.where(np.isin(np.arange(len(faces)), out), 1.2, outline).tolist())
        self._dots.set_sizes([14 * _shrunk(len(faces), _MANY_DOTS)])
        self._ring_selected()
        self.draw_idle()

    def show_selection(self) -> None:
        if self._inspection is None or not len(self.places):
            return
        self._ring_selected()
        if self._background is None:
            self.draw_idle()
            return
        self.restore_region(self._background)
        self._draw_rings()
        self.blit(self._axes.bbox)

    def _ring_selected(self) -> None:
        assert self._inspection is not None
        cells, places = self._inspection.cells, self.places
        self._rings.set_offsets(places[sorted(cells.selected)])
        shrunk = _shrunk(len(cells.selected), _MANY_RINGS)
        self._rings.set_sizes([42 * shrunk])
        self._rings.set_linewidth(shrunk)
        self._ring.set_offsets(places[[] if cells.current is None else [cells.current]])

    def _draw_rings(self) -> None:
        for ring in (self._rings, self._ring):
            self._axes.draw_artist(ring)

    def _on_drawn(self, event: object) -> None:
        if self._inspection is not None:
            self._background = self.copy_from_bbox(self._axes.bbox)
            self._draw_rings()

    def _on_lasso(self, corners: list[tuple[float, float]]) -> None:
        places = self.places
        if self._inspection is None or not len(places):
            return
        to_pixels = self._axes.transData.transform
        line = to_pixels(corners)
        if np.ptp(line, axis=0).max() > _CLICK * self.device_pixel_ratio:
            self._choose(np.flatnonzero(Path(corners).contains_points(places)))
            return
        shown = self._inspection.cells.order
        distances = np.hypot(*(to_pixels(places[shown]) - line[0]).T)
        if len(shown) and distances.min() <= _REACH * self.device_pixel_ratio:
            self._choose(shown[[int(distances.argmin())]])

    def _choose(self, chosen: np.ndarray) -> None:
        """Select these cells; with Shift or Ctrl, these too."""
        assert self._inspection is not None
        cells = self._inspection.cells
        held = QApplication.keyboardModifiers()
        adds = held & (Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier)
        kept = cells.selected if adds else frozenset()
        cells.select(kept | set(chosen.tolist()), current=int(chosen[0]) if len(chosen) else None)
        self.show_selection()


def _shrunk(count: int, many: int) -> float:
    """Return the factor by which to shrink so many items, at least a fifth."""
    return float(np.clip((many / max(count, 1)) ** 0.5, 0.2, 1.0))
