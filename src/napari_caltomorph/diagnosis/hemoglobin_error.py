"""How far estimated hemoglobin is from the measured one, as known from patients outside a member's training.

Estimates are closer to the mean than measured values: low hemoglobin is estimated too high. An interval with the errors
of all patients contains too few of the low values, and so does one with those of similar *estimates*. So errors are
bounded in each band of *measured* hemoglobin, as sets of classes are for each class.
"""

from __future__ import annotations

from math import inf
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt, SerializerFunctionWrapHandler, model_serializer

from napari_caltomorph.diagnosis.options import FrozenModel
from napari_caltomorph.statistics.interval import percent


def own_fold_patients(count: int, stopped_training: bool | None) -> str:
    """Return what the patients of the members' own folds were, in words; None: it is not known."""
    what = {
        False: "held-out patients",
        True: "patients that stopped the training (optimistic)",
        None: "patients that the estimating member was not trained on",
    }
    return f"{count} {what[stopped_training]}"


def band_name(start: float | None, end: float | None) -> str:
    """Return e.g. ``"8 to 10"`` of a band of hemoglobin in g/dl; None: without this limit."""
    if start is None:
        return "all" if end is None else f"below {end:g}"
    return f"{start:g} and more" if end is None else f"{start:g} to {end:g}"


class ErrorBand(FrozenModel):
    """Patients measured in one band of hemoglobin, and the bounds of measured minus estimated there, in g/dl."""

    # Measured at `start` or above, and below `end`; None: without this limit
    start: float | None
    end: float | None
    # Of this band, or with its neighbours where it had too few patients
    low: float
    high: float
    patients: NonNegativeInt
    # How many of them are within an interval that other folds' patients set; None where there is no other fold
    covered: NonNegativeInt | None = None

    def limits(self, estimate: float) -> tuple[float, float]:
        """Return the values of the band that the estimate's error allows, the first to the last; none if crossed."""
        start, end = -inf if self.start is None else self.start, inf if self.end is None else self.end
        return max(estimate + self.low, start), min(estimate + self.high, end)


class ErrorInterval(FrozenModel):
    """Measured minus estimated hemoglobin, in g/dl: bounds for a share `level` of patients, of all and of each band."""

    level: float = Field(gt=0, lt=1)
    # Of all patients
    low: float
    high: float
    patients: PositiveInt
    bands: tuple[ErrorBand, ...] = ()  # Older models have none: `low` and `high` hold for every estimate
    # Whether the patients also stopped the training of the member that estimated, so that errors are too small. A model
    # records it as its recipe; None where it is not known
    stopped_training: bool | None = None

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # As written before these fields existed: they are within a model's seal.
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if value is not None and value not in ((), [])}

    def around(self, estimate: float) -> tuple[float, float]:
        """Return the lowest and the highest hemoglobin that is not excluded: the hull of what each band allows."""
        if not self.bands:
            return estimate + self.low, estimate + self.high
        allowed = [(low, high) for low, high in (band.limits(estimate) for band in self.bands) if low <= high]
        return min([estimate, *(low for low, _ in allowed)]), max([estimate, *(high for _, high in allowed)])

    @property
    def joined(self) -> str:
        """Bands of too few patients for bounds of their own, in words: they have those of their neighbours too."""
        least = 2 / (1 - self.level) - 1 - 1e-9
        return " and ".join(band_name(band.start, band.end) for band in self.bands if band.patients < least)

    def in_words(self, estimate: float) -> str:
        """Return the interval as the error that it is, with what it is known from."""
        low, high = self.around(estimate)
        alike = ", at low and at high values alike" if self.bands else ""
        if self.joined:
            alike = f"; too few of them measured {self.joined} to know whether it is larger there"
        who = own_fold_patients(self.patients, self.stopped_training)
        return f"{low:.1f} to {high:.1f} measured, if the error is as for {percent(self.level, 0)} of {who}{alike}"
