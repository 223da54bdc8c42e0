"""One cell, enlarged, with its numbers."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.parts import column_of, line, pixmap, plain, row_of
from napari_caltomorph.smear import Smear


class CellCard(QWidget):
    """What is known about the current cell; its picture is `side` pixels wide and high."""

    def __init__(self, side: int = 150) -> None:
        super().__init__()
        self._side = side
        self._picture, self._text = line(), line()
        self._picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._picture.setFixedSize(side, side)
        column_of(self, row_of(self._picture, self._text, stretch=(self._text,)))
        self.clear()

    @property
    def text(self) -> str:
        return self._text.text()

    def clear(self) -> None:
        self._picture.clear()
        self._picture.hide()
        self._text.setText("Click a cell, in the picture or in the plot, to see it enlarged with its numbers.")

    def show_current(self, inspection: Inspection) -> None:
        """Show the current cell, if there is one; without the images, only its numbers."""
        prediction, index = inspection.prediction, inspection.cells.current
        if index is None:
            self.clear()
            return
        cell, taxonomy = prediction.cells[index], prediction.taxonomy
        best = np.argsort(-prediction.alone[index])[:3]
        lines = [
            f"<b>#{prediction.ranks[index]}</b> of {len(prediction.cells)}",
            plain(cell, width=22),
            f"attention <b>{prediction.attention[index]:.2f}x</b> of an average cell"
            if prediction.has_attention
            else "the model has no attention",
        ]
        if label := inspection.cells.labels[index]:
            lines.append(f"labelled <b>{plain(label, width=22)}</b>")
        if index in inspection.cells.left_out:
            lines.append("<b>left out by you</b>")
        lines.append("model's response to this cell alone:")
        for i in best:
            square = f"<span style='color:{taxonomy.colors[i]}'>&#9632;</span>"
            lines.append(f"{square} {plain(taxonomy.names[i], width=22)} {prediction.alone[index, i]:.2f}")
        self._text.setText("<br>".join(lines))
        self._show_picture(inspection.smear, cell)

    def _show_picture(self, smear: Smear | None, cell: str) -> None:
        self._picture.setVisible(smear is not None)
        if smear is None:
            return
        try:
            image = smear.image(smear.cells.index(cell))
        except CellUnreadable as error:
            self._picture.setText(plain(str(error), width=22))
            return
        self._picture.setPixmap(pixmap(image, side=self._side))
