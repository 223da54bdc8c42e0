"""``run.json`` in a feature folder: what was computed with what, when, how long it took, and what failed.

It is rewritten during a run, completely and under a temporary name, so that a killed run leaves the last version. What
that does not record yet can be read from the feature files themselves.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from napari_caltomorph.cohort.encode_patient import MadeWith, PatientRecord
from napari_caltomorph.storage import replacing

FILE_NAME = "run.json"

# Rewriting takes 0.1 s for some thousand patients; it may cost a twentieth of the time.
_SHARE = 20


class Run(BaseModel):
    """One call of `encode_cohort`; the next one sets ``killed`` where it did not end."""

    model_config = ConfigDict(extra="forbid")

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
        self._path = folder / FILE_NAME
        self._content = _read(self._path)
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


def _read(path: Path) -> _Content:
    """Read what earlier runs recorded; nothing where that cannot be read: then every patient is read again."""
    try:
        return _Content.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return _Content()
