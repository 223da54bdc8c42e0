"""Long work of a widget in a thread: its progress, its result or its error, and its end with the widget."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from napari.qt.threading import WorkerBaseSignals
from qtpy.QtCore import QObject, Signal
from superqt.utils import FunctionWorker

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.plugin.widgets.parts import in_window_words
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

    def run(self) -> None:
        """Do what superqt's worker does, but leave Python's warnings alone: its handler and filters are the process's.

        superqt replaces both in each thread. After two tasks at once, those of the first would remain: no warning would
        be shown any more, and the task would stay in memory with the smear that it was about.
        """
        self.started.emit()
        self._running = True
        try:
            result = self.work()
            if isinstance(result, Exception):
                raise result
            if not self.abort_requested:
                self.returned.emit(result)
        except Exception as error:  # noqa: BLE001  # any of it is reported on the main thread
            self.errored.emit(error)
        self._running = False
        self.finished.emit()
        self._finished.emit(self)

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


class LatestJob(QObject):
    """Runs one job at a time for a widget: starting another, or `stop`, drops the one that runs."""

    def __init__(self, owner: QObject) -> None:
        super().__init__(owner)
        self._job: Job | None = None

    @property
    def is_busy(self) -> bool:
        return self._job is not None

    def start(
        self,
        work: Callable[[OnProgress], Any],
        then: Callable[[Any], None],
        failed: Callable[[str], None],
        progressed: Callable[[Progress], None] | None = None,
    ) -> None:
        """Run ``work(progress)``; call `then` with its result, or `failed` with the text of its error."""
        self.stop()
        job = self._job = Job(self, work)
        job.returned.connect(partial(self._on_returned, then))
        job.errored.connect(partial(self._on_errored, failed))
        job.ended.connect(partial(self._on_ended, job))
        if progressed is not None:
            job.progressed.connect(progressed)
        job.start()

    def stop(self) -> None:
        if self._job is not None:
            self._job.drop()
            self._job = None

    def _on_returned(self, then: Callable[[Any], None], result: Any) -> None:
        self._job = None
        then(result)

    def _on_errored(self, failed: Callable[[str], None], error: Exception) -> None:
        self._job = None
        failed(in_window_words(str(error)))
        if not isinstance(error, CaltomorphError):
            raise error

    def _on_ended(self, job: Job) -> None:
        if job is self._job:  # it was cancelled by itself
            self._job = None
