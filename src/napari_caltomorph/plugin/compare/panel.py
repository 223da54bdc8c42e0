"""The *Compare* panel: a labelled cohort and ways of training -> which suits it, fold by fold."""

from __future__ import annotations

import napari
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices

from napari_caltomorph.encoding.torch_loading import load_torch
from napari_caltomorph.jobs import CompareRequest, ModelComparison, compare_command, compare_models
from napari_caltomorph.plugin.compare.result import CompareResult
from napari_caltomorph.plugin.compare.setup import CompareSetup
from napari_caltomorph.plugin.evaluate.setup import OldResultNote
from napari_caltomorph.plugin.train.view import TrainRow
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel
from napari_caltomorph.plugin.widgets.parts import CollapsibleSection, CopyLink, scroll_area
from napari_caltomorph.plugin.widgets.task_row import shows_errors
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.training.comparison import CompareProgress, Comparison


class ComparePanel(DockPanel):
    """Choose a cohort and what is varied, train the variants, and see how each differs from the reference."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._request: CompareRequest | None = None  # Of what is shown; None where it was opened
        self.setup = CompareSetup()
        self.section = CollapsibleSection("Setup", scroll_area(self.setup))
        self.run = TrainRow("Compare")
        sentence = "The numbers belong to an earlier choice. Compare again."
        self.stale = OldResultNote(sentence, self.setup, self.run, lambda: self._request)
        self.result = CompareResult()
        self.copy = CopyLink()
        self.setup.submitted.connect(self.compare)
        self.setup.open_clicked.connect(self.open_saved)
        self.section.toggled.connect(self._arrange)
        self.run.requested.connect(self.compare)
        self.run.progressed.connect(self._on_progress)
        self.run.ended.connect(self._on_ended)
        self.run.forget_on(self.setup.changed)
        self.result.folder_clicked.connect(self.open_folder)
        self.copy.linkActivated.connect(lambda _: self.copy_command())
        widgets = (self.section, self.run, self.stale, self.result, self.copy)
        self.lay_out(*widgets, stretch=(self.section, self.result), spacing=3)
        self.section.set_open(True)
        self.bind()

    @shows_errors
    def compare(self) -> None:
        """Train the chosen variants; those that are finished in the folder of the results are not trained again."""
        self.bind()
        request = self._request = self.setup.request()
        self.setup.remember()

        def work(progress: OnProgress) -> ModelComparison:
            load_torch(progress)
            return compare_models(request, progress=progress)

        self.setup.setEnabled(False)
        self.result.clear()
        self.run.forget_pace()
        self.run.start(work, self._on_compared)

    @shows_errors
    def open_saved(self) -> None:
        """Show the comparison that was saved in the folder of the results."""
        self._show(Comparison.load(self.setup.folder()))
        self._request = None
        self.stale.update_note()

    def open_folder(self) -> None:
        """Show the files in the system's file manager."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.setup.folder())))

    @shows_errors
    def copy_command(self) -> None:
        self.copy.copy(compare_command(self.setup.request()))

    def draw(self, style: PlotStyle) -> None:
        self.result.draw(style)

    def _show(self, comparison: Comparison, training: str = "") -> None:
        is_first = self.result.comparison is None
        self.result.show_comparison(comparison, self.plot_style, training)
        if is_first or not training:
            self.section.set_open(False)
        self._arrange()

    def _on_progress(self, progress: Progress) -> None:
        if isinstance(progress, CompareProgress) and progress.so_far is not None:
            self._show(progress.so_far, progress.name)

    def _on_compared(self, done: ModelComparison) -> None:
        self._show(done.comparison)
        assert self._request is not None
        self.run.show_message(f"Saved in {self._request.out}")

    def _on_ended(self) -> None:
        self.setup.setEnabled(True)
        self.setup.look_for_saved()
        self.result.end()

    def _arrange(self) -> None:
        """Show the setup or the result: one at a time, as a dock has little height."""
        is_result = self.result.comparison is not None and not self.section.is_open
        self.result.setVisible(is_result)
        self._column.setStretchFactor(self.section, int(not is_result))
        self.stale.update_note()
