"""The *Monitor* panel: a folder of predictions -> whether they drift, in words, and the evidence as a plot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import napari
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QLineEdit, QPushButton, QWidget

from napari_caltomorph.laboratory import Drift, MonitorOptions, monitor
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel
from napari_caltomorph.plugin.widgets.options_form import MoreOptions, OptionRefused, options_of
from napari_caltomorph.plugin.widgets.parts import (
    WARNING,
    colored,
    column_of,
    line,
    named_folder,
    narrow_combo,
    path_in,
    plain,
    row_of,
)
from napari_caltomorph.plugin.widgets.plots import Chart
from napari_caltomorph.plugin.widgets.settings import last_monitoring
from napari_caltomorph.plugin.widgets.task_row import TaskRow, shows_errors
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.monitor_page import evidence_plot, save_drift, state_in_words

_EMPTY = (
    "Do the predictions of your laboratory drift from its first ones? Choose the folder that <i>Predict patients</i> "
    "or <i>caltomorph watch</i> writes to."
)
_MOVED = "Evidence that it has risen (orange) or fallen (blue). Beyond a dashed limit is an alarm."
_CHANGED = "Evidence that it has changed. Above the dashed limit is an alarm."


class MonitorPanel(DockPanel):
    """Choose a folder of predictions; read whether they drift, and see the evidence of each quantity."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.drift: Drift | None = None
        self.folder = QLineEdit(str(last_monitoring().value("folder", "")), placeholderText="folder of predictions")
        self.options = MoreOptions(MonitorOptions, list(MonitorOptions.model_fields), "Options")
        self.run = TaskRow("Look for drift")
        self.words = line(_EMPTY)
        self.words.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.choice, self.chart = narrow_combo(), Chart()
        self.page_button = QPushButton("Open page", clicked=lambda _: self.open_page())
        self.page_button.setToolTip("Write monitor.html into the folder, with all charts, and open it in the browser")
        self.folder.returnPressed.connect(self.look)
        self.run.requested.connect(self.look)
        for signal in (self.folder.textChanged, self.options.form.changed):
            signal.connect(self._forget)
        self.run.forget_on(self.folder.textChanged, self.options.form.changed)
        self.choice.currentIndexChanged.connect(lambda _: self.draw(self.plot_style))
        self._shown = QWidget()
        column_of(self._shown, self.choice, self.chart, row_of(self.page_button), stretch=(self.chart,))
        self.lay_out(
            named_folder("Results", self.folder),
            self.options,
            self.run,
            self.words,
            self._shown,
            stretch=(self._shown,),
        )
        self._forget()
        self.bind()

    @shows_errors
    def look(self) -> None:
        """Compare the folder's predictions with its first ones."""
        self.bind()
        folder, options = self._folder(), options_of(MonitorOptions, **self.options.form.values())
        last_monitoring().setValue("folder", str(folder))

        def work(progress: OnProgress) -> Drift:
            return monitor(folder, options, progress=progress)

        self.run.start(work, self.show_drift)

    def show_drift(self, drift: Drift) -> None:
        """Show the verdict, each alarm, and the quantities; those with an alarm are the first."""
        verdict, *alarms = (plain(f"{sentence}.") for sentence in drift.sentences)
        headline = f"<h3>{verdict}</h3>"
        notes = [drift.guarantee_in_words + "."] if drift.charts else []
        self.words.setText((colored(headline, WARNING) if alarms else headline) + "<br>".join([*alarms, *notes]))
        self.drift = None
        self.choice.clear()
        for chart in sorted(drift.charts, key=lambda one: one.alarm is None):
            self.choice.addItem(f"{chart.name}: {state_in_words(chart)}", chart)
        self.drift = drift
        self._arrange()
        self.draw(self.plot_style)

    @shows_errors
    def open_page(self) -> None:
        """Write the page, which takes a second, and open it."""
        if (drift := self.drift) is not None:
            page = self._folder() / "monitor.html"

            def show(files: list[Path]) -> None:
                QDesktopServices.openUrl(QUrl.fromLocalFile(str(files[0])))

            self.run.start(lambda _: save_drift(drift, page), show)

    def draw(self, style: PlotStyle) -> None:
        if self.drift is not None and (chart := self.choice.currentData()) is not None:
            title = _CHANGED if isinstance(chart.values[0], str) else _MOVED
            self.chart.show_plot(replace(evidence_plot(self.drift, chart), title=title), style)

    def _folder(self) -> Path:
        if (path := path_in(self.folder)) is None:
            raise OptionRefused("Choose a folder of predictions first.")
        return path

    def _forget(self, *_: object) -> None:
        """What was found is of another folder, or of other options."""
        self.drift = None
        self.words.setText(_EMPTY)
        self._arrange()

    def _arrange(self) -> None:
        """Give the room to the chart, or, where there is none, to the words."""
        has_chart = self.drift is not None and bool(self.drift.charts)
        self._shown.setVisible(has_chart)
        self._column.setStretchFactor(self.words, int(not has_chart))
