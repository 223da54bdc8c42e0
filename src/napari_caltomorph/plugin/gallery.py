"""All cells of a prediction as one picture: rows of cells, most attended first.

A usual smear's picture is made at once. A large one is a pyramid whose finest levels decode the cells in view, and
whose coarse levels are made of thumbnails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_caltomorph.plugin.stack import CellStack
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import Smear

# 1,500 cells of 144 px are a picture of 170 MB and 8,000 px, which every graphics card takes.
_EAGER_CELLS = 1500
# Levels of the pyramid of a large gallery: full size and half are decoded in view, the rest come from thumbnails.
_LEVELS = 5
_FIRST_THUMBNAIL_LEVEL = 2


@dataclass(frozen=True)
class Grid:
    """Where each cell stands, in pixels: rank 1 at the top left, then to the right.

    Attributes
    ----------
    count : int
    cell : (int, int)
        Height and width of a cell.
    """

    count: int
    cell: tuple[int, int]

    @property
    def columns(self) -> int:
        """Cells a row: about the shape of a screen."""
        height, width = self.pitch
        return max(1, round((self.count * 1.15 * height / width) ** 0.5))

    @property
    def pitch(self) -> tuple[int, int]:
        """Distance from a cell to the next, down and across; the gap below holds its rank.

        A multiple of 16, so that every level of a pyramid divides it.
        """
        height, width = self.cell
        return -(-(height + max(12, height // 6)) // 16) * 16, -(-(width + max(6, width // 20)) // 16) * 16

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the whole picture."""
        rows = -(-self.count // self.columns)
        return rows * self.pitch[0], self.columns * self.pitch[1]

    def corner(self, position: int) -> tuple[int, int]:
        """Return the top left pixel of the cell at a position (rank - 1)."""
        row, column = divmod(position, self.columns)
        return row * self.pitch[0], column * self.pitch[1]

    def centers(self) -> NDArray[np.float64]:
        """(N, 2) middle of each cell, in pixels, in rank order."""
        corners = np.array([self.corner(position) for position in range(self.count)], dtype=float)
        return corners + (np.array(self.cell) - 1) / 2

    def at(self, row: float, column: float) -> int | None:
        """Return the position (rank - 1) of the cell at a pixel, or None between cells."""
        (down, y), (across, x) = divmod(row + 0.5, self.pitch[0]), divmod(column + 0.5, self.pitch[1])
        position = int(down) * self.columns + int(across)
        inside = y < self.cell[0] and x < self.cell[1] and 0 <= across < self.columns
        return position if inside and 0 <= position < self.count else None


def compose_gallery(
    smear: Smear, order: NDArray[np.intp], *, progress: OnProgress = ignore
) -> NDArray[np.uint8] | list[GalleryLevel]:
    """Put cells into one picture.

    Parameters
    ----------
    smear : Smear
    order : (N,) int
        Indices of cells in rank order.
    progress : callable
        Called with a `Progress`; raising `Cancelled` in it stops cleanly.

    Returns
    -------
    (H, W, 4) uint8 RGBA
        Transparent between the cells; for a large smear a list of lazily composed levels, finest first.
    """
    stack, grid = CellStack(smear, order), Grid(len(order), smear.canvas)
    if len(order) <= _EAGER_CELLS:
        picture = np.zeros((*grid.shape, 4), np.uint8)
        for position, cell in _cells(stack, progress):
            _paste(picture, grid.corner(position), cell)
        return picture
    size = max(1, grid.cell[0] >> _FIRST_THUMBNAIL_LEVEL), max(1, grid.cell[1] >> _FIRST_THUMBNAIL_LEVEL)
    thumbnails = np.empty((len(order), *size, 3), np.uint8)
    for position, cell in _cells(stack, progress):
        thumbnails[position] = _shrunk(cell, size)
    return [GalleryLevel(stack, grid, level, thumbnails) for level in range(_LEVELS)]


class GalleryLevel:
    """One level of a large gallery, as an array (H, W, 4) uint8 that composes what is asked for."""

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, stack: CellStack, grid: Grid, level: int, thumbnails: NDArray[np.uint8]) -> None:
        self._stack, self._grid, self._level, self._thumbnails = stack, grid, level, thumbnails
        height, width = grid.shape
        self.shape = (height >> level, width >> level, 4)

    @property
    def size(self) -> int:
        """How many numbers the whole level has."""
        return int(np.prod(self.shape))

    def __getitem__(self, key: object) -> NDArray[np.uint8]:
        slices = key if isinstance(key, tuple) else (key,)
        slices = (*slices, *(slice(None),) * (3 - len(slices)))
        rows, columns = (range(*s.indices(n)) for s, n in zip(slices[:2], self.shape, strict=False))
        pitch = [p >> self._level for p in self._grid.pitch]
        if not rows or not columns:
            return np.empty((len(rows), len(columns), 4), np.uint8)[..., slices[2]]
        first_row, first_column = rows[0] // pitch[0], columns[0] // pitch[1]
        last_row, last_column = rows[-1] // pitch[0], columns[-1] // pitch[1]
        top, left = first_row * pitch[0], first_column * pitch[1]
        picture = np.zeros(((last_row + 1) * pitch[0] - top, (last_column + 1) * pitch[1] - left, 4), np.uint8)
        for row in range(first_row, last_row + 1):
            for column in range(first_column, last_column + 1):
                position = row * self._grid.columns + column
                if position < self._grid.count:
                    _paste(picture, (row * pitch[0] - top, column * pitch[1] - left), self._cell(position))
        crop = picture[rows[0] - top : rows[-1] - top + 1, columns[0] - left : columns[-1] - left + 1]
        return crop[:: rows.step, :: columns.step, slices[2]]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> NDArray[np.uint8]:
        return self[:, :].astype(dtype or self.dtype, copy=False)

    def _cell(self, position: int) -> NDArray[np.uint8]:
        size = [max(1, n >> self._level) for n in self._grid.cell]
        if self._level >= _FIRST_THUMBNAIL_LEVEL:
            step = 1 << (self._level - _FIRST_THUMBNAIL_LEVEL)
            return self._thumbnails[position, ::step, ::step][: size[0], : size[1]]
        cell = self._stack.cell(position)
        return cell if self._level == 0 else _shrunk(cell, (size[0], size[1]))


def _cells(stack: CellStack, progress: OnProgress) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    for position in range(len(stack)):
        if position % 32 == 0:
            progress(Progress("Arranging cells", position, len(stack)))
        yield position, stack.cell(position)


def _paste(picture: NDArray[np.uint8], corner: tuple[int, int], cell: NDArray[np.uint8]) -> None:
    top, left = corner
    picture[top : top + cell.shape[0], left : left + cell.shape[1], :3] = cell
    picture[top : top + cell.shape[0], left : left + cell.shape[1], 3] = 255


def _shrunk(cell: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(cell).resize((size[1], size[0]), Image.Resampling.BOX))
