"""What a model's training has measured about other laboratories, and the sentences in which it is shown everywhere."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, NonNegativeInt

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


# Image traits that come near the model: they reach at least so much of what it has above chance, out of fold.
_NEAR = 0.5
_CHANCE = 0.5
_TOO_FEW_ALIKE = "Not tested by weights, as too few of their patients have images like those of other classes"
_TRAITS = {"borders": "stain and background at the borders of the images", "colours": "the colours of whole images"}


class Elsewhere(FrozenModel):
    """How members predict patients whose images look unlike those that they were trained on, away from the cells."""

    why_not: str = ""  # Why this was not measured; empty where it was
    clusters: tuple[NonNegativeInt, ...] = ()  # Compared patients in each cluster of similar images
    # Balanced accuracy, were all classes equally frequent: of the members out of fold; where a cluster is held out; and
    # where as many random patients of the same classes are
    out_of_fold: Estimate | None = None
    unlike: Estimate | None = None
    random: Estimate | None = None
    fall: Estimate | None = None  # `random` less `unlike`, in pairs
    untested: tuple[str, ...] = ()  # Classes of which nearly all patients are in one cluster
    # The balanced accuracy out of fold less that of the same patients, weighted until image traits and class are
    # independent; how many they are, and of how many equal weights are worth as much
    weighted_fall: Estimate | None = None
    weighted: tuple[NonNegativeInt, float] = (0, 0.0)
    not_weighted: tuple[str, ...] = ()  # Classes of which hardly a patient has images like those of other classes
    # Out-of-fold AUROC (macro AUROC of more than two classes) of a simple classifier that has image traits alone
    traits_alone: dict[str, Estimate] = Field(default_factory=dict)

    @property
    def worse_fall(self) -> Estimate | None:
        """The larger one of the falls that are shown; where none is, the one with the higher bound."""
        falls = [one for one in (self.fall, self.weighted_fall) if one is not None]
        shown = [one for one in falls if one.low is not None and one.low > 0]
        if shown:
            return max(shown, key=lambda one: one.value)
        return max(falls, key=lambda one: one.value if one.high is None else one.high, default=None)

    @property
    def is_untestable(self) -> bool:
        """Whether images tell all classes, so that nothing remains to weigh, and held-out images show no fall.

        The members that a held-out kind of images is for have then met it in other classes: no fall proves nothing.
        """
        is_shown = self.fall is not None and self.fall.low is not None and self.fall.low > 0
        return self.weighted_fall is None and bool(self.not_weighted) and not is_shown

    @property
    def expected(self) -> Estimate | None:
        """The balanced accuracy to expect of such images: that of the members out of fold, less the worse fall.

        No more than out of fold: a fall below 0 is chance, or shows that the images do not matter. None where it was
        not measured, or cannot be.
        """
        if (worse := self.worse_fall) is None or self.out_of_fold is None or self.is_untestable:
            return None
        value, low, high = (
            None if fall is None else max(0.0, self.out_of_fold.value - max(0.0, fall))
            for fall in (worse.value, worse.high, worse.low)
        )
        assert value is not None
        return Estimate(value=value, low=low, high=high)

    def shortcut(self, auroc: Estimate | None) -> str:
        """Return a warning where image traits come near the members' out-of-fold AUROC; else an empty string."""
        if auroc is None:
            return ""
        near = [
            f"{_TRAITS[name]} alone ({one.value:.2f})"
            for name, one in self.traits_alone.items()
            # Without bounds the classes are told without an error.
            if (one.value if one.low is None else one.low) - _CHANCE >= _NEAR * (auroc.value - _CHANCE) > 0
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
        worse = self.worse_fall
        if worse is None or self.out_of_fold is None:
            return ""
        known = f"{self.out_of_fold.value:.3f} out of fold"
        start = f"With classes equally frequent, balanced accuracy is {known}; in other laboratories"
        if self.expected is None:
            return f"{start} it cannot be told, as images alone tell the classes"
        if worse.low is not None and worse.low > 0:
            return f"{start} expect {self.expected}"
        low = self.expected.value if self.expected.low is None else self.expected.low
        doubt = ", which proves little, as images alone tell the classes" if self.shortcut(auroc) else ""
        return f"{start} {low:.3f} is not excluded; no fall is shown{doubt}"

    def in_words(self, auroc: Estimate | None) -> Iterator[str]:
        """Yield the estimate as sentences; `auroc` is that of the members out of fold."""
        if shortcut := self.shortcut(auroc):
            yield f"{shortcut}."
        if not (short := self.in_short(auroc)):
            yield f"There is no estimate for other laboratories: {self.why_not or 'it was not measured'}."
            if self.not_weighted:
                yield f"{_TOO_FEW_ALIKE}: {', '.join(self.not_weighted)}."
            return
        yield f"{short}."
        if self.fall is None:
            yield f"No patients were held out by their images: {self.why_not}."
        else:
            yield (
                f"Kind of images held out: the fall is {self.fall}, of members that were trained without the patients "
                "of similar images (stain, background, size), against members trained without as many random patients "
                "of the same classes."
            )
            yield (
                f"Measured on {sum(self.clusters)} patients in two clusters of {self.clusters[0]} and "
                f"{self.clusters[1]}. Two are few: another laboratory may differ more than they do."
            )
            if self.untested:
                yield f"Not tested so, as nearly all their images look alike: {', '.join(self.untested)}."
        if self.weighted_fall is not None:
            yield (
                f"Patients weighted: the fall is {self.weighted_fall}, of the model's members out of fold, where "
                "patients whose images (stain, background, size) look like another class's weigh more, until images "
                f"tell nothing of the class; {self.weighted[0]} patients are worth {self.weighted[1]:.0f}."
            )
        if self.not_weighted:
            yield f"{_TOO_FEW_ALIKE}: {', '.join(self.not_weighted)}."
        if self.fall is not None and self.weighted_fall is not None:
            worse = "held-out images" if self.worse_fall is self.fall else "weighted patients"
            yield f"The estimate above is the lower of the two, by {worse}."
