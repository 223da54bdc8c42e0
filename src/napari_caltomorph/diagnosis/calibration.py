"""From averaged softmax to calibrated probabilities and sets of classes, as fitted on patients that no member has seen.

One temperature makes all probabilities more or less certain; it never changes which class is the most probable. The
sets contain the classes that cannot be excluded, with a guarantee for each class: for at least 1 - alpha of its
patients, the set contains it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from napari_caltomorph.diagnosis.options import FrozenModel
from napari_caltomorph.statistics.interval import percent

# Rounding of a score must not exclude a class.
_ROUNDING = 1e-9


class Calibration(FrozenModel):
    """Temperature and conformal quantiles, fitted on the calibration patients."""

    temperature: PositiveFloat  # Above 1 the averaged softmax was too certain, below 1 not certain enough
    alpha: float = Field(0.1, gt=0, lt=1)  # At most for this share of a class's patients, the set lacks it
    # For each class slug the largest score 1 - p at which the class stays in the set; None where the class had too few
    # patients for a guarantee
    quantiles: dict[str, float | None]
    patients: dict[str, NonNegativeInt]  # Calibration patients of each class
    source: str  # Where they come from

    @model_validator(mode="after")
    def _quantiles_are_of_the_same_classes(self) -> Calibration:
        if self.quantiles.keys() != self.patients.keys():
            raise ValueError(f"quantiles of {sorted(self.quantiles)}, patients of {sorted(self.patients)}")
        if off := [slug for slug, q in self.quantiles.items() if q is not None and not 0 <= q <= 1]:
            raise ValueError(f"{off[0]}: a score lies between 0 and 1, its quantile does not")
        return self

    def refuse_other_classes(self, slugs: Sequence[str]) -> None:
        """Raise ValueError unless it was fitted for exactly these classes."""
        if other := self.quantiles.keys() ^ set(slugs):
            raise ValueError(f"calibration and taxonomy differ in {', '.join(sorted(other))}")

    @property
    def without_claim(self) -> tuple[str, ...]:
        """Slugs of the classes that had too few patients: they are in every set."""
        return tuple(slug for slug, quantile in self.quantiles.items() if quantile is None)

    @property
    def in_words(self) -> str:
        """How it was fitted, in words."""
        return f"temperature {self.temperature:.2f}, fitted on {sum(self.patients.values())} patients ({self.source})"

    @property
    def claim_in_words(self) -> str:
        """What is known of the sets, as a sentence without its full stop: `n` is of the calibration patients."""
        return (
            f"Such sets include the true class for at least {percent(1 - self.alpha, 0)} of each class's patients, on "
            "average over calibrations: one with few calibration patients of the class (n) may well have less"
        )

    def apply(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return calibrated probabilities (..., C) of averaged softmax (..., C).

        softmax(log p / T), temperature scaling (Guo et al. 2017) on the log of the members' average: the logits of
        several members have no common scale. A probability of 0 stays 0.
        """
        return tempered(probabilities, self.temperature)

    def prediction_set(self, calibrated: NDArray[np.floating], slugs: Sequence[str]) -> tuple[str, ...]:
        """Return the classes that cannot be excluded for one patient, in the order of `slugs`, from `apply`'s (C,).

        These are the classes with a score 1 - p within their quantile, and all classes without a guarantee. There are
        none where no class is likely: the patient is unlike the calibration patients.

        Class-conditional (Mondrian) split conformal prediction (Vovk 2012; Sadinle, Lei and Wasserman 2019). It holds
        for patients sampled as the calibration patients were, and for no others, such as another laboratory's.
        """
        within = []
        for slug, probability in zip(slugs, calibrated, strict=True):
            quantile = self.quantiles[slug]
            if quantile is None or 1 - probability <= quantile + _ROUNDING:
                within.append(slug)
        return tuple(within)


def tempered(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        logits = np.log(np.asarray(probabilities, dtype=np.float64)) / temperature
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))
