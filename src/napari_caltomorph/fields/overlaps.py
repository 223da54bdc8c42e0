"""Whether a cell was seen in an earlier field: the same cell lies among the same red cells.

Two pictures of one place correlate, whatever the light. Two cells that look alike have other surroundings, so these
must correlate alone, too. Where nothing is around a cell it cannot be told, and the cell is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Correlations of the same place in two fields. Of 2,000 pairs of other cells, none reached both.
_WHOLE, _AROUND = 0.82, 0.7
_IDENTICAL = 0.985  # Of the whole square: the same picture under another name
_PERHAPS = 0.5  # At the coarse scale
_FINE, _COARSE = 36, 12  # px on a side
_SHIFT = 4  # Of fine pixels: boxes of the same cell differ a little in two fields
_AWAY = np.abs(np.arange(_FINE - 2 * _SHIFT) - (_FINE - 2 * _SHIFT - 1) / 2)
_IS_AROUND = np.hypot(_AWAY[:, None], _AWAY) > 0.26 * _FINE  # Any two cells are dark in the middle


class SeenCells:
    """The cells of the fields so far."""

    def __init__(self) -> None:
        self._fields: list[str] = []
        self._fine: list[NDArray[np.float32]] = []
        self._coarse = np.empty((0, _COARSE**2), np.float32)

    def add(self, field: str, crops: Sequence[NDArray[np.uint8]]) -> list[bool]:
        """Add the cells of a field; return which are new, and not of an earlier field."""
        new, fine, coarse = [], [], []
        count = len(self._fields)
        for pixels in crops:
            green = Image.fromarray(np.ascontiguousarray(pixels[..., 1]))
            small = np.asarray(green.resize((_FINE, _FINE), Image.Resampling.BOX), np.float32)
            rough = _normal(np.asarray(green.resize((_COARSE, _COARSE), Image.Resampling.BOX), np.float32))
            likely = np.flatnonzero(self._coarse[:count] @ rough.ravel() > _PERHAPS)
            is_new = not any(self._fields[n] != field and _is_same(small, self._fine[n]) for n in likely)
            new.append(is_new)
            if is_new:
                fine.append(small)
                coarse.append(rough.ravel())
        if fine:
            self._fields += [field] * len(fine)
            self._fine += fine
            self._coarse = np.concatenate([self._coarse, coarse])
        return new


def _is_same(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether two squares show the same cell, moved by a few pixels."""
    middle = other[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT]
    windows = np.lib.stride_tricks.sliding_window_view(one, middle.shape).reshape(-1, *middle.shape)
    whole = _correlations(windows.reshape(len(windows), -1), middle.ravel())
    around = _correlations(windows[:, _IS_AROUND], middle[_IS_AROUND])
    return bool((((whole > _WHOLE) & (around > _AROUND)) | (whole > _IDENTICAL)).any())


def _correlations(rows: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(centred @ _normal(values) / (np.linalg.norm(centred, axis=1) + 1e-6))


def _normal(square: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = square - square.mean()
    return np.asarray(centred / (np.linalg.norm(centred) + 1e-6))
