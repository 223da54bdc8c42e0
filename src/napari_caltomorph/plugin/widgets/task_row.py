"""The button that starts and cancels a task of a panel, with its progress and a message below."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from napari.utils.notifications import notification_manager
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QProgressBar, QPushButton, QWidget

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.plugin.widgets.parts import ERROR, colored, column_of, in_window_words, line, plain, row_of
from napari_caltomorph.plugin.widgets.tasks import Job
from napari_caltomorph.progress import OnProgress, Pace, Progress

# Napari's own is hardly read; this one has a contrast of 3 to 1 in the dark and in the light theme.
_DISABLED = "#767c83"


class MainButton(QPushButton):
    """The button of a panel's task, in the accent colour of napari's theme; grey while it offers to cancel.

    napari paints a checked button in that colour in every theme, so this one is checked, and a click leaves it so.
    """

    def __init__(self, title: str, clicked: Callable[[], None]) -> None:
        super().__init__(title, checkable=True, checked=True, minimumHeight=34, clicked=clicked)
        self.setStyleSheet(f"QPushButton:disabled {{ color: {_DISABLED}; }}")

    def nextCheckState(self) -> None:
        """Stay as it is: what the button does decides its colour."""


class TaskRow(QWidget):
    """Runs one task at a time. Starting another cancels the first, and the result of that one is dropped.

    `requested` is emitted when the user clicks the button while nothing runs; `progressed` (`Progress`) as the task
    reports; `failed` when it ended in an error; `ended` however it ended. `kept` is a sentence on what is kept when
    the task is cancelled; `beside` a lesser button, at the right of the main one. Only the main task of a panel has a
    button in the accent colour.
    """

    requested = Signal()
    progressed = Signal(object)
    failed = Signal()
    ended = Signal()

    def __init__(
        self,
        title: str,
        *,
        kept: str = "Nothing was changed.",
        is_main: bool = True,
        beside: QPushButton | None = None,
    ) -> None:
        super().__init__()
        self._kept, self._is_main = kept, is_main
        self._title, self._message = title, ""
        self._job: Job | None = None
        self._pace = Pace()
        self.button = MainButton(title, self._on_click)
        self.button.setChecked(is_main)
        self._bar = QProgressBar(textVisible=False, visible=False)
        self._bar.setFixedHeight(8)
        self._state = line()
        self._state.hide()
        buttons = (self.button,) if beside is None else (self.button, beside)
        column_of(self, row_of(*buttons, stretch=(self.button,)), self._bar, self._state)

    @property
    def is_busy(self) -> bool:
        """Whether a task runs, or is still stopping."""
        return self._job is not None

    @property
    def text(self) -> str:
        return self._message

    def set_title(self, title: str) -> None:
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
        self.button.setChecked(False)
        self.button.setEnabled(True)
        self._bar.setRange(0, 0)
        self._bar.show()
        self.show_message("Starting ...")
        job.start()

    def cancel(self) -> None:
        """Stop the task; a result that still arrives is dropped."""
        if self._job is not None:
            self._job.drop()
            self.button.setText("Cancelling ...")
            self.button.setEnabled(False)

    def stop(self, reason: str) -> None:
        """Cancel the task, if one runs, and show why and what is kept."""
        if self._job is not None:
            self.cancel()
            self.show_message(f"{reason} {self._kept}")

    def show_message(self, text: str) -> None:
        """Show a sentence below the button; an empty one hides the line."""
        self._show(text, plain(text))

    def show_error(self, text: str) -> None:
        text = in_window_words(text)
        self._show(text, colored(plain(text), ERROR))

    def forget_on(self, *signals: Any) -> None:
        """Take the message away when a choice changes: it is about an earlier one."""
        for signal in signals:
            signal.connect(self._forget)

    def _forget(self, *_: object) -> None:
        if self._job is None:
            self.show_message("")

    def _show(self, text: str, shown: str) -> None:
        self._message = text
        self._state.setText(shown)
        self._state.setVisible(bool(text))

    def _on_click(self) -> None:
        if self._job is None:
            self.requested.emit()
        else:
            self.stop("Cancelled.")

    def _on_progress(self, progress: Progress) -> None:
        done, total = progress.whole or (progress.done, progress.total)
        self._bar.setRange(0, total if total > 1 else 0)
        self._bar.setValue(done)
        self.show_message(self._sentence(progress))
        self.progressed.emit(progress)

    def _sentence(self, progress: Progress) -> str:
        return self._pace.describe(progress)

    def _on_returned(self, then: Callable[[Any], None], result: Any) -> None:
        self.show_message("")
        then(result)

    def _on_error(self, error: Exception) -> None:
        self.failed.emit()
        if isinstance(error, CaltomorphError):
            self.show_error(str(error))
            return
        if _is_out_of_memory(error):
            self.show_error("Memory ran out; choose the device cpu, or close other programs, and try again.")
        else:
            self.show_error(f"Unexpected error: {error}")
            notification_manager.receive_error(type(error), error, error.__traceback__)

    def _on_ended(self, job: Job) -> None:
        if job is self._job:
            self._job = None
            self._bar.hide()
            self.button.setText(self._title)
            self.button.setChecked(self._is_main)
            self.button.setEnabled(True)
            self.ended.emit()


def _is_out_of_memory(error: Exception) -> bool:
    if "torch" not in sys.modules:  # importing it here would stop the window, or fail: its import is what failed
        return isinstance(error, MemoryError)
    from napari_caltomorph.encoding.device import is_out_of_memory

    return is_out_of_memory(error)


class _HasTaskRow(Protocol):
    run: TaskRow


Owner = TypeVar("Owner", bound=_HasTaskRow)
Parameters = ParamSpec("Parameters")


def shows_errors(
    method: Callable[Concatenate[Owner, Parameters], None],
) -> Callable[Concatenate[Owner, Parameters], None]:
    """Let a method of a widget with a task row `run` show a `CaltomorphError` there instead of raising it."""

    @wraps(method)
    def shown(owner: Owner, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            method(owner, *args, **kwargs)
        except CaltomorphError as error:
            owner.run.show_error(str(error))

    return shown
