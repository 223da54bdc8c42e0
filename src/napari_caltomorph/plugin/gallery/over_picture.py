"""What is drawn over napari's picture where napari has no layer for it: outlines of selected cells, and texts.

It is drawn by vispy, so it is in screenshots too. Only this file reaches behind napari's models (`_window`).
"""

from __future__ import annotations

from typing import Any

import napari
import numpy as np
from napari._qt.utils import QImg2array
from napari.layers import Points
from numpy.typing import NDArray
from qtpy.QtGui import QColor, QImage, QPainter, QTextDocument
from qtpy.QtWidgets import QApplication
from vispy import scene
from vispy.visuals.transforms import STTransform

from napari_caltomorph.plugin.napari_versions import camera_of
from napari_caltomorph.report import PlotStyle

# Of the selected cells: no class, no type and no stain has this colour.
BRIGHT, DARK = "#39ff14", "#000000"
# Width of their line and of the current cell's, in pixels of the screen; with its dark edges it is twice as wide.
# Around cells smaller than `_FULL_LINE` it is thinner, and its edges more so, or little would be seen of them.
_LINE, _CURRENT_LINE, _THINNEST, _FULL_LINE = 2.0, 4.0, 1.2, 32
# The outline of the current cell is never smaller on the screen, in pixels: among 5,000 cells it is seen too.
_SMALLEST = 18
_MARGIN, _PADDING, _POINTS = 6, 5, 9

_FOLLOWED = "caltomorph_followed"


def _window(viewer: napari.viewer.Viewer) -> Any:
    """Return napari's widget with canvas and sliders; a plugin is given a proxy of the viewer, which hides it."""
    return getattr(viewer, "__wrapped__", viewer).window._qt_viewer


def hide_idle_sliders(viewer: napari.viewer.Viewer) -> None:
    """From now on, show napari's sliders only while they change something: those of hidden layers do not."""
    layers, sliders = viewer.layers, _window(viewer).dims

    def update(event: Any = None) -> None:
        if event is None or event.type in ("visible", "inserted", "removed"):
            sliders.setVisible(any(layer.visible and layer.ndim > 2 for layer in layers))

    if not sliders.property(_FOLLOWED):
        sliders.setProperty(_FOLLOWED, True)
        layers.events.connect(update)
    update()


class Outlines:
    """A bright line with dark edges around the selected cells, as wide on the screen at every zoom.

    It is a part of the points' layer, and moved, hidden and deleted with it.
    """

    def __init__(self, viewer: napari.viewer.Viewer, points: Points) -> None:
        self._viewer, self._points = viewer, points
        self._node = scene.visuals.Markers(scaling="fixed", parent=_window(viewer).canvas.layer_to_visual[points].node)
        self._node.set_gl_state("translucent", depth_test=False)
        self._places = np.zeros((0, 2))
        self._is_current = np.zeros(0, dtype=bool)
        self._side = 0.0

    def show(self, places: NDArray[np.float64], is_current: NDArray[np.bool_], side: float) -> None:
        """Outline squares of this side around (N, 2) places, in the layer's pixels; one of them is the current."""
        first = np.argsort(is_current, kind="stable")  # the current one over its neighbours
        self._places, self._is_current, self._side = places[first], is_current[first], side
        self.update()

    def update(self, event: object = None) -> None:
        """Draw them again, for another zoom."""
        self._node.visible = len(self._places) > 0
        if not len(self._places):
            return
        side = self._side * float(self._points.scale[-1]) * camera_of(self._viewer).zoom
        size = np.where(self._is_current, max(side, _SMALLEST), side)
        share = np.minimum(size / _FULL_LINE, 1)
        line = np.maximum(np.where(self._is_current, _CURRENT_LINE, _LINE) * share, _THINNEST)
        count = len(line)
        # First the dark one, then the bright one of each.
        self._node.set_data(
            np.repeat(self._places[:, ::-1], 2, axis=0),
            size=np.repeat(size, 2),
            edge_width=np.stack([line + share * line, line], axis=1).ravel(),
            edge_color=np.tile(np.stack([QColor(one).getRgbF() for one in (DARK, BRIGHT)]), (count, 1)),
            face_color=(0, 0, 0, 0),
            symbol="square",
        )

    def close(self) -> None:
        self._node.parent = None


class PictureText:
    """Rich text over the picture, at the left of its top or bottom edge, on a background that lets it be read."""

    def __init__(self, viewer: napari.viewer.Viewer, *, at_top: bool, free: int = 0) -> None:
        self._canvas, self._at_top = _window(viewer).canvas, at_top
        self._free = free  # pixels at the right
        self._node = scene.visuals.Image(np.zeros((1, 1, 4), np.uint8), parent=self._canvas.view)
        self._node.set_gl_state("translucent", depth_test=False)
        self._node.order, self._node.visible = 10**6, False
        self.html, self._height, self._style = "", 0, PlotStyle()
        self._place: tuple[float, int] | None = None  # scale and top
        self._canvas.events.resize.connect(self.draw)

    @property
    def height(self) -> int:
        """What it covers of the picture, in pixels of the screen."""
        return self._height + 2 * _MARGIN if self.html else 0

    def show(self, html: str, style: PlotStyle) -> None:
        """Show a text, or none."""
        if (html, style) != (self.html, self._style):
            self.html, self._style = html, style
            self.draw()

    def draw(self, event: object = None) -> None:
        """Draw it again, in the width that the window leaves."""
        self._node.visible = bool(self.html)
        if not self.html:
            return
        height, width = self._canvas.size
        image, self._height = _drawn(self.html, self._style, width - 2 * _MARGIN - self._free, self._ratio)
        self._node.set_data(image)
        top = _MARGIN if self._at_top else height - self._height - _MARGIN
        if (place := (1 / self._ratio, top)) != self._place:  # vispy compiles its shaders anew for another transform
            self._place = place
            self._node.transform = STTransform((place[0], place[0]), (_MARGIN, top))

    def close(self) -> None:
        self._canvas.events.resize.disconnect(self.draw)
        self.html, self._node.parent = "", None

    @property
    def _ratio(self) -> float:
        return float(self._canvas.native.devicePixelRatioF())


def _drawn(html: str, style: PlotStyle, width: float, ratio: float) -> tuple[NDArray[np.uint8], int]:
    """Return a text as (H, W, 4) uint8 in pixels of the device, and its height in those of the window."""
    text = QTextDocument(documentMargin=_PADDING)
    font = QApplication.font()
    font.setPointSize(_POINTS)
    text.setDefaultFont(font)
    text.setHtml(f"<span style='color:{style.text}'>{html}</span>")
    text.setTextWidth(max(width, 100))
    text.setTextWidth(min(text.idealWidth(), text.textWidth()))
    size = text.size().toSize()
    image = QImage(round(size.width() * ratio), round(size.height() * ratio), QImage.Format.Format_RGBA8888)
    image.setDevicePixelRatio(ratio)
    background = QColor(style.background)
    background.setAlphaF(0.85)
    image.fill(background)
    painter = QPainter(image)
    text.drawContents(painter)
    painter.end()
    return QImg2array(image), size.height()
