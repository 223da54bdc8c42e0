"""How far a training is: what the terminal's lines and the panel's curves are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

from napari_caltomorph.progress import Cancelled, Progress


class KeepSoFar(Cancelled):
    """Raised inside a progress callback by whoever wants the training to end with what it has learnt.

    Where nothing has been learnt yet it is a `Cancelled` like any other.
    """


@dataclass(frozen=True)
class TrainProgress(Progress):
    """One report of a training.

    `done` and `total` count optimizer steps over all members; `total` is an upper bound, as a member may stop early.

    Attributes
    ----------
    fold, folds : int
        Which member is trained, from 0, of how many.
    epoch, epochs : int
        Finished epochs of that member, and the most it may take.
    train_loss, validation_loss : float or None
        Of the last finished epoch; None before there is one, or where nothing is validated on.
    best_epoch : int or None
        Finished epochs at the lowest validation loss.
    """

    fold: int = 0
    folds: int = 1
    epoch: int = 0
    epochs: int = 1
    train_loss: float | None = None
    validation_loss: float | None = None
    best_epoch: int | None = None

    @property
    def in_words(self) -> str:
        """E.g. ``"Fold 2/5, epoch 37/150, loss 0.31, validation 0.52 (best: epoch 31)"``."""
        text = f"Fold {self.fold + 1}/{self.folds}, epoch {self.epoch}/{self.epochs}"
        if self.train_loss is not None:
            text += f", loss {self.train_loss:.3f}"
        if self.validation_loss is not None:
            text += f", validation {self.validation_loss:.3f} (best: epoch {self.best_epoch})"
        return text
