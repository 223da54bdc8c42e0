"""A comparison: the figure of one metric of one group, a row for each of its variants, and what all numbers rest on."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHeaderView, QPushButton, QSplitter, QTabWidget, QWidget

from napari_caltomorph.errors import counted
from napari_caltomorph.jobs import ModelComparison
from napari_caltomorph.plugin.widgets.canvas import FigureCanvas
from napari_caltomorph.plugin.widgets.parts import (
    ERROR,
    colored,
    column_of,
    in_window_words,
    line,
    narrow_combo,
    plain,
    row_of,
    scroll_area,
)
from napari_caltomorph.plugin.widgets.table_view import TableView
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.training_figures import draw_group
from napari_caltomorph.statistics.metric import METRICS
from napari_caltomorph.training.comparison import Comparison
from napari_caltomorph.training.variants import Variant

_COLUMNS = ["variant", "mean (SD)", "difference (SD)"]
_TIPS = "Mean over folds; difference to the reference, fold by fold, and in how many folds it is better"


class CompareResult(QWidget):
    """Shows a `Comparison`, also while its variants are trained. `folder_clicked` follows the button for its files."""

    folder_clicked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.comparison: Comparison | None = None
        self._training = ""
        self._plot_style = PlotStyle()
        self._about, self._notes = line(), line()
        self._notes.setMargin(6)
        self._notes.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.group, self.metric = narrow_combo(), narrow_combo()
        self.group.setToolTip("What is varied")
        for combo in (self.group, self.metric):
            combo.currentIndexChanged.connect(lambda _: self._draw())
        self.canvas, self.table = FigureCanvas(), TableView()
        self.table.setToolTip(_TIPS)
        self.folder = QPushButton("Open folder", clicked=self.folder_clicked)
        self.folder.setToolTip("The tables and the figure, as files")
        numbers, self.split = QWidget(), QSplitter(Qt.Orientation.Vertical, childrenCollapsible=False)
        for part in (self.canvas, self.table):
            self.split.addWidget(part)
        self.split.setSizes([260, 220])
        choices = row_of(self.group, self.metric, stretch=(self.group, self.metric))
        column_of(numbers, choices, self.split, stretch=(self.split,)).setContentsMargins(2, 4, 2, 0)
        self.tabs = QTabWidget()
        self.tabs.addTab(numbers, "Numbers")
        self.tabs.addTab(scroll_area(self._notes), "Notes")
        column_of(self, self._about, self.tabs, row_of(self.folder), stretch=(self.tabs,))

    @property
    def text(self) -> str:
        return str(self._about.text())

    def clear(self) -> None:
        self.comparison = None

    def show_comparison(self, comparison: Comparison, style: PlotStyle, training: str = "") -> None:
        """Show what is finished; `training` is the slug of the variant that is trained now."""
        if comparison is self.comparison and training == self._training:
            return
        self.comparison, self._training, self._plot_style = comparison, training, style
        names = {variant.slug: variant.in_words for variant in comparison.variants}
        about = f"<b>{len(comparison.results)} of {counted(len(names), 'variant')}</b>"
        if result := next(iter(comparison.results.values()), None):
            about += f", {counted(sum(result.own_patients), 'patient')} in {counted(len(result.folds), 'fold')}"
        if comparison.failed:
            about += colored(f"; {len(comparison.failed)} failed, see <i>Notes</i>", ERROR)
        self._about.setText(about)
        failed = [colored(plain(in_window_words(f"{names[s]}: {why}")), ERROR) for s, why in comparison.failed.items()]
        notes = [*failed, *(plain(in_window_words(note)) for note in comparison.notes)]
        self._notes.setText("".join(f"<p>{note}</p>" for note in notes))
        self.tabs.setTabText(1, f"Notes ({len(notes)})")
        _offer(self.group, {group: group for group in comparison.groups})
        _offer(self.metric, {METRICS[metric].name: metric for metric in comparison.metrics})
        self._draw()

    def end(self) -> None:
        """Show no variant as trained any more."""
        if self.comparison is not None:
            self.show_comparison(self.comparison, self._plot_style)

    def draw(self, style: PlotStyle) -> None:
        self._plot_style = style
        self._draw()

    def _draw(self) -> None:
        """Draw the chosen metric of the chosen group, and list its variants in their order."""
        comparison, group, metric = self.comparison, self.group.currentData(), self.metric.currentData()
        if comparison is None or group is None:
            return
        shown, style = ModelComparison(comparison, ()), self._plot_style
        rows = [self._row(shown, variant, metric) for variant in comparison.variants if variant.group == group]
        self.table.show_frame(pd.DataFrame(rows, columns=_COLUMNS), _COLUMNS)
        self.table.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        has_plot = metric is not None and bool(comparison.of_group(group))
        self.canvas.setVisible(has_plot)
        if has_plot:

            def draw(axes: Axes) -> None:
                draw_group(axes, comparison, group, metric, style)
                if group in ("aggregators", "encoders"):  # a dock is too narrow for whole names side by side
                    names = [variant.name.partition(",")[0] for variant in comparison.of_group(group)]
                    axes.set_xticks(axes.get_xticks(), names, rotation=30, ha="right", rotation_mode="anchor")

            self.canvas.redraw(draw)

    def _row(self, shown: ModelComparison, variant: Variant, metric: str | None) -> tuple[str, str, str]:
        if metric is not None and variant.slug in shown.comparison.results:
            return shown.name(variant), shown.mean(variant, metric), shown.difference(variant, metric)
        state = "in training" if variant.slug == self._training else ""
        return variant.name, "", "failed" if variant.slug in shown.comparison.failed else state


def _offer(combo: QComboBox, choices: dict[str, str]) -> None:
    """Offer these, titles and values; the one that was chosen stays, where it is among them."""
    if [combo.itemData(place) for place in range(combo.count())] == list(choices.values()):
        return
    chosen = combo.currentData()
    combo.blockSignals(True)
    combo.clear()
    for title, value in choices.items():
        combo.addItem(title, value)
    combo.setCurrentIndex(max(combo.findData(chosen), 0))
    combo.blockSignals(False)
