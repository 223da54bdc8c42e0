"""The surroundings of a cell: red cells, platelets and specks of stain.

The red cells carry the hemoglobin: the less of it, the paler they are, the wider their central pallor, and
the more they differ in size. They are glazed, not painted: where two overlap, it is darker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_caltomorph.synthetic.canvas import Canvas, Stain, density
from napari_caltomorph.synthetic.fields import Field, blob, direction, disc, dots, uniform

RED_CELL = density((184, 138, 152))
YOUNG_RED_CELL = density((172, 136, 162))  # Polychromatic: some RNA is left.
PLATELET = density((164, 120, 170))
PLATELET_GRANULES = density((112, 52, 136))
PRECIPITATE = density((60, 24, 78))
RED_CELL_RADIUS_UM = 4.0
NORMAL_HEMOGLOBIN = 14.0  # g/dl

Place = tuple[complex, float]
"""Centre and radius of something, micrometres."""


@dataclass(frozen=True)
class RedCells:
    """What one patient's red cells are like."""

    hemoglobin_g_dl: float
    rouleaux: float = 0.0  # Fraction of the red cells in stacks like coins
    teardrops: float = 0.0  # Fraction of the red cells drawn out into a tail

    @property
    def filling(self) -> float:
        """How full of hemoglobin a red cell is; 1 is normal."""
        return min(max(self.hemoglobin_g_dl / NORMAL_HEMOGLOBIN, 0.3), 1.3)


@dataclass(frozen=True)
class _RedCell:
    centre: complex
    radius: float
    is_stacked: bool = False


def draw_background(
    rng: np.random.Generator, canvas: Canvas, stain: Stain, red_cells: RedCells, cell: Place
) -> list[Place]:
    """Paint the surroundings of a cell, a place that is left free; return the places of the red cells around it.

    The cell can then give way to them. The stain's `crowding` sets their number.
    """
    placed = _place(rng, stain, red_cells, cell)
    for one in placed:
        _paint_red_cell(rng, canvas, one, stain, red_cells)
    centre, radius = cell
    for _ in range(rng.poisson(0.5)):
        spot = complex(*rng.uniform(-12.5, 12.5, 2))
        if abs(spot - centre) > radius + 1.5:
            paint_platelet(rng, canvas, spot, uniform(rng, (0.8, 1.5)))
    for _ in range(rng.poisson(stain.dirt)):
        _speck(rng, canvas, complex(*rng.uniform(-12.5, 12.5, 2)))
    return [(one.centre, one.radius) for one in placed]


def _place(rng: np.random.Generator, stain: Stain, red_cells: RedCells, cell: Place) -> list[_RedCell]:
    """Return red cells next to each other, hardly overlapping, or in rows like coins."""
    filling = red_cells.filling
    spread = 0.05 + 0.12 * max(1 - filling, 0)
    middle, reach = cell
    placed: list[_RedCell] = []
    for _ in range(int(18 + 34 * stain.crowding)):
        spot = complex(*rng.uniform(-16, 16, 2))
        radius = RED_CELL_RADIUS_UM * (0.85 + 0.15 * filling) * rng.normal(1, spread)
        overlap = 0.82 if rng.random() < 0.12 else 0.97
        if abs(spot - middle) < 0.94 * (radius + reach):
            continue
        if any(abs(spot - one.centre) < overlap * (radius + one.radius) for one in placed):
            continue
        if rng.random() < red_cells.rouleaux:
            placed += _stack(rng, spot, radius, cell)
        else:
            placed.append(_RedCell(spot, radius))
    return placed


def _stack(rng: np.random.Generator, spot: complex, radius: float, cell: Place) -> list[_RedCell]:
    """Return a bent row of coins that begins at `spot` and ends before the cell."""
    middle, reach = cell
    row: list[_RedCell] = []
    step = direction(rng) * radius * rng.uniform(0.45, 0.75)
    for _ in range(int(rng.integers(3, 8))):
        if abs(spot - middle) < 0.94 * (radius + reach):
            break
        row.append(_RedCell(spot, radius * rng.normal(1, 0.03), is_stacked=True))
        bend = rng.normal(0, 0.12)
        step *= complex(math.cos(bend), math.sin(bend))
        spot += step
    return row


def _paint_red_cell(
    rng: np.random.Generator, canvas: Canvas, cell: _RedCell, stain: Stain, red_cells: RedCells
) -> None:
    radius, filling = cell.radius, red_cells.filling
    is_teardrop = not cell.is_stacked and rng.random() < red_cells.teardrops
    box = canvas.window(cell.centre, radius * (2.1 if is_teardrop else 1.35))
    if box is None:
        return
    field = _teardrop(rng, box, radius) if is_teardrop else blob(rng, box.grid, 0j, radius, _oval(rng), 0.035)
    pallor_width = min(max(1.0 - 0.52 * filling + stain.flatness + rng.normal(0, 0.07), 0.2), 0.8)
    pallor_depth = min(max(1.25 - 0.72 * filling + stain.flatness + rng.normal(0, 0.15), 0.05), 0.92)
    out = 1 - field * np.float32(1 / radius)  # 0 in the centre, 1 at the rim
    out *= np.float32(1 / pallor_width)
    out *= out
    out *= out
    depth = pallor_depth * (0.35 if cell.is_stacked else 1)  # Coins seen from the side of the stack show no centre.
    pallor: Field = np.float32(depth) / (1 + np.float32(0.4) * out + out * out)
    amount = (0.35 + 0.65 * filling) * stain.thickness * rng.normal(1, 0.06)
    pallor -= 1
    pallor *= box.grid.cover(field, 2.0) * np.float32(-amount)
    color = YOUNG_RED_CELL if rng.random() < 0.006 else RED_CELL
    box.glaze(color, pallor, overlap=0.28 if cell.is_stacked else 0.6)


def _oval(rng: np.random.Generator) -> float:
    """Most are round; some were pressed or drawn out."""
    return float(1 + 0.12 * rng.random() + (0.35 * rng.random() if rng.random() < 0.12 else 0))


def _teardrop(rng: np.random.Generator, box: Canvas, radius: float) -> Field:
    """A disc that tapers into one blunt tail."""
    body, tail = radius * 0.84, radius * rng.uniform(0.7, 1.2)
    u, v = box.grid.along(0j, direction(rng))
    u += np.float32(radius * 0.2)
    v += np.float32(rng.normal(0, 0.05)) * u * u
    along = np.clip(u * np.float32(1 / (body + tail)), 0, 1)
    u -= along * np.float32(body + tail)
    taper = 1 - along
    field: Field = np.float32(body) * taper * np.sqrt(taper) + np.float32(0.25) - np.sqrt(u * u + v * v)
    return field


def paint_platelet(rng: np.random.Generator, canvas: Canvas, centre: complex, radius: float) -> None:
    """Paint one platelet: granules in the middle of a pale, ragged little disc."""
    box = canvas.window(centre, radius * 1.7)
    if box is None:
        return
    grid = box.grid
    field = blob(rng, grid, 0j, radius, rng.uniform(1.0, 1.5), 0.1)
    field += np.float32(0.12) * grid.clouds(rng, 0.2)
    box.paint(PLATELET, grid.cover(field, 3.0) * np.float32(0.75))
    grains = np.float32(0.5) + np.float32(0.6) * grid.clouds(rng, 0.2)
    box.paint(PLATELET_GRANULES, np.clip(grains, 0, 1) * grid.cover(field - np.float32(0.2 * radius), 5.0))


def _speck(rng: np.random.Generator, canvas: Canvas, centre: complex) -> None:
    """A little heap of stain precipitate."""
    radius = rng.uniform(0.3, 1.6)
    box = canvas.window(centre, radius * 1.3)
    if box is None:
        return
    pixel = box.grid.pixel
    grains = dots(rng, box.grid.shape, 0.45 / pixel, 0.36 / pixel)
    box.paint(PRECIPITATE, grains * box.grid.cover(disc(box.grid, 0j, radius), 4.0))
