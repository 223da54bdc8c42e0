"""Records that are only ever added to: one file of JSON lines, each a pydantic model.

A record is on the disk when `Journal.append` returns. Nothing that is in the file is changed, so a process that is
killed while it writes can damage the line that it writes, and no other.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import filelock
from pydantic import BaseModel, ValidationError

from napari_caltomorph.errors import JournalUnreadable, OutputRefused, first_line, invalid_field
from napari_caltomorph.reading import explained, parse_document, validated
from napari_caltomorph.storage import NO_LOCKS, explained_output

Record = TypeVar("Record", bound=BaseModel)
_WAIT_S = 10.0  # A record is written in milliseconds


@dataclass(frozen=True)
class JournalContent(Generic[Record]):
    """What a journal holds."""

    records: tuple[Record, ...] = ()  # In the order in which they were written
    problems: tuple[str, ...] = ()  # A sentence for each line that is left out because it is damaged


@dataclass(frozen=True)
class Journal(Generic[Record]):
    """A file of records; each is of the kind `kind`, which has a ``schema_version``."""

    path: Path
    kind: type[Record]

    def read(self) -> JournalContent[Record]:
        """Return all records, none where there is no file; `JournalUnreadable` where a newer version wrote one.

        A line that is damaged, such as the last one of a process that was killed, is left out and reported.
        """
        if not self.path.exists():
            return JournalContent()
        with explained(self.path, "a file of records", JournalUnreadable, "restore it from a copy"):
            lines = self.path.read_bytes().split(b"\n")
        records, problems = list[Record](), list[str]()
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                records.append(validated(self.kind, parse_document(line), self.path, JournalUnreadable))
            except ValueError as error:
                why = invalid_field(error, "the line") if isinstance(error, ValidationError) else first_line(error)
                problems.append(f"{self.path}: line {number} is damaged and left out ({why}).")
        return JournalContent(tuple(records), tuple(problems))

    def append(self, *records: Record) -> None:
        """Write records at the end; they are on the disk when this returns.

        Raises `OutputRefused` (`DiskFull`) where that is not possible; none of them is in the file then.
        """
        text = b"".join(record.model_dump_json().encode() + b"\n" for record in records)
        with explained_output(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(), self.path.open("a+b", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(end - 1, 0))
                is_torn = file.read(1) not in (b"", b"\n")
                if end == 0:
                    self._share()
                try:
                    _write(file.fileno(), b"\n" * is_torn + text)
                except BaseException:
                    file.truncate(end)
                    raise

    def _share(self) -> None:
        """Let all who may write into the folder add records: several persons do, with accounts of their own."""
        with contextlib.suppress(OSError):  # drives without permissions
            self.path.chmod(self.path.stat().st_mode | self.path.parent.stat().st_mode & 0o022)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other writers out; on a drive without locks, the system still adds what is written at the end."""
        place = self.path.with_name(f".{self.path.name}.lock")
        lock = filelock.FileLock(place, timeout=_WAIT_S, mode=0o666, fallback_to_soft=False)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise OutputRefused(f"{self.path} is locked by another process; try again when that has ended.") from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        try:
            yield
        finally:
            lock.release()


def _write(file: int, text: bytes) -> None:
    while text:
        text = text[os.write(file, text) :]
    os.fsync(file)
