"""The progress of a training: the history of each member, and the reports of the whole that are made from it.

The terminal's lines and the panel's curves show these reports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from napari_caltomorph.diagnosis.training_record import StoppedBy
from napari_caltomorph.progress import Cancelled, OnProgress, Progress
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.options import TrainOptions


class FinishEarly(Cancelled):
    """Raise it in a progress callback to end the training with the members that have finished theirs.

    With `keep_unfinished`, members that were stopped before are kept as well; the model names them. Where no member can
    be kept it is a `Cancelled` like any other: the training can be resumed.
    """

    def __init__(self, *, keep_unfinished: bool = False) -> None:
        super().__init__()
        self.keep_unfinished = keep_unfinished


@dataclass(frozen=True)
class FoldHistory:
    """The finished epochs of a member."""

    train_loss: tuple[float, ...] = ()  # One an epoch
    validation_loss: tuple[float, ...] = ()  # One an epoch; empty without validation patients
    best_epoch: int = 0  # From 1, the epoch whose weights are kept; 0 before there is one
    seconds: float = 0.0
    stopped_by: StoppedBy | None = None  # None while training continues

    @property
    def epochs(self) -> int:
        return len(self.train_loss)

    @property
    def is_consistent(self) -> bool:
        """Whether the numbers of epochs fit each other, as those of a file may not."""
        return len(self.validation_loss) in (0, self.epochs) and 0 <= self.best_epoch <= self.epochs

    @property
    def has_ended(self) -> bool:
        return self.stopped_by is not None

    def ended(self, stopped_by: StoppedBy) -> FoldHistory:
        """Return it with the reason why training ended."""
        return replace(self, stopped_by=stopped_by)


# Called after each step with the history so far and the finished steps of this epoch.
OnStep = Callable[[FoldHistory, int], None]


@dataclass(frozen=True)
class TrainProgress(Progress):
    """One report of a training.

    `done` and `total` count optimizer steps over all members; `total` is an upper bound, as a member may stop early.
    """

    fold: int = 0  # Which member is trained, from 0
    folds: int = 1  # Of how many
    epoch: int = 0  # Finished epochs of that member
    epochs: int = 1  # The most it may take
    train_loss: float | None = None  # Of the last finished epoch; None before there is one
    validation_loss: float | None = None  # The same; None without validation patients
    best_epoch: int | None = None  # Finished epochs at the lowest validation loss
    begun: int = 0  # Members that have finished an epoch, those whose training has ended included
    ended: int = 0  # Members whose training has ended

    @property
    def in_words(self) -> str:
        """E.g. ``"Fold 2/5, epoch 37/150, loss 0.31, validation 0.52 (best: epoch 31)"``."""
        text = f"{self.member_in_words}, epoch {self.epoch}/{self.epochs}"
        if self.train_loss is not None:
            text += f", loss {self.train_loss:.3f}"
        if self.validation_loss is not None:
            text += f", validation {self.validation_loss:.3f} (best: epoch {self.best_epoch})"
        return text

    @property
    def member_in_words(self) -> str:
        """E.g. ``"Fold 2/5"``."""
        return f"Fold {self.fold + 1}/{self.folds}"


class StepCounter:
    """Counts the steps of all members, and reports `TrainProgress`; a member that stops early shortens the total."""

    def __init__(
        self, splits: list[MemberSplit], histories: Mapping[int, FoldHistory], options: TrainOptions, report: OnProgress
    ) -> None:
        self._splits, self._options, self._progress, self._histories = splits, options, report, dict(histories)

    def of(self, split: MemberSplit) -> OnStep:
        """Report where the member of a split begins; return what it calls after each step."""
        self.report(split, self._histories[split.fold], 0)
        return partial(self.report, split)

    def report(self, split: MemberSplit, history: FoldHistory, step: int) -> None:
        """Report that a member has finished the epochs of its history and some more steps."""
        self._histories[split.fold] = history
        done, left = step, -step
        for one in self._splits:
            steps, its = one.steps_per_epoch(self._options), self._histories[one.fold]
            done += steps * its.epochs
            left += 0 if its.has_ended else steps * (one.epochs(self._options) - its.epochs)
        members = [self._histories[one.fold] for one in self._splits]
        self._progress(
            TrainProgress(
                stage="Training",
                done=done,
                total=max(done, done + left),
                unit="steps",
                fold=[one.fold for one in self._splits].index(split.fold),
                folds=len(self._splits),
                epoch=history.epochs,
                epochs=split.epochs(self._options),
                train_loss=history.train_loss[-1] if history.train_loss else None,
                validation_loss=history.validation_loss[-1] if history.validation_loss else None,
                best_epoch=history.best_epoch if history.validation_loss else None,
                begun=sum(one.epochs > 0 for one in members),
                ended=sum(one.has_ended for one in members),
            )
        )
