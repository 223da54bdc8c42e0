"""Counts optimizer steps over all members, so that the time left is right though members may stop early."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari_caltomorph.progress import OnProgress
from napari_caltomorph.training.batches import steps_per_epoch
from napari_caltomorph.training.checkpoint import FoldCheckpoint, FoldHistory
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.options import TrainOptions
from napari_caltomorph.training.progress import TrainProgress


class Steps:
    """Turns what members report into `TrainProgress`."""

    def __init__(self, splits: list[MemberSplit], options: TrainOptions, work: Path, progress: OnProgress) -> None:
        self._splits, self._options, self._progress = splits, options, progress
        self._histories = {s.fold: FoldCheckpoint(work, s.fold).history() for s in splits}

    def of(self, split: MemberSplit) -> Callable[[FoldHistory, int], None]:
        """Return what the member of a split calls after each step."""

        def on_step(history: FoldHistory, step: int) -> None:
            self.report(split, history, step)

        on_step(self._histories[split.fold], 0)
        return on_step

    def report(self, split: MemberSplit, history: FoldHistory, step: int) -> None:
        """Say that a member has finished the epochs of its history and some steps more."""
        self._histories[split.fold] = history
        done = step + sum(self._steps(s) * self._histories[s.fold].epochs for s in self._splits)
        left = sum(self._steps(s) * self._epochs_left(s) for s in self._splits)
        self._progress(
            TrainProgress(
                stage="Training",
                done=done,
                total=max(done, done - step + left),
                unit="steps",
                fold=self._splits.index(split),
                folds=len(self._splits),
                epoch=history.epochs,
                epochs=split.epochs(self._options),
                train_loss=history.train_loss[-1] if history.train_loss else None,
                validation_loss=history.validation_loss[-1] if history.validation_loss else None,
                best_epoch=history.best_epoch if history.validation_loss else None,
            )
        )

    def _steps(self, split: MemberSplit) -> int:
        return steps_per_epoch(len(split.train), self._options)

    def _epochs_left(self, split: MemberSplit) -> int:
        history = self._histories[split.fold]
        return 0 if history.stopped_by else split.epochs(self._options) - history.epochs
