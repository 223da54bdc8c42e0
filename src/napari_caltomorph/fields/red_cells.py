"""How large a pixel is, from red cells: every field has its own ruler, 7.5 micrometres wide.

Every dark edge votes for the centre of a disc on its dark side, for each radius. Cells that touch or overlap still have
arcs that vote, where an outline of their clump would have no diameter.
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class RedCellDiameters:
    """Diameters of a field's red cells, in its pixels."""

    px: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.px)

    @property
    def median_px(self) -> float:
        return float(np.median(self.px))

    @property
    def quartiles_px(self) -> tuple[float, float]:
        lower, upper = np.quantile(self.px, (0.25, 0.75))
        return float(lower), float(upper)


def measure_red_cells(image: NDArray[np.uint8]) -> RedCellDiameters:
    """Return the diameters of the discs of the most frequent size in (H, W, 3) RGB; nuclei and clumps are others."""
    scale = min(1.0, _SIDE / max(image.shape[:2]))
    size = tuple(max(8, round(n * scale)) for n in image.shape[1::-1])
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    diameters, completeness = _discs(optical_density(small)[..., 1])
    if not len(diameters):
        return RedCellDiameters(diameters)
    logs, weight = np.log(diameters), diameters**2 * (completeness - 0.6 * _COMPLETE)
    grid = np.linspace(np.log(2 * _RADII[0]), np.log(2 * _RADII[-1]), 200)
    mode = grid[(weight * np.exp(-0.5 * ((grid[:, None] - logs) / 0.12) ** 2)).sum(axis=1).argmax()]
    return RedCellDiameters(diameters[np.abs(logs - mode) < _ALIKE] / scale)


def _discs(density: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the diameters of dark discs and how much of each one's edge was found, 0 to about 1."""
    smooth = ndimage.gaussian_filter(density, 1.2)
    gradient_y, gradient_x = np.gradient(smooth)
    steepness = np.hypot(gradient_y, gradient_x)
    is_edge = steepness > max(np.quantile(steepness, 0.8), 0.25 * np.quantile(steepness, 0.98), 1e-3)
    y, x = np.nonzero(is_edge)
    edges = (y, x, gradient_y[is_edge] / steepness[is_edge], gradient_x[is_edge] / steepness[is_edge])
    found = [
        (score, top, left, radius)
        for radius in _RADII[min(density.shape) > 3 * _RADII]
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
