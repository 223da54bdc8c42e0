"""The tab *Why*: which cells increase or decrease the log-odds of a class, and how reliable these explanations are.

Everything is computed for the current bag: cells that are left out are not explained, and contribute nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QFormLayout, QPushButton, QTabWidget, QWidget

from napari_caltomorph.errors import counted
from napari_caltomorph.plugin.inspect.explanation_row import ExplanationRow, PatchAttentionRow
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.canvas import FigureCanvas
from napari_caltomorph.plugin.widgets.cell_bars import CellBar, CellBars
from napari_caltomorph.plugin.widgets.cell_plot import CellPlot
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import column_of, line, narrow_combo, scroll_area
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.report.explanation_figures import contribution_plot, draw_curves
from napari_caltomorph.statistics.metric import signed

if TYPE_CHECKING:
    from napari_caltomorph.encoding import Features
    from napari_caltomorph.explanation.changed_bags import CellChanges
    from napari_caltomorph.explanation.contribution import Contributions
    from napari_caltomorph.explanation.faithfulness import CurveKind, Faithfulness

COLUMN = "contribution"
_MOST = 16  # bars
_WITHHELD = "The prediction is withheld, so no class is explained."
_OUTDATED = "The cells that are left out changed since this was computed; compute it again."


class WhyTab(InspectionView):
    """Explains one class of the inspected prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = narrow_combo()
        self.classes.currentIndexChanged.connect(self._on_class)
        self.bars, self.changes = CellBars(), CellBars()
        self.dots = CellPlot()
        self.dots.setMinimumHeight(230)
        self.sort = QPushButton("Sort cells", toolTip="By their contribution, in the picture and in every view")
        self.sort.clicked.connect(lambda: self.inspected.cells.sort_by(COLUMN, descending=True))
        self.contribution = ExplanationRow(
            "Which cells support or oppose it?",
            "Gradient times input of each cell: positive values increase the log-odds of the class",
            self.bars,
            self.dots,
            beside=self.sort,
        )
        self.contribution.run.requested.connect(self._compute_contributions)
        self.without = ExplanationRow(
            "What changes without each selected cell?",
            "Leave out one selected cell at a time, and predict again",
            self.changes,
        )
        self.without.run.requested.connect(self._compute_without)
        for bars in (self.bars, self.changes):
            bars.chosen.connect(lambda cell: self.inspected.cells.select([cell], reveal=True))
        self.figure = FigureCanvas()
        self.figure.setMinimumHeight(400)
        self.curves = ExplanationRow(
            "How reliable are these rankings?",
            "Remove cells, and insert them, in the order of attention, contribution and response alone, and in 20 "
            "random orders",
            self.figure,
        )
        self.curves.run.requested.connect(self._compute_curves)
        self.patches = PatchAttentionRow()
        self._note = line()
        self._explained: Contributions | None = None
        self._chooser = QWidget()
        form = QFormLayout(self._chooser)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Why", self.classes)
        self.questions = QTabWidget(documentMode=True)
        self.questions.tabBar().setExpanding(False)
        titles = ("Cells", "Without", "Rankings", "Encoder")
        for title, row in zip(titles, (self.contribution, self.without, self.curves, self.patches), strict=True):
            self.questions.addTab(scroll_area(row), title)
            self.questions.setTabToolTip(self.questions.count() - 1, row.question)
        column_of(self, self._chooser, self._note, self.questions, stretch=(self.questions,), spacing=2)

    def key_widgets(self) -> list[QWidget]:
        return [self.bars, self.changes, self.dots]

    def on_inspection(self) -> None:
        self.patches.show_inspection(self.inspection)
        for bars in (self.bars, self.changes):
            bars.show_inspection(self.inspection)
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
        for bars in (self.bars, self.changes):
            bars.show_selection(self.inspected.cells.selected)

    def on_order(self) -> None:
        self.dots.show_state()

    on_colors = on_order

    def on_edits(self) -> None:
        self.dots.show_state()
        self._show_note()

    def on_result(self) -> None:
        """Show the probabilities; of a prediction that is withheld, only what the encoder used is explained."""
        result = self.inspected.result
        for row in range(self.classes.count()):
            place = result.taxonomy.slugs.index(self.classes.itemData(row))
            self.classes.setItemText(row, f"{result.taxonomy.names[place]} ({result.probabilities[place]:.2f})")
        is_withheld = bool(result.withheld)
        if is_withheld:
            self._clear()
        self._chooser.setHidden(is_withheld)
        for tab in range(self.questions.count() - 1):
            self.questions.setTabEnabled(tab, not is_withheld)
        self._show_note()

    def on_look(self) -> None:
        for row in (self.contribution, self.without, self.curves):
            row.redraw()

    def on_closed(self) -> None:
        self._clear()
        for view in (self.patches, self.bars, self.changes):
            view.show_inspection(None)

    @property
    def slug(self) -> str:
        """The class that is explained."""
        return str(self.classes.currentData())

    def _clear(self) -> None:
        self._explained = None
        for row in (self.contribution, self.without, self.curves):
            row.clear()
        self._note.hide()

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
        name = self._name()
        between, total = found.log_odds - found.baseline_log_odds, float(found.values.sum())
        self.contribution.show_result(
            f"{counted(int((found.values > 0).sum()), 'cell')} support {name}, "
            f"{int((found.values < 0).sum())} oppose it. Together they add {total:+.2f} of the {between:+.2f} "
            f"log-odds between this smear and one of {found.baseline_in_words}.",
            self._draw_contributions,
        )
        self._show_note()

    def _show_without(self, found: CellChanges) -> None:
        prediction, most = self.inspected.prediction, int(np.abs(found.change).argmax())
        before, after = found.log_odds, found.log_odds + found.change[most]
        words = (
            f"Without cell #{prediction.ranks[found.rows[most]]} the log-odds of {self._name()} change by "
            f"{signed(before, after)}, from {before:.2f} to {after:.2f}"
        )
        words += "." if len(found.change) == 1 else f"; this is the largest change of {len(found.change)} cells."
        strongest = np.argsort(-np.abs(found.change), kind="stable")[:_MOST]
        # Where the log-odds fall without the cell, the cell supports the class.
        bars = [CellBar(int(found.rows[i]), float(found.change[i]), bool(found.change[i] < 0)) for i in strongest]
        self.without.show_result(words, partial(self._draw_bars, self.changes, bars))

    def _show_curves(self, found: Faithfulness) -> None:
        kinds: tuple[CurveKind, ...] = ("deletion", "insertion")

        def draw() -> None:
            self.figure.figure.clear()
            for axes, kind in zip(self.figure.figure.subplots(2, 1), kinds, strict=True):
                draw_curves(axes, found, kind, self.plot_style)
            self.figure.draw_idle()

        good = [order for order in found.orders if all(found.gain(kind, order).low > 0 for kind in kinds)]
        self.curves.show_result(
            f"Better than nearly all random orders in both curves: {', '.join(good) or 'none'}.", draw
        )

    def _draw_contributions(self) -> None:
        found = self._explained
        if self.inspection is None or found is None:
            return
        plot = contribution_plot(self.inspection.prediction, found, self.plot_style)
        self.dots.show_cells(self.inspection, plot, self.plot_style)
        supporting, opposing = found.strongest(_MOST // 2)
        strongest = [(int(cell), float(found.values[cell])) for cell in (*supporting, *opposing)]
        self._draw_bars(self.bars, [CellBar(cell, value, value > 0) for cell, value in strongest])

    def _draw_bars(self, widget: CellBars, bars: list[CellBar]) -> None:
        widget.show_bars(bars, self.inspected.cells.selected, self.plot_style)

    def _show_note(self) -> None:
        shown = self.inspection
        is_outdated = shown is not None and self._explained is not None and shown.cells.left_out != self._left_out
        note = _WITHHELD if shown is not None and shown.result.withheld else _OUTDATED if is_outdated else ""
        self._note.setText(note)
        self._note.setVisible(bool(note))

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
