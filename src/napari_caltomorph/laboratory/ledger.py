"""What a watch has seen, predicted and failed to predict, in ``watch.jsonl`` next to the predictions.

A line is written before a prediction begins and after it is on the disk. So whatever ends the process, the next one
knows what was done, and an export that ends the process again and again is not tried for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from napari_caltomorph.about import library_version
from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.laboratory.journal import Journal
from napari_caltomorph.laboratory.watch import Look

NAME = "watch.jsonl"
TRIES = 5
"""After so many failures, or ends of the process, an export is left alone until it changes."""

# begun: its prediction begins. stopped: it was ended, or the export changed meanwhile, so that nothing is known.
Event = Literal["started", "seen", "begun", "stopped", "predicted", "unchanged", "duplicate", "failed", "gone"]
_DONE = ("predicted", "unchanged", "duplicate")


class WatchRecord(BaseModel, frozen=True, extra="forbid"):
    """One line of the ledger."""

    schema_version: Literal[1] = 1
    at: str  # By this machine's clock, which may be wrong: the order is that of the lines
    event: Event
    version: str  # Of this library
    export: str = ""  # Name of the folder or archive in the watched folder
    look: str = ""  # `Look.digest`
    files: int = 0
    bytes: int = 0
    patient_id: str = ""
    smear_fingerprint: str = ""
    prediction: str = ""  # The prediction.json, below the folder of the results
    earlier: str = ""  # Where the prediction before this one is kept
    problem: str = ""  # Why it failed or was stopped; of a duplicate, the export with the same images
    setup: dict[str, Any] | None = None  # What all predictions of the folder have in common


class Ledger:
    """The records of one folder of results, and what follows from them."""

    def __init__(self, out: Path) -> None:
        self._journal = Journal(out / NAME, WatchRecord)
        content = self._journal.read()
        self.problems = content.problems
        self.seen = set[str]()
        self.setup: dict[str, Any] | None = None
        self.newest: dict[str, WatchRecord] = {}  # The newest prediction of each export
        self._last: dict[str, WatchRecord] = {}
        self._tries: dict[str, int] = {}
        self._of_content: dict[str, str] = {}
        for record in content.records:
            self._take(record)

    def refuse_gone(self) -> None:
        """Raise `OutputRefused` where the file is gone: with its drive, whose folder another disk would then fill."""
        if not self._journal.path.is_file():
            raise OutputRefused(f"{self._journal.path.parent} is gone ({NAME} is not in it); connect its drive.")

    @property
    def open(self) -> set[str]:
        """The exports that were seen, of which nothing is predicted."""
        done = {export for export, last in self._last.items() if last.event in _DONE}
        return self.seen - done - self.newest.keys()

    def start(self, setup: Mapping[str, Any]) -> None:
        """Record a new run; `OutputRefused` where earlier ones were of another folder, model or way of reading."""
        for name, value in (self.setup or {}).items():
            if setup.get(name) != value:
                raise OutputRefused(
                    f"{self._journal.path.parent} has predictions of a watch with another {name} ({value}); choose "
                    "another folder for the predictions."
                )
        self._write(WatchRecord(event="started", setup=dict(setup), **_now()))

    def add(self, event: Event, export: str, look: Look | None = None, **about: str) -> None:
        """Write a record; it is on the disk when this returns."""
        shown = {} if look is None else {"look": look.digest, "files": look.files, "bytes": look.size}
        record = WatchRecord(event=event, export=export, **_now(), **shown, **about)
        self.refuse_gone()
        self._write(record)

    def is_done(self, export: str, look: Look) -> bool:
        """Whether nothing is to be done for an export unless it changes."""
        last = self._last.get(export)
        return last is not None and last.look == look.digest and last.event in _DONE

    def duplicate_of(self, export: str) -> str | None:
        """Return the export with the same images, of one that was not predicted because of them."""
        last = self._last[export]
        return last.problem if last.event == "duplicate" else None

    def tries(self, export: str, look: Look) -> int:
        """Return how often the prediction of an export as it is now was begun by this version, and did not succeed."""
        last = self._last.get(export)
        is_same = last is not None and (last.look, last.version) == (look.digest, library_version())
        return self._tries.get(export, 0) if is_same else 0

    def problem(self, export: str) -> str:
        """Return why an export was not predicted; of one that ended the process, that it did."""
        last = self._last[export]
        return last.problem or f"the process ended {self._tries[export]} times while {export} was predicted."

    def export_of(self, fingerprint: str) -> str | None:
        """Return the export with these images that was predicted first."""
        return self._of_content.get(fingerprint)

    def forget(self, export: str) -> None:
        """Let an export be predicted again: its prediction is no longer there."""
        record = self.newest.pop(export)
        self._last.pop(export)
        self._of_content.pop(record.smear_fingerprint, None)

    def _write(self, record: WatchRecord) -> None:
        self._journal.append(record)
        self._take(record)

    def _take(self, record: WatchRecord) -> None:
        export = record.export
        if record.event == "started":
            self.setup = record.setup
        elif record.event == "seen":
            self.seen.add(export)
        elif record.event == "gone":
            self.seen.discard(export)
        elif record.event == "begun":
            last = self._last.get(export)
            is_same = last is not None and (last.look, last.version) == (record.look, record.version)
            self._tries[export] = 1 + (self._tries.get(export, 0) if is_same else 0)
            self._last[export] = record
        else:
            self._tries[export] = max(self._tries.get(export, 0) - (record.event == "stopped"), 0)
            self._last[export] = record
        if record.event == "predicted":
            self.newest[export] = record
            self._of_content.setdefault(record.smear_fingerprint, export)


def _now() -> dict[str, str]:
    return {"at": datetime.now().astimezone().isoformat(timespec="seconds"), "version": library_version()}
