"""Small pictures of cells: decoded in a thread once they are seen, the latest first, and kept within a limit."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from qtpy.QtCore import QTimer, Signal
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import QWidget

from napari_caltomorph.errors import CaltomorphError, CellUnreadable
from napari_caltomorph.plugin.widgets.parts import pixmap
from napari_caltomorph.plugin.widgets.tasks import LatestJob
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.smear import Smear

Key = TypeVar("Key", bound=Hashable)
Image8 = NDArray[np.uint8]

# 3,000 pictures of 30 px are 11 MB; a screen shows some 40 rows.
_KEPT, _WAITING, _AT_ONCE = 3000, 120, 24


class Thumbnails(LatestJob, Generic[Key]):
    """Pictures by key, at most `side` points wide and high.

    A view asks for each picture that it paints, and paints again when `loaded` is emitted. What was asked for first,
    and scrolled past since, is decoded last or never.
    """

    loaded = Signal()

    def __init__(self, owner: QWidget, side: int) -> None:
        super().__init__(owner)
        self._owner, self._side = owner, side
        self._decode: Callable[[Key], Image8] | None = None
        self._kept: dict[Key, QPixmap | str] = {}  # oldest first; a text is why there is no picture
        self._waiting: dict[Key, None] = {}  # an ordered set
        self._decoding: frozenset[Key] = frozenset()
        self._soon = QTimer(self, singleShot=True, interval=0, timeout=self._next)

    @property
    def pixels(self) -> int:
        """Pixels of a picture's side on this screen."""
        return round(self._side * self._owner.devicePixelRatioF())

    @property
    def are_there(self) -> bool:
        """Whether there are pictures at all."""
        return self._decode is not None

    def show(self, decode: Callable[[Key], Image8] | None) -> None:
        """Deliver other pictures, or none: `decode` makes one, in a thread, or raises a `CaltomorphError`."""
        self.stop()
        self._decode = decode
        self._kept.clear()

    def stop(self) -> None:
        """Decode no more until pictures are asked for again."""
        super().stop()
        self._waiting.clear()
        self._decoding = frozenset()

    def of(self, key: Key) -> QPixmap | None:
        """Return a picture; None until it is decoded, and where there is none."""
        found = self._kept.get(key)
        if found is None and self._decode is not None and key not in self._decoding:
            self._waiting.pop(key, None)
            self._waiting[key] = None
            if len(self._waiting) > _WAITING:
                self._waiting.pop(next(iter(self._waiting)))
            self._soon.start()
        return found if isinstance(found, QPixmap) else None

    def problem(self, key: Key) -> str:
        """Return why there is no picture; empty where there is one, or none yet."""
        found = self._kept.get(key)
        return found if isinstance(found, str) else ""

    def _next(self) -> None:
        decode = self._decode
        if self.is_busy or decode is None or not self._waiting:
            return
        waiting = list(self._waiting)
        keys = waiting[: -_AT_ONCE - 1 : -1]  # the latest first

        def work(progress: OnProgress) -> list[tuple[Key, Image8 | str]]:
            return [(key, _decoded(decode, key, progress)) for key in keys]

        self.start(work, self._show, failed=lambda _: None)
        self._decoding = frozenset(keys)
        self._waiting = dict.fromkeys(waiting[:-_AT_ONCE])

    def _show(self, decoded: list[tuple[Key, Image8 | str]]) -> None:
        for key, image in decoded:
            self._kept[key] = image if isinstance(image, str) else pixmap(image)
            if isinstance(picture := self._kept[key], QPixmap):
                picture.setDevicePixelRatio(self._owner.devicePixelRatioF())
        while len(self._kept) > _KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._decoding = frozenset()
        self.loaded.emit()
        self._next()


def _decoded(decode: Callable[[Key], Image8], key: Key, progress: OnProgress) -> Image8 | str:
    progress(Progress("Decoding", 0, 1))  # stops here when other pictures are wanted
    try:
        return decode(key)
    except CaltomorphError as error:
        return str(error)


def cells_of(smear: Smear | None, side: int) -> Callable[[str], Image8] | None:
    """Return what decodes a cell of a smear by its name, at most `side` pixels wide and high; None without images."""
    if smear is None:
        return None
    numbers = {cell: number for number, cell in enumerate(smear.cells)}

    def decode(cell: str) -> Image8:
        if cell not in numbers:
            raise CellUnreadable(f"{cell} is no longer among the images of {smear.patient_id}.")
        return shrunk(smear.on_canvas(numbers[cell]), side)

    return decode


def icon(picture: QPixmap | None) -> QIcon | None:
    """Return a picture as an icon that keeps its colours where its row is selected; Qt tints it otherwise."""
    if picture is None:
        return None
    kept = QIcon(picture)
    kept.addPixmap(picture, QIcon.Mode.Selected)
    return kept


def shrunk(image: Image8, side: int) -> Image8:
    """Return an image, (H, W, 3), at most `side` pixels wide and high."""
    small = Image.fromarray(np.ascontiguousarray(image))
    small.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(small)
