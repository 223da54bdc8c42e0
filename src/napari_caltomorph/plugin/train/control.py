"""What the window says to a training that runs in a thread: wait, go on, or end with what there is."""

from __future__ import annotations

import threading

from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.training import KeepSoFar, TrainProgress

_POLL_SECONDS = 0.2


class TrainingControl:
    """Belongs to one training; any thread may call it."""

    def __init__(self) -> None:
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self._is_to_end = False

    @property
    def is_paused(self) -> bool:
        """Whether the training waits."""
        return not self._may_go_on.is_set()

    def pause(self) -> None:
        """Let the training wait after the step that it is at."""
        self._may_go_on.clear()

    def resume(self) -> None:
        """Let it go on."""
        self._may_go_on.set()

    def keep(self) -> None:
        """Let it end with the members trained so far; one that waits, too."""
        self._is_to_end = True
        self.resume()

    def heard(self, progress: OnProgress) -> OnProgress:
        """Return a callback that reports to another, and does what was said meanwhile."""

        def report(one: Progress) -> None:
            progress(one)
            while not self._may_go_on.wait(_POLL_SECONDS):
                progress(one)  # raises when the training was cancelled, or its window closed, while it waits
            if self._is_to_end and isinstance(one, TrainProgress):
                raise KeepSoFar

        return report
