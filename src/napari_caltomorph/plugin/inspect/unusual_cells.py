"""The most unusual cells of a smear as small pictures; a click selects the cell everywhere."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QWheelEvent
from qtpy.QtWidgets import QListView, QListWidget, QListWidgetItem

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.plugin.widgets.parts import pixmap
from napari_caltomorph.smear import Smear

_SIDE = 54


class UnusualCells(QListWidget):
    """A row of pictures that wraps; `chosen` carries the index of the cell that was clicked."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setIconSize(QSize(_SIDE, _SIDE))
        self.setSpacing(2)
        self.setFixedHeight(2 * (_SIDE + 21))
        self.itemClicked.connect(lambda item: self.chosen.emit(item.data(Qt.ItemDataRole.UserRole)))

    def show_cells(
        self, cells: Sequence[int], tails: Sequence[float], prediction: Prediction, smear: Smear | None
    ) -> None:
        """Show cells of a prediction, each with its rank; the tip says how many training cells lie as far out."""
        self.clear()
        numbers = {} if smear is None else {cell: i for i, cell in enumerate(smear.cells)}
        for cell, tail in zip(cells, tails, strict=True):
            item = QListWidgetItem(f"#{prediction.ranks[cell]}")
            item.setData(Qt.ItemDataRole.UserRole, int(cell))
            share = f"{tail:.2%} of the training cells lie" if tail > 0 else "no training cell lies"
            item.setToolTip(f"{prediction.cells[cell]}: {share} as far out")
            number = numbers.get(prediction.cells[cell])
            if smear is not None and number is not None:
                try:
                    item.setIcon(QIcon(pixmap(smear.on_canvas(number))))
                except CellUnreadable:
                    item.setToolTip(f"{item.toolTip()}; its image can no longer be read")
            self.addItem(item)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave the wheel to the tab."""
        event.ignore()
