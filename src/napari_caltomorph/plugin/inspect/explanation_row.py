"""One question about the inspected prediction: a button that asks it, what is said, and the figure of the answer."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtCore import Signal
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_caltomorph.plugin.widgets.parts import line, plain
from napari_caltomorph.plugin.widgets.task_row import TaskRow


class ScrolledCanvas(FigureCanvasQTAgg):
    """A figure in a part that scrolls: the wheel scrolls that part."""

    def __init__(self) -> None:
        super().__init__(Figure(layout="constrained"))

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class Question(QWidget):
    """Shows its figure once there is an answer; `answered` says so.

    Parameters
    ----------
    title : str
        Of the button.
    tip : str
    height : int
        Of the figure, in pixels; 0 where the answer is words alone.
    """

    answered = Signal()

    def __init__(self, title: str, tip: str, height: int = 0) -> None:
        super().__init__()
        self.run = TaskRow(title)
        self.run.button.setToolTip(tip)
        self._said = line()
        self.canvas = ScrolledCanvas()
        self.canvas.setFixedHeight(max(1, height))
        self._draw: Callable[[Figure], None] | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.setSpacing(4)
        for widget in (self.run, self._said, self.canvas):
            column.addWidget(widget)
        self.clear()

    @property
    def said(self) -> str:
        """The answer in words, as HTML."""
        return str(self._said.text())

    @property
    def is_answered(self) -> bool:
        """Whether an answer is shown."""
        return self._draw is not None or bool(self.said)

    def clear(self) -> None:
        """Stop asking, and show no answer."""
        self.run.cancel()
        self.run.show_message("")
        self._draw = None
        self._said.clear()
        self._said.hide()
        self.canvas.hide()

    def answer(self, words: str, draw: Callable[[Figure], None] | None = None) -> None:
        """Show an answer: words, and what draws its figure into an empty one."""
        self._said.setText(plain(words))
        self._said.show()
        self._draw = draw
        self.canvas.setVisible(draw is not None)
        self.draw_again()
        self.answered.emit()

    def draw_again(self) -> None:
        """Draw the figure in other colours, or with other cells selected."""
        if self._draw is not None:
            self.canvas.figure.clear()
            self._draw(self.canvas.figure)
            self.canvas.draw_idle()
