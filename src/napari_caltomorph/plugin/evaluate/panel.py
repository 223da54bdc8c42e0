"""The *Evaluate ensemble* panel: a model and patients of known diagnosis -> numbers, figures and missed patients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QPushButton, QWidget

from napari_caltomorph.diagnosis.prediction_files import folder_name
from napari_caltomorph.encoding.torch_loading import load_torch
from napari_caltomorph.errors import TrainingPatientsFound
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.jobs import (
    EvaluateRequest,
    ModelEvaluation,
    evaluate_command,
    evaluate_model,
    evaluation_folder,
    examine,
    save_evaluation,
)
from napari_caltomorph.jobs.evaluate import compute_for_display
from napari_caltomorph.plugin.evaluate.result import EvaluateResult
from napari_caltomorph.plugin.evaluate.setup import EvaluateSetup, OldResultNote
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel, open_panel
from napari_caltomorph.plugin.widgets.parts import (
    CollapsibleSection,
    CopyLink,
    line,
    link,
    row_of,
    scroll_area,
)
from napari_caltomorph.plugin.widgets.settings import choose_folder, when_chosen
from napari_caltomorph.plugin.widgets.task_row import TaskRow, shows_errors
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.evaluation_figures import save_figures
from napari_caltomorph.smear import open_place

_REPORT_TIP = "Save one HTML file that can be handed on, with evaluation.json, predictions.csv and figures, and open it"


class EvaluatePanel(DockPanel):
    """Choose a model and a cohort, evaluate, and see which patients are predicted right, wrong, and missed."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.setup = EvaluateSetup()
        self.section = CollapsibleSection("Setup", scroll_area(self.setup))
        self.run = TaskRow("Evaluate", kept="What was encoded or saved before is kept.")
        offer = link("Evaluate the training patients out of fold")
        self.offer = line(f"{offer}: each by the member that was not trained on them.")
        self.result = EvaluateResult()
        sentence = "The numbers belong to an earlier choice. Evaluate again."
        self.stale = OldResultNote(sentence, self.setup, self.run, self._shown_request)
        self.save_button = QPushButton("Save figures", toolTip="As PDF or SVG for print, or PNG")
        self.report_button = QPushButton("Report ...", toolTip=_REPORT_TIP, clicked=self._report_dialog)
        self.copy = CopyLink()
        self.setup.submitted.connect(self.evaluate)
        self.setup.changed.connect(self.offer.hide)
        self.section.toggled.connect(self._arrange)
        self.run.requested.connect(self.evaluate)
        self.run.ended.connect(self._on_ended)
        self.run.forget_on(self.setup.changed)
        self.offer.linkActivated.connect(lambda _: self.evaluate_out_of_fold())
        self.result.opened.connect(self.open_patient)
        self.copy.linkActivated.connect(lambda _: self.copy_command())
        self._build()
        self.section.set_open(True)
        self.bind()

    @shows_errors
    def evaluate(self) -> None:
        """Evaluate with the chosen options; patients without features are encoded first."""
        self.bind()
        self.offer.hide()
        request = self.setup.request()
        self.setup.remember()

        def work(progress: OnProgress) -> ModelEvaluation | str:
            load_torch(progress)
            try:
                result = examine(evaluate_model(request, progress=progress), progress=progress)
                compute_for_display(result.evaluation, progress=progress)
                return result
            except TrainingPatientsFound as found:
                return str(found)  # a worker treats a returned exception as an error of its own

        self.setup.setEnabled(False)
        self._start(work, self._on_evaluated)

    def evaluate_out_of_fold(self) -> None:
        """Evaluate the training patients, each by the member that was not trained on them."""
        self.setup.options.set(split="train", out_of_fold=True)
        self.evaluate()

    @shows_errors
    def open_patient(self, place: str) -> None:
        """Open a smear with its prediction in *Predict patient*."""
        evaluated = self.result.evaluated
        if not place or evaluated is None:
            self.run.show_error("This patient has features and no images that could be opened.")
            return
        smear = open_place(place)
        open_panel(self._viewer, "Predict patient").predict_smear(smear, evaluated.request.model)

    def save_report(self, folder: Path) -> None:
        """Write numbers, figures and report into a folder, as the terminal does, and open the report."""
        evaluated, threshold = self.result.evaluated, self.result.moved_to
        if evaluated is None:
            return

        def show(files: list[Path]) -> None:
            self.run.show_message(f"Saved in {folder}")
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(files[-1])))

        result = evaluated.at(threshold)
        command = evaluate_command(result.request, folder)

        def work(progress: OnProgress) -> list[Path]:
            with evaluation_folder(folder):
                return save_evaluation(result, folder, command=command, progress=progress)

        self._start(work, show)

    @shows_errors
    def save_figure(self, path: Path) -> None:
        """Write the figure in front; the name's ending (pdf, svg, png) is the format."""
        evaluated, tab = self.result.evaluated, self.result.shown
        if evaluated is None or tab is None:
            self.run.show_error("Choose a tab with a figure first.")
            return
        tab.page.save(path, evaluated.evaluation, self.result.threshold.value)
        self.run.show_message(f"Saved {path}")

    def save_figures(self, folder: Path) -> None:
        """Write all figures into a folder, as PDF and PNG."""
        evaluated, threshold = self.result.evaluated, self.result.moved_to
        if evaluated is not None:
            evaluation = evaluated.at(threshold).evaluation

            def work(progress: OnProgress) -> list[Path]:
                return save_figures(evaluation, folder, progress=progress)

            self._start(work, lambda files: self.run.show_message(f"Saved {len(files)} files in {folder}"))

    @shows_errors
    def copy_command(self) -> None:
        request = self.setup.request()
        shown = self.result.evaluated
        if shown is not None and shown.request == request:
            request = shown.at(self.result.moved_to).request
        self.copy.copy(evaluate_command(request, Path("results")))

    def on_bound(self) -> None:
        self.setup.models.bind()

    def on_unbound(self) -> None:
        self.setup.models.unbind()

    def draw(self, style: PlotStyle) -> None:
        self.result.draw(style)

    def _build(self) -> None:
        menu = QMenu(self)
        menu.addAction("This figure ...", self._figure_dialog)
        menu.addAction("All figures ...", when_chosen(self.save_figures, choose_folder, self, "Save all figures in"))
        self.save_button.setMenu(menu)
        self._tools = QWidget()
        tools = QHBoxLayout(self._tools)
        tools.setContentsMargins(0, 0, 0, 0)
        tools.addWidget(self.save_button)
        tools.addWidget(self.report_button)
        below = row_of(self._tools)
        below.addWidget(self.copy)
        widgets = (self.section, self.run, self.offer, self.stale, self.result)
        self.lay_out(*widgets, below, stretch=(self.section, self.result), spacing=3)
        self.offer.hide()

    def _arrange(self) -> None:
        """Show the setup or the result: one at a time, as a dock has little height."""
        is_setup, has_result = self.section.is_open, self.result.evaluated is not None
        self.result.setVisible(has_result and not is_setup)
        self._tools.setVisible(has_result and not is_setup)
        self._column.setStretchFactor(self.section, int(is_setup or not has_result))
        self.stale.update_note()

    def _start(self, work: Callable[[OnProgress], Any], then: Callable[[Any], None]) -> None:
        self._tools.setEnabled(False)  # a second task would cancel the first
        self.run.start(work, then)

    def _on_evaluated(self, evaluated: ModelEvaluation | str) -> None:
        if isinstance(evaluated, str):
            self.run.show_error(evaluated)
            self.offer.show()
            return
        self.result.show_evaluated(evaluated, self.plot_style)
        self.section.set_open(False)
        self._arrange()

    def _on_ended(self) -> None:
        self.setup.setEnabled(True)
        self._tools.setEnabled(True)

    def _shown_request(self) -> EvaluateRequest | None:
        return None if self.result.evaluated is None else self.result.evaluated.request

    def _report_dialog(self) -> None:
        parent = choose_folder(self, "Make the report's folder in")
        if parent and self.result.evaluated is not None:
            self.save_report(folder_for(self.result.evaluated.evaluation, parent))

    def _figure_dialog(self) -> None:
        tab = self.result.shown
        name = "figure" if tab is None else tab.page.figure.name
        kinds = "PDF, vector (*.pdf);;SVG, vector (*.svg);;PNG (*.png)"
        path, kind = QFileDialog.getSaveFileName(self, "Save figure", f"{name}.pdf", kinds)
        if path:
            ending = f".{kind[:3].lower()}"
            self.save_figure(Path(path) if Path(path).suffix else Path(path).with_suffix(ending))


def folder_for(evaluation: Evaluation, parent: Path) -> Path:
    """Return a folder that does not exist yet, named by model and cohort."""
    known = evaluation.provenance
    name = folder_name(f"{known.model_name} on {known.cohort_name}")
    free = (parent / (name if number == 1 else f"{name} {number}") for number in range(1, 10_000))
    return next(path for path in free if not path.exists())
