"""Cells drawn to files, a strip of them at a time, by this process or by several.

Every cell has a seed of its own, so who draws it makes no difference to a byte.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.synthetic.patients import SyntheticPatient
from napari_caltomorph.synthetic.tiff import tiff_bytes

CELLS_A_STRIP = 40  # A fifth of a second: how long cancelling may take.
STRIPS_AHEAD = 3  # For each process; more only holds memory.
SECONDS_BETWEEN_REPORTS = 0.1


class WorkersLost(CaltomorphError):
    """The processes that drew cells ended before their work did."""


@dataclass(frozen=True)
class Strip:
    """Some cells of one patient, and where they go.

    Attributes
    ----------
    patient : SyntheticPatient
    folder : Path
        Must exist.
    names : tuple of str
        One for each cell, from the `start` th on.
    start : int
    """

    patient: SyntheticPatient
    folder: Path
    names: tuple[str, ...]
    start: int

    def draw(self) -> Iterator[None]:
        """Write the cells, one a step."""
        for index, name in enumerate(self.names, self.start):
            (self.folder / name).write_bytes(tiff_bytes(self.patient.image(index)))
            yield


def draw_strips(strips: Iterable[Strip], processes: int, report: Callable[[int], None]) -> None:
    """Write the cells of all strips.

    Parameters
    ----------
    strips : iterable of Strip
        Asked for as they are needed.
    processes : int
        With 1, this process draws.
    report : callable
        Called often, with the number of cells written since the last call, which may be 0; what it raises stops
        the drawing.

    Raises
    ------
    WorkersLost
        A process was ended from outside, or could not start.
    OSError
        A file could not be written.
    """
    if processes == 1:
        for strip in strips:
            for _ in strip.draw():
                report(1)
        return
    context = multiprocessing.get_context("spawn")  # A fork of a process that runs threads, as napari does, may hang.
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent) as pool:
        pending: set[Future[int]] = set()
        try:
            for strip in strips:
                with _without_interrupts():
                    pending.add(pool.submit(_draw, strip))
                while len(pending) >= processes * STRIPS_AHEAD:
                    pending = _collect(pending, report)
            while pending:
                pending = _collect(pending, report)
        except BrokenProcessPool as error:
            raise WorkersLost(
                "A process that drew cells ended unexpectedly (out of memory, or a script without "
                '`if __name__ == "__main__":`); mend that, or draw with one worker.'
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _draw(strip: Strip) -> int:
    return sum(1 for _ in strip.draw())


def _collect(pending: set[Future[int]], report: Callable[[int], None]) -> set[Future[int]]:
    done, pending = wait(pending, SECONDS_BETWEEN_REPORTS, FIRST_COMPLETED)
    report(sum(future.result() for future in done))
    return pending


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from processes that start here: they inherit what is blocked; the parent hears it, and ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)  # It was killed: nobody else would end this process.

    threading.Thread(target=watch, daemon=True).start()
