"""Cells with a picture and a bar each: those that support a class at the left, those that oppose it at the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.parts import tip
from napari_caltomorph.plugin.widgets.thumbnails import Thumbnails, cells_of
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.explanation_figures import OPPOSES, SUPPORTS

_LOWEST, _HIGHEST = 22, 44  # of a row, in pixels
_HEAD, _GAP = 18, 8
_SIDES = (("supports", SUPPORTS), ("opposes", OPPOSES))
# How many columns and rows each key moves from the selected bar; the first bar is chosen where none is selected.
_KEYS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
    Qt.Key.Key_Space: (0, 0),
}


@dataclass(frozen=True)
class CellBar:
    """A cell, and its contribution, or the change without it, in log-odds."""

    cell: int
    value: float
    supports: bool


class CellBars(QWidget):
    """The cells of a prediction as bars; `chosen` carries the cell that was clicked, or reached with an arrow key."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._prediction: Prediction | None = None
        self.bars: tuple[list[CellBar], list[CellBar]] = ([], [])
        self._selected: frozenset[int] = frozenset()
        self._style = PlotStyle()
        self.thumbnails: Thumbnails[str] = Thumbnails(self, _HIGHEST)
        self.thumbnails.loaded.connect(self.update)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.MinimumExpanding)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    @property
    def rows(self) -> int:
        """How many bars are below each other."""
        return max(map(len, self.bars))

    @property
    def ringed(self) -> set[int]:
        """The cells whose bars are shown as selected."""
        return {one.cell for side in self.bars for one in side if one.cell in self._selected}

    def show_inspection(self, inspection: Inspection | None) -> None:
        """Show the pictures of another prediction's cells, and no bars yet."""
        self._prediction = None if inspection is None else inspection.prediction
        self.bars = ([], [])
        smear = None if inspection is None else inspection.smear
        self.thumbnails.show(cells_of(smear, self.thumbnails.pixels))

    def show_bars(self, bars: Sequence[CellBar], selected: frozenset[int], style: PlotStyle) -> None:
        """Show bars, in each half from the top in this order."""
        self.bars = [one for one in bars if one.supports], [one for one in bars if not one.supports]
        self._style = style
        self.setMinimumHeight(_HEAD + _LOWEST * self.rows)
        self.updateGeometry()
        self.show_selection(selected)

    def show_selection(self, selected: frozenset[int]) -> None:
        self._selected = selected
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(300, _HEAD + 26 * self.rows)

    def place_of(self, cell: int) -> QRect:
        """Return where the row of a cell is."""
        across, height = self._size
        places = [(x, y) for x, side in enumerate(self.bars) for y, one in enumerate(side) if one.cell == cell]
        x, y = places[0]
        return QRect(x * (across + _GAP), _HEAD + y * height, across, height)

    def bar_at(self, place: QPoint) -> CellBar | None:
        """Return the bar at a place."""
        return next((one for side in self.bars for one in side if self.place_of(one.cell).contains(place)), None)

    @property
    def _size(self) -> tuple[int, int]:
        """Width and height of a row."""
        height = (self.height() - _HEAD) // max(self.rows, 1)
        return (self.width() - _GAP) // 2, int(np.clip(height, _LOWEST, _HIGHEST))

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._prediction is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        font = painter.font()
        font.setPointSizeF(0.85 * font.pointSizeF())
        painter.setFont(font)
        across, _ = self._size
        most = max((abs(one.value) for side in self.bars for one in side), default=1.0) or 1.0
        digits = int(np.clip(2 - np.floor(np.log10(most)), 2, 4))  # three that count, of the longest bar
        for number, (word, color) in enumerate(_SIDES):
            left = number * (across + _GAP)
            painter.setPen(QColor(self._style.text))
            head = word if self.bars[number] else f"none {word}"
            painter.drawText(QRect(left, 0, across, _HEAD), Qt.AlignmentFlag.AlignLeft, f"{head} (log-odds)")
            for one in self.bars[number]:
                self._paint_row(painter, one, QColor(color), abs(one.value) / most, f"{one.value:+.{digits}f}")
        if self.hasFocus():
            painter.setPen(QColor(self._style.faint))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.end()

    def _paint_row(self, painter: QPainter, one: CellBar, color: QColor, share: float, number: str) -> None:
        """Paint picture, rank, bar and number of a cell from the left."""
        assert self._prediction is not None
        row, metrics = self.place_of(one.cell), painter.fontMetrics()
        side = row.height() - 2
        picture = self.thumbnails.of(self._prediction.cells[one.cell])
        at = QRect(row.left() + 1, row.top() + 1, side, side)
        if picture is not None:
            size = picture.size().scaled(at.size(), Qt.AspectRatioMode.KeepAspectRatio)
            painter.drawPixmap(QRect(at.topLeft(), size), picture)
        middle = Qt.AlignmentFlag.AlignVCenter
        rank = metrics.horizontalAdvance(f"#{len(self._prediction.cells)}") + 4
        at = QRect(at.right() + 5, row.top(), rank, row.height())
        painter.setPen(QColor(self._style.text))
        painter.drawText(at, middle, f"#{self._prediction.ranks[one.cell]}")
        room = row.right() - at.right() - metrics.horizontalAdvance(number) - 6
        bar = QRect(at.right(), row.top() + row.height() // 4, max(1, round(share * room)), row.height() // 2)
        painter.fillRect(bar, color)
        painter.drawText(QRect(bar.right() + 4, row.top(), row.width(), row.height()), middle, number)
        if one.cell in self._selected:
            painter.setPen(QPen(QColor(self._style.text), 1.5))
            painter.drawRect(row.adjusted(0, 0, -1, -1))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = _KEYS.get(event.key())
        if step is None or not self.rows:
            super().keyPressEvent(event)
            return
        places = [(x, y) for x, side in enumerate(self.bars) for y in range(len(side))]
        here = next(((x, y) for x, y in places if self.bars[x][y].cell in self._selected), None)
        if here is None:
            x, y = places[0]
        else:
            x = int(np.clip(here[0] + step[0], places[0][0], places[-1][0]))
            y = int(np.clip(here[1] + step[1], 0, len(self.bars[x]) - 1))
        self.chosen.emit(self.bars[x][y].cell)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        bar = self.bar_at(event.pos())
        if bar is not None:
            self.chosen.emit(bar.cell)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            bar = self.bar_at(event.pos())
            text = "" if bar is None or self._prediction is None else self._prediction.cells[bar.cell]
            why = self.thumbnails.problem(text)
            QToolTip.showText(event.globalPos(), tip(f"{text}\n{why}".strip()), self)
            return True
        return super().event(event)
