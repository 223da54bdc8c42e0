"""What hematologists say about predictions, in ``reviews.jsonl`` next to them.

Each person's newest review of a patient counts, and where persons differ, this is shown and not resolved. A review is
of the prediction that was seen, and stays so when the patient is predicted again. The folder of results and that of
the patient name the same file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, model_validator

from napari_caltomorph.csv_files import write_csv
from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.prediction import FILE_NAME, NO_CLASS
from napari_caltomorph.diagnosis.prediction_files import PATIENT_TABLE
from napari_caltomorph.errors import OutputRefused, ReviewRefused, counted
from napari_caltomorph.laboratory.journal import Journal
from napari_caltomorph.laboratory.ledger import NAME as LEDGER
from napari_caltomorph.laboratory.results import PatientFile, Results, Value, read_results
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.statistics.interval import Interval, proportion
from napari_caltomorph.storage import StrPath

NAME = "reviews.jsonl"
Verdict = Literal["agree", "other", "cannot tell"]


class Review(BaseModel, frozen=True, extra="forbid"):
    """What one person said about one prediction."""

    schema_version: Literal[1] = 1
    patient_id: str
    prediction: str  # Fingerprint of the prediction that was seen
    predicted: str | None  # The class that it showed; None where none stands out, or it was withheld
    verdict: Verdict
    diagnosis: str = ""  # Of verdict "other": a class of the taxonomy by its name, or free text
    comment: str = ""
    reviewer: str = Field(min_length=1)
    at: str  # UTC, by this machine's clock, which may be wrong: the order is that of the lines
    labels: dict[str, str] = {}  # Cell -> its label, where it was corrected

    @model_validator(mode="after")
    def _verdict_is_of_the_prediction(self) -> Review:
        if (self.verdict == "other") != bool(self.diagnosis):
            raise ValueError("another diagnosis is stated, and only with the verdict 'other'")
        if self.verdict == "agree" and self.predicted is None:
            raise ValueError("no class was shown as the result, so there is nothing to agree with")
        return self

    @property
    def opinion(self) -> str | None:
        """The diagnosis by the reviewer; None where they cannot tell."""
        return {"agree": self.predicted, "other": self.diagnosis, "cannot tell": None}[self.verdict]

    @property
    def in_words(self) -> str:
        """E.g. ``"A. Name on 2026-12-01: agrees, with 12 corrected cells"``."""
        said = {"agree": "agrees", "other": self.diagnosis, "cannot tell": "cannot tell"}[self.verdict]
        return f"{self.reviewer} on {self.at[:10]}: {said}{corrected_in_words(len(self.labels))}"


@dataclass(frozen=True)
class Reviews:
    """What is `seen` of a prediction, and each person's newest review of its patient."""

    of: Mapping[str, Value]
    reviews: tuple[Review, ...]

    @property
    def of_this(self) -> tuple[Review, ...]:
        """The reviews of this prediction; the others are of another one."""
        return tuple(one for one in self.reviews if one.prediction == self.of["fingerprint"])

    @property
    def is_agreed(self) -> bool | None:
        """Whether all who can tell agree; None where no class is shown as the result, or no one can tell."""
        told = [one.verdict == "agree" for one in self.of_this if one.opinion is not None]
        return all(told) if told and self.of["predicted"] is not None else None

    @property
    def reviewers_differ(self) -> bool | None:
        """Whether reviewers state different diagnoses; None where fewer than two can tell."""
        opinions = [one.opinion.casefold() for one in self.of_this if one.opinion is not None]
        return len(set(opinions)) > 1 if len(opinions) > 1 else None

    @property
    def diagnosis(self) -> str | None:
        """The diagnosis that reviewers give; None where there is none, or they differ."""
        opinions = [one.opinion for one in self.of_this if one.opinion is not None]
        return opinions[0] if opinions and not self.reviewers_differ else None

    @property
    def state(self) -> str:
        """The state in words."""
        if not self.reviews:
            return "not reviewed"
        if not self.of_this:
            return "of an earlier prediction"
        if self.reviewers_differ:
            return "reviewers differ"
        return {True: "agreed", False: "other diagnosis", None: self._undecided}[self.is_agreed]

    @property
    def _undecided(self) -> str:
        return "cannot tell" if all(one.opinion is None for one in self.of_this) else "diagnosis stated"

    @property
    def in_words(self) -> str:
        """Who said what, and when; empty without a review."""
        shown = self.of_this or self.reviews
        lead = "Reviewed by" if self.of_this else "Another prediction was reviewed by"
        return f"{lead} {'; '.join(one.in_words for one in shown)}" if shown else ""


@dataclass(frozen=True)
class ReviewedPatient(Reviews):
    """The reviews of a patient's newest prediction in a folder of results."""

    patient: PatientFile


@dataclass(frozen=True)
class Share:
    """In how many of so many patients something holds."""

    name: str
    right: int
    patients: int

    @property
    def interval(self) -> Interval:
        """The share with its 95 % interval."""
        return proportion(self.right, self.patients)


def fingerprint(prediction: Prediction) -> str:
    """Return what tells a prediction from one made anew, of other cells, or with another result."""
    shown = None if prediction.withheld else prediction.predicted_class
    parts = (prediction.patient_id, prediction.smear_fingerprint, prediction.model_fingerprint, prediction.created)
    return hashlib.sha256(json.dumps([*parts, shown, *sorted(prediction.cells)]).encode()).hexdigest()


def corrected_in_words(cells: int) -> str:
    """Return e.g. ``", with 12 corrected cells"``; empty where there is none."""
    return f", with {counted(cells, 'corrected cell')}" if cells else ""


def review_folder(folder: StrPath) -> Path:
    """Return the folder whose file gets the reviews of the predictions in a folder of results, or in a patient's.

    A patient's folder in a folder of results keeps none of its own: all reviews of a run are in one file.
    """
    folder = _folder(folder)
    is_in_results = any((folder.parent / name).exists() for name in (PATIENT_TABLE, LEDGER, NAME))
    return folder.parent if is_in_results and (folder / FILE_NAME).exists() else folder


def _folder(place: StrPath) -> Path:
    """Return the folder that is meant, also where the ``prediction.json`` in it is named."""
    place = Path(place).absolute()
    return place.parent if place.is_file() else place


def read_reviews(folder: StrPath) -> tuple[tuple[Review, ...], tuple[str, ...]]:
    """Return all reviews in a folder of results in the order of writing, and a sentence for each damaged line.

    A patient's folder may have a file of its own, from before it was in a folder of results; its reviews come first.
    Named alone, it has those of its `review_folder` too. Raises `JournalUnreadable` where a newer version wrote one.
    """
    folder, above = _folder(folder), review_folder(folder)
    own = folder.glob(f"*/{NAME}") if above == folder else [folder / NAME]
    found = [Journal(file, Review).read() for file in (*sorted(own), above / NAME)]
    return tuple(r for one in found for r in one.records), tuple(p for one in found for p in one.problems)


def add_review(
    folder: StrPath,
    prediction: Prediction,
    verdict: Verdict,
    *,
    by: str,
    diagnosis: str = "",
    comment: str = "",
    labels: dict[str, str] | None = None,
) -> Review:
    """Add a review of a prediction in a folder of results; it is on the disk when this returns.

    Parameters
    ----------
    folder : str or Path
        With the saved prediction; the ``reviews.jsonl`` of its `review_folder` gets one more line.
    prediction : Prediction
        The one that the reviewer saw.
    verdict : {"agree", "other", "cannot tell"}
    by : str
        Who reviews.
    diagnosis : str
        Of the verdict "other": a class by its name or slug, or free text.
    comment : str
    labels : dict of str to str, optional
        Cell -> its label, where it was corrected.

    Returns
    -------
    Review

    Raises
    ------
    ReviewRefused
        The review does not fit the prediction.
    OutputRefused
        The file cannot be written.
    """
    taxonomy, patient, predicted = prediction.taxonomy, prediction.patient_id, shown_class(prediction)
    names = {text.casefold(): one.name for one in taxonomy.classes for text in (one.slug, one.name)}
    diagnosis = names.get(diagnosis.strip().casefold(), diagnosis.strip())
    refusal = {
        "State who reviews: a name is missing.": not by.strip(),
        f"{patient}: no class is shown as its result, so there is nothing to agree with; state the diagnosis.": (
            verdict == "agree" and predicted is None
        ),
        f"{patient}: state the other diagnosis.": verdict == "other" and not diagnosis,
        f"{patient}: {diagnosis} is the class that was predicted; agree instead.": (
            verdict == "other" and diagnosis == predicted
        ),
        f"{patient}: a corrected cell is not one of its cells; write its name as in cells.csv.": (
            not set(labels or {}) <= set(prediction.cells)
        ),
    }
    if reasons := [sentence for sentence, holds in refusal.items() if holds]:
        raise ReviewRefused(reasons[0])
    if not Path(folder).exists():  # A drive that is lost must not be replaced by a new folder of that name
        raise OutputRefused(f"{folder} is not there: connect its drive, or save the prediction again.")
    review = Review(
        patient_id=patient,
        prediction=fingerprint(prediction),
        predicted=predicted,
        verdict=verdict,
        diagnosis=diagnosis if verdict == "other" else "",
        comment=comment.strip(),
        reviewer=" ".join(by.split()),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        labels=labels or {},
    )
    Journal(review_folder(folder) / NAME, Review).append(review)
    return review


def shown_class(prediction: Prediction) -> str | None:
    """Return the class that is shown as the result, with which one can agree; None where there is none."""
    return prediction.predicted_class if prediction.stands_out and not prediction.withheld else None


def seen(prediction: Prediction) -> dict[str, Value]:
    """Return what reviews are compared with, and ``shown``, how a list shows the prediction."""
    predicted = shown_class(prediction)
    no_class = "withheld" if prediction.withheld else f"{NO_CLASS} ({prediction.predicted_class})"
    return {"fingerprint": fingerprint(prediction), "predicted": predicted, "shown": predicted or no_class}


def read_reviewed(folder: StrPath, *, progress: OnProgress = ignore) -> tuple[tuple[ReviewedPatient, ...], Results]:
    """Return all patients in a folder of results with their reviews, and what was read; see `read_results`."""
    results = read_results(folder, seen, progress=progress)
    reviews, problems = read_reviews(folder)
    return reviewed(results.patients, reviews), Results(
        results.patients, results.replaced, (*results.problems, *problems)
    )


def save_reviews(reviews: Sequence[Review], path: Path) -> None:
    """Write all reviews as CSV, one row each, in the order of writing; `OutputRefused` when it cannot be written."""
    import pandas as pd

    rows = [one.model_dump() | {"labels": json.dumps(one.labels)} for one in reviews]
    columns = [name for name in Review.model_fields if name != "schema_version"]
    write_csv(pd.DataFrame(rows, columns=columns), path)


def reviewed(patients: Iterable[PatientFile], reviews: Iterable[Review]) -> tuple[ReviewedPatient, ...]:
    """Return patients with each person's newest review."""
    known = newest(reviews)
    return tuple(ReviewedPatient(one.values, known.get(one.patient_id, ()), one) for one in patients)


def newest(reviews: Iterable[Review]) -> dict[str, tuple[Review, ...]]:
    """Return patient -> each person's newest review."""
    found = dict[str, dict[str, Review]]()
    for one in reviews:
        of_patient = found.setdefault(one.patient_id, {})
        of_patient.pop(one.reviewer.casefold(), None)  # the newest is last
        of_patient[one.reviewer.casefold()] = one
    return {patient: tuple(by_person.values()) for patient, by_person in found.items()}


def agreement(patients: Sequence[ReviewedPatient]) -> tuple[Share, ...]:
    """Return the share of agreed patients: of all, by class, by month of the prediction; then that between reviewers.

    A patient is agreed where all who can tell agree. Shares of no patients are not returned.
    """
    told = [one for one in patients if one.is_agreed is not None]
    groups = {"all": told}
    for one in sorted(told, key=lambda one: str(one.patient.values["predicted"])):
        groups.setdefault(f"predicted {one.patient.values['predicted']}", []).append(one)
    for one in told:
        groups.setdefault(f"{one.patient.created:%Y-%m}", []).append(one)
    shares = [Share(name, sum(one.is_agreed is True for one in group), len(group)) for name, group in groups.items()]
    several = [one.reviewers_differ for one in patients if one.reviewers_differ is not None]
    shares.append(Share("between reviewers", several.count(False), len(several)))
    return tuple(share for share in shares if share.patients)
