"""Headers of TIFFs that were parsed before: the cells of one export differ in their pixels only.

Parsing takes ten times as long as reading the pixels, and its result depends on nothing but the file's size and the
bytes that were read. So these are kept with the result, and a file with the same ones is not parsed again.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import tifffile

from napari_caltomorph.smear.pixels import StoredCell
from napari_caltomorph.smear.tiff_page import read_uncompressed

# An export has one kind of header, or a few; where each file has its own, such as a time, none is met again.
_KEPT = 8
# Comparing longer ones costs more than it saves.
_LONGEST = 2**14


class NotingFile(io.RawIOBase):
    """A file that notes which of its bytes are read, until it is told to stop."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._noted: dict[int, bytes] | None = {}  # By place

    def stop(self) -> tuple[tuple[int, bytes], ...]:
        """Return what was noted, and note nothing more."""
        noted, self._noted = self._noted or {}, None
        return tuple(noted.items())

    def read(self, size: int = -1, /) -> bytes:
        place = self._file.tell()
        content = self._file.read(size)
        if self._noted is not None:
            self._noted[place] = max(content, self._noted.get(place, b""), key=len)
        return content

    def readinto(self, buffer: Any, /) -> int:
        content = self.read(memoryview(buffer).nbytes)
        memoryview(buffer).cast("B")[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


@dataclass(frozen=True)
class _Known:
    size: int  # Of the file
    parts: tuple[tuple[int, bytes], ...]  # What was read of it, by place
    cell: StoredCell
    page: tifffile.TiffPage

    def is_of(self, file: BinaryIO, size: int) -> bool:
        return size == self.size and all(_read_at(file, place, len(part)) == part for place, part in self.parts)


_known: tuple[_Known, ...] = ()  # The latest first; replaced as a whole, as several threads read


def known_cell(file: BinaryIO) -> StoredCell | None:
    """Return the only cell of a TIFF like one that was parsed before; None where there was none."""
    size = file.seek(0, os.SEEK_END)
    for one in _known:
        if one.is_of(file, size):
            return replace(one.cell, read=partial(read_uncompressed, one.page, file))
    return None


def remember(size: int, parts: tuple[tuple[int, bytes], ...], cell: StoredCell, page: tifffile.TiffPage) -> None:
    """Keep what was parsed of a TIFF with one cell."""
    global _known
    if sum(len(part) for _, part in parts) <= _LONGEST:
        _known = (_Known(size, parts, cell, page), *_known[: _KEPT - 1])


def is_plain(page: tifffile.TiffPage) -> bool:
    """Whether the pixels are stored as they are: 8 bits a sample, in one piece. Reads what says so."""
    return bool(page.bitspersample == 8 and page.dtype == np.uint8 and page.is_final and page.photometric in _PLAIN)


_PLAIN = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE)


def _read_at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)
