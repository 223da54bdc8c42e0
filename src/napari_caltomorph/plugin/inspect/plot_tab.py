"""The inspected cells as dots: by attention, or by their features (PCA, UMAP on demand)."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QComboBox, QLabel, QWidget

from napari_caltomorph.encoding.torch_loading import load_torch
from napari_caltomorph.explanation.cell_map import pca, umap
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.cell_plot import CellPlot
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import ERROR, colored, column_of, line, plain, row_of
from napari_caltomorph.plugin.widgets.tasks import LatestJob
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.report import attention_swarm
from napari_caltomorph.report.drawing import unbroken
from napari_caltomorph.report.plot import Axis, Dots, Plot
from napari_caltomorph.statistics.interval import percent

ATTENTION, PCA, UMAP = "Attention", "Features, PCA", "Features, UMAP"
_TIPS = {
    ATTENTION: "Right of 1x, the cell received more attention than an average one.",
    PCA: "Cells with similar features are close, along the two directions of largest variance.",
    UMAP: "Cells with similar features are close; distances between groups mean little.",
}
_MOST_IN_LEGEND = 12
_Map = tuple[NDArray[np.float64], tuple[str, str]]


class PlotTab(InspectionView):
    """One plot of all cells; a click or a lasso selects in every view."""

    def __init__(self) -> None:
        super().__init__()
        self._maps: dict[str, _Map] = {}
        self._job = LatestJob(self)
        self.view = QComboBox()
        self.view.addItems(list(_TIPS))
        for row, tip in enumerate(_TIPS.values()):
            self.view.setItemData(row, tip, 3)  # Qt.ToolTipRole
        self.view.currentTextChanged.connect(lambda _: self._show())
        self.state = line()
        self.dots = CellPlot()
        self.dots.setToolTip("Click a dot, or draw around dots, to select their cells; with Shift, add them")
        self._legend = line()
        row = row_of(QLabel("Cells by"), self.view, stretch=(self.view,))
        column_of(self, row, self.state, self.dots, self._legend, stretch=(self.dots,))

    def key_widgets(self) -> list[QWidget]:
        return [self.dots]

    def on_inspection(self) -> None:
        self._maps = {}
        self._show()

    def on_selection(self) -> None:
        self.dots.show_selection()

    def on_order(self) -> None:
        self.dots.show_state()
        self._show_legend()

    on_colors = on_edits = on_order

    def _show(self) -> None:
        """Draw the chosen view, as soon as its positions are computed."""
        inspection, chosen = self.inspection, self.view.currentText()
        if inspection is None:
            return
        self._show_message("")
        if chosen == ATTENTION:
            self._draw(inspection, attention_swarm(inspection.prediction, self.plot_style))
        elif chosen in self._maps:
            places, names = self._maps[chosen]
            x, y = (Axis.around(one, name, margin=0.06) for one, name in zip(places.T, names, strict=True))
            self._draw(inspection, Plot(x, y, (Dots(places, inspection.colors.tolist(), "none"),)))
        elif not self._job.is_busy:
            self._start(inspection, chosen)

    on_look = _show

    def _draw(self, inspection: Inspection, plot: Plot) -> None:
        self.dots.setVisible(not plot.sentence)
        if plot.sentence:
            self._show_message(plot.sentence)
            return
        self.dots.show_cells(inspection, plot, self.plot_style)
        self._show_legend()

    def _show_legend(self) -> None:
        words = [
            f"{colored('&#9632;', color)}&nbsp;{unbroken(name)}&nbsp;{count:,}"
            for name, color, count in self.inspected.legend
        ]
        more = len(words) - _MOST_IN_LEGEND
        self._legend.setText("&nbsp; ".join(words[:_MOST_IN_LEGEND]) + (f"&nbsp; and {more} more" if more > 0 else ""))

    def _start(self, inspection: Inspection, chosen: str) -> None:
        def work(progress: OnProgress) -> _Map:
            load_torch(progress)
            progress(Progress("Loading features", 0, 1, "smears"))
            values = inspection.features(progress).values
            if chosen == PCA:
                places, shares = pca(values)
                return places, (f"component 1 ({percent(shares[0], 0)})", f"component 2 ({percent(shares[1], 0)})")
            return umap(values, progress=progress), ("UMAP 1", "UMAP 2")

        def failed(error: str) -> None:
            self.dots.setVisible(False)
            self._show_message(error, is_error=True)

        self._show_message("Placing the cells ...")
        self.dots.setVisible(False)
        self._job.start(work, partial(self._on_placed, chosen), failed, self._on_progress)

    def on_closed(self) -> None:
        self._job.stop()

    def _on_progress(self, progress: Progress) -> None:
        self._show_message(progress.in_words if progress.unit == "cells" else f"{progress.stage} ...")

    def _on_placed(self, chosen: str, positions: _Map) -> None:
        self._maps[chosen] = positions
        self._show()

    def _show_message(self, text: str, *, is_error: bool = False) -> None:
        self.state.setText(colored(plain(text), ERROR) if is_error else plain(text))
        self.state.setVisible(bool(text))
