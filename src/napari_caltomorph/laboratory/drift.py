"""What `monitor` finds: the chart of each quantity, the verdict over all of them, and both in words."""

from __future__ import annotations

from typing import Literal

from pydantic import computed_field

from napari_caltomorph.diagnosis.options import FrozenModel
from napari_caltomorph.errors import counted


class DriftChart(FrozenModel):
    """One quantity over the patients after the reference."""

    name: str
    values: tuple[float | str, ...]  # Of all patients with one, in order; the first ones are the reference
    patients: tuple[int, ...]  # Index of each value in `Drift.patients`
    reference: int  # How many of the values are the reference
    # The evidence after each value that follows: that values have risen (of categories: differ), or have fallen
    up: tuple[float, ...]
    down: tuple[float, ...]
    limit: float  # An alarm where either is above it
    direction: Literal["risen", "fallen", "changed"] | None  # None without an alarm
    alarm: int | None  # Index in `values` of the first alarm, and of the value where the change probably began
    start: int | None
    sentence: str  # What was found, without its full stop


class FollowedPatient(FrozenModel):
    """A patient in the order of predictions."""

    patient_id: str
    created: str
    folder: str


class Drift(FrozenModel):
    """What `monitor` found, and what it is based on."""

    schema_version: Literal[1] = 1
    model_name: str
    patients: tuple[FollowedPatient, ...]
    reference: int  # The first so many of them, as asked
    false_alarms: float  # For each patient, over all charts
    charts: tuple[DriftChart, ...]
    replaced: tuple[FollowedPatient, ...]  # Older predictions of the same patients
    notes: tuple[str, ...]  # What was left out, and which quantities have no chart

    @computed_field  # type: ignore[prop-decorator]
    @property
    def state(self) -> Literal["drift", "no drift", "no verdict"]:
        """Whether any chart has an alarm; no verdict without a chart."""
        if not self.charts:
            return "no verdict"
        return "drift" if self.alarms else "no drift"

    @property
    def alarms(self) -> tuple[DriftChart, ...]:
        """The charts with an alarm, the earliest first."""
        found = [(chart.patients[chart.alarm], chart) for chart in self.charts if chart.alarm is not None]
        return tuple(chart for _, chart in sorted(found, key=lambda pair: pair[0]))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict, then an alarm each, the earliest first."""
        count = len(self.patients)
        if not self.charts:
            verdict = f"No verdict: {counted(count, 'patient')}; more than {self.reference}, the reference, are needed"
        elif not self.alarms:
            verdict = f"No drift found in {counted(count - self.reference, 'patient')} after the first {self.reference}"
        else:
            verdict = f"Drift found in {len(self.alarms)} of {counted(len(self.charts), 'chart')}"
        return (verdict, *(f"{one.name[0].upper()}{one.name[1:]} {one.sentence}" for one in self.alarms))

    @property
    def guarantee_in_words(self) -> str:
        """The rate of false alarms, as a sentence without its full stop."""
        return (
            f"Without drift, the probability that any of {counted(len(self.charts), 'chart')} has an alarm within the "
            f"first 100 patients after the reference is at most {100 * self.false_alarms:.2g} "
            f"({self.false_alarms:g} for each patient)"
        )
