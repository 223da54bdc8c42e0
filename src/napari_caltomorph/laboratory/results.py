"""The patients in a folder of results, in the order in which they were predicted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.prediction import FILE_NAME
from napari_caltomorph.errors import PredictionUnreadable
from napari_caltomorph.laboratory.journal import Journal, JournalContent
from napari_caltomorph.laboratory.ledger import NAME as LEDGER
from napari_caltomorph.laboratory.ledger import WatchRecord
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.storage import StrPath

Value = float | str | None
"""A number, a category, or what is not known."""


@dataclass(frozen=True)
class PatientFile:
    """The prediction of one patient: what is followed of it, and not its cells, since there may be thousands."""

    file: Path
    patient_id: str
    created: datetime
    model_name: str
    model_fingerprint: str
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Results:
    """What a folder of results holds: the newest prediction of each patient, in order."""

    patients: tuple[PatientFile, ...]
    replaced: tuple[PatientFile, ...] = ()  # Older predictions of the same patients
    problems: tuple[str, ...] = ()  # A sentence for each file that is left out


def read_results(
    folder: StrPath, measure: Callable[[Prediction], Mapping[str, Value]], *, progress: OnProgress = ignore
) -> Results:
    """Read all ``prediction.json`` in a folder of results and in the folders of its patients, or one such file.

    `measure` returns the values of each. The order is that of `created`; where the folder has the ledger of a watch, it
    is the ledger's, since a clock may have been set back. What cannot be read is left out and reported. Raises
    `PredictionUnreadable` where there is no prediction, or none that can be read.
    """
    folder = Path(folder)
    is_file = folder.is_file()
    files = [folder] if is_file else sorted([*folder.glob(FILE_NAME), *folder.glob(f"*/{FILE_NAME}")])
    if not files:
        raise PredictionUnreadable(
            f"{folder} has no {FILE_NAME}, and no folder in it has one; name a folder that `caltomorph predict` wrote."
        )
    lines = JournalContent[WatchRecord]() if is_file else Journal(folder / LEDGER, WatchRecord).read()
    found, problems = list[PatientFile](), list(lines.problems)
    for number, file in enumerate(files, start=1):
        progress(Progress("Reading", number, len(files), "predictions"))
        try:
            prediction = Prediction.load(file)
            created = datetime.fromisoformat(prediction.created)
        except PredictionUnreadable as error:
            problems.append(f"Left out: {error}")
        except ValueError:
            problems.append(f"Left out: {file} has no date that can be read ({prediction.created[:40]!r}).")
        else:
            created = created if created.tzinfo else created.replace(tzinfo=UTC)
            about = prediction.patient_id, created, prediction.model_name, prediction.model_fingerprint
            found.append(PatientFile(file, *about, measure(prediction)))
    if not found:
        raise PredictionUnreadable(f"{folder}: no prediction in it can be read. {problems[len(lines.problems)]}")
    places = [folder / line.prediction for line in lines.records if line.event == "predicted"]
    ordered = _in_order(found, {place: number for number, place in enumerate(places)})
    newest = {one.patient_id: one.file for one in ordered}
    kept = tuple(one for one in ordered if newest[one.patient_id] == one.file)
    replaced = tuple(one for one in ordered if newest[one.patient_id] != one.file)
    return Results(kept, replaced, tuple(problems))


def _in_order(found: Sequence[PatientFile], ledger: dict[Path, int]) -> list[PatientFile]:
    """Sort by time, of which the ledger's is never before that of the line above."""
    recorded = sorted((one for one in found if one.file in ledger), key=lambda one: ledger[one.file])
    times = accumulate((one.created for one in recorded), max)
    at = {one.file: time for one, time in zip(recorded, times, strict=True)}
    return sorted(found, key=lambda one: (at.get(one.file, one.created), ledger.get(one.file, -1), str(one.file)))
