"""The tab *Why*: which cells speak for or against a class, what changes without them, and whether to believe it.

Everything is about the bag as it stands: cells that are left out are not asked about, and add nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backend_bases import MouseEvent
from matplotlib.figure import Figure
from numpy.typing import NDArray
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QFormLayout, QFrame, QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_caltomorph.plugin.inspect.explanation_row import Question
from napari_caltomorph.plugin.inspect.pixel_question import PixelQuestion
from napari_caltomorph.plugin.inspect.why_work import Asked, ask_contributions, ask_faithfulness, ask_without
from napari_caltomorph.plugin.widgets.cell_plot import CellPlot
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import counted, line, narrow_combo
from napari_caltomorph.report.explain_figures import (
    draw_contributions,
    draw_curves,
    draw_leave_one_out,
    draw_strongest,
)

if TYPE_CHECKING:
    from napari_caltomorph.explanation.changed_bags import CellChanges
    from napari_caltomorph.explanation.contribution import Contributions
    from napari_caltomorph.explanation.faithfulness import Faithfulness

COLUMN = "contribution"
_LIMITS = (
    "Contribution, attention, the response to a cell alone and the loss of a cell measure different things, and may "
    "disagree. All are about the model, none is the probability that a cell is a blast."
)
_STALE = "Cells were left out, or taken back in, since this was asked; ask again."


class WhyTab(InspectionView):
    """Explains one class of the inspected prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = narrow_combo()
        self.classes.currentIndexChanged.connect(self._on_class)
        self.contribution = Question(
            "Which cells speak for it?",
            "Gradient times input of each cell, with its sign: for the class or against",
            250,
        )
        self.contribution.run.requested.connect(self._ask_contributions)
        self.contribution.canvas.mpl_connect("button_press_event", self._on_bar)
        self.dots = _Dots()
        self.dots.setFixedHeight(230)
        self.sort = QPushButton("Sort cells by contribution")
        self.sort.clicked.connect(self._sort)
        self.without = Question(
            "What changes without each selected cell?",
            "Takes the selected cells out, one at a time, and asks again",
            190,
        )
        self.without.run.requested.connect(self._ask_without)
        self.curves = Question(
            "Can these orders be believed?",
            "Takes cells out, and puts them in, in the order of attention, contribution and response alone, and in 20 "
            "random orders",
            480,
        )
        self.curves.run.requested.connect(self._ask_curves)
        self.pixels = PixelQuestion()
        self._stale = line()
        self._found: Contributions | None = None
        self._bars: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._build()

    def on_inspection(self) -> None:
        self._clear()
        self.pixels.show_inspection(self.inspection)
        with QSignalBlocker(self.classes):
            self.classes.clear()
            if self.inspection is not None:
                answer = self.inspection.answer
                for i in np.argsort(-answer.probabilities, kind="stable"):
                    self.classes.addItem("", answer.taxonomy.slugs[i])
        self.on_answer()
        self.setEnabled(self.inspection is not None)

    def on_selection(self) -> None:
        self.dots.show_selection()
        self.pixels.show_cell()
        self._ring_bars()

    def on_order(self) -> None:
        self.dots.show_state()

    def on_edits(self) -> None:
        self.dots.show_state()
        self._show_stale()

    def on_answer(self) -> None:
        if self.inspection is None:
            return
        answer = self.inspection.answer
        for row in range(self.classes.count()):
            place = answer.taxonomy.slugs.index(self.classes.itemData(row))
            self.classes.setItemText(row, f"{answer.taxonomy.names[place]} ({answer.probabilities[place]:.2f})")

    def on_colors(self) -> None:
        self.dots.show_state()

    def on_look(self) -> None:
        self._draw_contributions()
        for question in (self.without, self.curves):
            question.draw_again()

    def on_closed(self) -> None:
        self._clear()
        self.pixels.show_inspection(None)

    @property
    def slug(self) -> str:
        """The class that is asked about."""
        return str(self.classes.currentData())

    def _build(self) -> None:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Why", self.classes)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 6, 0)
        column.setSpacing(4)
        column.addLayout(form)
        for widget in (
            self._stale,
            self.contribution,
            self.dots,
            self.sort,
            self.without,
            self.curves,
            self.pixels,
            line(_LIMITS),
        ):
            column.addWidget(widget)
        column.addStretch()
        self._area = QScrollArea(widgetResizable=True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._area.setWidget(inside)
        for question in (self.contribution, self.without, self.curves, self.pixels):
            question.answered.connect(partial(self._scroll_to, question))
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 4, 0, 0)
        whole.addWidget(self._area)

    def _scroll_to(self, question: Question) -> None:
        """Bring an answer into view, with its button on top."""
        self._area.widget().adjustSize()  # it has just grown; the scroll bar is told now
        self._area.verticalScrollBar().setValue(question.y())

    def _clear(self) -> None:
        self._found = None
        for question in (self.contribution, self.without, self.curves):
            question.clear()
        for widget in (self.dots, self.sort, self._stale):
            widget.hide()

    def _on_class(self) -> None:
        """Ask the same of another class, where it was asked of this one."""
        again = self._found is not None or self.contribution.run.is_busy
        self._clear()
        if again:
            self._ask_contributions()

    def _asked(self) -> Asked:
        assert self.inspection is not None
        return Asked(self.inspection, self.slug, self.inspection.cells.left_out)

    def _ask_contributions(self) -> None:
        self.contribution.run.start(partial(ask_contributions, self._asked()), self._show_contributions)

    def _ask_without(self) -> None:
        assert self.inspection is not None
        chosen = self.inspection.cells.selected - self.inspection.cells.left_out
        if not chosen:
            self.without.run.show_error("Select one or more cells first, in the gallery, the table or a plot.")
            return
        work = partial(ask_without, self._asked(), tuple(sorted(chosen)))
        self.without.run.start(work, self._show_without)

    def _ask_curves(self) -> None:
        self.curves.run.start(partial(ask_faithfulness, self._asked()), self._show_curves)

    def _show_contributions(self, result: tuple[Asked, Contributions]) -> None:
        asked, found = result
        if self.inspection is None:
            return
        self._found, self._left_out = found, asked.left_out
        self.inspection.cells.set_column(COLUMN, found.values)
        self.dots.show()
        self.sort.show()
        name = self._name()
        between, total = found.log_odds - found.baseline_log_odds, float(found.values.sum())
        self.contribution.answer(
            f"{counted(int((found.values > 0).sum()), 'cell')} speak for {name}, "
            f"{int((found.values < 0).sum())} against. Together they make {total:+.2f} of the {between:+.2f} "
            "log-odds between this smear and one of average cells.",
            self._draw_bars,
        )
        self._draw_contributions()
        self._show_stale()

    def _show_without(self, found: CellChanges) -> None:
        if self.inspection is None:
            return
        prediction, most = self.inspection.prediction, int(np.abs(found.change).argmax())
        words = (
            f"Without cell #{prediction.ranks[found.rows[most]]} the log-odds of {self._name()} change by "
            f"{found.change[most]:+.2f}, from {found.log_odds:.2f}"
        )
        words += "." if len(found.change) == 1 else f"; the most of {len(found.change)} cells."
        self.without.answer(words, lambda figure: draw_leave_one_out(figure.subplots(), prediction, found, self.look))

    def _show_curves(self, found: Faithfulness) -> None:
        good = [
            order
            for order in found.orders
            if all(found.gain(kind, order).low > 0 for kind in ("deletion", "insertion"))
        ]
        words = f"Better than nearly all random orders, by both curves: {', '.join(good) or 'none'}."
        self.curves.answer(words, partial(self._draw_both, found))

    def _draw_both(self, found: Faithfulness, figure: Figure) -> None:
        above, below = figure.subplots(2, 1)
        draw_curves(above, found, "deletion", self.look)
        draw_curves(below, found, "insertion", self.look)

    def _draw_contributions(self) -> None:
        if self.inspection is not None and self._found is not None:
            prediction, found, look = self.inspection.prediction, self._found, self.look
            self.dots.show_dots(
                self.inspection,
                lambda axes: draw_contributions(axes, prediction, found, look),
                look,
                place=(0.17, 0.17, 0.8, 0.79),
            )
        self.contribution.draw_again()

    def _draw_bars(self, figure: Figure) -> None:
        if self.inspection is not None and self._found is not None:
            axes = figure.subplots()
            self._bars = draw_strongest(axes, self.inspection.prediction, self._found, self.look)
            self._ring_bars()

    def _ring_bars(self) -> None:
        figure = self.contribution.canvas.figure
        if self.inspection is None or self._found is None or not figure.axes:
            return
        for bar, cell in zip(figure.axes[0].patches, self._bars, strict=False):
            bar.set_edgecolor(self.look.text if int(cell) in self.inspection.cells.selected else "none")
            bar.set_linewidth(1.5)
        self.contribution.canvas.draw_idle()

    def _on_bar(self, event: MouseEvent) -> None:
        if self.inspection is None or event.ydata is None or not len(self._bars):
            return
        row = round(event.ydata)
        if 0 <= row < len(self._bars):
            self.inspection.cells.select([int(self._bars[row])], reveal=True)

    def _sort(self) -> None:
        if self.inspection is not None:
            self.inspection.cells.sort_by(COLUMN, descending=True)

    def _show_stale(self) -> None:
        is_stale = (
            self.inspection is not None and self._found is not None and self.inspection.cells.left_out != self._left_out
        )
        self._stale.setText(_STALE if is_stale else "")
        self._stale.setVisible(is_stale)

    def _name(self) -> str:
        assert self.inspection is not None
        taxonomy = self.inspection.prediction.taxonomy
        return taxonomy.names[taxonomy.slugs.index(self.slug)]


class _Dots(CellPlot):
    """The wheel scrolls the tab."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()
