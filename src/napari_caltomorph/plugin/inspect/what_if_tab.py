"""What if some cells were not there: the model's answer without them, beside the original."""

from __future__ import annotations

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QBoxLayout, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import ERROR, colored, counted, line, plain
from napari_caltomorph.report.what_if_figure import draw_what_if, what_if_in_words

_EMPTY = (
    "Mark cells that should not count, such as artefacts and smudge cells, and leave them out: the model answers again "
    "without them, from the features it has. Nothing is lost; take them back in, or undo."
)
_NAMES_WIDTH = 138
_NUMBERS_WIDTH = 86
_HEIGHT = 196
# Wider than this, bars stand beside the words: the panel is docked below.
_WIDE = 640


class WhatIfTab(InspectionView):
    """Leaves marked cells out, or all others, and shows what changes."""

    def __init__(self) -> None:
        super().__init__()
        self.without = QPushButton("Leave out")
        self.without.clicked.connect(lambda: self._leave_out(keep=False))
        self.only = QPushButton("Keep only")
        self.only.clicked.connect(lambda: self._leave_out(keep=True))
        self.back = QPushButton("Take back")
        self.back.setToolTip("Take all cells back in")
        self.back.clicked.connect(self._take_back)
        row = QHBoxLayout()
        row.addWidget(QLabel("Marked cells"))
        for button in (self.without, self.only, self.back):
            row.addWidget(button)
        self.words = line()
        self.canvas = FigureCanvasQTAgg(Figure())
        self.canvas.setFixedHeight(_HEIGHT)
        self.canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.canvas.mpl_connect("resize_event", lambda _: self._draw())
        told = QVBoxLayout()
        told.addLayout(row)
        told.addWidget(self.words)
        told.addStretch()
        self._box = QBoxLayout(QBoxLayout.Direction.TopToBottom, self)
        self._box.setContentsMargins(0, 4, 0, 0)
        self._box.addLayout(told)
        self._box.addWidget(self.canvas, 1)
        self._box.addStretch()

    def resizeEvent(self, event: QEvent) -> None:
        super().resizeEvent(event)
        is_wide = self.width() > _WIDE
        self._box.setDirection(QBoxLayout.Direction.LeftToRight if is_wide else QBoxLayout.Direction.TopToBottom)

    def on_inspection(self) -> None:
        self._show()

    def on_edits(self) -> None:
        self._show()

    def on_answer(self) -> None:
        self._show()

    def on_look(self) -> None:
        self._draw()

    def _take_back(self) -> None:
        if self.inspection is not None:
            self.inspection.cells.set_left_out(())

    def _leave_out(self, *, keep: bool) -> None:
        if self.inspection is None:
            return
        cells = self.inspection.cells
        try:
            if keep:
                cells.keep_only(cells.marked)
            else:
                cells.set_left_out(cells.left_out | cells.marked)
        except CaltomorphError as error:
            self.words.setText(colored(plain(str(error)), ERROR))

    def _show(self) -> None:
        if self.inspection is None:
            return
        cells, answer = self.inspection.cells, self.inspection.answer
        self.without.setEnabled(not cells.marked <= cells.left_out)
        self.only.setEnabled(bool(cells.marked))
        self.back.setEnabled(bool(cells.left_out))
        if not cells.left_out:
            self.words.setText(_EMPTY)
        elif self.inspection.is_answered:
            out = f"<b>{counted(len(cells.left_out), 'cell')} left out</b> of {len(cells):,}; outlined: before"
            saved = "<i>Save</i> in <i>Predict patient</i> keeps both answers."
            self.words.setText("<br>".join([out, *(plain(words) for words in what_if_in_words(answer)), saved]))
        self._draw()

    def _draw(self) -> None:
        if self.inspection is None:
            return
        figure, width = self.canvas.figure, self.canvas.width()
        figure.clear()
        left, right = _NAMES_WIDTH / width, _NUMBERS_WIDTH / width
        if left + right < 0.9:  # else it is being laid out
            draw_what_if(figure.add_axes((left, 0.02, 1 - left - right, 0.96)), self.inspection.answer, self.look)
        self.canvas.draw_idle()
