"""The *Train ensemble* panel: a labelled cohort -> a model, with its loss curves while it is trained."""

from __future__ import annotations

from pathlib import Path

import napari
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QDockWidget, QMessageBox, QPushButton

from napari_caltomorph.encoding.torch_loading import load_torch
from napari_caltomorph.jobs import TrainedModel, train_model
from napari_caltomorph.plugin.train.setup import TrainSetup
from napari_caltomorph.plugin.train.view import TrainingControl, TrainingResult, TrainingView, TrainRow
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel, open_panel
from napari_caltomorph.plugin.widgets.parts import CollapsibleSection, CopyLink, scroll_area
from napari_caltomorph.plugin.widgets.task_row import shows_errors
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.storage import home
from napari_caltomorph.training import FinishEarly

_TRAIN, _RESUME = "Train ensemble", "Resume training"
_CLOSE_BUTTON = "QTitleBarCloseButton"  # napari's name of the cross in a dock's title


class TrainPanel(DockPanel):
    """Choose a cohort and options, train, and inspect the model."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._control = TrainingControl()
        self._outcome: str | None = None
        self.setup = TrainSetup()
        self.section = CollapsibleSection("Setup", scroll_area(self.setup))
        self.run = TrainRow(_TRAIN)
        self.training = TrainingView()
        self.result = TrainingResult()
        self.copy = CopyLink()
        self.setup.model.changed.connect(self._name_button)
        self.section.toggled.connect(self._arrange)
        self.run.requested.connect(self.train)
        self.run.button.clicked.connect(self._on_clicked)
        self.run.failed.connect(self._on_failed)
        self.run.progressed.connect(self.training.show_progress)
        self.run.ended.connect(self._on_ended)
        self.training.pause_toggled.connect(self._on_pause)
        self.training.keep_chosen.connect(lambda all_of_them: self._control.keep(keep_unfinished=all_of_them))
        self.result.predict_clicked.connect(self.open_in_predict)
        self.copy.linkActivated.connect(lambda _: self.copy_command())
        parts = (self.section, self.run, self.training, self.result, self.copy)
        self.lay_out(*parts, stretch=(self.section, self.training, self.result))
        self._name_button()
        self.section.set_open(True)
        self.bind()

    @shows_errors
    def train(self) -> None:
        """Train with the chosen options; patients without features are encoded first."""
        self.bind()
        if self.run.is_busy:
            return
        self.setup.model.refresh()
        request = self.setup.request()
        control = self._control = TrainingControl()
        self._outcome = "Stopped."
        self.result.trained = None
        is_elsewhere = request.options.workers > 1 or request.options.scheduler is not None
        self.training.begin(self.plot_style, is_elsewhere=is_elsewhere)
        self.run.forget_pace()

        def work(progress: OnProgress) -> TrainedModel | None:
            load_torch(progress)
            try:
                return train_model(request, progress=control.applied_to(progress))
            except FinishEarly:
                return None

        self.run.start(work, self._on_trained)
        self.setup.setEnabled(False)
        self.section.set_open(False)
        self._arrange()
        self._watch_crosses()

    @shows_errors
    def copy_command(self) -> None:
        self.copy.copy(self.setup.command())

    def open_in_predict(self, folder: Path) -> None:
        """Choose a model in *Predict patient*."""
        is_installed = folder.parent == home("models").absolute()
        open_panel(self._viewer, "Predict patient").models.choose(folder.name if is_installed else str(folder))

    def on_unbound(self) -> None:
        if self.run.is_busy:
            self._outcome = "Stopped, because the panel was closed."
            self.training.end()

    def draw(self, style: PlotStyle) -> None:
        for part in (self.setup.cohort, self.training, self.result):
            part.draw(style)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ask before a dock or window closes while a training runs; a dock's cross removes it without closing it."""
        is_cross = watched.objectName() == _CLOSE_BUTTON and event.type() == QEvent.Type.MouseButtonRelease
        is_closing = event.type() == QEvent.Type.Close and watched in self._closable_parents()
        if is_closing and self.run.is_busy and self._is_bound and not self._may_stop():
            event.ignore()
            return True
        if is_cross and self.run.is_busy:
            if not self._may_stop():
                watched.setDown(False)
                return True
            self.unbind()
        return super().eventFilter(watched, event)

    def _arrange(self) -> None:
        """Show the setup, or the training, or its result: one at a time, as a dock has little height."""
        is_setup, has_result = self.section.is_open, self.result.trained is not None
        self.training.setVisible(not is_setup and not has_result)
        self.result.setVisible(not is_setup and has_result)
        self._column.setStretchFactor(self.section, int(is_setup))
        cohort = self.setup.cohort.cohort
        known = "" if is_setup or cohort is None else f": {cohort.name}, {len(cohort)} patients"
        self.section.set_title(f"Setup{known}")

    def _name_button(self) -> None:
        self.run.set_title(_RESUME if self.setup.model.is_begun else _TRAIN)

    def _on_pause(self, is_paused: bool) -> None:
        if is_paused:
            self._control.pause()
        else:
            self._control.resume()
            self.run.forget_pace()

    def _on_trained(self, trained: TrainedModel | None) -> None:
        if trained is None:
            self._outcome = "No member had finished its training: there is no model."
            return
        self._outcome = None
        self.result.show_trained(trained, self.plot_style)
        self.section.set_open(False)
        self._arrange()

    def _on_ended(self) -> None:
        self.setup.setEnabled(True)
        self.setup.model.refresh()
        self.setup.count_features()
        self.training.end()
        if self._outcome is not None:
            kept = f" Finished epochs are kept: {_RESUME!r} continues." if self.setup.model.is_begun else ""
            self.run.show_message(self._outcome + kept)
        if self.result.trained is None and not self.training.has_begun:
            self.section.set_open(True)  # there is nothing else to see, and an input to change
        self._arrange()

    def _on_clicked(self) -> None:
        if not self.run.button.isEnabled():  # the click cancelled
            self.training.end()

    def _on_failed(self) -> None:
        self._outcome = None  # the error is shown

    def _may_stop(self) -> bool:
        text = "A training runs. Stop it? The last finished epoch is kept, and the training can be resumed."
        return bool(QMessageBox.question(self, "Stop training?", text) == QMessageBox.StandardButton.Yes)

    def _watch_crosses(self) -> None:
        for parent in self._closable_parents():
            if isinstance(parent, QDockWidget):
                for cross in parent.findChildren(QPushButton, _CLOSE_BUTTON):
                    cross.installEventFilter(self)
