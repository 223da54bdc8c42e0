"""Where the pixels of a smear's cells come from: files, pages of a stack, or an array. Read only when needed."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.smear.images import decode, decode_page
from napari_caltomorph.smear.trees import Tree


class CellSource(Protocol):
    """N cell images, numbered."""

    def image(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; `CellUnreadable` when it cannot be decoded."""

    def digest(self, index: int) -> str:
        """SHA-256, in hex, of the bytes that make this cell; `CellUnreadable` when there are none."""


class FileSource:
    """One file a cell, in a folder or a zip archive."""

    def __init__(self, tree: Tree, paths: list[str]) -> None:
        self._tree, self._paths = tree, paths

    def image(self, index: int) -> NDArray[np.uint8]:
        with self._tree.open(self._paths[index]) as file:
            return decode(file, self._paths[index])

    def digest(self, index: int) -> str:
        with self._tree.open(self._paths[index]) as file:
            try:
                digest = hashlib.sha256()
                while piece := file.read(2**20):
                    digest.update(piece)
                return digest.hexdigest()
            except OSError as error:
                raise CellUnreadable(error.strerror or str(error)) from error


class StackSource:
    """One page a cell, in a TIFF; the file stays open, and one thread reads it at a time."""

    def __init__(self, tree: Tree, path: str) -> None:
        file = tree.open(path)
        self._tiff = tifffile.TiffFile(file)
        weakref.finalize(self, file.close)
        self._lock = threading.Lock()

    def image(self, index: int) -> NDArray[np.uint8]:
        with self._lock:
            try:
                return decode_page(self._tiff.pages[index])
            except CellUnreadable:
                raise
            except Exception as error:
                raise CellUnreadable(f"damaged page ({error})") from error

    def digest(self, index: int) -> str:
        return _pixels_digest(self.image(index))


class ArraySource:
    """A (N, H, W, 3) uint8 array, such as the data of an image layer."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = array

    def image(self, index: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self._array[index])

    def digest(self, index: int) -> str:
        return _pixels_digest(self.image(index))


class JoinedSource:
    """The cells of several sources, one source after the other, such as the slides of one patient."""

    def __init__(self, sources: Sequence[tuple[CellSource, int]]) -> None:
        self._cells = [(source, index) for source, cells in sources for index in range(cells)]

    def image(self, index: int) -> NDArray[np.uint8]:
        source, cell = self._cells[index]
        return source.image(cell)

    def digest(self, index: int) -> str:
        source, cell = self._cells[index]
        return source.digest(cell)


def _pixels_digest(pixels: NDArray[np.uint8]) -> str:
    shape = "x".join(str(n) for n in pixels.shape).encode()
    return hashlib.sha256(shape + pixels.tobytes()).hexdigest()
