"""Where the encoder looked in the current cell, laid over it in the gallery."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari.utils import Colormap

from napari_caltomorph.errors import ExplanationRefused
from napari_caltomorph.plugin.inspect.explanation_row import Question
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.progress import OnProgress, Progress

if TYPE_CHECKING:
    from napari_caltomorph.explanation.patches import PatchAttention

LAYER = "encoder attention"
# From nothing at an average patch to yellow, which neither stain nor glass is.
_HEAT = Colormap([[1, 0.85, 0, 0], [1, 0.85, 0, 0.45], [1, 1, 0.2, 0.9]], name="encoder attention")


class PixelQuestion(Question):
    """Asks about one cell at a time."""

    def __init__(self) -> None:
        super().__init__("Where in this cell did the encoder look?", "Attention rollout over the patches of its image")
        self._inspection: Inspection | None = None
        self.run.requested.connect(self._ask)

    def show_inspection(self, inspection: Inspection | None) -> None:
        """Ask about the cells of another prediction."""
        self._inspection = inspection
        self.clear()
        self.show_cell()

    def show_cell(self) -> None:
        """Follow the current cell."""
        current = None if self._inspection is None else self._inspection.cells.current
        self.run.button.setEnabled(current is not None or self.run.is_busy)
        if current is None and not self.run.is_busy:
            hint = "Select a cell to see which parts of it the encoder uses."
            self.run.show_message("" if self._inspection is None else hint)
        elif not self.run.is_busy:
            self.run.show_message("")

    def _ask(self) -> None:
        assert self._inspection is not None
        cell = self._inspection.cells.current
        if cell is not None:
            self.run.start(partial(ask_pixels, self._inspection, cell), partial(self._show, cell))

    def _show(self, cell: int, found: PatchAttention) -> None:
        if self._inspection is None or self._inspection.smear is None or self._inspection.gallery is None:
            return
        most = float(found.patches.max())
        self._inspection.gallery.add_overlay(
            cell,
            LAYER,
            found.on_canvas(self._inspection.smear.canvas),
            colormap=_HEAT,
            contrast_limits=(1, max(most, 1.5)),
            blending="translucent",
        )
        rank = self._inspection.prediction.ranks[cell]
        self.answer(
            f"Yellow on cell #{rank}: more attention than an average patch, at most {most:.1f}x. It says where the "
            "encoder looked, and nothing of the diagnosis. The layer can be deleted."
        )


def ask_pixels(inspection: Inspection, cell: int, progress: OnProgress) -> PatchAttention:
    """Return the encoder's attention over the patches of one cell."""
    if inspection.smear is None or inspection.gallery is None:
        raise ExplanationRefused("The images of these cells are not at hand; open the smear to see where it looked.")
    progress(Progress("Loading the encoder", 0, 1, "encoders"))
    encoder = inspection.encoder()
    from napari_caltomorph.explanation.patches import patch_attention

    smear = inspection.smear
    return patch_attention(encoder, smear.image(smear.cells.index(inspection.prediction.cells[cell])))
