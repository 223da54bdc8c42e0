"""The cells of a smear as arrays for napari: one cell at a time, or all in one picture, in any order.

Cells are decoded once. Of a usual smear they are kept in memory, and its picture is composed at once. Of a large one
only thumbnails are kept: its picture is a pyramid whose finest levels decode the cells in view, and whose coarse levels
are made from thumbnails. So sorting is immediate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import Smear

# 1,500 cells of 144 px are a picture of 170 MB and 8,000 px, which every graphics card takes.
_EAGER_CELLS = 1500
# Width of the frame around a cell, and around a marked one, compared to the cell.
_FRAME, _MARKED_FRAME = 0.035, 0.11
# Levels of the pyramid of a large gallery: full size and half are decoded in view, the rest come from thumbnails.
_LEVELS = 5
_FIRST_THUMBNAIL_LEVEL = 2


class CellStack:
    """Cells on one canvas in an order, else the smear's, as an array (N, H, W, 3) uint8 as far as napari needs one."""

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, smear: Smear, order: Sequence[int] | NDArray[np.intp] | None = None) -> None:
        self.smear = smear
        self._order = np.arange(len(smear)) if order is None else np.asarray(order)
        self.shape = (len(self._order), *smear.canvas, 3)
        # A screen shows at most a few hundred cells; panning back and forth must not decode them again.
        self.cell = lru_cache(maxsize=1024)(self._decode)

    @property
    def size(self) -> int:
        """How many numbers the whole array has."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: object) -> NDArray[np.uint8]:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(first, (int, np.integer)):
            return self.cell(range(len(self))[first])[tuple(rest)]
        chosen = np.arange(len(self))[first]
        cells = np.empty((len(chosen), *self.shape[1:]), np.uint8)
        for place, cell in enumerate(chosen):
            cells[place] = self.cell(int(cell))
        return cells[(slice(None), *rest)]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> NDArray[np.uint8]:
        return self[:].astype(dtype or self.dtype, copy=False)

    def _decode(self, position: int) -> NDArray[np.uint8]:
        try:
            return self.smear.on_canvas(int(self._order[position]))
        except CellUnreadable:
            return _crossed_out(self.smear.canvas)


@dataclass(frozen=True)
class Grid:
    """Where each cell is, in pixels: the first at the top left, the next to its right."""

    count: int
    cell: tuple[int, int]  # height and width
    across: int | None = None  # cells in a row; None: about the shape of a screen

    @property
    def columns(self) -> int:
        """Cells in a row."""
        height, width = self.pitch
        return max(1, min(self.count, self.across or round((self.count * 1.15 * height / width) ** 0.5)))

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
        rows = max(1, -(-self.count // self.columns))
        return rows * self.pitch[0], self.columns * self.pitch[1]

    @property
    def framed(self) -> float:
        """Side of a cell with its frame, which ends in the gap between the cells."""
        return max(self.cell) + min(0.085 * max(self.cell), self.pitch[1] - self.cell[1])

    def frames(self, is_marked: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (N,) sizes of squares, and widths of their borders compared to that, so that all end in the gap."""
        width = np.where(is_marked, _MARKED_FRAME, _FRAME) * max(self.cell)
        size = self.framed - width
        return size, width / size

    def corner(self, position: int) -> tuple[int, int]:
        """Return the top left pixel of the cell at a position, 0 for the first."""
        row, column = divmod(position, self.columns)
        return row * self.pitch[0], column * self.pitch[1]

    def centers(self) -> NDArray[np.float64]:
        """(N, 2) middle of each cell, in pixels."""
        places = np.stack(np.divmod(np.arange(self.count), self.columns), axis=1)
        return places * np.array(self.pitch, dtype=float) + (np.array(self.cell) - 1) / 2

    def at(self, row: float, column: float) -> int | None:
        """Return the position of the cell at a pixel, or None between cells."""
        (down, y), (across, x) = divmod(row + 0.5, self.pitch[0]), divmod(column + 0.5, self.pitch[1])
        position = int(down) * self.columns + int(across)
        inside = y < self.cell[0] and x < self.cell[1] and 0 <= across < self.columns
        return position if inside and 0 <= position < self.count else None


@dataclass(frozen=True)
class CellPictures:
    """N decoded cells, or thumbnails of them, that can be arranged in any order."""

    stack: CellStack  # decodes on demand
    kept: NDArray[np.uint8]  # (N, h, w, 3) in full size; thumbnails if `is_large`
    is_large: bool  # whether a picture of all is too large to be made at once

    def arranged(self, order: NDArray[np.intp], grid: Grid) -> NDArray[np.uint8] | list[GalleryLevel]:
        """Arrange cells in this order: (H, W, 4) uint8 RGBA, transparent between the cells.

        Of a large smear, return a list of lazily composed levels, finest first.
        """
        if self.is_large:
            return [GalleryLevel(self, order, grid, level) for level in range(_LEVELS)]
        picture = np.zeros((*grid.shape, 4), np.uint8)
        for position, cell in enumerate(order):
            _paste(picture, grid.corner(position), self.kept[cell])
        return picture


def read_pictures(smear: Smear, cells: NDArray[np.intp], *, progress: OnProgress = ignore) -> CellPictures:
    """Decode cells for the gallery: (N,) indices of the smear's cells, in the order of the `CellPictures`."""
    stack, is_large = CellStack(smear, cells), len(cells) > _EAGER_CELLS
    shift = _FIRST_THUMBNAIL_LEVEL if is_large else 0
    size = max(1, smear.canvas[0] >> shift), max(1, smear.canvas[1] >> shift)
    kept = np.empty((len(cells), *size, 3), np.uint8)
    for cell in range(len(cells)):
        if cell % 32 == 0:
            progress(Progress("Arranging cells", cell, len(cells)))
        kept[cell] = _shrunk(stack.cell(cell), size) if is_large else stack.cell(cell)
    return CellPictures(stack, kept, is_large)


class GalleryLevel:
    """One level of a large gallery, as an array (H, W, 4) uint8 that composes what is indexed."""

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, pictures: CellPictures, order: NDArray[np.intp], grid: Grid, level: int) -> None:
        self._pictures, self._order, self._grid, self._level = pictures, order, grid, level
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
                    corner = row * pitch[0] - top, column * pitch[1] - left
                    _paste(picture, corner, self._cell(int(self._order[position])))
        crop = picture[rows[0] - top : rows[-1] - top + 1, columns[0] - left : columns[-1] - left + 1]
        return crop[:: rows.step, :: columns.step, slices[2]]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> NDArray[np.uint8]:
        return self[:, :].astype(dtype or self.dtype, copy=False)

    def _cell(self, cell: int) -> NDArray[np.uint8]:
        size = [max(1, n >> self._level) for n in self._grid.cell]
        if self._level >= _FIRST_THUMBNAIL_LEVEL:
            step = 1 << (self._level - _FIRST_THUMBNAIL_LEVEL)
            return self._pictures.kept[cell, ::step, ::step][: size[0], : size[1]]
        image = self._pictures.stack.cell(cell)
        return image if self._level == 0 else _shrunk(image, (size[0], size[1]))


def _paste(picture: NDArray[np.uint8], corner: tuple[int, int], cell: NDArray[np.uint8]) -> None:
    top, left = corner
    picture[top : top + cell.shape[0], left : left + cell.shape[1], :3] = cell
    picture[top : top + cell.shape[0], left : left + cell.shape[1], 3] = 255


def _shrunk(cell: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(cell).resize((size[1], size[0]), Image.Resampling.BOX))


def _crossed_out(canvas: tuple[int, int]) -> NDArray[np.uint8]:
    """Return what is shown in place of an image that cannot be read."""
    rows, columns = np.mgrid[: canvas[0], : canvas[1]] / np.array(canvas, float).reshape(2, 1, 1)
    cross = np.minimum(abs(rows - columns), abs(rows + columns - 1)) < 0.015
    shown = np.full((*canvas, 3), 60, np.uint8)
    shown[cross] = 140
    return shown
