"""Long work in a thread: a worker that can be cancelled, and a job that binds it to a widget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from napari.qt.threading import WorkerBaseSignals
from qtpy.QtCore import QObject, Signal
from superqt.utils import FunctionWorker

from napari_caltomorph.progress import Cancelled, OnProgress, Progress

Result = TypeVar("Result")


class _Signals(WorkerBaseSignals):
    progressed = Signal(object)


class Task(FunctionWorker, Generic[Result]):
    """Runs ``work(progress)`` in a thread.

    Signals are those of superqt's workers, and `progressed` (`Progress`). After `quit`, nothing is returned: the
    next progress call of the work raises `Cancelled`, and `finished` follows. Errors are sent to `errored` only; an
    exception that the work returns counts as one. napari's own worker would also show each error as a notification.
    napari waits for both kinds when it closes.
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


class Job(QObject):
    """A `Task` of a widget: its signals end when it is dropped, and when the widget is deleted.

    Qt deletes widgets with their window while a thread still runs. The task's signals are received by this child of
    the widget, so Qt itself drops those that arrive too late.
    """

    progressed = Signal(object)
    returned = Signal(object)
    errored = Signal(object)
    ended = Signal()

    def __init__(self, owner: QObject, work: Callable[[OnProgress], Any]) -> None:
        super().__init__(owner)
        self._is_wanted = True
        self._task: Task[Any] = Task(work)
        self._task.progressed.connect(self._on_progressed)
        self._task.returned.connect(self._on_returned)
        self._task.errored.connect(self._on_errored)
        self._task.finished.connect(self._on_finished)  # type: ignore[arg-type]  # superqt says it carries None

    def start(self) -> None:
        """Start the work; connect the signals first."""
        self._task.start()

    def drop(self) -> None:
        """Stop the work; only `ended` is emitted after this."""
        self._is_wanted = False
        self._task.quit()

    def _on_progressed(self, progress: Progress) -> None:
        if self._is_wanted:
            self.progressed.emit(progress)

    def _on_returned(self, result: object) -> None:
        if self._is_wanted:
            self.returned.emit(result)

    def _on_errored(self, error: Exception) -> None:
        if self._is_wanted:
            self.errored.emit(error)

    def _on_finished(self) -> None:
        self.ended.emit()
        self.deleteLater()
