"""A training while it runs: how far it is, each member's losses, and buttons to pause it and to keep what is there."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_caltomorph.jobs import EarlierEpochs
from napari_caltomorph.plugin.widgets.parts import line
from napari_caltomorph.plugin.widgets.task_row import TaskRow
from napari_caltomorph.progress import Progress, format_seconds
from napari_caltomorph.report import Look, draw_loss_curves
from napari_caltomorph.training import TrainProgress

# Drawing takes some 50 ms; epochs of a small cohort are faster.
_DRAW_EVERY_MS = 400


@dataclass
class Curves:
    """What a member has been through, as far as it was heard of: NaN for epochs that were not."""

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0

    def hear(self, progress: TrainProgress) -> bool:
        """Take in a report; return whether it brought another epoch."""
        if progress.epoch <= len(self.train_loss):
            return False
        for losses, last in (
            (self.train_loss, progress.train_loss),
            (self.validation_loss, progress.validation_loss),
        ):
            if last is not None:
                losses += [math.nan] * (progress.epoch - 1 - len(losses)) + [last]
        self.best_epoch = progress.best_epoch or 0
        return True


class TrainRow(TaskRow):
    """The button that trains; says of a training which fold and epoch it is at, and how long it may take."""

    def __init__(self, title: str) -> None:
        super().__init__(title, kept="The last finished epoch is kept.")
        self.forget_pace()

    def forget_pace(self) -> None:
        """Estimate the time left anew: it has waited."""
        self._first: tuple[float, int] | None = None

    def _sentence(self, progress: Progress) -> str:
        if not isinstance(progress, TrainProgress):
            self.forget_pace()
            return super()._sentence(progress)
        best = f", best {progress.best_epoch}" if progress.best_epoch else ""
        left = self._left(progress)
        return (
            f"Fold {progress.fold + 1}/{progress.folds}, epoch {min(progress.epoch + 1, progress.epochs)}/"
            f"{progress.epochs}{best}{left}"
        )

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
    """Shows a training. `pause_asked` (whether to wait) and `keep_asked` follow the buttons.

    `has_begun` says whether a member was trained since `begin`.
    """

    pause_asked = Signal(bool)
    keep_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._curves: dict[int, Curves] = {}
        self._folds = 0
        self.has_begun = False
        self._look = Look()
        self.canvas = FigureCanvasQTAgg(Figure(layout="constrained"))
        self.canvas.setMinimumHeight(140)
        self._note = line()
        self.pause = QPushButton("Pause", checkable=True)
        self.pause.toggled.connect(self._on_pause)
        self.keep = QPushButton("Stop and keep")
        self.keep.setToolTip("End the training; the members trained so far make the model")
        self.keep.clicked.connect(self._on_keep)
        self._timer = QTimer(self, singleShot=True, interval=_DRAW_EVERY_MS)
        self._timer.timeout.connect(self._draw_now)
        row = QHBoxLayout()
        row.addWidget(self.pause)
        row.addWidget(self.keep)
        row.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.canvas, 1)
        column.addWidget(self._note)
        column.addLayout(row)

    @property
    def curves(self) -> list[Curves]:
        """One a fold, in their order."""
        return [self._curves.get(fold, Curves()) for fold in range(max(self._folds, 1))]

    def begin(self, look: Look, *, is_elsewhere: bool) -> None:
        """Show a training that begins.

        Parameters
        ----------
        look : Look
        is_elsewhere : bool
            Whether other processes train, which do not wait when they are told to.
        """
        self._curves, self._folds, self.has_begun = {}, 0, False
        self.pause.setChecked(False)
        self.pause.setEnabled(False)
        self.pause.setVisible(not is_elsewhere)
        self.keep.setEnabled(False)
        self.keep.setText("Stop and keep")
        self._note.hide()
        self.draw(look)

    def end(self) -> None:
        """Leave the curves as they are, with nothing to pause any more."""
        self.pause.setEnabled(False)
        self.keep.setEnabled(False)
        self._note.hide()

    def hear(self, progress: Progress) -> None:
        """Take in a report of the training."""
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
            is_new = self._curves.setdefault(progress.fold, Curves()).hear(progress)
            self.pause.setEnabled(self.keep.text() == "Stop and keep")
            self.keep.setEnabled(self.pause.isEnabled() and any(c.train_loss for c in self._curves.values()))
            if (is_new or is_first) and not self._timer.isActive():
                self._timer.start()

    def draw(self, look: Look) -> None:
        """Draw the curves again, in the colours of a theme."""
        self._look = look
        self._draw_now()

    def _draw_now(self) -> None:
        figure = self.canvas.figure
        figure.clear()
        draw_loss_curves(figure.subplots(), self.curves, self._look)
        self.canvas.draw_idle()

    def _on_pause(self, is_paused: bool) -> None:
        self.pause.setText("Resume" if is_paused else "Pause")
        self._note.setText("<b>Paused.</b> Resume goes on with the next step." if is_paused else "")
        self._note.setVisible(is_paused)
        self.pause_asked.emit(is_paused)

    def _on_keep(self) -> None:
        self.keep.setText("Stopping ...")
        self.keep.setEnabled(False)
        self.pause.setEnabled(False)
        self._note.hide()
        self.keep_asked.emit()
