"""One button that starts long work and cancels it, with its progress and what there is to say about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from napari.utils.notifications import notification_manager
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.plugin.widgets.parts import line, plain
from napari_caltomorph.plugin.widgets.theme import ERROR, colored
from napari_caltomorph.plugin.widgets.worker import Job
from napari_caltomorph.progress import OnProgress, Pace, Progress


class TaskRow(QWidget):
    """Runs one task at a time. Starting another cancels the first, and what that still brings back is dropped.

    `asked` is emitted when the user clicks the button while nothing runs; `progressed` (`Progress`) as the task
    reports; `failed` when it ended in an error; `ended` however it ended.
    """

    asked = Signal()
    progressed = Signal(object)
    failed = Signal()
    ended = Signal()

    # What is said when the user has cancelled.
    cancelled = "Cancelled; nothing was changed."

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._job: Job | None = None
        self._pace = Pace()
        self.button = QPushButton(title)
        self.button.setMinimumHeight(34)
        self.button.clicked.connect(self._on_click)
        self._bar = QProgressBar(textVisible=False, visible=False)
        self._bar.setFixedHeight(8)
        self._state = line()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widget in (self.button, self._bar, self._state):
            column.addWidget(widget)
        self.say("")

    @property
    def is_busy(self) -> bool:
        """Whether a task runs, or is still stopping."""
        return self._job is not None

    @property
    def text(self) -> str:
        """What was said last."""
        return self._said

    def set_title(self, title: str) -> None:
        """Name what the button starts."""
        self._title = title
        if self._job is None:
            self.button.setText(title)

    def start(self, work: Callable[[OnProgress], Any], then: Callable[[Any], None]) -> None:
        """Run ``work(progress)`` in a thread, and hand its result to `then` on the main thread."""
        self.cancel()
        job = Job(self, work)
        job.progressed.connect(self._on_progress)
        job.returned.connect(partial(self._on_returned, then))
        job.errored.connect(self._on_error)
        job.ended.connect(partial(self._on_ended, job))
        self._job = job
        self._pace = Pace()
        self.button.setText("Cancel")
        self.button.setEnabled(True)
        self._bar.setRange(0, 0)
        self._bar.show()
        self.say("Starting ...")
        job.start()

    def cancel(self) -> None:
        """Stop what runs; its result, if it comes all the same, is dropped."""
        if self._job is not None:
            self._job.drop()
            self.button.setText("Cancelling ...")
            self.button.setEnabled(False)

    def say(self, text: str, *, is_error: bool = False) -> None:
        """Show a sentence below the button; nothing for an empty one."""
        self._said = text
        self._state.setText(colored(plain(text), ERROR) if is_error else plain(text))
        self._state.setVisible(bool(text))

    def _on_click(self) -> None:
        if self._job is None:
            self.asked.emit()
        else:
            self.cancel()
            self.say(self.cancelled)

    def _on_progress(self, progress: Progress) -> None:
        self._bar.setRange(0, progress.total if progress.total > 1 else 0)
        self._bar.setValue(progress.done)
        self.say(self._sentence(progress))
        self.progressed.emit(progress)

    def _sentence(self, progress: Progress) -> str:
        return self._pace.describe(progress)

    def _on_returned(self, then: Callable[[Any], None], result: Any) -> None:
        self.say("")
        then(result)

    def _on_error(self, error: Exception) -> None:
        self.failed.emit()
        if isinstance(error, CaltomorphError):
            self.say(str(error), is_error=True)
            return
        from napari_caltomorph.encoding.device import is_out_of_memory

        if is_out_of_memory(error):
            self.say("Memory ran out; choose the device cpu, or close other programs, and try again.", is_error=True)
        else:
            self.say(f"This should not have happened: {error}", is_error=True)
            notification_manager.receive_error(type(error), error, error.__traceback__)

    def _on_ended(self, job: Job) -> None:
        if job is self._job:
            self._job = None
            self._bar.hide()
            self.button.setText(self._title)
            self.button.setEnabled(True)
            self.ended.emit()
