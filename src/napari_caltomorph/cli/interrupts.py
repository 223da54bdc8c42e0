"""Ctrl-C, and being asked to end: from the first import to the end of the process, an exit code and no traceback.

Python raises `KeyboardInterrupt` in the main thread, and some libraries swallow it there, or make another error of it.
So a signal is also remembered, and the next report of progress stops the work. Nothing heavy is imported here.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from napari_caltomorph.progress import Cancelled

_Handler = Callable[[int, FrameType | None], object] | int | None

_SIGNALS: list[int] = [signal.SIGINT, signal.SIGTERM]
# A terminal that was closed; under `nohup` that is ignored, and Windows does not know it.
if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
    _SIGNALS.append(signal.SIGHUP)


class Interrupts:
    """The first signal that came."""

    number: int = 0  # Zero where none came

    @property
    def exit_code(self) -> int:
        """The code that shells use; 130 after Ctrl-C."""
        return 128 + (self.number or signal.SIGINT)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self.number = self.number or number
        if not _torch_is_being_imported():
            raise KeyboardInterrupt


def _torch_is_being_imported() -> bool:
    """While it is, an interrupt is only remembered: an exception inside its C++ code ends the process with a crash."""
    return bool(getattr(getattr(sys.modules.get("torch"), "__spec__", None), "_initializing", False))


_current = Interrupts()


def stop_if_interrupted() -> None:
    """Raise `Cancelled` when a signal came."""
    if _current.number:
        raise Cancelled


@contextlib.contextmanager
def catching_interrupts(*, to_the_end: bool) -> Iterator[Interrupts]:
    """Remember signals while the block runs; with `to_the_end` of the process, they are ignored after it."""
    global _current
    _current = Interrupts()
    if to_the_end:
        sys.unraisablehook = _without_interrupts
    with _handling(_current, then=signal.SIG_IGN if to_the_end else None):
        yield _current


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore signals while the block runs: for writing several files that belong together."""
    with _handling(signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _handling(handler: _Handler, *, then: _Handler = None) -> Iterator[None]:
    """Set the handler of all signals while the block runs; afterwards, it is `then`, or the one before."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may, and only it receives signals
        return
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old if then is None else then)


def _without_interrupts(error: sys.UnraisableHookArgs) -> None:
    """Python prints what is raised where nothing can be, as in ``__del__``; an interrupt is remembered anyway."""
    if error.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(error)
