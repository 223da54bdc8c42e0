"""Ctrl-C: it stops the work at once, cleanly, wherever it arrives.

Python raises `KeyboardInterrupt` where the main thread stands, and some libraries swallow it there. So it is also
remembered, and the next report of progress stops the work.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from napari_caltomorph.progress import Cancelled


@dataclass
class Interrupts:
    """Whether Ctrl-C was pressed."""

    came: bool = False

    def __call__(self, signal_number: int, frame: FrameType | None) -> NoReturn:
        """Handle the signal."""
        self.came = True
        raise KeyboardInterrupt


_current = Interrupts()


def stop_if_interrupted() -> None:
    """Raise `Cancelled` when Ctrl-C was pressed."""
    if _current.came:
        raise Cancelled


@contextlib.contextmanager
def catching_interrupts() -> Iterator[Interrupts]:
    """Remember Ctrl-C while the block runs."""
    global _current
    _current = Interrupts()
    with _handling(_current):
        yield _current


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back while the block runs: for writing several files that belong together."""
    with _handling(signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _handling(handler: Interrupts | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may, and only it receives the signal
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
