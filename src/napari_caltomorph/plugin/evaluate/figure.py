"""A tab of figures: the chosen page, drawn in napari's theme, and the selection of patients by a click on it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QWidget

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.evaluation.confusion import Confusion
from napari_caltomorph.plugin.evaluate.pages import Page
from napari_caltomorph.plugin.widgets.canvas import FigureCanvas
from napari_caltomorph.plugin.widgets.parts import column_of, counted, narrow_combo, plain
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.drawing import short

# Within how many pixels a click hits a dot.
_REACH = 7
# Characters in a line of a row's name.
_WIDEST_NAME = 21


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
        self.canvas.mpl_connect("button_press_event", self._on_press)
        area = QScrollArea(widgetResizable=True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(self.canvas)
        column = column_of(self, self.choice, self._hint, area, stretch=(area,), spacing=2)
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
        """The page that is shown."""
        return self._pages[self.choice.currentIndex()]

    def draw(self, evaluation: Evaluation, style: PlotStyle, threshold: float) -> None:
        """Draw the page again."""
        self._evaluation, self._plot_style, self._marks = evaluation, style, []
        self._hint.setText(self.page.hint)
        self._hint.setVisible(bool(self.page.hint))
        self.canvas.setMinimumHeight(round(self.page.least_height * self.page.size(evaluation)[1]))
        self.canvas.setToolTip(f"<p>{plain(self.page.caption(evaluation))}</p>")
        self.canvas.figure.clear()
        axes = self.canvas.figure.subplots()
        self.page.draw(axes, evaluation, style, threshold)
        if self.page.matrix is not None:
            _narrow(axes)
        self.canvas.draw_idle()

    def mark(self, selection: PatientSelection | None) -> None:
        """Frame the cell, or ring the dots, of the selected patients."""
        for mark in self._marks:
            mark.remove()
        self._marks = []
        if self._evaluation is not None and selection is not None and self.canvas.figure.axes:
            self._marks = self._mark(self.canvas.figure.axes[0], self._evaluation, selection)
        self.canvas.draw_idle()

    def select_cell(self, row: int, column: int) -> None:
        """Select the patients in a cell of the matrix."""
        if self._evaluation is not None and self.page.matrix is not None:
            self.selected.emit(self._in_cell(self._evaluation, self.page.matrix(self._evaluation), row, column))

    def _mark(self, axes: Axes, evaluation: Evaluation, selection: PatientSelection) -> list[Any]:
        if selection.page is self.page and selection.cell is not None:
            row, column = selection.cell
            frame = Rectangle(
                (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=self._plot_style.text, linewidth=3, zorder=5
            )
            return [axes.add_patch(frame)]
        if self.page.points is not None:
            is_in = evaluation.patients["patient_id"].isin(selection.patients).to_numpy(dtype=bool)
            x, y = self.page.points(evaluation)[is_in].T
            return [
                axes.scatter(x, y, s=110, facecolor="none", edgecolor=self._plot_style.text, linewidth=1.8, zorder=6)
            ]
        return []

    def _on_press(self, event: Any) -> None:
        evaluation = self._evaluation
        if evaluation is None or event.inaxes is None or event.button != 1:
            return
        if self.page.matrix is not None:
            row, column = round(event.ydata), round(event.xdata)
            counts = self.page.matrix(evaluation).counts
            if counts.any() and 0 <= row < counts.shape[0] and 0 <= column < counts.shape[1]:
                self.select_cell(row, column)
        elif self.page.points is not None:
            places = event.inaxes.transData.transform(self.page.points(evaluation))  # (P, 2) pixels
            distances = np.nan_to_num(np.hypot(*(places - (event.x, event.y)).T), nan=np.inf)
            near = np.flatnonzero(distances <= _REACH * self.canvas.device_pixel_ratio)
            if len(near):
                ids = tuple(evaluation.patients["patient_id"].iloc[near[np.argsort(distances[near])]])
                self.selected.emit(PatientSelection(f"{self.page.title}: {counted(len(ids), 'patient')} there", ids))

    def _in_cell(self, evaluation: Evaluation, confusion: Confusion, row: int, column: int) -> PatientSelection:
        ids = confusion.patients(row, column)
        predicted = evaluation.taxonomy.coarse(confusion.columns[column]).name
        title = f"{short(confusion.rows[row].name)} → {short(predicted)}: {counted(len(ids), 'patient')}"
        return PatientSelection(title, ids, self.page, (row, column))


def _narrow(axes: Axes) -> None:
    """Fit a matrix into the width of a dock: row names in several lines, no title (the hint replaces it).

    A cell has room for its count; its shade and the saved figure show the share.
    """
    axes.set_title("", loc="left")
    for text in axes.texts:
        text.set_text(text.get_text().split()[0])
        text.set_fontsize(8)
    labels = [label.get_text().replace("\n", " ").replace(" (", "\u00a0(") for label in axes.get_yticklabels()]
    axes.set_yticks(
        axes.get_yticks(), ["\n".join(textwrap.wrap(one, _WIDEST_NAME)) for one in labels], parse_math=False
    )
