"""A feature folder: the file of each patient, the journal ``run.json``, and one run at a time that writes.

The journal records what was computed with what, when, how long it took, and what failed. It is rewritten during a run,
completely and under a temporary name, so that a killed run leaves the last version. What that does not record yet can
be read from the feature files themselves.
"""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.diagnosis.prediction_files import folder_name
from napari_caltomorph.encoding.h5_process import MADE_ALIKE, FeatureOrigin
from napari_caltomorph.encoding.h5_reader import SUFFIXES, read_bag
from napari_caltomorph.errors import FeaturesRefused
from napari_caltomorph.reading import read_document
from napari_caltomorph.storage import StrPath, is_file, only_run, paths_of, replacing

LOCK = ".caltomorph-encode.lock"
JOURNAL = "run.json"

# Rewriting takes 0.1 s for some thousand patients; it may cost a twentieth of the time.
_SHARE = 20


def feature_path(folder: StrPath, patient_id: str) -> Path:
    """Return where a patient's features are in a feature folder."""
    return Path(folder) / f"{folder_name(patient_id)}.h5"


def feature_files(cohort: Cohort, folder: StrPath | None) -> dict[str, tuple[Path, ...]]:
    """Return the feature files of each patient that has any, by id, in the cohort's order; `load_bag` reads them.

    It is the file in the feature folder, if one is given, else those that the cohort's column ``features`` names: one,
    or one for each slide.
    """
    files: dict[str, tuple[Path, ...]] = {}
    for patient, named in zip(cohort.table["patient_id"], cohort.table["features"], strict=True):
        name = folder_name(patient)
        candidates = [] if folder is None else [[Path(folder) / f"{name}{suffix}"] for suffix in SUFFIXES]
        candidates += [] if pd.isna(named) else [paths_of(named)]
        if paths := next((paths for paths in candidates if all(map(is_file, paths))), None):
            files[patient] = tuple(paths)
    return files


def refuse_other_features(folder: Path, made: MadeWith) -> None:
    """Raise `FeaturesRefused` for a folder with features that must not be mixed with these; the message names both."""
    for path in folder.glob("*.h5"):
        try:
            origin = read_bag(path, description_only=True).origin
        except FeaturesRefused:
            continue  # damaged: encoded again, if it is one of the cohort's patients
        if any(getattr(origin, name) != getattr(made, name) for name in MADE_ALIKE):
            both = f"{_in_words(origin)} and {_in_words(made)}"
            raise FeaturesRefused(
                f"{folder} would mix features of {both}: {path.name} is of the first. Choose another feature folder."
            )


def _in_words(made: FeatureOrigin | MadeWith) -> str:
    names = (made.encoder, (made.weights_sha256 or "unknown")[:12], made.precision, made.preprocessing)
    encoder, weights, precision, preprocessing = (name or "unknown" for name in names)
    views = f", views {made.views}" if made.views else ""
    return f"{encoder} (weights {weights}, {precision}, {preprocessing}{views})"


def locked(folder: Path) -> AbstractContextManager[bool]:
    """Make the folder and keep other runs out of it while the block runs; `OutputRefused` where that is not possible.

    Temporary files of a run, or of a worker, that was killed are removed.
    """
    return only_run(folder, LOCK, "another feature folder")


class MadeWith(BaseModel, frozen=True, extra="forbid"):
    """What features are computed with; all but the device and the libraries are the same for a whole folder."""

    encoder: str
    weights_sha256: str
    preprocessing: str
    precision: str
    device: str
    library_versions: dict[str, str]
    field_of_view_um: float | None = None  # Width of a cell's image as the user states it
    views: str | None = None

    def is_of(self, origin: FeatureOrigin | MadeWith) -> bool:
        """Whether features of that origin can be in one folder with these."""
        if not all(getattr(self, name) == getattr(origin, name) for name in MADE_ALIKE):
            return False
        stated, found = self.field_of_view_um, origin.field_of_view_um
        return stated is None or (found is not None and math.isclose(stated, found))


class PatientRecord(BaseModel, frozen=True, extra="forbid"):
    """The outcome for one patient.

    ``encoded`` now; ``found`` complete, by a run that was killed before it recorded that; or ``failed``.
    """

    patient_id: str
    outcome: Literal["encoded", "found", "failed"]
    file: str
    path: str | None
    cells: int | None = None
    left_out: dict[str, int] = {}
    fingerprint: str | None = None
    listing: str | None = None
    made: str | None = None
    assumed: tuple[str, ...] = ()  # `FeatureOrigin.assumptions`
    seconds: float = 0.0
    reason: str | None = None


class Run(BaseModel, extra="forbid"):
    """One call of `encode_cohort`; the next one sets ``killed`` where it did not end."""

    cohort: str
    source: str
    made_with: MadeWith
    workers: int
    scheduler: str | None
    started: str
    seconds: float = 0.0
    outcome: Literal["running", "complete", "stopped", "killed"] = "running"
    encoded: int = 0
    found: int = 0
    skipped: int = 0
    failed: int = 0


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    runs: list[Run] = []
    patients: dict[str, PatientRecord] = {}


class Journal:
    """The ``run.json`` of a feature folder, while one run adds to it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        self._content = _read_journal(self._path)
        self._start = self._due = time.monotonic()
        for run in self._content.runs:
            if run.outcome == "running":
                run.outcome = "killed"

    def record_of(self, patient_id: str) -> PatientRecord | None:
        """The outcome for a patient in an earlier run."""
        return self._content.patients.get(patient_id)

    def begin(self, run: Run) -> None:
        """Record that a run has started."""
        self._content.runs.append(run)
        self._start = time.monotonic()
        self._save()

    def add(self, record: PatientRecord) -> None:
        """Record the outcome for a patient."""
        self._content.patients[record.patient_id] = record
        run = self._content.runs[-1]
        setattr(run, record.outcome, getattr(run, record.outcome) + 1)
        if time.monotonic() >= self._due:
            self._save()

    def take_back(self, record: PatientRecord, claimed: str) -> None:
        """Record the failure of a patient that was counted as `claimed`, e.g. "skipped"."""
        run = self._content.runs[-1]
        setattr(run, claimed, getattr(run, claimed) - 1)
        self.add(record)

    def end(self, outcome: Literal["complete", "stopped"]) -> Run:
        """Record how the run ended, and return it."""
        run = self._content.runs[-1]
        run.outcome = outcome
        self._save()
        return run

    def _save(self) -> None:
        begin = time.monotonic()
        self._content.runs[-1].seconds = round(begin - self._start, 3)
        with replacing(self._path) as part:
            part.write_text(self._content.model_dump_json(indent=1), "utf-8")
        now = time.monotonic()
        self._due = now + _SHARE * (now - begin)


def now() -> str:
    """Return the time, as ``run.json`` has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _read_journal(path: Path) -> _Content:
    """Read what earlier runs recorded; nothing where that cannot be read: then every patient is read again."""
    try:
        return _Content.model_validate(read_document(path))
    except (OSError, ValueError):
        return _Content()
