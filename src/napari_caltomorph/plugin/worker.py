"""Long work away from the window: one worker, whose progress callback raises `Cancelled` when it was told to quit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from qtpy.QtCore import Signal
from superqt.utils import FunctionWorker
from superqt.utils._qthreading import WorkerBaseSignals

from napari_caltomorph.progress import Cancelled, OnProgress, Progress

Result = TypeVar("Result")


class _Signals(WorkerBaseSignals):
    progressed = Signal(object)


class Task(FunctionWorker, Generic[Result]):
    """Runs ``work(progress)`` in a thread.

    Signals are those of superqt's workers, and `progressed` (`Progress`). After `quit`, nothing is returned: the
    next progress call of the work raises `Cancelled`, and `finished` follows. Errors arrive at `errored` and nowhere
    else. It is superqt's worker and not napari's, which would also show every error as a notification; napari waits
    for both when it closes.
    """

    def __init__(self, work: Callable[[OnProgress], Result]) -> None:
        super().__init__(self._run_cancellable)
        self._work = work
        self.signals = _Signals()

    def _run_cancellable(self) -> Result | None:
        try:
            return self._work(self._report)
        except Cancelled:
            self.quit()
            return None

    def _report(self, progress: Progress) -> None:
        if self.abort_requested:
            raise Cancelled
        self.progressed.emit(progress)
