"""Where the pixels of a smear's cells come from: files, cells of a stack, or an array. Read only when needed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.smear.images import decode, peak, read_cells
from napari_caltomorph.smear.pixels import StoredCell, used_bits
from napari_caltomorph.smear.trees import Tree

# Larger files are read in pieces of so many bytes.
_PIECE = 2**20


class CommonScale:
    """How many of 16 bits the cells of a smear use, where their files do not say it.

    One number for all cells, usable or not: their brightness stays comparable, and no choice of cells changes it.
    """

    def __init__(self, *cells: tuple[Callable[[int], int], int]) -> None:
        self._cells = cells  # What returns a cell's largest value that needs this scale, and the number of cells
        self._lock = threading.Lock()
        self._bits: int | None = None

    @classmethod
    def of(cls, scales: Iterable[CommonScale]) -> CommonScale:
        """Return one scale for the cells of several."""
        return cls(*(cells for scale in scales for cells in scale._cells))

    def bits(self) -> int:
        """Return the number of bits. The first call reads all cells, until one needs 16 bits."""
        with self._lock:
            if self._bits is None:
                highest = 0
                for peak_of, index in ((peak_of, index) for peak_of, count in self._cells for index in range(count)):
                    with contextlib.suppress(CellUnreadable):  # check_smear reports it
                        highest = max(highest, peak_of(index))
                    if used_bits(highest) == 16:
                        break
                self._bits = used_bits(highest)
        return self._bits

    @property
    def is_full(self) -> bool:
        """Whether there is a cell that needs all of the 16 bits."""
        return self._bits == 16

    @property
    def note(self) -> str:
        """What was guessed, as a sentence without its full stop; empty where nothing was."""
        if self._bits is None or self._bits == 16:
            return ""
        return f"The 16-bit images use {self._bits} bits, by the brightest of all cells: {2**self._bits - 1} is white"


@dataclass(frozen=True)
class ReadCell:
    """One cell, read once."""

    digest: str = ""  # SHA-256, in hex, of the bytes that make it; empty when there were none to read
    image: NDArray[np.uint8] | None = None  # (H, W, 3) RGB; None when it cannot be decoded
    error: str = ""  # Why it cannot


class CellSource(Protocol):
    """N cell images, numbered."""

    def read(self, index: int) -> ReadCell:
        """Return digest and image, from one reading of the cell where that is possible."""

    def image(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; `CellUnreadable` when it cannot be decoded."""

    def digest(self, index: int) -> str:
        """SHA-256, in hex, of the bytes that make this cell; `CellUnreadable` when there are none."""

    scale: CommonScale  # Of 16-bit pixels


class PixelSource(CellSource, Protocol):
    """Cells that are known by their pixels."""

    def read(self, index: int) -> ReadCell:
        try:
            image = self.image(index)
        except CellUnreadable as error:
            return ReadCell(error=str(error))
        return ReadCell(pixels_digest(image), image)

    def digest(self, index: int) -> str:
        return pixels_digest(self.image(index))


class FileSource:
    """One file a cell, in a folder or a zip archive."""

    def __init__(self, tree: Tree, paths: list[str]) -> None:
        self._tree, self._paths = tree, paths
        self.scale = CommonScale((partial(_peak_of_file, tree, paths), len(paths)))

    def read(self, index: int) -> ReadCell:
        digest = ""
        try:
            with self._tree.open(self._paths[index]) as file:
                # Decoders seek: small files, as cells are, are read whole and once.
                if (size := file.seek(0, os.SEEK_END)) <= _PIECE:
                    file.seek(0)
                    file = io.BytesIO(_read(file, size))
                digest = _hashed(file)
                return ReadCell(digest, decode(file, self.scale.bits))
        except CellUnreadable as error:
            return ReadCell(digest, error=str(error))

    def image(self, index: int) -> NDArray[np.uint8]:
        with self._tree.open(self._paths[index]) as file:
            return decode(file, self.scale.bits)

    def digest(self, index: int) -> str:
        with self._tree.open(self._paths[index]) as file:
            return _hashed(file)


class StackSource(PixelSource):
    """Many cells in one TIFF, which stays open; its cells let one thread read at a time."""

    def __init__(self, tree: Tree, path: str) -> None:
        file = tree.open(path)
        weakref.finalize(self, file.close)
        self.cells = read_cells(file)
        self.scale = CommonScale((partial(_peak_of_cell, self.cells), len(self.cells)))

    def image(self, index: int) -> NDArray[np.uint8]:
        with _damaged_page():
            return self.cells[index].rgb(self.scale.bits)


class ArraySource(PixelSource):
    """A (N, H, W, 3) uint8 array, such as the data of an image layer."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = array
        self.scale = CommonScale()

    def image(self, index: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self._array[index])


class JoinedSource:
    """The cells of several sources, one source after the other, such as the slides of one patient."""

    def __init__(self, sources: Sequence[tuple[CellSource, int]]) -> None:
        self._cells = [(source, index) for source, cells in sources for index in range(cells)]
        self._sources = [source for source, _ in sources]
        self.scale = CommonScale.of(source.scale for source in self._sources)

    @property
    def scale(self) -> CommonScale:
        return self._scale

    @scale.setter
    def scale(self, scale: CommonScale) -> None:
        """Let all sources have one scale: the slides of a patient stay comparable too."""
        self._scale = scale
        for source in self._sources:
            source.scale = scale

    def read(self, index: int) -> ReadCell:
        source, cell = self._cells[index]
        return source.read(cell)

    def image(self, index: int) -> NDArray[np.uint8]:
        source, cell = self._cells[index]
        return source.image(cell)

    def digest(self, index: int) -> str:
        source, cell = self._cells[index]
        return source.digest(cell)


def _peak_of_file(tree: Tree, paths: Sequence[str], index: int) -> int:
    with tree.open(paths[index]) as file:
        return peak(file)


def _peak_of_cell(cells: Sequence[StoredCell], index: int) -> int:
    with _damaged_page():
        return cells[index].peak()


@contextlib.contextmanager
def _damaged_page() -> Iterator[None]:
    try:
        yield
    except CellUnreadable:
        raise
    except Exception as error:
        raise CellUnreadable(f"damaged page ({error})") from error


def pixels_digest(pixels: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of an image that has no file of its own."""
    shape = "x".join(str(n) for n in pixels.shape).encode()
    return hashlib.sha256(shape + pixels.tobytes()).hexdigest()


def _hashed(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while piece := _read(file, _PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _read(file: BinaryIO, count: int) -> bytes:
    try:
        return file.read(count)
    except OSError as error:
        raise CellUnreadable(error.strerror or str(error)) from error
