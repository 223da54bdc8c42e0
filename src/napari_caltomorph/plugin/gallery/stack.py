"""The cells of a smear as an image stack that decodes a cell only when it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.smear import Smear


class CellStack:
    """Cells on one canvas, as an array (N, H, W, 3) uint8.

    Parameters
    ----------
    smear : Smear
    order : sequence of int
        Which cells, in which order; all in the smear's order where not given.

    Notes
    -----
    napari asks an array for no more than `shape`, `dtype`, `ndim` and items.
    """

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
        cells = (
            np.stack([self.cell(int(i)) for i in chosen]) if len(chosen) else np.empty((0, *self.shape[1:]), np.uint8)
        )
        return cells[(slice(None), *rest)]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> NDArray[np.uint8]:
        return self[:].astype(dtype or self.dtype, copy=False)

    def _decode(self, position: int) -> NDArray[np.uint8]:
        try:
            return self.smear.on_canvas(int(self._order[position]))
        except CellUnreadable:
            return _crossed_out(self.smear.canvas)


def _crossed_out(canvas: tuple[int, int]) -> NDArray[np.uint8]:
    """Return what is shown in place of an image that cannot be read."""
    rows, columns = np.mgrid[: canvas[0], : canvas[1]] / np.array(canvas, float).reshape(2, 1, 1)
    cross = np.minimum(abs(rows - columns), abs(rows + columns - 1)) < 0.015
    shown = np.full((*canvas, 3), 60, np.uint8)
    shown[cross] = 140
    return shown
