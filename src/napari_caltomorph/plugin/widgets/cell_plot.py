"""Cells as dots of a plot: a click or a lasso selects, selected cells are ringed, filtered cells are faint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyqtgraph
from matplotlib.path import Path
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QBrush, QMouseEvent, QPainterPath, QPen, QPolygon
from qtpy.QtWidgets import QApplication, QGraphicsPathItem, QToolTip

from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.parts import tip
from napari_caltomorph.plugin.widgets.plots import PlotView, brush_of, pen_of
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.plot import Plot

# A lasso smaller than this, in pixels, is a click; a click this far from a dot still selects it.
_CLICK = 4
_REACH = 12
_FAINT = 0.1
# Above these, dots and rings shrink, or they would hide each other.
_MANY_DOTS, _MANY_RINGS = 800, 60
_CELL, _SELECTED = 5.2, 9.0  # Diameters in pixels.


class CellPlot(PlotView):
    """One dot a cell, linked to the selection: a click or a lasso selects, with Shift or Ctrl adds.

    Selected cells are ringed; filtered ones are faint, those left out hollow.
    """

    def __init__(self) -> None:
        super().__init__()
        self._inspection: Inspection | None = None
        self._style = PlotStyle()
        self._dots, self._selected = _ManyDots(), _ManyDots()
        self._selected.setZValue(1)
        self.places: NDArray[np.floating] = np.zeros((0, 2))
        self._corners: list[QPoint] = []  # of the lasso, while it is drawn
        self._lasso = QGraphicsPathItem()
        self._lasso.setZValue(3)
        self.scene().addItem(self._lasso)

    @property
    def selected(self) -> NDArray[np.floating]:
        """(S, 2) the places of the selected cells, with a small ring."""
        return np.stack(self._selected.getData(), axis=1)

    def show_cells(self, inspection: Inspection, plot: Plot, style: PlotStyle) -> None:
        """Show a plot whose dots are in the order of the prediction's cells, in the colours of the inspection."""
        self._inspection, self._style = inspection, style
        self.show_plot(replace(plot, dots=()), style)
        self.places = plot.dots[0].places
        for item in (self._dots, self._selected):
            self._box.addItem(item)
        self._lasso.setPen(pen_of(style.text, 1))
        self.show_state()

    def show_state(self) -> None:
        """Show colours, and which cells are hidden by the filter or left out."""
        if self._inspection is None:
            return
        cells, count = self._inspection.cells, len(self.places)
        is_out, is_faint = np.zeros(count, dtype=bool), np.ones(count, dtype=bool)
        is_out[list(cells.left_out)] = True
        is_faint[cells.order] = False
        colors, which = np.unique(self._inspection.colors, return_inverse=True)
        looks, look_of = np.unique(4 * which + 2 * is_out + is_faint, return_inverse=True)
        edge = 0.4 if count <= _MANY_DOTS else 0.0
        pairs = []
        for look in looks.tolist():
            color, alpha = str(colors[look // 4]), _FAINT if look % 2 else 1.0
            pen = pen_of(color, 1.7, alpha) if look & 2 else pen_of(self._style.background, edge, alpha)
            pairs.append((pen, brush_of("none" if look & 2 else color, alpha)))
        self._dots.show_dots(self.places, _CELL * _shrunk(count, _MANY_DOTS), pairs, look_of)
        self.show_selection()

    def show_selection(self) -> None:
        if self._inspection is None:
            return
        cells = self._inspection.cells
        shrunk = _shrunk(len(cells.selected), _MANY_RINGS)
        places, pen = self.places[sorted(cells.selected)], pen_of(self._style.text, 1.4 * shrunk)
        self._selected.show_dots(places, _SELECTED * shrunk, [(pen, brush_of("none"))], np.zeros(len(places), np.intp))
        self.ring(self.places[[] if cells.current is None else [cells.current]], self._style)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self._inspection is not None:
            self._corners = [event.pos()]

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._corners:
            self._corners.append(event.pos())
            path = QPainterPath()
            path.addPolygon(self.mapToScene(QPolygon(self._corners)))
            self._lasso.setPath(path)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton or not self._corners:
            return
        corners, self._corners = [*self._corners, event.pos()], []
        self._lasso.setPath(QPainterPath())
        assert self._inspection is not None
        if np.ptp([(one.x(), one.y()) for one in corners], axis=0).max() > _CLICK:
            line = self._box.mapSceneToView(self.mapToScene(QPolygon(corners)))
            inside = Path([(one.x(), one.y()) for one in line]).contains_points(self.places)
            self._choose(np.flatnonzero(inside))
        elif len(nearest := self._nearest(corners[0])):
            self._choose(nearest)

    def viewportEvent(self, event: QEvent) -> bool:
        """Name the cell under the mouse in place of the plot's tip."""
        if event.type() == QEvent.Type.ToolTip and len(nearest := self._nearest(event.pos())):
            assert self._inspection is not None
            bag, cell = self._inspection.prediction, int(nearest[0])
            QToolTip.showText(event.globalPos(), tip(f"#{bag.ranks[cell]} {bag.cells[cell]}"), self)
            return True
        return super().viewportEvent(event)

    def _nearest(self, pixel: QPoint) -> NDArray[np.intp]:
        """Return the nearest of the shown cells, if one is near enough."""
        if self._inspection is None:
            return np.zeros(0, dtype=np.intp)
        shown = self._inspection.cells.order
        return shown[self.near(pixel, self.places[shown], _REACH)[:1]]

    def _choose(self, chosen: NDArray[np.intp]) -> None:
        """Select these cells; with Shift or Ctrl, these too."""
        assert self._inspection is not None
        cells, held = self._inspection.cells, QApplication.keyboardModifiers()
        adds = held & (Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier)
        kept = cells.selected if adds else frozenset()
        cells.select(kept | set(chosen.tolist()), current=int(chosen[0]) if len(chosen) else None)


class _ManyDots(pyqtgraph.ScatterPlotItem):
    """Dots of few looks. pyqtgraph's `setData` makes several objects for each, half a second's garbage for 20,000."""

    data: Any

    def show_dots(
        self,
        places: NDArray[np.floating],
        size: float,
        looks: Sequence[tuple[QPen, QBrush]],
        look_of: NDArray[np.intp],
    ) -> None:
        """Draw dots at places (N, 2), each with one of the looks."""
        dots: Any = np.zeros(len(places), dtype=self.data.dtype)
        dots["x"], dots["y"] = places.T
        dots["symbol"], dots["size"], dots["visible"] = "o", size, True
        dots["pen"], dots["brush"] = np.array(looks, dtype=object)[look_of].T
        pictures = self.fragmentAtlas[[("o", size, *look) for look in looks]]
        dots["sourceRect"] = np.array(pictures, dtype=dots["sourceRect"].dtype)[look_of]
        self.prepareGeometryChange()
        self.data = dots
        self.updateSpots()
        self.invalidate()


def _shrunk(count: int, many: int) -> float:
    """Return the factor by which to shrink the diameters of so many items; their area shrinks to a fifth at most."""
    return float(np.sqrt(np.clip((many / max(count, 1)) ** 0.5, 0.2, 1.0)))
