"""A training while it runs, with its losses and the buttons that pause or end it, and the model that it makes.

The training runs in a thread; `TrainingControl` hands it the user's requests.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QMenu, QPushButton, QTabWidget, QTextBrowser, QVBoxLayout, QWidget

from napari_caltomorph.jobs import EarlierEpochs, TrainedModel
from napari_caltomorph.plugin.widgets.canvas import FigureCanvas
from napari_caltomorph.plugin.widgets.parts import add_items, column_of, line, plain, row_of
from napari_caltomorph.plugin.widgets.plots import Chart
from napari_caltomorph.plugin.widgets.task_row import TaskRow
from napari_caltomorph.progress import OnProgress, Progress, format_seconds
from napari_caltomorph.report import PlotStyle, draw_out_of_fold_confusion, loss_plot
from napari_caltomorph.training import FinishEarly, TrainProgress

# Epochs of a small cohort take less; a reader follows no faster changes.
_DRAW_EVERY_MS = 200
_POLL_SECONDS = 0.2
_KEEP = "Stop and keep"


class TrainingControl:
    """Pauses or ends one training; its methods may be called in any thread."""

    def __init__(self) -> None:
        self._may_continue = threading.Event()
        self._may_continue.set()
        self._end: FinishEarly | None = None

    def pause(self) -> None:
        """Let the training wait after its current step."""
        self._may_continue.clear()

    def resume(self) -> None:
        self._may_continue.set()

    def keep(self, *, keep_unfinished: bool) -> None:
        """Let it end with the members that have finished, or with unfinished ones too, also while it is paused."""
        self._end = FinishEarly(keep_unfinished=keep_unfinished)
        self.resume()

    def applied_to(self, progress: OnProgress) -> OnProgress:
        """Return a callback that calls another, then waits while paused and raises `FinishEarly` when it is to end."""

        def report(one: Progress) -> None:
            progress(one)
            while not self._may_continue.wait(_POLL_SECONDS):
                progress(one)  # raises when the training was cancelled, or its window closed, while it waits
            if self._end is not None and isinstance(one, TrainProgress):
                raise self._end

        return report


@dataclass
class Curves:
    """The losses of a member after each epoch, as far as they were reported; NaN for epochs that were not."""

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0

    def add(self, progress: TrainProgress) -> bool:
        """Add the losses of a report; return whether it has another epoch."""
        if progress.epoch <= len(self.train_loss):
            return False
        for losses, last in ((self.train_loss, progress.train_loss), (self.validation_loss, progress.validation_loss)):
            if last is not None:
                losses += [math.nan] * (progress.epoch - 1 - len(losses)) + [last]
        self.best_epoch = progress.best_epoch or 0
        return True


class TrainRow(TaskRow):
    """The button that trains; shows fold, epoch and the time left of a training."""

    def __init__(self, title: str) -> None:
        super().__init__(title, kept="The last finished epoch is kept.")
        self.forget_pace()

    def forget_pace(self) -> None:
        """Start a new estimate of the time left, as after a pause."""
        self._first: tuple[float, int] | None = None

    def _sentence(self, progress: Progress) -> str:
        if not isinstance(progress, TrainProgress):
            self.forget_pace()
            return super()._sentence(progress)
        best = f", best {progress.best_epoch}" if progress.best_epoch else ""
        epoch = min(progress.epoch + 1, progress.epochs)
        return f"{progress.member_in_words}, epoch {epoch}/{progress.epochs}{best}{self._left(progress)}"

    def _left(self, progress: TrainProgress) -> str:
        now = time.monotonic()
        if self._first is None:
            self._first = now, progress.done
        start, first = self._first
        done, elapsed = progress.done - first, now - start
        if done < 3 or elapsed < 1:
            return ""
        return f", ~{format_seconds((progress.total - progress.done) * elapsed / done)} left at most"


class TrainingView(QWidget):
    """Shows a training. `pause_toggled` (whether to wait) and `keep_chosen` (unfinished members too) are buttons.

    `has_begun`: whether a member was trained since `begin`.
    """

    pause_toggled = Signal(bool)
    keep_chosen = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._curves: dict[int, Curves] = {}
        self._folds = 0
        self.has_begun = False
        self._plot_style = PlotStyle()
        self.losses = Chart()
        self._note = line()
        self.pause = QPushButton("Pause", checkable=True)
        self.pause.toggled.connect(self._on_pause)
        self.keep = QPushButton(_KEEP, toolTip="End the training, and make the model of the members trained so far")
        menu = QMenu(self.keep)
        self.keep_finished = menu.addAction("", lambda: self._on_keep(keep_unfinished=False))
        self.keep_all = menu.addAction("", lambda: self._on_keep(keep_unfinished=True))
        self.keep.setMenu(menu)
        self._timer = QTimer(self, singleShot=True, interval=_DRAW_EVERY_MS, timeout=self._draw_now)
        column_of(self, self.losses, self._note, row_of(self.pause, self.keep), stretch=(self.losses,))

    @property
    def curves(self) -> list[Curves]:
        """One for each fold, in their order."""
        return [self._curves.get(fold, Curves()) for fold in range(max(self._folds, 1))]

    def begin(self, style: PlotStyle, *, is_elsewhere: bool) -> None:
        """Show a training that begins; one that runs in other processes (`is_elsewhere`) cannot be paused."""
        self._curves, self._folds, self.has_begun = {}, 0, False
        self.pause.setChecked(False)
        self.pause.setEnabled(False)
        self.pause.setVisible(not is_elsewhere)
        self.keep.setEnabled(False)
        self.keep.setText(_KEEP)
        self._note.hide()
        self.draw(style)

    def end(self) -> None:
        """Keep the curves, and disable the buttons."""
        self.pause.setEnabled(False)
        self.keep.setEnabled(False)
        self._note.hide()

    def show_progress(self, progress: Progress) -> None:
        if isinstance(progress, EarlierEpochs):
            self._folds = len(progress.folds)
            for fold, history in zip(progress.folds, progress.histories, strict=True):
                if history.epochs:
                    best = history.best_epoch if history.validation_loss else 0
                    self._curves[fold] = Curves(list(history.train_loss), list(history.validation_loss), best)
            self._timer.start()
        elif isinstance(progress, TrainProgress):
            is_first = not self.has_begun
            self._folds, self.has_begun = progress.folds, True
            is_new = self._curves.setdefault(progress.fold, Curves()).add(progress)
            self.pause.setEnabled(self.keep.text() == _KEEP)
            self.keep.setEnabled(self.pause.isEnabled() and progress.begun > 0)
            self._name_choices(progress)
            if (is_new or is_first) and not self._timer.isActive():
                self._timer.start()

    def draw(self, style: PlotStyle) -> None:
        self._plot_style = style
        self._draw_now()

    def _draw_now(self) -> None:
        self.losses.show_plot(loss_plot(self.curves, self._plot_style), self._plot_style)

    def _on_pause(self, is_paused: bool) -> None:
        self.pause.setText("Resume" if is_paused else "Pause")
        self._note.setText("<b>Paused.</b> Resume continues with the next step." if is_paused else "")
        self._note.setVisible(is_paused)
        self.pause_toggled.emit(is_paused)

    def _name_choices(self, progress: TrainProgress) -> None:
        """Tell how many members each choice keeps; unfinished ones are a choice where there are some."""
        of = f"of {progress.folds}"
        self.keep_finished.setText(f"Keep finished members: {progress.ended} {of}")
        self.keep_finished.setEnabled(progress.ended > 0)
        self.keep_all.setText(f"Keep unfinished ones too: {progress.begun} {of}")
        self.keep_all.setEnabled(progress.begun > progress.ended)

    def _on_keep(self, *, keep_unfinished: bool) -> None:
        self.keep.setText("Stopping ...")
        self.keep.setEnabled(False)
        self.pause.setEnabled(False)
        self._note.hide()
        self.keep_chosen.emit(keep_unfinished)


class TrainingResult(QWidget):
    """Shows a `TrainedModel`. `predict_clicked` carries the model's folder."""

    predict_clicked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.trained: TrainedModel | None = None
        self.dialog: CardDialog | None = None
        self._about = line()
        self.confusion, self.losses = FigureCanvas(), Chart()
        self.notes = line()
        self.notes.setMargin(6)
        self.notes.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.tabs = QTabWidget()
        for name, widget in (("Confusion", self.confusion), ("Losses", self.losses), ("Notes", self.notes)):
            self.tabs.addTab(widget, name)
        self.predict = QPushButton("Open in Predict patient", toolTip="Choose this model there")
        self.predict.clicked.connect(self._on_predict)
        self.card = QPushButton("Model card", toolTip="Data, training, numbers, limits")
        self.card.clicked.connect(self.show_card)
        column_of(self, self._about, self.tabs, row_of(self.predict, self.card), stretch=(self.tabs,))

    @property
    def text(self) -> str:
        return str(self._about.text())

    def show_trained(self, trained: TrainedModel, style: PlotStyle) -> None:
        self.trained = trained
        training = trained.description.training
        name, title = plain(trained.folder.name), plain(training.out_of_fold_title)
        summary = f"{trained.description.members_in_words} in {format_seconds(training.seconds)}"
        accuracy = training.out_of_fold.pooled.get("balanced_accuracy")
        numbers = "" if accuracy is None else f"<br>balanced accuracy <b>{accuracy}</b> (95 %)"
        if training.elsewhere_in_short:
            numbers += f"<br>{plain(training.elsewhere_in_short)}"
        notes = (*training.elsewhere_in_words, *training.remarks)
        self._about.setText(f"<b>{name}</b>: {summary}<br>{title}{numbers}")
        self.notes.setText("<br>".join(f"&#8226; {plain(note)}" for note in notes) or "Nothing to note.")
        self.tabs.setTabText(2, f"Notes ({len(notes)})")
        self.tabs.setCurrentIndex(0)
        self.draw(style)

    def draw(self, style: PlotStyle) -> None:
        if self.trained is None:
            return
        known, confusion = self.trained.description, self.trained.confusion
        self.confusion.redraw(lambda axes: draw_out_of_fold_confusion(axes, known.taxonomy, confusion, style))
        self.losses.show_plot(loss_plot(known.training.folds, style), style)

    def show_card(self) -> None:
        if self.trained is not None:
            self.dialog = CardDialog(self.trained.folder, self)
            self.dialog.show()

    def _on_predict(self) -> None:
        if self.trained is not None:
            self.predict_clicked.emit(self.trained.folder)


class CardDialog(QDialog):
    """Shows the model card of a model folder: its README.md with the figure in it."""

    def __init__(self, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Model card: {folder.name}")
        self.resize(900, 640)
        self.text = QTextBrowser(openExternalLinks=True)
        self.text.setSearchPaths([str(folder)])
        try:
            self.text.setMarkdown((folder / "README.md").read_text("utf-8"))
        except OSError as error:
            self.text.setPlainText(f"{folder} has no card that can be read ({error.strerror}).")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        add_items(QVBoxLayout(self), self.text, buttons)
