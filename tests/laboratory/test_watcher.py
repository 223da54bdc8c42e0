"""A watch in a simulated laboratory: exports that grow, drives that vanish, full disks, and processes that are killed.

Nothing is predicted while it is unfinished, nothing twice, and in the end nothing is missing.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_caltomorph.errors import DiskFull, SmearUnreadable
from napari_caltomorph.laboratory import Journal, Predicted, Watcher, WatchOptions, WatchRecord
from napari_caltomorph.progress import Cancelled, OnProgress, Progress

SETTLE, EVERY = 60.0, 10.0
NAMES = ("P1", "P2", "P3")


class Killed(BaseException):
    """The process ends without a word."""


def content(folder: Path) -> str:
    """What a reader sees: all files but those that are not complete."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


@dataclass
class Laboratory:
    """A scanner that exports, a drive, a disk for the results, a clock, and a prediction that only hashes."""

    root: Path
    now: float = 0.0
    is_full: bool = False
    is_killed: bool = False
    changed: dict[str, float] = field(default_factory=dict)  # export -> when it changed last
    written: list[tuple[str, str]] = field(default_factory=list)  # Predictions: patient and content
    events: list[Callable[[], None]] = field(default_factory=list)  # What happens next, one a pause or reading
    kills: int = 0

    def __post_init__(self) -> None:
        self.folder, self.away, self.out = (self.root / name for name in ("scanner", "unplugged", "out"))
        self.folder.mkdir()

    # what happens

    @property
    def drive(self) -> Path:
        return self.away if self.away.exists() else self.folder

    def write(self, export: str, name: str = "") -> None:
        folder = self.drive / export
        folder.mkdir(exist_ok=True)
        name = name or f"{len(list(folder.iterdir()))}.tif"
        (folder / name).write_text(f"{export} {name} {self.now}")
        self.changed[export] = self.now

    def begin_part(self, export: str) -> None:
        self.write(export, "next.tif.part")

    def end_part(self, export: str) -> None:
        part = self.drive / export / "next.tif.part"
        if part.exists():
            part.rename(part.with_name(f"{len(list(part.parent.iterdir()))}.tif"))
            self.changed[export] = self.now

    def copy(self, export: str) -> None:
        copy = self.drive / f"{export}_copy"
        if (self.drive / export).exists() and not copy.exists():
            shutil.copytree(self.drive / export, copy)
            self.changed[copy.name] = self.now

    def rename(self, export: str) -> None:
        if (self.drive / export).exists() and not (self.drive / f"{export}_new").exists():
            (self.drive / export).rename(self.drive / f"{export}_new")
            self.changed[f"{export}_new"] = self.now

    def lose(self) -> None:
        if not self.away.exists():
            self.folder.rename(self.away)

    def unmount(self) -> None:
        self.lose()
        self.folder.mkdir(exist_ok=True)  # an empty mount point

    def find(self) -> None:
        if self.away.exists():
            if self.folder.exists():
                self.folder.rmdir()
            self.away.rename(self.folder)

    def kill(self) -> None:
        self.is_killed, self.kills = True, self.kills + 1
        raise Killed

    def fill(self) -> None:
        self.is_full = True

    def free(self) -> None:
        self.is_full = False

    def later(self) -> None:
        self.now += SETTLE

    def end(self) -> None:
        self.find()
        self.free()
        for export in NAMES:
            self.end_part(export)

    def happen(self) -> None:
        if self.events:
            self.events.pop(0)()

    # the work of a watch

    def load(self, file: Path) -> Any:
        return SimpleNamespace(fingerprint=file.read_text(encoding="utf-8")) if file.exists() else None

    def open(self, patient: str, path: Path, progress: OnProgress) -> Any:
        assert not list(path.glob("*.part"))
        assert self.now - self.changed[path.name] >= SETTLE
        self.happen()
        try:
            fingerprint = content(path) if path.exists() else "nothing could be read"
        except OSError as error:
            raise SmearUnreadable(str(error)) from error

        def predict(check: Callable[[], None], progress: OnProgress) -> Predicted:
            file = self.out / patient / "prediction.json"
            if not file.exists() or file.read_text() != fingerprint:
                self.happen()
                check()
                if self.is_full:
                    raise DiskFull("the disk is full")
                file.parent.mkdir(exist_ok=True)
                file.write_text(fingerprint)
                self.written.append((patient, fingerprint))
            self.happen()
            return Predicted(SimpleNamespace(fingerprint=fingerprint), fingerprint)

        return SimpleNamespace(fingerprint=fingerprint, predict=predict)

    def save_tables(self, predictions: Sequence[object]) -> None:
        self.happen()

    # running it

    def progress(self, step: Progress) -> None:
        if not self.events and self.now > max(self.changed.values()) + 100 * SETTLE:
            raise Cancelled

    def pause(self, seconds: float) -> None:
        self.now += EVERY if self.events else SETTLE
        self.happen()

    def run(self, *, once: bool = False) -> Watcher:
        """Watch until everything has happened, and long after it, through all kills."""
        options = WatchOptions(settle=SETTLE, every=EVERY, once=once)
        while True:
            self.is_killed = False
            watcher = Watcher(
                self.folder, self.out, self, options, self.progress, clock=lambda: self.now, sleep=self.pause
            )
            try:
                watcher.run({"model": "m"})
            except Killed:
                continue
            except DiskFull:  # at the start: the service starts it again later
                with contextlib.suppress(Killed):
                    self.pause(EVERY)
                continue
            except Cancelled:
                pass
            return watcher


@contextlib.contextmanager
def laboratory_in(root: Path) -> Iterator[Laboratory]:
    """A laboratory in which a killed process, or a full disk, writes no record."""
    laboratory, append = Laboratory(root), Journal.append

    def appended(journal: Journal[WatchRecord], *records: WatchRecord) -> None:
        if laboratory.is_killed:
            raise Killed
        if laboratory.is_full:
            raise DiskFull("the disk is full")
        append(journal, *records)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", appended)
        yield laboratory


EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["write", "write", "begin_part", "end_part", "copy", "rename"]), st.sampled_from(NAMES)
        ),
        st.tuples(st.sampled_from(["lose", "unmount", "find", "kill", "fill", "free", "later"])),
    ),
    min_size=3,
    max_size=25,
)


@settings(max_examples=25)
@given(events=EVENTS)
def test_each_content_is_predicted_once_whatever_happens(tmp_path_factory, events):
    with laboratory_in(tmp_path_factory.mktemp("laboratory")) as laboratory:
        laboratory.write("P1")
        planned = [functools.partial(getattr(laboratory, name), *about) for name, *about in events]
        laboratory.events = [*planned, laboratory.end]
        watcher = laboratory.run()
    exports = {path.name: path for path in laboratory.folder.iterdir()}
    states = {one.export: one for one in watcher.exports}
    assert exports.keys() <= states.keys()
    of = {patient: content for patient, content in laboratory.written}  # the newest of each
    for name, path in exports.items():
        if list(path.glob("*.part")):
            assert states[name].state == "arriving"
        elif states[name].state == "duplicate":
            assert content(path) in {one for _, one in laboratory.written}
        else:
            assert (states[name].state, of[name]) == ("predicted", content(path))
    for patient in of:
        contents = [one for name, one in laboratory.written if name == patient]
        assert all(one != other for one, other in itertools.pairwise(contents))
    contents = [one for _, one in laboratory.written]
    assert len(contents) - len(set(contents)) <= laboratory.kills


def test_an_export_whose_drive_was_lost_during_another_prediction_is_not_complete(tmp_path):
    def wait() -> None:
        """Nothing happens."""

    def predict_long() -> None:
        laboratory.lose()
        laboratory.now += 5 * SETTLE
        laboratory.find()

    with laboratory_in(tmp_path) as laboratory:
        laboratory.write("P1")
        pauses = int(SETTLE / EVERY) - 1
        half = functools.partial(laboratory.write, "P2")
        laboratory.events = [
            *[wait] * pauses,
            half,
            predict_long,
            *[wait] * 7,
            half,
        ]  # P1 is opened after the first half
        laboratory.run()
    assert [patient for patient, _ in laboratory.written] == ["P1", "P2"]
    assert laboratory.written[1][1] == content(laboratory.folder / "P2")
    assert len(list((laboratory.folder / "P2").iterdir())) == 2
