"""The share of malignant patients at which probabilities hold: the training's, or one that the user states.

Where the smears of each class look the same in a clinic as in training, and only the shares of malignant and other
patients differ, the odds malignant : not malignant change by one factor (prior shift; Saerens, Latinne and
Decaestecker 2002). This is Bayes' rule with another prevalence. Classes within each side keep their ratio.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.options import FrozenModel, Share
from napari_caltomorph.statistics.interval import percent

ASSUMPTION = (
    "this assumes that the smears of each class look the same in your clinic as in training, and only the shares differ"
)
# Of rates that an evaluation measured, as a sentence
ASSUMPTION_OF_RATES = f"T{ASSUMPTION[1:].replace('in training', 'in this evaluation')}."
UNKNOWN = "The model does not record the prevalence at which its probabilities hold"


class Prevalence(FrozenModel):
    """The malignant share at which members' probabilities hold, and that to which they are moved."""

    trained: Share
    # Of a balanced training by an earlier version: its members hold where all classes are equally common
    of_equal_classes: bool = False
    stated: Share | None = None  # Of the user's clinic; None: nothing is moved

    @property
    def value(self) -> float:
        """The malignant share at which the shown probabilities hold."""
        return self.trained if self.stated is None else self.stated

    def at(self, stated: float | None) -> Prevalence:
        """Return the same training with another stated prevalence; ValueError unless it is between 0 and 1."""
        return Prevalence.model_validate(self.model_dump() | {"stated": stated})

    def move(self, probabilities: NDArray[np.floating], is_malignant: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return probabilities (..., C) at the stated prevalence, where (C,) classes are malignant."""
        values = np.asarray(probabilities, dtype=np.float64)
        if self.stated is None:
            return values
        # Each side's factor stated / trained, times trained * (1 - trained).
        factors = np.where(is_malignant, self.stated * (1 - self.trained), (1 - self.stated) * self.trained)
        moved = values * factors
        return np.asarray(moved / moved.sum(axis=-1, keepdims=True))

    def move_malignancy(self, malignancy: float) -> float:
        """Return a malignancy, or a threshold of it, at the stated prevalence."""
        return float(self.move(np.array([malignancy, 1 - malignancy]), np.array([True, False]))[0])

    def __str__(self) -> str:
        """After a number: where it holds."""
        if self.stated is not None:
            return f"at the stated prevalence, {percent(self.stated)} malignant ({self.trained_in_words})"
        if self.of_equal_classes:
            return f"where all classes are equally common, {percent(self.trained)} malignant"
        return f"at the training prevalence, {percent(self.trained)} malignant"

    @property
    def trained_in_words(self) -> str:
        """The share where nothing is stated, shortly."""
        return f"{'equal classes' if self.of_equal_classes else 'training'}: {percent(self.trained)}"

    @property
    def in_words(self) -> str:
        """Where the probabilities hold, as a sentence without its full stop."""
        if self.stated is not None:
            return f"Probabilities hold {self}; {ASSUMPTION}"
        why = ": an earlier version trained the model in balance" if self.of_equal_classes else ""
        return f"Probabilities hold {self}{why}; elsewhere state the prevalence"
