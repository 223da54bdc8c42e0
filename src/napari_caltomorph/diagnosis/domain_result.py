"""Whether a smear is like those that a model learnt from, as a `Prediction` holds it and as it is said in words."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from napari_caltomorph.diagnosis.frozen_model import Part

Aspect = Literal["cells", "smear", "embedding"]

IN_WORDS: dict[Aspect, str] = {
    "cells": "its single cells",
    "smear": "the average of its cells",
    "embedding": "what the members make of it",
}
LEVEL = 0.05
"""So many smears of the training domain itself are called unlike it: the nominal rate of false warnings."""
RARE = 0.01
"""A cell is unusual when at most this share of the training cells lies as far out."""
UNKNOWN = (
    "Whether this smear is like the training cohort is unknown: the model does not bring what its cohort looked like."
)
WITHDRAWN = "calibration and prediction sets are withdrawn"


class AspectResult(Part):
    """One way in which a smear can be unlike the training cohort.

    Attributes
    ----------
    aspect
    p_value
        Share of training patients, each judged by a member that did not learn from them, that lie as far out.
    score
        How far out: 0 is the median of those patients, 1 their (robust) standard deviation.
    reference
        Quantiles of their scores in even steps, the smallest first and the largest last.
    """

    aspect: Aspect
    p_value: float = Field(gt=0, le=1)
    score: float
    reference: tuple[float, ...] = Field(min_length=2)


class DomainResult(Part):
    """Where a smear of N cells stands beside the training cohort.

    Attributes
    ----------
    p_value
        Of all aspects together: the share of training patients, measured in the same way, that lie as far out.
    patients
        How many training patients that is a share of.
    aspects : tuple of AspectResult
    cell_tails : (N,)
        For each cell the share of training cells that lie as far out; 0 where none does.
    level
        A smear is outside where `p_value` is at most this.
    """

    p_value: float = Field(gt=0, le=1)
    patients: PositiveInt
    aspects: tuple[AspectResult, ...] = Field(min_length=1)
    cell_tails: tuple[float, ...] = Field(min_length=1)
    level: float = Field(LEVEL, gt=0, lt=1)

    @property
    def is_outside(self) -> bool:
        """Whether the smear is called unlike the training cohort."""
        return self.p_value <= self.level

    @property
    def unusual(self) -> NDArray[np.intp]:
        """(N,) indices of the cells, the most unusual first; ties in the smear's order."""
        order: NDArray[np.intp] = np.argsort(np.array(self.cell_tails), kind="stable")
        return order

    @property
    def unusual_cells(self) -> NDArray[np.intp]:
        """Those cells that lie as far out as only `RARE` of the training cells, the most unusual first."""
        return self.unusual[: int((np.array(self.cell_tails) <= RARE).sum())]

    @property
    def unusual_share(self) -> float:
        """Share of the cells that are unusual."""
        return len(self.unusual_cells) / len(self.cell_tails)

    @property
    def as_far_out(self) -> int:
        """How many of `patients` lie as far out."""
        return round(self.p_value * (self.patients + 1)) - 1

    @property
    def in_words(self) -> str:
        """Where the smear stands, in a sentence without its full stop."""
        rank = (
            f"{self.as_far_out} of {self.patients} training patients lie as far out or farther, each seen by a member "
            f"that did not learn from them; {self.unusual_share:.0%} of the cells are unusual ({RARE:.0%} expected)"
        )
        if not self.is_outside:
            return f"Like the training cohort: {rank}"
        far = [one for one in self.aspects if one.p_value <= self.level]
        far = far or [max(self.aspects, key=lambda one: one.score)]
        *others, last = [IN_WORDS[one.aspect] for one in far]
        where = f"{', '.join(others)} and {last}" if others else last
        return f"Unlike the training cohort in {where}: {rank}"
