"""How a model came to be, as ``model.json`` tells it and the model card shows it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, NonNegativeFloat, NonNegativeInt, PositiveInt

from napari_caltomorph.diagnose.part import Part

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
    out_of_fold : dict
        Of single members, never of the ensemble: ``{"pooled": {metric: {"value", "low", "high"}},
        "per_fold": {metric: [number, ...]}}``.
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
    out_of_fold: dict[str, JsonValue] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: NonNegativeFloat
    machine: str
