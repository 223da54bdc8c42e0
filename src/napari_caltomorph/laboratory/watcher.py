"""The rounds of a watch: look at the folder, predict what has come to rest, wait; whatever happens to the drives.

What a prediction is, is `Work`: so all faults can be simulated without a model. The order of steps in `Watcher._take`
keeps the promise: each content of an export is predicted once, however often the process is killed.
"""

from __future__ import annotations

import contextlib
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.prediction_files import folder_name, prediction_file
from napari_caltomorph.errors import CaltomorphError, FolderLost, OutputRefused, SmearUnreadable, counted
from napari_caltomorph.laboratory.ledger import TRIES, Ledger
from napari_caltomorph.laboratory.watch import Look, Resting, Scan, WatchOptions, look_at, scan
from napari_caltomorph.laboratory.watched import State, Watched, WatchProgress
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.smear import patient_id
from napari_caltomorph.smear.read import natural
from napari_caltomorph.storage import raise_if_of_all

_TICK_S = 0.2
_SHARE = 9  # Looking at a large folder on a slow drive takes at most a tenth of the time


@dataclass(frozen=True)
class Predicted:
    """A prediction that is on the disk."""

    prediction: Prediction
    fingerprint: str  # Of the images
    earlier: str = ""  # Where the prediction before this one is kept
    problem: str = ""  # Why there is no report


class Opened(Protocol):
    """An export that was read."""

    @property
    def fingerprint(self) -> str:
        """What is the same for the same images."""

    def predict(self, check: Callable[[], None], progress: OnProgress) -> Predicted:
        """Predict and write; `check` is called before writing, and raises where the export has changed."""


class Work(Protocol):
    """What is done with an export that is at rest. Reading raises `SmearUnreadable`, writing `OutputRefused`."""

    def load(self, file: Path) -> Prediction | None:
        """Return a prediction that was made before; None where the file is not there or damaged."""

    def open(self, patient: str, path: Path, progress: OnProgress) -> Opened:
        """Read an export."""

    def save_tables(self, predictions: Sequence[Prediction]) -> None:
        """Write the tables of all patients."""


class Watcher:
    """Watches one folder."""

    def __init__(
        self,
        folder: Path,
        out: Path,
        work: Work,
        options: WatchOptions,
        progress: OnProgress,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder, self._out, self._work, self._options = folder, out, work, options
        self._progress, self._clock, self._sleep = progress, clock, sleep
        self._ledger = Ledger(out)
        self._resting = Resting(options.settle)
        self._shown: dict[str, Watched] = {}
        self._not_before: dict[str, tuple[Look, float]] = {}  # After a failure
        self._note = " ".join(self._ledger.problems)
        self._tables = (False, float("-inf"))  # Whether they are of earlier predictions; not before this time

    @property
    def exports(self) -> list[Watched]:
        """All exports that were seen, in natural order."""
        return [self._shown[name] for name in sorted(self._shown, key=natural)]

    def run(self, setup: Mapping[str, object]) -> None:
        """Watch until `progress` raises, or until all is done with the option `once`."""
        self._ledger.start(setup)
        self._tick()
        self._load()
        pause = 0.0
        while True:
            began = self._clock()
            try:
                found = self._look()
                took = self._clock() - began
                self._note = _of_loose(self._folder, found)
                self._round(found, pause + took)
                if self._options.once and self._is_finished(found):
                    return
            except (FolderLost, OutputRefused) as error:
                if self._options.once:
                    raise
                if isinstance(error, FolderLost):
                    self._resting.restart()
                self._note, took = f"Waiting: {error}", 0.0
            pause = max(self._options.every, _SHARE * took)
            self._pause(pause)

    def _load(self) -> None:
        """Take the predictions that were made before; one whose file was removed is made again."""
        for number, (export, record) in enumerate(list(self._ledger.newest.items())):
            self._progress(Progress("Reading predictions", number, len(self._ledger.newest), "patients"))
            file = self._out / record.prediction
            if (prediction := self._work.load(file)) is None:
                self._ledger.forget(export)
            else:
                path = self._folder / export
                self._show(Watched(export, record.patient_id, path, "predicted", "before", prediction, file))
                self._tables = (True, self._tables[1])

    def _look(self) -> Scan:
        self._ledger.refuse_gone()
        found = scan(self._folder, self._tick)
        if not found.looks and (self._shown or self._ledger.seen):
            raise FolderLost(f"{self._folder} is empty; connect its drive, or wait for the next export.")
        return found

    def _round(self, found: Scan, since_last: float) -> None:
        """Predict what is at rest; `since_last` is the time since the last look without that of predictions."""
        now = self._clock()
        at_rest = self._resting.see(found.looks, now, since_last)
        for export in self._ledger.open - found.looks.keys():
            self._ledger.add("gone", export)
            self._show_state(export, self._folder / export, "gone", "it was moved away before it was predicted")
        due = []
        for export, look in found.looks.items():
            if export not in self._ledger.seen:
                self._ledger.add("seen", export, look)
            if self._is_over(export, look, now):
                continue
            if export in at_rest:
                self._show_state(export, look.path, "waiting")
                due.append(export)
            else:
                self._show_state(export, look.path, "arriving", look.unfinished or look.in_words)
        # One that ended the process before is the last one
        for export in sorted(due, key=lambda one: (self._ledger.tries(one, found.looks[one]), natural(one))):
            if self._is_still(look := found.looks[export]):
                self._take(export, look, found)
        self._write_tables(is_last=self._options.once)

    def _is_over(self, export: str, look: Look, now: float) -> bool:
        """Whether nothing is to be done for an export as it is, now; its state is shown."""
        if self._ledger.is_done(export, look):
            other = self._ledger.duplicate_of(export)
            state: State = "predicted" if other is None else "duplicate"
            if export not in self._shown or self._shown[export].state != state:
                self._show_state(export, look.path, state, "" if other is None else f"the same images as {other}")
            return True
        failed, until = self._not_before.get(export, (None, 0.0))
        is_over = self._ledger.tries(export, look) >= TRIES or (failed == look and now < until)
        if is_over:
            self._show_state(export, look.path, "failed", self._ledger.problem(export))
        return is_over

    def _take(self, export: str, look: Look, found: Scan) -> None:
        """Predict an export that is at rest."""
        patient = patient_id(look.path)
        self._ledger.add("begun", export, look, patient_id=patient)
        self._show_state(export, look.path, "predicting")
        try:
            self._refuse_clash(export, patient, found)
            opened = self._work.open(patient, look.path, self._progress)
            self._check(look)
            if self._is_known(export, patient, look, opened.fingerprint):
                return
            made = opened.predict(lambda: self._check(look), self._progress)
        except (SmearUnreadable, OutputRefused) as error:
            self._fail(export, look, error)
            return
        except BaseException as error:
            with contextlib.suppress(OutputRefused):
                self._ledger.add("stopped", export, look, problem=type(error).__name__)
            raise
        file = prediction_file(self._out, patient, patients=2)
        about = {"patient_id": patient, "smear_fingerprint": made.fingerprint, "earlier": made.earlier}
        about["problem"] = made.problem
        self._ledger.add("predicted", export, look, prediction=file.relative_to(self._out).as_posix(), **about)
        self._show(Watched(export, patient, look.path, "predicted", made.problem, made.prediction, file))
        self._tables = (True, self._tables[1])

    def _is_known(self, export: str, patient: str, look: Look, fingerprint: str) -> bool:
        """Whether the images were predicted already, for this export or under another name; this is recorded."""
        about = {"patient_id": patient, "smear_fingerprint": fingerprint}
        newest, known = self._ledger.newest.get(export), self._ledger.export_of(fingerprint)
        if newest is not None and newest.smear_fingerprint == fingerprint:
            self._ledger.add("unchanged", export, look, **about)
            self._show_state(export, look.path, "predicted", "its images are as before")
            return True
        if known is not None and known != export:
            self._ledger.add("duplicate", export, look, problem=known, **about)
            self._show_state(export, look.path, "duplicate", f"the same images as {known}")
            return True
        return False

    def _fail(self, export: str, look: Look, error: CaltomorphError) -> None:
        """Record why there is no prediction, unless the reason is that the export changed, or the results' drive."""
        if isinstance(error, OutputRefused):
            try:
                self._ledger.refuse_gone()
                raise_if_of_all(error, self._out)
            except OutputRefused:
                with contextlib.suppress(OutputRefused):
                    self._ledger.add("stopped", export, look, problem=str(error))
                raise
        if not self._is_still(look):
            self._ledger.add("stopped", export, look, problem=f"It changed, or its drive was lost: {error}")
            return
        self._ledger.add("failed", export, look, patient_id=patient_id(look.path), problem=str(error))
        pause = max(self._options.every, self._options.settle) * 2 ** self._ledger.tries(export, look)
        self._not_before[export] = look, self._clock() + pause
        self._show_state(export, look.path, "failed", str(error))

    def _refuse_clash(self, export: str, patient: str, found: Scan) -> None:
        """Raise `OutputRefused` where another export that is still there has the folder of this patient."""
        for other, record in self._ledger.newest.items():
            if other != export and other in found.looks and _key(record.patient_id) == _key(patient):
                raise OutputRefused(f"{export} and {other} would share the results of {patient}; rename one.")

    def _check(self, look: Look) -> None:
        if not self._is_still(look):
            raise SmearUnreadable(f"{look.path} changed while it was read; it is predicted when it is complete.")
        self._ledger.refuse_gone()

    def _is_still(self, look: Look) -> bool:
        try:
            return look_at(look.path).digest == look.digest
        except OSError:
            return False

    def _is_finished(self, found: Scan) -> bool:
        """Whether nothing is left for the option `once`: what changes while it runs is left to the next run."""
        return all(
            look.unfinished
            or self._shown[export].state in ("predicted", "duplicate", "failed")
            or self._resting.since(export) > 0
            for export, look in found.looks.items()
        )

    def _write_tables(self, *, is_last: bool) -> None:
        is_due, not_before = self._tables
        began = self._clock()
        if not is_due or (began < not_before and not is_last):
            return
        self._work.save_tables([one.prediction for one in self.exports if one.prediction is not None])
        now = self._clock()
        self._tables = (False, now + _SHARE * (now - began))

    def _show_state(self, export: str, path: Path, state: State, note: str = "") -> None:
        known = self._shown.get(export)
        prediction, file = (None, None) if known is None else (known.prediction, known.file)
        self._show(Watched(export, patient_id(path), path, state, note, prediction, file))

    def _show(self, watched: Watched) -> None:
        before = self._shown.get(watched.export)
        if before != watched:
            self._shown[watched.export] = watched
            self._report(watched)

    def _tick(self) -> None:
        self._report(None)

    def _report(self, watched: Watched | None) -> None:
        done = sum(one.state in ("predicted", "duplicate") for one in self._shown.values())
        self._progress(WatchProgress("Watching", done, len(self._shown), "exports", watched, self._note))

    def _pause(self, seconds: float) -> None:
        end = self._clock() + seconds
        while (left := end - self._clock()) > 0:
            self._tick()
            self._sleep(min(left, _TICK_S))


def _key(patient: str) -> str:
    """Return what is the same for patients whose folders are the same on some systems."""
    return unicodedata.normalize("NFC", folder_name(patient)).casefold()


def _of_loose(folder: Path, found: Scan) -> str:
    if not found.loose:
        return ""
    count = f"{counted(len(found.loose), 'image')} in {folder} {'belong' if len(found.loose) > 1 else 'belongs'}"
    return f"{count} to no patient (first: {found.loose[0]}): a patient is a folder or a zip archive."
