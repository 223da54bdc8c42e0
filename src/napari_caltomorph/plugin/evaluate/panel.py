"""The *Evaluate ensemble* panel: a model and patients of known diagnosis -> numbers and figures, and who was missed.

The panel makes an `EvaluateRequest`, calls the job `evaluate_model` in a worker, and shows the result. torch is
imported in the worker, never here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.errors import CaltomorphError, TrainingPatientsFound
from napari_caltomorph.jobs import ModelEvaluation, evaluate_command, evaluate_model, examine, save_evaluation
from napari_caltomorph.jobs.evaluate import compute_for_display
from napari_caltomorph.plugin.evaluate.open import open_in_predict
from napari_caltomorph.plugin.evaluate.options_form import in_panel_words
from napari_caltomorph.plugin.evaluate.result import EvaluateResult
from napari_caltomorph.plugin.evaluate.save import folder_for, save_page
from napari_caltomorph.plugin.evaluate.setup import EvaluateSetup
from napari_caltomorph.plugin.torch_loading import prepare_torch_import
from napari_caltomorph.plugin.widgets.copy_link import CopyLink
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel
from napari_caltomorph.plugin.widgets.fold import Fold
from napari_caltomorph.plugin.widgets.parts import line, link
from napari_caltomorph.plugin.widgets.settings import preferences
from napari_caltomorph.plugin.widgets.task_row import TaskRow
from napari_caltomorph.plugin.widgets.theme import WARNING, look_of
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.report.evaluation_figures import save_figures


class EvaluatePanel(DockPanel):
    """Choose a model and a cohort, evaluate, and look at who was judged right, wrong and missed.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Given by napari.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.setup = EvaluateSetup()
        self.fold = Fold("Setup", self.setup)
        self.run = TaskRow("Evaluate")
        self.run.cancelled = "Cancelled. What was encoded or saved by then is kept."
        self.offer = line(
            f"{link('Judge the training patients out of fold')}: each by the member that did not learn from them."
        )
        self.stale = line()
        self.result = EvaluateResult()
        self.save_button = QPushButton("Save figures")
        self.report_button = QPushButton("Report ...")
        self.copy = CopyLink()
        self.setup.asked.connect(self.evaluate)
        self.setup.changed.connect(self._on_setup_changed)
        self.fold.toggled.connect(self._arrange)
        self.run.asked.connect(self.evaluate)
        self.run.ended.connect(self._on_ended)
        self.offer.linkActivated.connect(lambda _: self.evaluate_out_of_fold())
        self.result.opened.connect(self.open_patient)
        self.report_button.clicked.connect(self._report_dialog)
        self.copy.linkActivated.connect(lambda _: self.copy_command())
        self._build()
        self.fold.button.setChecked(True)
        self.bind()

    def evaluate(self) -> None:
        """Evaluate as it is chosen; patients without features are encoded first."""
        self.bind()
        self.offer.hide()
        try:
            request = self.setup.request()
        except CaltomorphError as error:
            self.run.say(str(error), is_error=True)
            return
        self.setup.remember()

        def work(progress: OnProgress) -> ModelEvaluation | TrainingPatientsFound:
            prepare_torch_import()
            try:
                result = examine(evaluate_model(request, progress=progress), progress=progress)
                compute_for_display(result.evaluation, progress=progress)
                return result
            except TrainingPatientsFound as found:
                return found
            except CaltomorphError as error:
                raise type(error)(in_panel_words(str(error))) from error

        self.setup.setEnabled(False)
        self._start(work, self._on_judged)

    def evaluate_out_of_fold(self) -> None:
        """Judge the training patients, each by the member that did not learn from them."""
        self.setup.options.set(split="train", out_of_fold=True)
        self.evaluate()

    def open_patient(self, place: str) -> None:
        """Open a smear with its prediction in *Predict patient*."""
        judged = self.result.judged
        if not place or judged is None:
            self.run.say("This patient has features and no images that could be opened.", is_error=True)
            return
        try:
            open_in_predict(self._viewer, place, judged.request.model)
        except CaltomorphError as error:
            self.run.say(str(error), is_error=True)

    def save_report(self, folder: Path) -> None:
        """Write numbers, figures and report into a folder, as the terminal does, and open the report."""
        judged, threshold = self.result.judged, self.result.moved_to
        if judged is None:
            return

        def show(files: list[Path]) -> None:
            self.run.say(f"Saved in {folder}")
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(files[-1])))

        result = judged.at(threshold)
        command = evaluate_command(result.request, folder)
        self._start(lambda progress: save_evaluation(result, folder, command=command, progress=progress), show)

    def save_figure(self, path: Path) -> None:
        """Write the figure in front; the name's ending (pdf, svg, png) says how."""
        judged, tab = self.result.judged, self.result.shown
        if judged is None or tab is None:
            self.run.say("Choose a tab with a figure first.", is_error=True)
            return
        try:
            save_page(tab.page, judged.evaluation, self.result.threshold.value, path)
        except CaltomorphError as error:
            self.run.say(str(error), is_error=True)
        else:
            self.run.say(f"Saved {path}")

    def save_figures(self, folder: Path) -> None:
        """Write all figures into a folder, as PDF and PNG."""
        judged, threshold = self.result.judged, self.result.moved_to
        if judged is not None:
            evaluation = judged.at(threshold).evaluation

            def work(progress: OnProgress) -> list[Path]:
                progress(Progress("Drawing figures", 0, 1, "sets"))
                return save_figures(evaluation, folder)

            self._start(work, lambda files: self.run.say(f"Saved {len(files)} files in {folder}"))

    def copy_command(self) -> None:
        """Put the line for a terminal on the clipboard."""
        try:
            request = self.setup.request()
        except CaltomorphError as error:
            self.run.say(str(error), is_error=True)
            return
        shown = self.result.judged
        if shown is not None and shown.request == request:
            request = shown.at(self.result.moved_to).request
        self.copy.copy(evaluate_command(request, Path("results")))

    def on_bound(self) -> None:
        self.setup.models.bind()
        self._viewer.events.theme.connect(self._draw)
        self._draw()

    def on_unbound(self) -> None:
        """Stop what runs, and let go of the viewer."""
        if self.run.is_busy:
            self.run.cancel()
            self.run.say("Stopped, because the panel was closed.")
        self.setup.models.unbind()
        self._viewer.events.theme.disconnect(self._draw)

    def _build(self) -> None:
        menu = QMenu(self)
        menu.addAction("This figure ...", self._figure_dialog)
        menu.addAction("All figures ...", self._figures_dialog)
        self.save_button.setMenu(menu)
        self.save_button.setToolTip("As PDF or SVG for print, or PNG")
        self.report_button.setToolTip(
            "Save one HTML file that can be handed on, with evaluation.json, predictions.csv and figures, and open it"
        )
        self.stale.setStyleSheet(f"color: {WARNING}")
        self._tools = QWidget()
        tools = QHBoxLayout(self._tools)
        tools.setContentsMargins(0, 0, 0, 0)
        tools.addWidget(self.save_button)
        tools.addWidget(self.report_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 4, 4)
        column.setSpacing(3)
        column.addWidget(self.fold, 1)
        for widget in (self.run, self.offer, self.stale):
            column.addWidget(widget)
        column.addWidget(self.result, 1)
        below = QHBoxLayout()
        below.addWidget(self._tools)
        below.addStretch()
        below.addWidget(self.copy)
        column.addLayout(below)
        column.addWidget(line(f"<b>{RESEARCH_USE}</b>"))
        self._column = column
        self.offer.hide()
        self.setMinimumWidth(360)

    def _arrange(self) -> None:
        """Show the setup or what came out: one at a time, as a dock is low."""
        is_setup, has_result = self.fold.is_open, self.result.judged is not None
        self.result.setVisible(has_result and not is_setup)
        self._tools.setVisible(has_result and not is_setup)
        self._column.setStretchFactor(self.fold, int(is_setup or not has_result))
        self._mark_if_stale()

    def _start(self, work: Callable[[OnProgress], Any], then: Callable[[Any], None]) -> None:
        self._tools.setEnabled(False)  # a second task would cancel the first
        self.run.start(work, then)

    def _on_judged(self, judged: ModelEvaluation | TrainingPatientsFound) -> None:
        if isinstance(judged, TrainingPatientsFound):
            self.run.say(in_panel_words(str(judged)), is_error=True)
            self.offer.show()
            return
        self.result.show_judged(judged, look_of(self._viewer.theme))
        self.fold.fold()
        self._arrange()

    def _on_ended(self) -> None:
        self.setup.setEnabled(True)
        self._tools.setEnabled(True)
        self._mark_if_stale()

    def _on_setup_changed(self) -> None:
        self.offer.hide()
        self._mark_if_stale()

    def _mark_if_stale(self) -> None:
        judged = self.result.judged
        is_stale = judged is not None and not self.run.is_busy and not self.setup.is_of(judged.request)
        self.stale.setText("<b>The numbers are of what was chosen before. Evaluate again.</b>" if is_stale else "")
        self.stale.setVisible(is_stale)

    def _draw(self, event: object = None) -> None:
        self.result.draw(look_of(self._viewer.theme))

    def _report_dialog(self) -> None:
        parent = QFileDialog.getExistingDirectory(self, "Make the report's folder in", preferences().folder)
        if parent and self.result.judged is not None:
            self.save_report(folder_for(self.result.judged.evaluation, Path(parent)))

    def _figure_dialog(self) -> None:
        tab = self.result.shown
        name = "figure" if tab is None else tab.page.figure.name
        kinds = "PDF, vector (*.pdf);;SVG, vector (*.svg);;PNG (*.png)"
        path, kind = QFileDialog.getSaveFileName(self, "Save figure", f"{name}.pdf", kinds)
        if path:
            ending = f".{kind[:3].lower()}"
            self.save_figure(Path(path) if Path(path).suffix else Path(path).with_suffix(ending))

    def _figures_dialog(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "Save all figures in", preferences().folder):
            self.save_figures(Path(path))
