"""How large a pixel is, from red cells: every field has its own ruler, 7.5 micrometres wide.

Every dark edge votes for the centre of a disc on its dark side, for each radius. Cells that touch or overlap still have
arcs that vote, where an outline of their clump would have no diameter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from napari_caltomorph.fields.background import optical_density

RED_CELL_UM = 7.5
FEWEST_RED_CELLS = 8

_SIDE = 512  # Fields are shrunk to this before they are measured, px
_RADII = 3 * 1.12 ** np.arange(28)  # px
_COMPLETE = 0.5  # Part of a circle's edge that must vote for it
_ALIKE = 0.3  # Red cells differ from the most frequent diameter by less than this factor's logarithm
_BRIGHTER = 1.5  # Discs count this much more bright than dark: gaps between cells are bright discs, too


def measure_red_cells(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the diameters, px, of discs of the most frequent size in (H, W, 3) RGB; nuclei and clumps are others."""
    small, factor = _shrunk(image)
    diameters, completeness = _discs(optical_density(small)[..., 1], _RADII)
    if not len(diameters):
        return diameters
    logs, weight = np.log(diameters), diameters**2 * (completeness - 0.6 * _COMPLETE)
    grid = np.linspace(np.log(2 * _RADII[0]), np.log(2 * _RADII[-1]), 200)
    mode = grid[(weight * np.exp(-0.5 * ((grid[:, None] - logs) / 0.12) ** 2)).sum(axis=1).argmax()]
    return np.asarray(diameters[np.abs(logs - mode) < _ALIKE] / factor)


def are_bright(image: NDArray[np.uint8], pixel_um: float) -> bool:
    """Whether discs of the size of red cells are brighter than what is around them: the image is inverted."""
    small, factor = _shrunk(image)
    density = optical_density(small)[..., 1]
    radii = _RADII[np.abs(np.log(_RADII / (RED_CELL_UM / 2 / pixel_um * factor))) < _ALIKE]
    dark, bright = (_discs(sign * density, radii)[1] for sign in (1, -1))
    return len(bright) >= FEWEST_RED_CELLS and bright.sum() > _BRIGHTER * dark.sum()


def _shrunk(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Return (H, W, 3) RGB of at most `_SIDE` pixels on a side, and by which factor it was shrunk."""
    factor = min(1.0, _SIDE / max(image.shape[:2]))
    size = tuple(max(8, round(n * factor)) for n in image.shape[1::-1])
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)), factor


def _discs(density: NDArray[np.float32], radii: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the diameters of dark discs and how much of each one's edge was found, 0 to about 1."""
    smooth = ndimage.gaussian_filter(density, 1.2)
    gradient_y, gradient_x = np.gradient(smooth)
    steepness = np.hypot(gradient_y, gradient_x)
    is_edge = steepness > max(np.quantile(steepness, 0.8), 0.25 * np.quantile(steepness, 0.98), 1e-3)
    y, x = np.nonzero(is_edge)
    edges = (y, x, gradient_y[is_edge] / steepness[is_edge], gradient_x[is_edge] / steepness[is_edge])
    found = [
        (score, top, left, radius)
        for radius in radii[min(density.shape) > 3 * radii]
        for score, top, left in _centres(edges, density.shape, radius)
    ]
    kept: list[tuple[float, float, float, float]] = []
    for score, top, left, radius in sorted(found, reverse=True):
        if all((top - a) ** 2 + (left - b) ** 2 > (0.8 * max(radius, c)) ** 2 for _, a, b, c in kept):
            kept.append((score, top, left, radius))
    table = np.array(kept).reshape(-1, 4)
    return 2 * table[:, 3], table[:, 0]


def _centres(
    edges: tuple[NDArray[Any], ...], shape: tuple[int, ...], radius: float
) -> list[tuple[float, float, float]]:
    """Return (score, y, x) where enough edges vote for a disc of this radius; large ones are counted coarsely."""
    y, x, along_y, along_x = edges
    step = 2 ** max(0, int(np.log2(radius / 6)))
    height, width = (-(-n // step) for n in shape)
    rows = ((y + radius * along_y) / step).astype(int)
    columns = ((x + radius * along_x) / step).astype(int)
    inside = (rows >= 0) & (columns >= 0) & (rows < height) & (columns < width)
    votes = np.bincount(rows[inside] * width + columns[inside], minlength=height * width)
    sigma = max(0.12 * radius, 0.7 * step) / step
    score = ndimage.gaussian_filter(votes.reshape(height, width).astype(np.float32), sigma)
    score *= sigma**2 / radius  # 2 pi sigma^2 / (2 pi radius): one where the whole circle voted
    peaks = (score > _COMPLETE) & (ndimage.maximum_filter(score, 5) == score)
    return [
        (float(score[row, column]), (row + 0.5) * step, (column + 0.5) * step)
        for row, column in zip(*np.nonzero(peaks), strict=True)
        # Half of a cell at the border has half of its edge
        if all(0.5 * radius < at * step < n - 0.5 * radius for at, n in zip((row, column), shape, strict=True))
    ]
