"""One question about the inspected prediction: a button that computes the answer, and the answer below it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from napari.utils import Colormap
from numpy.typing import NDArray
from qtpy.QtWidgets import QLabel, QPushButton, QWidget

from napari_caltomorph.errors import ExplanationRefused
from napari_caltomorph.plugin.session.inspection import Inspection, Overlay
from napari_caltomorph.plugin.widgets.parts import column_of, line, pixmap, plain, row_of
from napari_caltomorph.plugin.widgets.task_row import TaskRow
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.smear import Smear

if TYPE_CHECKING:
    from napari_caltomorph.explanation.patches import PatchAttention

LAYER = "encoder attention"
_LIMITS = (
    "Contribution, attention, the response to a cell alone and the change without a cell measure different things and "
    "may disagree. All describe the model's raw outputs, at the training prevalence; none is the probability that a "
    "cell is a blast."
)
_SIDE = 150
# From transparent at an average patch to yellow, which neither stain nor glass is.
_HEAT = Colormap([[1, 0.85, 0, 0], [1, 0.85, 0, 0.45], [1, 1, 0.2, 0.9]], name="encoder attention")


class ExplanationRow(QWidget):
    """A question: its button, then the answer in words and the widgets that show it, once they are computed.

    The last widget of the answer has the height that is left. `beside` is a button for what is done with the answer.
    """

    def __init__(self, question: str, tip: str, *answer: QWidget, beside: QPushButton | None = None) -> None:
        super().__init__()
        self.question = question
        self.run = TaskRow(question, beside=beside)
        self.run.button.setToolTip(tip)
        self._summary = line()
        self._hidden = (self._summary, *answer, *([] if beside is None else [beside]))
        self._draw: Callable[[], None] | None = None
        column_of(self, self.run, self._summary, *answer, stretch=answer[-1:])
        self.layout().addStretch()
        self.layout().addWidget(line(_LIMITS))
        self.layout().setContentsMargins(0, 4, 6, 0)
        self.clear()

    @property
    def summary(self) -> str:
        """The result in words, as HTML."""
        return str(self._summary.text())

    def clear(self) -> None:
        """Stop computing, and show no result."""
        self.run.cancel()
        self.run.show_message("")
        self._draw = None
        self._summary.clear()
        for widget in self._hidden:
            widget.hide()

    def show_result(self, summary: str, draw: Callable[[], None]) -> None:
        """Show a result: its summary, and what draws it into the widgets of the answer."""
        self._summary.setText(plain(summary))
        for widget in self._hidden:
            widget.show()
        self._draw = draw
        draw()

    def redraw(self) -> None:
        """Draw the answer again, in other colours."""
        if self._draw is not None:
            self._draw()


class PatchAttentionRow(ExplanationRow):
    """The encoder's attention in the current cell, shown over that cell in the gallery."""

    def __init__(self) -> None:
        self._cell, self._heat = QLabel(), QLabel()
        pictures = QWidget()
        column_of(pictures, row_of(self._cell, self._heat)).addStretch()
        question = "Which parts of this cell did the encoder use?"
        super().__init__(question, "Attention rollout over the image patches", pictures)
        self._inspection: Inspection | None = None
        self.run.requested.connect(self._compute)

    def show_inspection(self, inspection: Inspection | None) -> None:
        """Explain the cells of another prediction."""
        self._inspection = inspection
        self.clear()
        self.show_cell()

    def show_cell(self) -> None:
        """Follow the current cell."""
        current = None if self._inspection is None else self._inspection.cells.current
        self.run.button.setEnabled(current is not None or self.run.is_busy)
        if not self.run.is_busy:
            is_missing = current is None and self._inspection is not None
            self.run.show_message("Select a cell to see which parts of it the encoder used." if is_missing else "")

    def _compute(self) -> None:
        assert self._inspection is not None
        cell = self._inspection.cells.current
        if cell is not None:
            self.run.start(partial(_patch_attention, self._inspection, cell), partial(self._show, cell))

    def _show(self, cell: int, attention: PatchAttention) -> None:
        if self._inspection is None or self._inspection.smear is None:
            return
        most = float(attention.patches.max())
        image = attention.on_canvas(self._inspection.smear.canvas)
        limits = 1.0, max(most, 1.5)
        options = {"colormap": _HEAT, "contrast_limits": limits, "blending": "translucent"}
        self._inspection.gallery.add_overlay(Overlay(cell, LAYER, image, options))
        rank, name = self._inspection.prediction.ranks[cell], self._inspection.prediction.cells[cell]
        self.show_result(
            f"Yellow on cell #{rank}: more attention than an average patch, at most {most:.2f}x. It shows which parts "
            "the encoder used, not why the model made its diagnosis. You can delete the layer.",
            partial(self._show_pictures, self._inspection.smear, name, image, limits),
        )

    def _show_pictures(
        self, smear: Smear, cell: str, attention: NDArray[np.float32], limits: tuple[float, float]
    ) -> None:
        """Show the cell as it is and, next to it, below the attention."""
        plain_cell = smear.on_canvas(smear.cells.index(cell))
        heat = _HEAT.map(np.nan_to_num(np.interp(attention, limits, (0, 1))).ravel()).reshape(*attention.shape, 4)
        over = plain_cell * (1 - heat[..., 3:]) + 255 * heat[..., :3] * heat[..., 3:]
        for label, picture in ((self._cell, plain_cell), (self._heat, over.astype(np.uint8))):
            label.setPixmap(pixmap(picture, side=_SIDE))


def _patch_attention(inspection: Inspection, cell: int, progress: OnProgress) -> PatchAttention:
    if inspection.smear is None or not inspection.gallery.is_available:
        raise ExplanationRefused("The images of these cells are not available; open the smear first.")
    progress(Progress("Loading the encoder", 0, 1, "encoders"))
    encoder = inspection.encoder()
    from napari_caltomorph.explanation.patches import patch_attention

    smear = encoder.at_scale(inspection.smear)
    image = smear.image_again(smear.cells.index(inspection.prediction.cells[cell]))
    return patch_attention(encoder, encoder.preprocessing.framed(image, smear.pixel_size_um))
