"""Plots of the window, drawn by Qt through pyqtgraph: dots and lines that stay fluent with many thousand cells.

matplotlib draws the same `Plot` into reports. No mouse moves or enlarges a plot: the wheel scrolls the panel. Other
plugins may use pyqtgraph too, so that none of its global options is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyqtgraph
from numpy.typing import NDArray
from qtpy.QtCore import QPoint, QPointF, QSize, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QFont, QMouseEvent, QPainterPath, QPen, QWheelEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_caltomorph.plugin.widgets.parts import colored, column_of, line, plain
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.drawing import unbroken
from napari_caltomorph.report.plot import Axis, Dots, Entry, Plot

# Pixels a point, as matplotlib has them on a screen.
_POINT = 100 / 72
_LETTERS, _MARGIN = 11, 12  # Pixels high and wide.
_LEAST_HEIGHT = 160
_RING = 14.6  # Pixels wide.
# A legend is a line of text: how a marker is written in it, filled and hollow.
_GLYPHS = {"o": ("&#9679;", "&#9675;"), "D": ("&#9670;", "&#9671;"), "x": ("&times;",) * 2, "-": ("&#9473;",) * 2}


class PlotView(pyqtgraph.GraphicsView):
    """Shows a `Plot`. `clicked` carries the pixel of a click with the left button."""

    clicked = Signal(QPoint)

    def __init__(self) -> None:
        super().__init__(background=None)
        self.setInteractive(False)  # pyqtgraph would look for items under the mouse
        self.setMinimumHeight(_LEAST_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._box = pyqtgraph.ViewBox(enableMouse=False, enableMenu=False, defaultPadding=0)
        self._rings = pyqtgraph.ScatterPlotItem()
        self._rings.setZValue(2)
        self._axes = [pyqtgraph.AxisItem(side, linkView=self._box, maxTickLength=0) for side in ("bottom", "left")]
        letters = QFont(self.font())
        letters.setPixelSize(_LETTERS)
        for axis in self._axes:
            axis.setTickFont(letters)
            axis.enableAutoSIPrefix(False)
            # A label may be that many pixels wider than the axis, for which the margins leave room.
            axis.setStyle(tickTextHeight=_LETTERS, hideOverlappingLabels=_MARGIN)
        grid = self.centralLayout
        grid.setContentsMargins(_MARGIN, 4, _MARGIN, 2)
        grid.setSpacing(0)
        grid.addItem(self._box, 0, 1)
        grid.addItem(self._axes[0], 1, 1)
        grid.addItem(self._axes[1], 0, 0)
        grid.setColumnStretchFactor(1, 1)
        grid.setRowStretchFactor(0, 1)

    def sizeHint(self) -> QSize:
        return QSize(320, self.minimumHeight())  # Qt's own is that of what is drawn

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()  # the area around it scrolls

    def show_plot(self, plot: Plot, style: PlotStyle) -> None:
        """Show a plot in place of what is shown."""
        self.setBackground(style.background)
        self._box.clear()
        for axis, item, side in zip((plot.x, plot.y), self._axes, "xy", strict=True):
            _show_axis(item, axis, style, has_grid=side in plot.grid)
        self._box.setRange(xRange=(plot.x.low, plot.x.high), yRange=(plot.y.low, plot.y.high), padding=0)
        for one in plot.lines:
            x, y = (np.asarray(values, dtype=float)[np.isfinite(one.y)] for values in (one.x, one.y))
            dashes = Qt.PenStyle.DashLine if one.is_dashed else Qt.PenStyle.SolidLine
            pen = pyqtgraph.mkPen(one.color, width=_POINT * one.width, style=dashes)
            self._box.addItem(pyqtgraph.PlotCurveItem(x, y, pen=pen, antialias=True))
        for dots in plot.dots:
            self._box.addItem(_scatter(dots))
        self._box.addItem(self._rings)

    def ring(self, places: NDArray[np.floating], style: PlotStyle) -> None:
        """Draw large rings around these places, as far as they are known, and no others."""
        places = places[np.isfinite(places).all(axis=1)]
        self._rings.setData(pos=places, size=_RING, pen=pen_of(style.text, 2.5), brush=brush_of("none"))

    @property
    def ringed(self) -> NDArray[np.floating]:
        """(R, 2) the places with a large ring."""
        return np.stack(self._rings.getData(), axis=1)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit(event.pos())

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.mousePressEvent(event)

    def pixel_of(self, place: NDArray[np.floating]) -> QPoint:
        """Return where a place of the axes is on the widget."""
        return self.mapFromScene(self._box.mapViewToScene(QPointF(*map(float, place))))

    def place_at(self, pixel: QPoint) -> NDArray[np.float64]:
        """(2,) the place of the axes that is shown at a pixel of the widget."""
        place = self._box.mapSceneToView(self.mapToScene(pixel))
        return np.array([place.x(), place.y()])

    def near(self, pixel: QPoint, places: NDArray[np.floating], reach: float) -> NDArray[np.intp]:
        """Return which of these places are at most so many pixels away from a pixel, the nearest first."""
        distances = np.hypot(*((places - self.place_at(pixel)) / self._box.viewPixelSize()).T)
        near = np.flatnonzero(distances <= reach)  # NaN is nowhere
        return near[np.argsort(distances[near], kind="stable")]


class Chart(QWidget):
    """A plot between its title and its legend, which are lines of text and take no width from it."""

    def __init__(self) -> None:
        super().__init__()
        self._title, self.view, self._legend = line(), PlotView(), line()
        column_of(self, self._title, self.view, self._legend, stretch=(self.view,), spacing=2)

    @property
    def text(self) -> str:
        """Title and legend, as HTML."""
        return f"{self._title.text()}<br>{self._legend.text()}"

    def show_plot(self, plot: Plot, style: PlotStyle) -> None:
        """Show a plot, or the sentence in its place."""
        self._title.setText(plain(plot.sentence or plot.title).replace("\n", "; "))
        self._title.setVisible(bool(self._title.text()))
        self._legend.setText(plain(plot.heading) + " " + "&nbsp; ".join(map(_glyph_and_name, plot.legend)))
        self._legend.setVisible(bool(plot.legend))
        self.view.setVisible(not plot.sentence)
        self.view.show_plot(plot, style)


def _show_axis(item: pyqtgraph.AxisItem, axis: Axis, style: PlotStyle, *, has_grid: bool) -> None:
    for set_pen in (item.setPen, item.setTickPen):  # Qt draws a dot for a tick of no length, also without a pen
        set_pen(pen_of(style.faint if has_grid else style.background, 1))
    item.setTextPen(style.text)
    item.setGrid(110 if has_grid else False)
    item.setTicks([list(axis.ticks.items())])
    item.setLabel(axis.name or None, **{"color": style.text, "font-size": f"{_LETTERS}px"})
    item.setStyle(showValues=bool(axis.ticks))
    item.setVisible(bool(axis.name or axis.ticks))


def _scatter(dots: Dots) -> pyqtgraph.ScatterPlotItem:
    edges: Sequence[str] = [dots.edges] * len(dots.places) if isinstance(dots.edges, str) else dots.edges
    is_cross = dots.marker == "x"
    return pyqtgraph.ScatterPlotItem(
        pos=dots.places,
        size=_POINT * dots.size,
        symbol=_CROSS if is_cross else {"o": "o", "D": "d"}[dots.marker],
        pen=[pen_of(one, _POINT * dots.width, dots.alpha) for one in (dots.faces if is_cross else edges)],
        brush=[brush_of("none" if is_cross else one, dots.alpha) for one in dots.faces],
    )


def _crossed_lines() -> QPainterPath:
    path = QPainterPath()
    for end in (-0.5, 0.5):
        path.moveTo(-0.5, end)
        path.lineTo(0.5, -end)
    return path


_CROSS = _crossed_lines()


# pyqtgraph keeps a picture of each pen and brush that it meets, by identity.
@lru_cache(maxsize=512)
def pen_of(color: str, width: float, alpha: float = 1) -> QPen:
    pen = pyqtgraph.mkPen(_color(color, alpha), width=width)
    return pen if width and color != "none" else pyqtgraph.mkPen(None)


@lru_cache(maxsize=512)
def brush_of(color: str, alpha: float = 1) -> QBrush:
    return pyqtgraph.mkBrush(None if color == "none" else _color(color, alpha))


def _color(color: str, alpha: float) -> QColor:
    result = QColor(color)
    result.setAlphaF(alpha)
    return result


def _glyph_and_name(entry: Entry) -> str:
    glyph = _GLYPHS[entry.marker][entry.face == "none"]
    return f"{colored(glyph, entry.color)}&nbsp;{unbroken(entry.name)}"
