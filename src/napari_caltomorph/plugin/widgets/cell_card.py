"""One cell, enlarged, with its numbers."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.differential import cell_type
from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.plugin.session.cell_columns import BY_TYPE, CERTAINTY
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
        bag, index = inspection.bag, inspection.cells.current
        if index is None:
            self.clear()
            return
        cell = bag.cells[index]
        lines = [f"<b>#{bag.ranks[index]}</b> of {len(bag.cells)}", plain(cell, width=22)]
        if bag.has_attention:
            lines.append(f"attention <b>{bag.attention[index]:.2f}x</b> of an average cell")
        elif inspection.is_diagnosed:
            lines.append("the model has no attention")
        if label := inspection.cells.labels[index]:
            lines.append(f"labelled <b>{plain(label, width=22)}</b>")
        if index in inspection.cells.left_out:
            lines.append("<b>left out by you</b>")
        if (types := inspection.cells.columns.get(BY_TYPE)) is not None:
            color = cell_type(types[index]).color
            sure = inspection.cells.columns[CERTAINTY][index]
            sure_in_words = "" if np.isnan(sure) else f" {sure:.2f}"
            lines.append(f"{_square(color)} predicted {plain(types[index], width=22)}{sure_in_words}")
        if inspection.shows_classes:
            lines += _response(inspection.prediction, index)
        elif inspection.is_diagnosed:
            lines.append("classes of cells are not shown: the prediction is withheld")
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


def _response(prediction: Prediction, index: int) -> list[str]:
    taxonomy, best = prediction.taxonomy, np.argsort(-prediction.alone[index])[:3]
    classes = [
        f"{_square(taxonomy.colors[i])} {plain(taxonomy.names[i], width=22)} {prediction.alone[index, i]:.2f}"
        for i in best
    ]
    return ["model's response to this cell alone:", *classes]


def _square(color: str) -> str:
    return f"<span style='color:{color}'>&#9632;</span>"
