"""One explanation of the inspected prediction: a button that computes it, its summary, and its figure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from napari.utils import Colormap
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QScrollArea, QWidget

from napari_caltomorph.errors import ExplanationRefused
from napari_caltomorph.plugin.session.inspection import Inspection, Overlay
from napari_caltomorph.plugin.widgets.canvas import FigureCanvas
from napari_caltomorph.plugin.widgets.parts import column_of, line, plain
from napari_caltomorph.plugin.widgets.task_row import TaskRow
from napari_caltomorph.progress import OnProgress, Progress

if TYPE_CHECKING:
    from napari_caltomorph.explanation.patches import PatchAttention

LAYER = "encoder attention"
# From transparent at an average patch to yellow, which neither stain nor glass is.
_HEAT = Colormap([[1, 0.85, 0, 0], [1, 0.85, 0, 0.45], [1, 1, 0.2, 0.9]], name="encoder attention")


def scrolled(tab: QWidget, *widgets: QWidget) -> QScrollArea:
    """Put widgets below each other into a tab, in an area that scrolls when they are higher than it."""
    inside = QWidget()
    column = column_of(inside, *widgets)
    column.setContentsMargins(0, 0, 6, 0)
    column.addStretch()
    area = QScrollArea(widgetResizable=True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(inside)
    column_of(tab, area)
    return area


class ExplanationRow(QWidget):
    """Shows summary and figure, `height` pixels high (0: none), once they are computed; `shown` is emitted then."""

    shown = Signal()

    def __init__(self, title: str, tip: str, height: int = 0) -> None:
        super().__init__()
        self.run = TaskRow(title)
        self.run.button.setToolTip(tip)
        self._summary = line()
        self.canvas = FigureCanvas()
        self.canvas.setFixedHeight(max(1, height))
        self._draw: Callable[[Figure], None] | None = None
        column_of(self, self.run, self._summary, self.canvas)
        self.layout().setContentsMargins(0, 4, 0, 0)
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
        self._summary.hide()
        self.canvas.hide()

    def show_result(self, summary: str, draw: Callable[[Figure], None] | None = None) -> None:
        """Show a result: its summary, and what draws its figure into an empty one."""
        self._summary.setText(plain(summary))
        self._summary.show()
        self._draw = draw
        self.canvas.setVisible(draw is not None)
        self.redraw()
        self.shown.emit()

    def redraw(self) -> None:
        """Draw the figure again: in other colours, or with other cells selected."""
        if self._draw is not None:
            self.canvas.figure.clear()
            self._draw(self.canvas.figure)
            self.canvas.draw_idle()


class PatchAttentionRow(ExplanationRow):
    """The encoder's attention in the current cell, shown over that cell in the gallery."""

    def __init__(self) -> None:
        super().__init__("Which parts of this cell did the encoder use?", "Attention rollout over the image patches")
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
        options = {"colormap": _HEAT, "contrast_limits": (1, max(most, 1.5)), "blending": "translucent"}
        self._inspection.gallery.add_overlay(Overlay(cell, LAYER, image, options))
        rank = self._inspection.prediction.ranks[cell]
        self.show_result(
            f"Yellow on cell #{rank}: more attention than an average patch, at most {most:.1f}x. It shows which parts "
            "the encoder used, not why the model made its diagnosis. You can delete the layer."
        )


def _patch_attention(inspection: Inspection, cell: int, progress: OnProgress) -> PatchAttention:
    if inspection.smear is None or not inspection.gallery.is_available:
        raise ExplanationRefused("The images of these cells are not available; open the smear first.")
    progress(Progress("Loading the encoder", 0, 1, "encoders"))
    encoder = inspection.encoder()
    from napari_caltomorph.explanation.patches import patch_attention

    smear = encoder.at_scale(inspection.smear)
    image = smear.image(smear.cells.index(inspection.prediction.cells[cell]))
    return patch_attention(encoder, encoder.preprocessing.framed(image, smear.pixel_size_um))
