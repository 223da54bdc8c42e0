"""Many smears at once -> their features: what the readers have read is encoded as it comes, whichever smear it is of.

The encoder takes all that is there, up to a batch, as soon as it is free. So it waits only when nothing was read, and a
batch may have cells of several smears.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.encoding.load import Images, LoadedEncoder
from napari_caltomorph.smear.readers import Part, Readers
from napari_caltomorph.smear.smear import Smear

# How often the callback, which may stop the work, is called while nothing comes.
_POLL_SECONDS = 0.05
# A batch ends with the image that reaches this: large ones come fewer at once.
_BATCH_BYTES = 2**26

OnCells = Callable[[str | None, float], None]
"""Called with a smear's key and the share of its cells that is done, and without them while nothing is done."""

Framed = Callable[[NDArray[np.uint8], float | None], NDArray[np.uint8]]


@dataclass
class EncodedSmear:
    """A smear whose cells were read and encoded."""

    key: str
    smear: Smear | None = None  # Graded; None where there is an error
    error: Exception | None = None
    values: dict[str, NDArray[np.float32]] = field(default_factory=dict)  # Of cells that may be usable, by digest
    measured: int = 0  # Cells
    total: int = 1
    waiting: int = 0  # Images on their way through the encoder
    begun: float = field(default_factory=time.monotonic)  # When the first part came

    @property
    def is_done(self) -> bool:
        return (self.smear is not None or self.error is not None) and not self.waiting

    @property
    def share(self) -> float:
        return max(0, self.measured - self.waiting) / self.total

    def graded(self) -> Smear:
        """Return the graded smear; raises why there is none."""
        if self.smear is None:
            raise self.error or AssertionError
        return self.smear

    def by_cell(self) -> dict[str, NDArray[np.float32]]:
        """Return the features of the usable cells, by cell; cells of the same bytes have the same."""
        smear = self.graded()
        assert smear.grades is not None
        return {smear.cells[i]: self.values[smear.grades[i].digest] for i in smear.usable}


def encode_smears(
    readers: Readers, encoder: LoadedEncoder, batch_size: int, on_cells: OnCells
) -> Generator[EncodedSmear, None, None]:
    """Yield the smears that readers read, each when all of its cells are encoded."""
    stream = _Stream(readers, encoder.preprocessing.framed, batch_size, on_cells)
    for values in encoder.stream(stream.batches()):
        stream.take_back(values)
        while stream.done:
            yield stream.done.popleft()
    yield from stream.done


@dataclass
class _Image:
    """One image that was read; its pixels are gone when it was encoded."""

    of: EncodedSmear
    digest: str
    pixels: NDArray[np.uint8]
    release: Callable[[], None] | None  # Of the last image of a part


class _Stream:
    def __init__(self, readers: Readers, framed: Framed, batch_size: int, on_cells: OnCells) -> None:
        self._framed, self._readers, self._batch_size, self._on_cells = framed, readers, batch_size, on_cells
        self._in_hand: dict[str, EncodedSmear] = {}
        self._read: deque[_Image] = deque()
        self._sent: deque[_Image] = deque()
        self.done: deque[EncodedSmear] = deque()

    def batches(self) -> Iterator[Images]:
        """Yield what is there, up to a batch; nothing, again and again, while nothing comes."""
        while self._read or not self._readers.is_done:
            self._take()
            batch: list[NDArray[np.uint8]] = []
            size = 0
            while self._read and len(batch) < self._batch_size and size < _BATCH_BYTES:
                image = self._read.popleft()
                self._sent.append(image)
                batch.append(image.pixels)
                size += image.pixels.nbytes
            yield batch

    def take_back(self, values: NDArray[np.float32]) -> None:
        """Sort the features that come out of the encoder into their smears."""
        for value in values:
            image = self._sent.popleft()
            image.of.values[image.digest] = value
            image.of.waiting -= 1
            if image.release is not None:
                image.release()
            if image.of.is_done:
                self._finish(image.of)
        if len(values):
            self._on_cells(image.of.key, image.of.share)

    def _take(self) -> None:
        """Take what was read, or wait a moment for it."""
        part = self._readers.take(0 if self._read else _POLL_SECONDS)
        if part is None and not self._read:
            self._on_cells(None, 0)
        while part is not None:
            self._add(part)
            part = self._readers.take(0) if len(self._read) < self._batch_size else None

    def _add(self, part: Part) -> None:
        smear = self._in_hand.setdefault(part.key, EncodedSmear(part.key))
        smear.measured += part.cells
        smear.total = max(smear.total, part.total)
        smear.smear, smear.error = part.smear, part.error
        smear.waiting += len(part.images)
        images = [
            _Image(smear, digest, self._framed(pixels, part.pixel_size_um), None)
            for digest, pixels in part.images.items()
        ]
        self._read += images
        if images:
            images[-1].release = part.release
        else:
            part.release()
        if smear.is_done:
            self._finish(smear)

    def _finish(self, smear: EncodedSmear) -> None:
        del self._in_hand[smear.key]
        self.done.append(smear)
