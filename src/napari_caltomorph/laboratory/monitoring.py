"""Whether a laboratory's predictions drift: a chart for each quantity, at one rate of false alarms over all of them.

The first patients are the reference. What follows is compared with them and with nothing else, so that a slow change
cannot become its own reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field

from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.cohort.column_names import ROLES
from napari_caltomorph.cohort.ids import match_ids
from napari_caltomorph.cohort.table_columns import canonical
from napari_caltomorph.cohort.table_file import read_table
from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.errors import CohortUnreadable, counted
from napari_caltomorph.laboratory.drift import Drift, DriftChart, FollowedPatient
from napari_caltomorph.laboratory.results import PatientFile, Value, read_results
from napari_caltomorph.laboratory.review import ReviewedPatient, fingerprint, read_reviews, reviewed, seen
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.smear import Reason
from napari_caltomorph.statistics.drift import chart_categories, chart_numbers
from napari_caltomorph.statistics.interval import percent
from napari_caltomorph.storage import StrPath

LEAST = 20
"""A reference of fewer patients decides nothing."""


class MonitorOptions(BaseModel, frozen=True, extra="forbid"):
    """How drift is looked for."""

    reference: int = Field(60, ge=LEAST, le=1000, description="The first so many patients are the reference.")
    false_alarms: float = Field(
        0.001, ge=0.0002, le=0.01, description="False alarms for each patient, over all charts together."
    )
    since: date | None = Field(None, description="Leave out patients predicted before this day, e.g. of a new stain.")
    hemoglobin: Path | None = Field(
        None,
        title="Hemoglobin table",
        description="Table with the analyser's hemoglobin: columns patient_id and hemoglobin_g_dl.",
    )


@dataclass(frozen=True)
class Quantity:
    """What one chart follows: a number, or, where values are texts, a category."""

    name: str
    of: Callable[[Prediction], Value]  # None where it is not known
    shown: Callable[[float], str]  # A number as text
    causes: str  # What may have changed
    is_category: bool = False


# As the members gave them: a stated prevalence, or a calibration that is withdrawn, is no drift.
def _class(prediction: Prediction) -> str:
    return prediction.taxonomy.names[int(prediction.member_probabilities.mean(axis=0).argmax())]


def _malignancy(prediction: Prediction) -> float:
    return float(prediction.taxonomy.malignancy(prediction.member_probabilities.mean(axis=0)))


def _distance(prediction: Prediction) -> float | None:
    """Return the mean score of the aspects: p-values are all alike in smears that are far out."""
    domain = prediction.domain
    return None if domain is None else float(np.mean([aspect.score for aspect in domain.aspects]))


def _left_out(prediction: Prediction) -> float:
    count = sum(one.by == "rule" and one.reason != Reason.REPEAT for one in prediction.left_out)
    return count / (len(prediction.cells) + len(prediction.left_out))


QUANTITIES = (
    Quantity("class mix", _class, str, "the patients that are referred, or the images, may have changed", True),
    Quantity(
        "malignancy", _malignancy, "{:.2f}".format, "the patients that are referred, or the images, may have changed"
    ),
    Quantity("domain distance", _distance, "{:.2f}".format, "the stain or the microscope may have changed"),
    Quantity(
        "share of cells left out",
        _left_out,
        partial(percent, decimals=1),
        "the focus or the scanner's export may have changed",
    ),
    Quantity(
        "grain of the background",
        lambda p: p.image_traits.get("grain"),
        "{:.3g}".format,
        "the focus, the camera or the compression may have changed",
    ),
    Quantity(
        "number of cells", lambda p: float(len(p.cells)), "{:.0f}".format, "the smears or the scanner may have changed"
    ),
)

HEMOGLOBIN = Quantity(
    "error of hemoglobin, g/dl", lambda p: p.hemoglobin, "{:+.1f}".format, "the model or the analyser may have changed"
)
"""The estimate, from which the analyser's value is subtracted where it is known."""

AGREEMENT = Quantity(
    "agreement of reviews", fingerprint, str, "the patients, the images or the reviewers may have changed", True
)
"""The prediction, in place of which is put whether its reviewers agree."""


def monitor(folder: StrPath, options: MonitorOptions | None = None, *, progress: OnProgress = ignore) -> Drift:
    """Compare a folder's predictions with its first ones.

    Parameters
    ----------
    folder : str or Path
        As ``caltomorph predict`` and ``watch`` write it.
    options : MonitorOptions
    progress : callable
        See `OnProgress`.

    Returns
    -------
    Drift
        Without charts where there are too few patients. Only patients of the model that predicted last are followed.

    Raises
    ------
    PredictionUnreadable
        The folder has no prediction that can be read.
    CohortUnreadable
        The table of hemoglobin cannot be read, or has no such column.
    """
    options = options or MonitorOptions()
    results = read_results(folder, _values, progress=progress)
    last = results.patients[-1]
    notes = list(results.problems)
    kept = [one for one in results.patients if options.since is None or one.created.date() >= options.since]
    if count := len(results.patients) - len(kept):
        notes.append(f"{counted(count, 'patient')} predicted before {options.since} left out.")
    followed = [one for one in kept if one.model_fingerprint == last.model_fingerprint]
    if count := len(kept) - len(followed):
        notes.append(f"{counted(count, 'patient')} predicted by another model than {last.model_name} left out.")
    if results.replaced:
        notes.append(f"{counted(len(results.replaced), 'older prediction')} of the same patients not counted.")
    quantities = list(QUANTITIES)
    if options.hemoglobin is not None:
        measured, remarks = _measured(options.hemoglobin, [one.patient_id for one in followed])
        followed = [_against_analyser(one, measured) for one in followed]
        quantities.append(HEMOGLOBIN)
        notes += remarks
    reviews, problems = read_reviews(folder)
    notes += problems
    if reviews:
        followed = [_with_agreement(one) for one in reviewed(followed, reviews)]
        quantities.append(AGREEMENT)
    patients = tuple(_followed(one) for one in followed)
    charts, remarks = _charts(quantities, followed, patients, options)
    return Drift(
        model_name=last.model_name,
        patients=patients,
        reference=options.reference,
        false_alarms=options.false_alarms,
        charts=charts,
        replaced=tuple(_followed(one) for one in results.replaced),
        notes=(*notes, *remarks),
    )


def _values(prediction: Prediction) -> dict[str, Value]:
    return {one.name: one.of(prediction) for one in (*QUANTITIES, HEMOGLOBIN, AGREEMENT)} | seen(prediction)


def _followed(one: PatientFile) -> FollowedPatient:
    return FollowedPatient(patient_id=one.patient_id, created=one.created.isoformat(), folder=one.file.parent.name)


def _measured(path: Path, patients: list[str]) -> tuple[dict[str, float], list[str]]:
    """Return the analyser's hemoglobin of patients, in g/dl, and what was assumed."""
    options = CohortOptions()
    table, notes = read_table(path, options)
    table, remarks = canonical(
        table, path, options, without=[role for role in ROLES if role not in ("id", "hemoglobin")]
    )
    if "hemoglobin_g_dl" not in table:
        raise CohortUnreadable(f"{path}: no column looks like hemoglobin; call it hemoglobin_g_dl.")
    known = table.dropna(subset=["hemoglobin_g_dl"]).drop_duplicates(["patient_id", "hemoglobin_g_dl"])
    is_twice = known["patient_id"].duplicated(keep=False)
    if count := known.loc[is_twice, "patient_id"].nunique():
        remarks.append(f"{path.name}: {counted(count, 'patient')} with several values not used.")
    values = known.loc[~is_twice].set_index("patient_id")["hemoglobin_g_dl"].astype(float)
    matches = match_ids(values.index, patients)
    return {theirs: float(values[ours]) for ours, theirs in matches.found.items()}, [*notes, *remarks, *matches.notes]


def _against_analyser(one: PatientFile, measured: Mapping[str, float]) -> PatientFile:
    """Put the error of the estimate in its place."""
    estimate, value = one.values[HEMOGLOBIN.name], measured.get(one.patient_id)
    error = None if value is None or not isinstance(estimate, float) else estimate - value
    return replace(one, values={**one.values, HEMOGLOBIN.name: error})


def _with_agreement(one: ReviewedPatient) -> PatientFile:
    """Put whether reviewers agree in place of the prediction."""
    state = None if one.is_agreed is None else "agreed" if one.is_agreed else "not agreed"
    return replace(one.patient, values={**one.patient.values, AGREEMENT.name: state})


def _charts(
    quantities: list[Quantity],
    followed: list[PatientFile],
    patients: tuple[FollowedPatient, ...],
    options: MonitorOptions,
) -> tuple[tuple[DriftChart, ...], list[str]]:
    """Return a chart of each quantity with a reference, and a note of each other one."""
    if len(followed) <= options.reference:
        return (), []
    known, notes = list[tuple[Quantity, dict[int, float | str]]](), list[str]()
    for quantity in quantities:
        of_patient = ((i, one.values[quantity.name]) for i, one in enumerate(followed))
        values = {i: value for i, value in of_patient if value is not None}
        first = sum(i < options.reference for i in values)
        if first >= LEAST:
            known.append((quantity, values))
        else:
            notes.append(f"No chart of {quantity.name}: known of {first} of the first {options.reference} patients.")
    rate = options.false_alarms / max(len(known), 1)
    charts = (_chart(quantity, values, patients, options.reference, rate) for quantity, values in known)
    return tuple(charts), notes


def _chart(
    quantity: Quantity, known: dict[int, float | str], patients: tuple[FollowedPatient, ...], first: int, rate: float
) -> DriftChart:
    places, values = list(known), list(known.values())
    reference = sum(place < first for place in places)
    if quantity.is_category:
        codes = np.unique(np.array(values), return_inverse=True)[1]
        found = chart_categories(codes[reference:], codes[:reference], rate)
    else:
        numbers = np.array(values, dtype=float)
        found = chart_numbers(numbers[reference:], numbers[:reference], rate)
    start, alarm = (None if at is None else reference + at for at in (found.start, found.alarm))
    sentence = "has not changed"
    if start is not None and alarm is not None:
        since, until = (patients[places[at]] for at in (start, alarm))
        # Ids need not be in the order of predictions: an export of a later id may be complete before.
        first, last = (places[at] + 1 for at in (start, alarm))
        difference = _difference(quantity, values[:reference], values[start : alarm + 1])
        sentence = (
            f"has {found.direction} since {since.created[:10]} ({since.patient_id}, number {first} in order of "
            f"prediction; found with number {last}, {until.patient_id}, {until.created[:10]}): {difference}; "
            f"{quantity.causes}"
        )
    return DriftChart(
        name=quantity.name,
        values=tuple(values),
        patients=tuple(places),
        reference=reference,
        up=tuple(found.up.tolist()),
        down=tuple(found.down.tolist()),
        limit=found.limit,
        direction=found.direction,
        alarm=alarm,
        start=start,
        sentence=sentence,
    )


def _difference(quantity: Quantity, before: list[float | str], after: list[float | str]) -> str:
    """Return how values differ from the reference, in words."""
    if quantity.is_category:
        shares = {one: (after.count(one) / len(after), before.count(one) / len(before)) for one in {*before, *after}}
        most = max(sorted(map(str, shares)), key=lambda one: abs(shares[one][0] - shares[one][1]))
        now, then = shares[most]
        return f"{most} {percent(now, 0)} of {len(after)} patients, {percent(then, 0)} of the first {len(before)}"
    old, new = np.array(before, dtype=float), np.array(after, dtype=float)
    means = f"{quantity.shown(new.mean())} on average, {quantity.shown(old.mean())} before"
    if (spread := old.std(ddof=1)) == 0:
        return f"{means}, when all of the first {len(old)} patients had the same"
    steps = (new.mean() - old.mean()) / spread
    side = "above" if steps > 0 else "below"
    return f"{abs(steps):.1f} standard deviations {side} the first {len(old)} patients ({means})"
