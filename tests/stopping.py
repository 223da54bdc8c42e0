"""A progress callback that cancels, for tests of every room."""

from __future__ import annotations

from collections.abc import Callable

from napari_caltomorph.progress import Cancelled, Progress


class Cancels:
    """Raises `Cancelled` when a condition holds, by default at once, and not before call number `call`, from 0."""

    def __init__(self, when: Callable[[Progress], object] = lambda _: True, *, call: int = 0) -> None:
        self.seen: list[Progress] = []
        self._when, self._call = when, call

    def __call__(self, progress: Progress) -> None:
        self.seen.append(progress)
        if len(self.seen) > self._call and self._when(progress):
            raise Cancelled
