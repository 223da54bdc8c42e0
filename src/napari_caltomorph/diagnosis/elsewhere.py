"""What a model's training has measured about other laboratories, and the sentences in which it is shown everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator

from napari_caltomorph.diagnosis.options import FrozenModel


class Estimate(FrozenModel):
    """A number and its 95 % interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


_CHANCE = 0.5
# Image traits -> their words, and the share of what the members have above chance that comes near it. The cells are
# among the colours of whole images: much of what these tell may be the disease.
_TRAITS = {
    "background": ("the background of the images", 1 / 3),
    "borders": ("stain and background at the borders of the images", 0.5),  # of earlier versions
    "colours": ("the colours of whole images", 0.7),
}
# Fields of earlier versions, whose estimates did not fall where a stain went with the class.
_GONE = {"clusters", "unlike", "random", "fall", "untested", "weighted_fall", "weighted", "not_weighted"}


class Elsewhere(FrozenModel):
    """How members predict patients out of fold as they are, and with the background of other patients' images."""

    why_not: str = ""  # Why this was not measured; empty where it was
    patients: NonNegativeInt = 0
    right: tuple[NonNegativeInt, NonNegativeFloat] = (0, 0.0)  # How many of them as they are; with others', on average
    # Balanced accuracy of the members out of fold, were all classes equally frequent, and how much less it is with the
    # background of others
    out_of_fold: Estimate | None = None
    background_fall: Estimate | None = None
    # Out-of-fold AUROC (macro AUROC of more than two classes) of a simple classifier that has image traits alone
    traits_alone: dict[str, Estimate] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _without_earlier_estimates(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not _GONE & set(values):
            return values
        why_not = values.get("why_not") or "that of an earlier version did not notice shortcuts; train again"
        return {"why_not": why_not, "traits_alone": values.get("traits_alone", {})}

    @property
    def is_shown(self) -> bool:
        """Whether the interval of the fall is above 0."""
        fall = self.background_fall
        return fall is not None and fall.low is not None and fall.low > 0

    @property
    def expected(self) -> Estimate | None:
        """The balanced accuracy to expect at best where background and class are independent; None if not measured.

        No more than out of fold: a fall below 0 is chance.
        """
        if self.background_fall is None or self.out_of_fold is None:
            return None
        fall, known = self.background_fall, self.out_of_fold.value
        value, low, high = (
            None if one is None else max(0.0, known - max(0.0, one)) for one in (fall.value, fall.high, fall.low)
        )
        assert value is not None
        return Estimate(value=value, low=low, high=high)

    def shortcut(self, auroc: Estimate | None) -> str:
        """Return a warning where image traits come near the members' out-of-fold AUROC; else an empty string."""
        if auroc is None:
            return ""
        near = [
            f"{words} alone ({self.traits_alone[name].value:.2f})"
            for name, (words, share) in _TRAITS.items()
            if name in self.traits_alone and _is_near(self.traits_alone[name], auroc, share)
        ]
        if not near:
            return ""
        return (
            f"The model may rest on stain or background instead of cells: {' and '.join(near)} tell the classes by an "
            f"AUROC near that of the model ({auroc.value:.2f})"
        )

    def in_short(self, auroc: Estimate | None) -> str:
        """Return the estimate without its reasons, as a sentence without its full stop; empty without one.

        `auroc` is that of the members out of fold.
        """
        if self.expected is None or self.out_of_fold is None:
            return ""
        start = (
            f"With classes equally frequent, balanced accuracy is {self.out_of_fold.value:.3f} out of fold; with the "
            f"background of other patients' images {self.expected}"
        )
        if self.is_shown:
            return f"{start}: expect no more in other laboratories"
        doubt = ", which proves little, as images alone tell the classes" if self.shortcut(auroc) else ""
        return f"{start}: no effect of the background was measured{doubt}"

    def in_words(self, auroc: Estimate | None) -> Iterator[str]:
        """Yield the estimate as sentences; `auroc` is that of the members out of fold."""
        if shortcut := self.shortcut(auroc):
            yield f"{shortcut}."
        if not (short := self.in_short(auroc)):
            yield f"There is no estimate for other laboratories: {self.why_not or 'it was not measured'}."
            return
        yield f"{short}."
        yield (
            f"Of {self.patients} patients {self.right[0]} are called right out of fold as they are, and "
            f"{self.right[1]:.1f} if the background (the colour of empty glass) is that of a random patient, each "
            f"class equally often. The fall is {self.background_fall}."
        )
        yield (
            "It is what the model owes to a background that goes with the class. Laboratories may differ in more, and "
            "in ways that no patient here has: that costs accuracy as well, and is not in it."
        )


def _is_near(found: Estimate, auroc: Estimate, share: float) -> bool:
    # Without bounds the classes are told without an error.
    return (found.value if found.low is None else found.low) - _CHANCE >= share * (auroc.value - _CHANCE) > 0
