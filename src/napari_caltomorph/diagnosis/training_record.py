"""How a model came to be, as ``model.json`` tells it and the model card shows it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, NonNegativeFloat, NonNegativeInt, PositiveInt

from napari_caltomorph.diagnosis.frozen_model import Part

StoppedBy = Literal["validation loss", "fixed number of epochs", "last epoch", "not finite", "hand"]


class FoldRecord(Part):
    """How one member was trained.

    Attributes
    ----------
    patients, validation_patients
        Those it learnt from, and those that only stopped it.
    epochs, best_epoch
        Finished epochs, and the one whose weights it keeps; counted from 1.
    stopped_by
    train_loss, validation_loss
        One number an epoch; empty where there is none.
    """

    patients: PositiveInt
    validation_patients: NonNegativeInt
    epochs: NonNegativeInt
    best_epoch: NonNegativeInt
    stopped_by: StoppedBy
    train_loss: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()


class Estimate(Part):
    """A number and its 95 % interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class OutOfFold(Part):
    """What each single member says of the patients of its own fold: by metric, over all of them, and fold by fold."""

    pooled: dict[str, Estimate] = Field(default_factory=dict)
    per_fold: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)

    def rows(self) -> list[tuple[str, str, str]]:
        """Return metric, estimate, and the folds' values, as they are read."""
        return [
            (
                name.replace("_", " "),
                str(estimate),
                ", ".join("-" if value is None else f"{value:.3f}" for value in self.per_fold.get(name, ())),
            )
            for name, estimate in self.pooled.items()
        ]


class TrainingRecord(Part):
    """How all members were trained, and what each says of patients that it never learnt from.

    Attributes
    ----------
    recipe : str
        ``"paper"`` stops each member on its own fold, which makes `out_of_fold` optimistic.
    options : dict
        All of the training's options.
    cohort : str
        What it was trained on, in words.
    patients : dict
        Class slug -> training patients.
    folds : tuple of FoldRecord
        One a member.
    out_of_fold : OutOfFold
        Of single members, never of the ensemble.
    notes : tuple of str
        What the reader of the model card should know besides.
    seconds, machine
        How long it took, and where.
    """

    recipe: str
    options: dict[str, JsonValue]
    cohort: str
    patients: dict[str, NonNegativeInt]
    folds: tuple[FoldRecord, ...] = ()
    out_of_fold: OutOfFold = OutOfFold()
    notes: tuple[str, ...] = ()
    seconds: NonNegativeFloat
    machine: str

    @property
    def out_of_fold_title(self) -> str:
        """What must stand above the out-of-fold numbers wherever they are shown."""
        optimistic = "; optimistic: stopped on the fold itself" if self.recipe == "paper" else ""
        return f"Out-of-fold: single members, not the ensemble{optimistic}"
