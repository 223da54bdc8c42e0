"""A field's light and stain: what empty glass would show at each pixel, and what the cells absorb of it.

Absorbed light (optical density) does not depend on how bright a lamp is or how a camera balances white. The light is a
smooth surface under the brightest pixels of blocks, so that vignetting and coloured edges are divided out.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray
from scipy import ndimage

Pixels = NDArray[np.float32]

_BLOCKS = 12  # Along each side
_DEGREE = 4  # Of the surface: a lens darkens and colours the edge of its image faster than a parabola does
_POWERS = [(i, j) for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)]
_BRIGHTEST = 0.95  # Quantile of green in a block above which pixels are taken for glass
# Nuclei absorb no blue. More would make noise of the blue channel, which JPEG stores coarsely, look like nuclei.
_MOST_BLUE = 1.25
_FAINTEST = 0.05  # Optical density of red cells below which an image has none


def optical_density(image: NDArray[np.uint8]) -> Pixels:
    """Return what (H, W, 3) RGB absorbs of its own light, as natural logarithms; 0 is empty glass."""
    log: Pixels = np.log(np.arange(256, dtype=np.float32).clip(1))[image]
    height, width = log.shape[:2]
    rows, columns = (np.linspace(0, n, _BLOCKS + 1).astype(int) for n in (height, width))
    glass, places = [], []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            if (block := log[top:bottom, left:right].reshape(-1, 3)).size:
                green = block[:, 1]
                glass.append(np.median(block[green >= np.quantile(green, _BRIGHTEST)], axis=0))
                places.append(((top + bottom) / height - 1, (left + right) / width - 1))
    surface = _fit(np.array(places), np.array(glass))
    y, x = ((np.arange(n) + 0.5) / n * 2 - 1 for n in (height, width))
    for channel in range(3):
        grid = np.zeros((_DEGREE + 1, _DEGREE + 1))
        grid[tuple(zip(*_POWERS, strict=True))] = surface[:, channel]
        log[..., channel] = polynomial.polygrid2d(y, x, grid) - log[..., channel]
    return log


def _fit(places: NDArray[np.float64], glass: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the polynomial (powers, 3) near the upper side of the blocks: those without any glass lie far below."""
    basis = np.stack([places[:, 0] ** i * places[:, 1] ** j for i, j in _POWERS], axis=-1)
    weight = np.ones(len(basis))
    for _ in range(8):
        surface = np.linalg.lstsq(basis * weight[:, None], glass * weight[:, None], rcond=None)[0]
        above = (glass - basis @ surface)[:, 1]
        spread = 1.48 * np.median(np.abs(above)) + 0.005
        weight = np.where(above > 0, 1 / np.maximum(above / spread, 1), 1 / (1 + (above / spread) ** 2))
    return np.asarray(surface)


def red_cell_density(density: Pixels) -> NDArray[np.float32]:
    """Return the optical density (3,) of the field's red cells: the usual colour of what is not glass."""
    green = density[..., 1]
    dense = np.quantile(green, 0.9)
    is_cell = (green > 0.35 * dense) & (green < 1.3 * dense)
    found = np.median(density[is_cell], axis=0) if is_cell.any() else np.zeros(3)
    return np.maximum(found, _FAINTEST).astype(np.float32)


def nuclear_stain(density: Pixels, red_cells: NDArray[np.float32], block_px: float | None) -> Pixels:
    """Return how much nuclear dye is at each pixel (H, W); 1 absorbs as much as the field's red cells.

    The dye absorbs red and green and hardly any blue; what red cells or dirt of the same blue absorb is taken off, and
    so is the median of blocks of `block_px`, the rest of a colour cast; not where one cell may fill a block (None).
    """
    unit = red_cells[:2].mean()
    blue = min(float(unit / red_cells[2]), _MOST_BLUE)
    stain: Pixels = density[..., :2].mean(axis=-1) - np.float32(blue) * density[..., 2]
    if block_px is not None:
        stain -= _block_medians(stain, block_px)
    stain /= unit
    return stain


def _block_medians(image: Pixels, block_px: float) -> Pixels:
    height, width = image.shape
    tall, wide = (max(1, round(n / block_px)) for n in image.shape)
    rows, columns = np.linspace(0, height, tall + 1).astype(int), np.linspace(0, width, wide + 1).astype(int)
    medians = np.array(
        [[np.median(strip[:, a:b]) for a, b in pairwise(columns)]
         for strip in (image[a:b] for a, b in pairwise(rows))]
    )  # fmt: skip
    medians = ndimage.median_filter(medians, 3, mode="nearest")
    y, x = ((np.arange(n) + 0.5) / n * count - 0.5 for n, count in ((height, tall), (width, wide)))
    rows_of, columns_of = (_weights(at, count) for at, count in ((y, tall), (x, wide)))
    return np.asarray(rows_of @ medians @ columns_of.T, np.float32)


def _weights(at: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the matrix (len(at), count) that interpolates linearly between values at 0 ... count - 1."""
    return np.asarray(np.maximum(1 - np.abs(np.clip(at, 0, count - 1)[:, None] - np.arange(count)), 0))
