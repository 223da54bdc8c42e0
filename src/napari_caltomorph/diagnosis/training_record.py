"""How a model was trained, as ``model.json`` records it: each member, the out-of-fold numbers, and remarks on them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, NonNegativeFloat, NonNegativeInt, PositiveInt

from napari_caltomorph.diagnosis.elsewhere import Elsewhere, Estimate
from napari_caltomorph.diagnosis.options import FrozenModel
from napari_caltomorph.errors import counted

StoppedBy = Literal["validation loss", "fixed number of epochs", "last epoch", "not finite", "hand"]


class FoldRecord(FrozenModel):
    """How one member was trained."""

    # Those it was trained on, and those used for early stopping only
    patients: PositiveInt
    validation_patients: NonNegativeInt
    # Finished epochs, and the epoch of its weights; counted from 1
    epochs: NonNegativeInt
    best_epoch: NonNegativeInt
    stopped_by: StoppedBy
    # `Recalibration.values` of the member; None where it has none
    recalibration: tuple[float, float, float] | None = None
    # One number an epoch; empty where there is none
    train_loss: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()


class OutOfFold(FrozenModel):
    """Metrics of single members on their own held-out folds: over all folds, and fold by fold."""

    pooled: dict[str, Estimate] = Field(default_factory=dict)
    per_fold: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)

    def rows(self) -> list[tuple[str, str, str]]:
        """Return metric, estimate, and the folds' values as text."""
        return [
            (
                name.replace("_", " "),
                str(estimate) if estimate.low is not None else f"{estimate} (too few patients for an interval)",
                ", ".join("-" if value is None else f"{value:.3f}" for value in self.per_fold.get(name, ())),
            )
            for name, estimate in self.pooled.items()
        ]


class TrainingRecord(FrozenModel):
    """How all members were trained, and how each performs on its held-out fold."""

    recipe: str  # ``"paper"`` stops each member on its own fold, which makes `out_of_fold` optimistic
    options: dict[str, JsonValue]  # All of the training's options
    cohort: str  # What it was trained on, in words
    patients: dict[str, NonNegativeInt]  # Class slug -> training patients
    # Whether members of a balanced training have a `log_prior_shift` to the classes' shares; earlier versions had none
    prior_shift: bool = False
    folds: tuple[FoldRecord, ...] = ()  # One per member
    out_of_fold: OutOfFold = OutOfFold()  # Of single members, never of the ensemble
    elsewhere: Elsewhere | None = None  # The estimate for other laboratories; None in older models
    notes: tuple[str, ...] = ()  # Further remarks for the model card
    # How long it took, and where
    seconds: NonNegativeFloat
    machine: str

    @property
    def unfinished(self) -> str:
        """Which members have not finished their training, as a sentence without its point; empty where all have."""
        stopped = [
            f"member {number} after {counted(fold.epochs, 'epoch')}"
            for number, fold in enumerate(self.folds, start=1)
            if fold.stopped_by == "hand"
        ]
        if not stopped:
            return ""
        count = f"{len(stopped)} of {len(self.folds)}"
        return f"Members stopped by hand before the end of their training: {count} ({', '.join(stopped)})"

    @property
    def remarks(self) -> tuple[str, ...]:
        """The notes, after what is wrong with the members."""
        return (*(f"{problem}." for problem in (self.unfinished, self.biased) if problem), *self.notes)

    @property
    def biased(self) -> str:
        """How malignancy is wrong on average, as a sentence without its point; empty where its interval includes 0."""
        bias = self.out_of_fold.pooled.get("malignancy_bias")
        if bias is None or bias.low is None or bias.high is None or bias.low <= 0 <= bias.high:
            return ""
        side = "high" if bias.value > 0 else "low"
        return (
            f"Out of fold, malignancy is too {side} by {abs(bias.value):.2f} on average "
            f"({bias.low:+.2f} to {bias.high:+.2f}): it ranks patients, and is not their probability"
        )

    @property
    def stops_on_own_fold(self) -> bool:
        """Whether the patients on which a member is evaluated out of fold have stopped its training."""
        return self.recipe == "paper"

    @property
    def out_of_fold_title(self) -> str:
        optimistic = "; optimistic: stopped on the fold itself" if self.stops_on_own_fold else ""
        return f"Out-of-fold: single members, not the ensemble{optimistic}"

    @property
    def elsewhere_in_words(self) -> tuple[str, ...]:
        """The estimate for other laboratories and its warning, as sentences; none in older models."""
        return () if self.elsewhere is None else tuple(self.elsewhere.in_words(self._auroc))

    @property
    def elsewhere_in_short(self) -> str:
        """The estimate as one sentence without its full stop; empty without one."""
        return "" if self.elsewhere is None else self.elsewhere.in_short(self._auroc)

    @property
    def elsewhere_in_brief(self) -> tuple[str, ...]:
        """The warning and the estimate, as sentences without how it was measured; all of them where there is none."""
        if not self.elsewhere_in_short:
            return self.elsewhere_in_words
        return tuple(f"{one}." for one in (self.shortcut, self.elsewhere_in_short) if one)

    @property
    def shortcut(self) -> str:
        """What the model may rest on instead of cells, as a warning without its full stop; empty where nothing is."""
        return "" if self.elsewhere is None else self.elsewhere.shortcut(self._auroc)

    @property
    def _auroc(self) -> Estimate | None:
        return self.out_of_fold.pooled.get("auroc", self.out_of_fold.pooled.get("macro_auroc"))
