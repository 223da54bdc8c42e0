"""The tab *Why*: which cells increase or decrease the log-odds of a class, and how reliable these explanations are.

Everything is computed for the current bag: cells that are left out are not explained, and contribute nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backend_bases import MouseEvent
from matplotlib.figure import Figure
from numpy.typing import NDArray
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QFormLayout, QPushButton, QWidget

from napari_caltomorph.errors import counted
from napari_caltomorph.plugin.inspect.explanation_row import ExplanationRow, PatchAttentionRow, scrolled
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.canvas import CellPlot
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import line, narrow_combo
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.report.explanation_figures import (
    draw_contributions,
    draw_curves,
    draw_leave_one_out,
    draw_strongest,
)

if TYPE_CHECKING:
    from napari_caltomorph.encoding import Features
    from napari_caltomorph.explanation.changed_bags import CellChanges
    from napari_caltomorph.explanation.contribution import Contributions
    from napari_caltomorph.explanation.faithfulness import CurveKind, Faithfulness

COLUMN = "contribution"
_LIMITS = (
    "Contribution, attention, the response to a cell alone and the change without a cell measure different things and "
    "may disagree. All describe the model's raw outputs, at the training prevalence; none is the probability that a "
    "cell is a blast."
)
_OUTDATED = "The cells that are left out changed since this was computed; compute it again."


class WhyTab(InspectionView):
    """Explains one class of the inspected prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = narrow_combo()
        self.classes.currentIndexChanged.connect(self._on_class)
        self.contribution = ExplanationRow(
            "Which cells support or oppose it?",
            "Gradient times input of each cell: positive values increase the log-odds of the class",
            250,
        )
        self.contribution.run.requested.connect(self._compute_contributions)
        self.contribution.canvas.mpl_connect("button_press_event", self._on_bar)
        self.dots = CellPlot()
        self.dots.setFixedHeight(230)
        self.sort = QPushButton("Sort cells by contribution")
        self.sort.clicked.connect(lambda: self.inspected.cells.sort_by(COLUMN, descending=True))
        self.without = ExplanationRow(
            "What changes without each selected cell?", "Leave out one selected cell at a time, and predict again", 190
        )
        self.without.run.requested.connect(self._compute_without)
        self.curves = ExplanationRow(
            "How reliable are these rankings?",
            "Remove cells, and insert them, in the order of attention, contribution and response alone, and in 20 "
            "random orders",
            480,
        )
        self.curves.run.requested.connect(self._compute_curves)
        self.patches = PatchAttentionRow()
        self._outdated = line()
        self._explained: Contributions | None = None
        self._bars: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        chooser = QWidget()
        form = QFormLayout(chooser)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Why", self.classes)
        rows = (self.contribution, self.dots, self.sort, self.without, self.curves, self.patches)
        self._area = scrolled(self, chooser, self._outdated, *rows, line(_LIMITS))
        for row in (self.contribution, self.without, self.curves, self.patches):
            row.shown.connect(partial(self._scroll_to, row))

    def on_inspection(self) -> None:
        self.patches.show_inspection(self.inspection)
        with QSignalBlocker(self.classes):
            self.classes.clear()
            if self.inspection is not None:
                result = self.inspection.result
                for i in np.argsort(-result.probabilities, kind="stable"):
                    self.classes.addItem("", result.taxonomy.slugs[i])
                self.on_result()
        self.setEnabled(self.inspection is not None)

    def on_selection(self) -> None:
        self.dots.show_selection()
        self.patches.show_cell()
        self._ring_bars()

    def on_order(self) -> None:
        self.dots.show_state()

    on_colors = on_order

    def on_edits(self) -> None:
        self.dots.show_state()
        self._show_outdated()

    def on_result(self) -> None:
        result = self.inspected.result
        for row in range(self.classes.count()):
            place = result.taxonomy.slugs.index(self.classes.itemData(row))
            self.classes.setItemText(row, f"{result.taxonomy.names[place]} ({result.probabilities[place]:.2f})")

    def on_look(self) -> None:
        self._draw_contributions()
        for row in (self.without, self.curves):
            row.redraw()

    def on_closed(self) -> None:
        self._clear()
        self.patches.show_inspection(None)

    @property
    def slug(self) -> str:
        """The class that is explained."""
        return str(self.classes.currentData())

    def _scroll_to(self, row: ExplanationRow) -> None:
        """Bring a result into view, with its button on top."""
        self._area.widget().adjustSize()  # it has just grown; this updates the scroll bar
        self._area.verticalScrollBar().setValue(row.y())

    def _clear(self) -> None:
        self._explained = None
        for row in (self.contribution, self.without, self.curves):
            row.clear()
        for widget in (self.dots, self.sort, self._outdated):
            widget.hide()

    def _on_class(self) -> None:
        """Explain another class too if this one was explained."""
        again = self._explained is not None or self.contribution.run.is_busy
        self._clear()
        if again:
            self._compute_contributions()

    def _request(self) -> ExplanationRequest:
        return ExplanationRequest(self.inspected, self.slug, self.inspected.cells.left_out)

    def _compute_contributions(self) -> None:
        self.contribution.run.start(partial(_contributions, self._request()), self._show_contributions)

    def _compute_without(self) -> None:
        chosen = self.inspected.cells.selected - self.inspected.cells.left_out
        if not chosen:
            self.without.run.show_error("Select one or more cells first, in the gallery, the table or a plot.")
            return
        work = partial(_leave_one_out, self._request(), tuple(sorted(chosen)))
        self.without.run.start(work, self._show_without)

    def _compute_curves(self) -> None:
        self.curves.run.start(partial(_faithfulness, self._request()), self._show_curves)

    def _show_contributions(self, result: tuple[ExplanationRequest, Contributions]) -> None:
        request, found = result
        self._explained, self._left_out = found, request.left_out
        self.inspected.cells.set_column(COLUMN, found.values)
        self.dots.show()
        self.sort.show()
        name = self._name()
        between, total = found.log_odds - found.baseline_log_odds, float(found.values.sum())
        self.contribution.show_result(
            f"{counted(int((found.values > 0).sum()), 'cell')} support {name}, "
            f"{int((found.values < 0).sum())} oppose it. Together they add {total:+.2f} of the {between:+.2f} "
            f"log-odds between this smear and one of {found.baseline_in_words}.",
            self._draw_bars,
        )
        self._draw_contributions()
        self._show_outdated()

    def _show_without(self, found: CellChanges) -> None:
        prediction, most = self.inspected.prediction, int(np.abs(found.change).argmax())
        words = (
            f"Without cell #{prediction.ranks[found.rows[most]]} the log-odds of {self._name()} change by "
            f"{found.change[most]:+.2f}, from {found.log_odds:.2f}"
        )
        words += "." if len(found.change) == 1 else f"; this is the largest change of {len(found.change)} cells."
        self.without.show_result(
            words, lambda figure: draw_leave_one_out(figure.subplots(), prediction, found, self.plot_style)
        )

    def _show_curves(self, found: Faithfulness) -> None:
        kinds: tuple[CurveKind, ...] = ("deletion", "insertion")

        def draw(figure: Figure) -> None:
            for axes, kind in zip(figure.subplots(2, 1), kinds, strict=True):
                draw_curves(axes, found, kind, self.plot_style)

        good = [order for order in found.orders if all(found.gain(kind, order).low > 0 for kind in kinds)]
        self.curves.show_result(
            f"Better than nearly all random orders in both curves: {', '.join(good) or 'none'}.", draw
        )

    def _draw_contributions(self) -> None:
        if self.inspection is not None and self._explained is not None:
            prediction, found, style = self.inspection.prediction, self._explained, self.plot_style
            draw = partial(draw_contributions, prediction=prediction, contributions=found, style=style)
            self.dots.show_dots(self.inspection, draw, style, place=(0.17, 0.17, 0.8, 0.79))
        self.contribution.redraw()

    def _draw_bars(self, figure: Figure) -> None:
        if self.inspection is not None and self._explained is not None:
            axes = figure.subplots()
            self._bars = draw_strongest(axes, self.inspection.prediction, self._explained, self.plot_style)
            self._ring_bars()

    def _ring_bars(self) -> None:
        figure = self.contribution.canvas.figure
        if self.inspection is None or self._explained is None or not figure.axes:
            return
        for bar, cell in zip(figure.axes[0].patches, self._bars, strict=False):
            bar.set_edgecolor(self.plot_style.text if int(cell) in self.inspection.cells.selected else "none")
            bar.set_linewidth(1.5)
        self.contribution.canvas.draw_idle()

    def _on_bar(self, event: MouseEvent) -> None:
        if self.inspection is None or event.ydata is None or not len(self._bars):
            return
        row = round(event.ydata)
        if 0 <= row < len(self._bars):
            self.inspection.cells.select([int(self._bars[row])], reveal=True)

    def _show_outdated(self) -> None:
        is_outdated = (
            self.inspection is not None
            and self._explained is not None
            and self.inspection.cells.left_out != self._left_out
        )
        self._outdated.setText(_OUTDATED if is_outdated else "")
        self._outdated.setVisible(is_outdated)

    def _name(self) -> str:
        taxonomy = self.inspected.prediction.taxonomy
        return taxonomy.names[taxonomy.slugs.index(self.slug)]


@dataclass(frozen=True)
class ExplanationRequest:
    """A class of a prediction, and the cells that are left out of the bag."""

    inspection: Inspection
    slug: str
    left_out: frozenset[int]

    @property
    def kept(self) -> list[int]:
        """The cells of the bag, as numbers of the prediction's cells."""
        return [i for i in range(len(self.inspection.prediction.cells)) if i not in self.left_out]

    def bag(self, progress: OnProgress) -> Features:
        """Return the features of the cells of the bag."""
        cells = self.inspection.prediction.cells
        return self.inspection.features(progress).of_cells([cells[i] for i in self.kept])


def _contributions(request: ExplanationRequest, progress: OnProgress) -> tuple[ExplanationRequest, Contributions]:
    """Return each cell's contribution; 0 for cells that are left out."""
    bag, ensemble = request.bag(progress), request.inspection.ensemble()
    from napari_caltomorph.explanation.contribution import contributions

    result = contributions(ensemble, bag, request.slug, progress=progress)
    cells = request.inspection.prediction.cells
    values = np.zeros(len(cells))
    values[request.kept] = result.values
    return request, replace(result, cells=cells, values=values)


def _leave_one_out(request: ExplanationRequest, chosen: tuple[int, ...], progress: OnProgress) -> CellChanges:
    """Return what changes without each of these cells."""
    bag, ensemble = request.bag(progress), request.inspection.ensemble()
    from napari_caltomorph.explanation.changed_bags import leave_one_out

    rows = np.searchsorted(request.kept, chosen)
    result = leave_one_out(ensemble, bag, request.slug, rows, progress=progress)
    return replace(result, rows=np.array(request.kept)[result.rows])


def _faithfulness(request: ExplanationRequest, progress: OnProgress) -> Faithfulness:
    """Return the curves of each order, and of random ones."""
    bag, ensemble = request.bag(progress), request.inspection.ensemble()
    from napari_caltomorph.explanation.faithfulness import cell_scores, faithfulness

    scores = cell_scores(ensemble, bag, request.slug, progress=progress)
    return faithfulness(ensemble, bag, request.slug, scores, progress=progress)
