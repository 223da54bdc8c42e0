"""The figures of *Evaluate ensemble*: pages as rows, and a tab that draws one of them and takes clicks on it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from qtpy.QtCore import QPoint, Signal
from qtpy.QtWidgets import QLabel, QWidget

from napari_caltomorph.errors import OutputRefused, counted
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.evaluation.confusion import Confusion
from napari_caltomorph.plugin.widgets.canvas import FigureCanvas
from napari_caltomorph.plugin.widgets.parts import column_of, narrow_combo, scroll_area, tip
from napari_caltomorph.plugin.widgets.plots import Chart
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.drawing import PAPER, short
from napari_caltomorph.report.evaluation_figures import FIGURES, EvaluationFigure, figures_of
from napari_caltomorph.report.measured_figures import hemoglobin_plot, measured_and_predicted
from napari_caltomorph.report.patient_map import map_plot, patient_map
from napari_caltomorph.report.plot import Plot
from napari_caltomorph.storage import replacing

KINDS = ("pdf", "svg", "png")
# Within how many pixels a click hits a dot.
_REACH = 7
# Characters in a line of a row's name.
_WIDEST_NAME = 21


@dataclass(frozen=True)
class Page:
    """One `panel` of one of the report's figures. A tab with several pages lets the user choose among their titles.

    A click lists the patients in a cell of `matrix` (rows and columns are the y and x of the axes), or those whose
    `points` (P, 2) are under the pointer: places in `plot`, which the window then shows in place of the figure. `note`
    is shown before the caption. Below `least_height`, in pixels for an inch of paper, lines of text would run into each
    other: the page scrolls instead.
    """

    tab: str
    title: str
    figure: EvaluationFigure
    panel: int = 0
    has_threshold: bool = False
    matrix: Callable[[Evaluation], Confusion] | None = None
    points: Callable[[Evaluation], NDArray[np.floating[Any]]] | None = None
    plot: Callable[[Evaluation, PlotStyle], Plot] | None = None
    note: Callable[[Evaluation], str] | None = None
    least_height: int = 48

    @property
    def hint(self) -> str:
        """How to read the page, and what a click does."""
        if self.matrix is not None:
            return "Rows: true, columns: predicted. Click a cell."
        return "Click a dot to see which patient it is." if self.points is not None else ""

    def caption(self, evaluation: Evaluation) -> str:
        """Return how it was made and what it shows."""
        return ("" if self.note is None else f"{self.note(evaluation)} ") + self.figure.caption

    def size(self, evaluation: Evaluation) -> tuple[float, float]:
        """Return width and height on paper, in inches."""
        (wide, high), (down, across) = self.figure.size(evaluation), self.figure.grid
        return wide / across, high / down

    def draw(self, axes: Axes, evaluation: Evaluation, style: PlotStyle, threshold: float) -> None:
        draw: Any = self.figure.panels[self.panel]
        draw(axes, evaluation, style, **({"threshold": threshold} if self.has_threshold else {}))

    def save(self, path: Path, evaluation: Evaluation, threshold: float) -> None:
        """Write it as PDF, SVG or PNG (the ending of the name decides), drawn as on paper whatever napari's theme."""
        kind = path.suffix.lower().lstrip(".")
        if kind not in KINDS:
            raise OutputRefused(f"{path} has no known ending: let the name end in .pdf, .svg or .png.")
        figure = Figure(figsize=self.size(evaluation), layout="constrained")
        FigureCanvasAgg(figure)
        self.draw(figure.subplots(), evaluation, PAPER, threshold)
        with replacing(path) as part:
            figure.savefig(part, format=kind, dpi=200)


PAGES = (
    Page("Confusion", "Classes", FIGURES["confusion"], matrix=lambda e: e.confusion, least_height=55),
    Page(
        "Confusion",
        "Detailed classes",
        FIGURES["confusion_detailed"],
        matrix=lambda e: e.detailed_confusion,
        least_height=76,
    ),
    Page("Confusion", "Within the first two classes", FIGURES["top2"]),
    Page("Confusion", "By how much the first class led", FIGURES["top2"], 1),
    Page("Confusion", "Where small leads are withheld", FIGURES["coverage"]),
    Page("ROC", "Malignant or not", FIGURES["roc"], has_threshold=True),
    Page("ROC", "Each class against the rest", FIGURES["roc"], 1, least_height=84),
    Page("Calibration", "Predicted class", FIGURES["reliability"]),
    Page("Calibration", "Malignancy", FIGURES["reliability"], 1),
    Page("FDR", "Against all others", FIGURES["fdr"], has_threshold=True, least_height=72),
    Page(
        "FDR",
        "Against others without healthy donors",
        FIGURES["fdr_without_healthy"],
        has_threshold=True,
        least_height=72,
    ),
    Page("Hb", "Hemoglobin", FIGURES["hemoglobin"], points=measured_and_predicted, plot=hemoglobin_plot),
    Page(
        "Map",
        "Map of patients",
        FIGURES["map"],
        points=lambda e: patient_map(e).evaluated,
        plot=map_plot,
        note=lambda e: patient_map(e).in_words,
    ),
)
"""Those of every evaluation, in the order in which they are shown."""

AGAINST = "Against"
TABS = (*dict.fromkeys(page.tab for page in PAGES), AGAINST)


def pages_of(evaluation: Evaluation) -> tuple[Page, ...]:
    """Return `PAGES`, and one for each panel that shows predictions against a covariate."""
    further = [figure for figure in figures_of(evaluation) if figure.name not in FIGURES]
    return (
        *PAGES,
        *(
            Page(AGAINST, f"{one.title}, {panel + 1} of {len(one.panels)}", one, panel, least_height=72)
            for one in further
            for panel in range(len(one.panels))
        ),
    )


@dataclass(frozen=True)
class PatientSelection:
    """Patients selected by a click on a figure, what they have in common, and the page and cell that was clicked."""

    title: str
    patients: tuple[str, ...]
    page: Page | None = None
    cell: tuple[int, int] | None = None


class FigureTab(QWidget):
    """Shows one of several pages. `selected` (`PatientSelection`) follows a click, `page_changed` a new choice."""

    selected = Signal(object)
    page_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._pages: tuple[Page, ...] = ()
        self._evaluation: Evaluation | None = None
        self._plot_style = PlotStyle()
        self._marks: list[Any] = []
        self.choice = narrow_combo()
        self.choice.currentIndexChanged.connect(lambda _: self.page_changed.emit())
        self._hint = QLabel()
        self.canvas = FigureCanvas()
        self.canvas.mpl_connect("button_press_event", self._on_cell)
        self.chart = Chart()
        self.chart.view.clicked.connect(self._on_dot)
        self._area = scroll_area(self.canvas)
        parts = (self._area, self.chart)
        column = column_of(self, self.choice, self._hint, *parts, stretch=parts, spacing=2)
        column.setContentsMargins(0, 2, 0, 0)

    def set_pages(self, pages: Sequence[Page]) -> None:
        """Show these pages, the first in front."""
        self._pages = tuple(pages)
        self.choice.blockSignals(True)
        self.choice.clear()
        self.choice.addItems([page.title for page in pages])
        self.choice.blockSignals(False)
        self.choice.setVisible(len(self._pages) > 1)

    @property
    def page(self) -> Page:
        return self._pages[self.choice.currentIndex()]

    def draw(self, evaluation: Evaluation, style: PlotStyle, threshold: float) -> None:
        self._evaluation, self._plot_style, self._marks = evaluation, style, []
        self._hint.setText(self.page.hint)
        self._hint.setVisible(bool(self.page.hint))
        self.chart.setVisible(self.page.plot is not None)
        self._area.setVisible(self.page.plot is None)
        self.canvas.setMinimumHeight(round(self.page.least_height * self.page.size(evaluation)[1]))
        for widget in (self.canvas, self.chart):
            widget.setToolTip(tip(self.page.caption(evaluation)))
        if self.page.plot is not None:
            self.chart.show_plot(self.page.plot(evaluation, style), style)
            return

        def draw(axes: Axes) -> None:
            self.page.draw(axes, evaluation, style, threshold)
            if self.page.matrix is not None:
                _narrow(axes)

        self.canvas.redraw(draw)

    def mark(self, selection: PatientSelection | None) -> None:
        """Frame the cell, or ring the dots, of the selected patients."""
        if self._evaluation is None:
            return
        if self.page.points is not None:
            ids = () if selection is None else selection.patients
            is_in = self._evaluation.patients["patient_id"].isin(ids).to_numpy(dtype=bool)
            self.chart.view.ring(self.page.points(self._evaluation)[is_in], self._plot_style)
            return
        for mark in self._marks:
            mark.remove()
        self._marks = []
        if selection is not None and selection.page is self.page and selection.cell is not None:
            row, column = selection.cell
            frame = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=self._plot_style.text, linewidth=3)
            self._marks = [self.canvas.figure.axes[0].add_patch(frame)]
        self.canvas.draw_idle()

    def select_cell(self, row: int, column: int) -> None:
        if self._evaluation is not None and self.page.matrix is not None:
            self.selected.emit(self._in_cell(self._evaluation, self.page.matrix(self._evaluation), row, column))

    def _on_cell(self, event: Any) -> None:
        evaluation = self._evaluation
        if evaluation is None or event.inaxes is None or event.button != 1 or self.page.matrix is None:
            return
        row, column = round(event.ydata), round(event.xdata)
        counts = self.page.matrix(evaluation).counts
        if counts.any() and 0 <= row < counts.shape[0] and 0 <= column < counts.shape[1]:
            self.select_cell(row, column)

    def _on_dot(self, pixel: QPoint) -> None:
        evaluation = self._evaluation
        if evaluation is None or self.page.points is None:
            return
        near = self.chart.view.near(pixel, self.page.points(evaluation), _REACH)
        if len(near):
            ids = tuple(evaluation.patients["patient_id"].iloc[near])
            self.selected.emit(PatientSelection(f"{self.page.title}: {counted(len(ids), 'patient')} there", ids))

    def _in_cell(self, evaluation: Evaluation, confusion: Confusion, row: int, column: int) -> PatientSelection:
        ids = confusion.patients(row, column)
        predicted = evaluation.taxonomy.coarse(confusion.columns[column]).name
        title = f"{short(confusion.rows[row].name)} → {short(predicted)}: {counted(len(ids), 'patient')}"
        return PatientSelection(title, ids, self.page, (row, column))


def _narrow(axes: Axes) -> None:
    """Fit a matrix into a dock: row names in several lines, no title, no shares (its shades show them)."""
    axes.set_title("", loc="left")
    for text in axes.texts:
        text.set_text(text.get_text().split()[0])
        text.set_fontsize(8)
    labels = [label.get_text().replace("\n", " ").replace(" (", "\u00a0(") for label in axes.get_yticklabels()]
    axes.set_yticks(
        axes.get_yticks(), ["\n".join(textwrap.wrap(one, _WIDEST_NAME)) for one in labels], parse_math=False
    )
