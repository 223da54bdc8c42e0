"""Several smears read at the same time: each reader, a thread or a process, reads one after the other.

What is read waits in a queue of bounded bytes for the one who takes it, such as an encoder. So small smears do not let
it wait, and large ones do not fill the memory.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.smear.cell_batches import read_batches
from napari_caltomorph.smear.check import Grading
from napari_caltomorph.smear.smear import Smear

BYTES_IN_FLIGHT = 2**27
"""Decoded pixels that wait to be taken; each reader has up to a batch more."""


def _as_it_is(smear: Smear) -> Smear:
    return smear


def _keep() -> None:
    pass


@dataclass(frozen=True)
class SmearToRead:
    """A smear, and what is wanted of it; a reader in another process gets it pickled."""

    key: str  # Also the patient's id
    open: Callable[[], Smear]
    at_scale: Callable[[Smear], Smear] = _as_it_is  # Gives it its pixel size
    threads: int = 1
    # Whether images are still wanted, asked first; then the smear is graded before they are read. Not pickled
    has_news: Callable[[Smear], bool] | None = None


@dataclass(frozen=True)
class Part:
    """What was read of a smear: cells, and at the end the graded smear, or why there is none."""

    key: str
    cells: int = 0  # Measured since the last part
    total: int = 1  # Of the smear
    pixel_size_um: float | None = None
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)  # By digest; those that may be usable
    smear: Smear | None = None
    error: Exception | None = None
    release: Callable[[], None] = _keep  # To be called when the images are not needed any more

    @property
    def nbytes(self) -> int:
        return sum(image.nbytes for image in self.images.values())

    @property
    def is_last(self) -> bool:
        return self.smear is not None or self.error is not None


def read_parts(wanted: SmearToRead, only_grades: bool = False) -> Generator[Part, None, None]:
    """Yield the parts of a smear as they are read, or without the cells and images; errors are in the last one."""
    try:
        smear = wanted.at_scale(replace(wanted.open(), patient_id=wanted.key))
        grading = Grading(smear)
        with closing(read_batches(smear, wanted.threads)) as batches:
            for batch in batches:
                images = grading.add(batch)
                cells, images = (0, {}) if only_grades else (len(batch.measured), images)
                yield Part(wanted.key, cells, len(smear), smear.pixel_size_um, images)
        yield Part(wanted.key, smear=grading.graded())
    except Exception as error:  # noqa: BLE001 (whoever takes the part decides)
        yield Part(wanted.key, error=error)


def parts_if_news(wanted: SmearToRead, read: Callable[[SmearToRead, bool], Iterator[Part]]) -> Iterator[Part]:
    """Yield the parts of a smear; without the cells and images where these are not wanted any more."""
    if wanted.has_news is not None:
        for part in read(wanted, True):
            if part.smear is not None and wanted.has_news(part.smear):
                break
            yield part
        else:
            return
    yield from read(wanted, False)


class Reader(Protocol):
    """Reads smears, one at a time."""

    def read(self, wanted: SmearToRead) -> Iterator[Part]:
        """Yield the parts of a smear."""

    def close(self) -> None:
        """End it, whatever it does; called from another thread."""


class ThreadReader:
    """Reads in the thread that asks."""

    def read(self, wanted: SmearToRead) -> Iterator[Part]:
        return parts_if_news(wanted, read_parts)

    def close(self) -> None:
        pass


class _Over(Exception):
    """Nobody takes any parts any more."""


class Readers:
    """Reads smears with several readers; `take` returns the parts of all of them, as they come."""

    def __init__(self, wanted: Iterable[SmearToRead], readers: Iterable[Reader]) -> None:
        self._wanted, self._next = iter(wanted), threading.Lock()
        self._parts: queue.SimpleQueue[Part | BaseException | None] = queue.SimpleQueue()
        self._bytes, self._room = 0, threading.Condition()
        self._is_over = False
        self._readers = list(readers)
        self._threads = [threading.Thread(target=self._run, args=(reader,), daemon=True) for reader in self._readers]
        self._running = len(self._threads)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._room:
            self._is_over = True
            self._room.notify_all()
        for reader in self._readers:
            reader.close()
        for thread in self._threads:
            thread.join()

    @property
    def is_done(self) -> bool:
        """Whether `take` returned everything."""
        return self._running == 0

    def take(self, seconds: float) -> Part | None:
        """Return the next part; None where none came in time, or there is none any more."""
        try:
            part = self._parts.get(timeout=seconds) if seconds else self._parts.get_nowait()
        except queue.Empty:
            return None
        if part is None:
            self._running -= 1
            return None
        if isinstance(part, BaseException):
            raise part
        return part

    def _run(self, reader: Reader) -> None:
        try:
            while (wanted := self._claim()) is not None:
                for part in reader.read(wanted):
                    self._put(part)
        except _Over:
            pass
        except BaseException as error:  # noqa: BLE001 (raised where the parts are taken)
            self._parts.put(error)
        self._parts.put(None)

    def _claim(self) -> SmearToRead | None:
        with self._next:
            return None if self._is_over else next(self._wanted, None)

    def _put(self, part: Part) -> None:
        count = part.nbytes
        with self._room:
            self._room.wait_for(lambda: self._is_over or not self._bytes or self._bytes + count <= BYTES_IN_FLIGHT)
            if self._is_over:
                raise _Over
            self._bytes += count
        self._parts.put(replace(part, release=lambda: self._release(part, count)))

    def _release(self, part: Part, count: int) -> None:
        part.release()
        with self._room:
            self._bytes -= count
            self._room.notify_all()
