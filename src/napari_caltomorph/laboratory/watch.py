"""Which exports in a watched folder are complete: those that have come to rest.

The folder is listed again and again, since network drives send no events about what other machines write. Nothing is
ever written into it. Times are compared for being equal only, and how long an export has been the same is measured with
a monotonic clock, so wrong clocks, of this machine or of the drive, do no harm.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from pydantic import BaseModel, Field

from napari_caltomorph.errors import FolderLost, OutputRefused, counted, printable
from napari_caltomorph.smear.entries import is_system_entry
from napari_caltomorph.smear.images import is_image
from napari_caltomorph.storage import StrPath

# What copying programs, browsers and scanners call a file that is not complete, or one that says so of its neighbours.
_UNFINISHED = re.compile(
    r".*\.(part|partial|filepart|crdownload|tmp|temp|lock|lck)|lock|\..+\.(tiff?|png|jpe?g|bmp|zip)\.[a-z0-9]{6}",
    re.IGNORECASE,
)


class WatchOptions(BaseModel, frozen=True, extra="forbid"):
    """How a folder is watched."""

    settle: float = Field(60, ge=0, le=86_400, description="Seconds without a change until an export is complete.")
    every: float = Field(10, gt=0, le=3_600, description="Seconds between two looks at the folder.")
    report: bool = Field(False, description="Write a report.html next to each prediction.json.")
    slides: bool = Field(False, description="Folders in a patient's folder are slides, whatever they are called.")
    once: bool = Field(False, description="End when all complete exports are done, instead of waiting for more.")


@dataclass(frozen=True)
class Look:
    """What one look at an export shows; two looks are equal where nothing has changed."""

    path: Path
    files: int
    size: int  # bytes
    newest: int  # Time of the newest file, by the clock of its drive, ns
    digest: str  # Of the names, sizes and times of all files
    unfinished: str = ""  # Why it is not complete, whatever time passes

    @property
    def in_words(self) -> str:
        """E.g. ``"312 files, 18.2 MB"``."""
        return f"{counted(self.files, 'file')}, {self.size / 1e6:,.1f} MB"


@dataclass(frozen=True)
class Scan:
    """What one look at the folder shows: its exports by name, and images that belong to no patient."""

    looks: Mapping[str, Look] = field(default_factory=dict)
    loose: tuple[str, ...] = ()


class Resting:
    """Tells which exports have been the same for `settle` seconds, and contain nothing unfinished.

    Only time in which the folder is looked at counts. During a long prediction its drive may be lost and return: an
    export that the scanner could not continue is then as it was, and not complete.
    """

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._since: dict[str, tuple[Look, float]] = {}
        self._last: float | None = None
        self._watched = 0.0

    def see(self, looks: Mapping[str, Look], now: float, at_most: float = inf) -> list[str]:
        """Take the latest looks at all exports, at `now` of a monotonic clock; return those that are at rest.

        `at_most` is the usual time since the look before: more of it does not count.
        """
        self._watched += 0.0 if self._last is None else min(now - self._last, at_most)
        known, self._last = self._since, now
        self._since = {
            name: known[name] if name in known and known[name][0] == look else (look, self._watched)
            for name, look in looks.items()
        }
        at_rest = (name for name in looks if self._watched - self.since(name) >= self._settle)
        return [name for name in at_rest if not looks[name].unfinished]

    def since(self, name: str) -> float:
        """Return the time, counted from the first look, at which an export was first seen as it is now."""
        return self._since[name][1]

    def restart(self) -> None:
        """Count from the next look on: what happened meanwhile was not seen."""
        self._since.clear()


def scan(folder: StrPath, waiting: Callable[[], None] = lambda: None) -> Scan:
    """Look at each export of a folder: a folder or a zip archive in it.

    Parameters
    ----------
    folder : str or Path
    waiting : callable
        Called for each export; what it raises ends the scan.

    Returns
    -------
    Scan

    Raises
    ------
    FolderLost
        The folder, or its drive, is not there.
    """
    folder = Path(folder)
    try:
        with os.scandir(folder) as entries:
            paths = sorted(Path(entry) for entry in entries)
        markers = {_marked(path.name) for path in paths if _UNFINISHED.fullmatch(path.name)}
        loose, looks = [], {}
        for path in paths:
            waiting()
            name = printable(path.name)
            if is_system_entry(path.name):
                continue
            if not (is_folder := path.is_dir()) and path.suffix.lower() != ".zip":
                loose += [name] * is_image(path.name)
            elif (look := _look_if_there(path, is_folder)) is not None:
                is_marked = not markers.isdisjoint({path.name, path.stem})
                looks[name] = _with_marker(look) if is_marked or _UNFINISHED.fullmatch(path.name) else look
        os.stat(folder)  # noqa: PTH116  (it may have gone meanwhile)
    except OSError as error:
        raise FolderLost(f"{folder} cannot be listed ({error.strerror or error}); connect its drive.") from error
    return Scan(looks, tuple(loose))


def look_at(path: Path) -> Look:
    """Look at one export; raises OSError where it is not there, or its drive is gone."""
    sha, size, newest, count, unfinished = hashlib.sha256(), 0, 0, 0, ""
    for name, status in sorted(_files(path, "", set())) if path.is_dir() else [("", _status(path))]:
        is_unfinished = bool(_UNFINISHED.fullmatch(name.rsplit("/", 1)[-1]))
        if is_unfinished:
            unfinished = unfinished or f"it contains {printable(name)}"
        elif is_system_entry(name.rsplit("/", 1)[-1]):
            continue
        sha.update(os.fsencode(f"{name}\0{status[0]} {status[1]}\n"))
        size, newest, count = size + status[0], max(newest, status[1]), count + 1
    if not count:
        unfinished = "no file is in it"
    elif not path.is_dir() and not zipfile.is_zipfile(path):
        unfinished = "the archive's table of contents is missing"
    return Look(path, count, size, newest, sha.hexdigest(), unfinished)


def refuse_overlap(folder: StrPath, out: StrPath) -> None:
    """Refuse results that would be written into the watched folder, or that it would be among.

    Parameters
    ----------
    folder, out : str or Path

    Raises
    ------
    OutputRefused
        One of them is in the other.
    """
    watched, results = Path(folder).resolve(), Path(out).resolve()
    if watched == results or watched in results.parents or results in watched.parents:
        raise OutputRefused(
            f"{out} and the watched folder {folder} overlap; choose a folder for the results outside it."
        )


def _look_if_there(path: Path, is_folder: bool) -> Look | None:
    try:
        return look_at(path)
    except FileNotFoundError:
        return None  # moved away just now, or the whole drive was
    except PermissionError as error:
        why = f"{'it' if is_folder else 'the archive'} cannot be read ({error.strerror})"
        return Look(path, 0, 0, 0, "", why)


def _with_marker(look: Look) -> Look:
    return Look(look.path, look.files, look.size, look.newest, look.digest, "a file next to it says so")


def _marked(name: str) -> str:
    """Return the name of what a marker is about: ``P1.zip`` of ``P1.zip.part``."""
    return Path(name).stem


def _files(folder: Path, prefix: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the files below a folder with sizes and times; a folder that links lead back to is entered once."""
    status = folder.stat()
    if status.st_ino and (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files(Path(entry), f"{prefix}{entry.name}/", seen)
            else:
                yield prefix + entry.name, _status(Path(entry))


def _status(path: Path) -> tuple[int, int]:
    """Return size and time of a file.

    They are asked of the file: on Windows, those in the folder's list stay as they were while a file is written.
    """
    try:
        status = path.stat()
    except FileNotFoundError:  # a link that leads nowhere, or renamed just now
        return 0, 0
    return status.st_size, status.st_mtime_ns
