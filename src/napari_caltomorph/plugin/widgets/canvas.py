"""A figure of matplotlib in the window, for what changes rarely; live plots are in `plots.py`."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QSizePolicy


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
