"""What lies around the cell: red cells and platelets.

The red cells carry the hemoglobin: the less of it, the paler they are, the wider their central pallor, and
the more they differ in size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_caltomorph.synthetic.canvas import Canvas
from napari_caltomorph.synthetic.shapes import blob, uniform
from napari_caltomorph.synthetic.stain import Stain, density
from napari_caltomorph.synthetic.texture import dots

RED_CELL = density((171, 126, 141))
PLATELET = density((140, 92, 160))
RED_CELL_RADIUS_UM = 4.1
NORMAL_HEMOGLOBIN = 14.0  # g/dl


@dataclass(frozen=True)
class RedCells:
    """What one patient's red cells are like.

    Attributes
    ----------
    hemoglobin_g_dl : float
    rouleaux, teardrops : float
        Fractions of the red cells, 0 to 1, that lie in stacks like coins, and that are drawn out into a tail.
    """

    hemoglobin_g_dl: float
    rouleaux: float = 0.0
    teardrops: float = 0.0


def draw_background(
    rng: np.random.Generator, canvas: Canvas, stain: Stain, red_cells: RedCells, cell_radius: float
) -> None:
    """Paint red cells and platelets around a cell of `cell_radius` micrometres in the centre.

    Parameters
    ----------
    rng : numpy.random.Generator
    canvas : Canvas
        Painted in place.
    stain : Stain
        Its `crowding` says how many red cells there are.
    red_cells : RedCells
    cell_radius : float
        Micrometres; red cells are pushed aside by the cell.
    """
    filling = float(np.clip(red_cells.hemoglobin_g_dl / NORMAL_HEMOGLOBIN, 0.3, 1.3))
    size_spread = 0.04 + 0.12 * max(1 - filling, 0)
    placed: list[tuple[complex, float]] = [(0j, cell_radius)]
    for _ in range(int(14 + 26 * stain.crowding)):
        centre = complex(*rng.uniform(-16, 16, 2))
        radius = RED_CELL_RADIUS_UM * (0.85 + 0.15 * filling) * rng.normal(1, size_spread)
        if all(abs(centre - other) > 0.93 * (radius + reach) for other, reach in placed):
            placed.append((centre, radius))
            _red_cell(rng, canvas, centre, radius, filling)
    for _ in range(rng.poisson(0.5)):
        centre = complex(*rng.uniform(-12, 12, 2))
        if abs(centre) > cell_radius + 1.5:
            _platelet(rng, canvas, centre)


def _red_cell(rng: np.random.Generator, canvas: Canvas, centre: complex, radius: float, filling: float) -> None:
    box = canvas.window(centre, radius * 1.5)
    if box is None:
        return
    z = box.z
    depth = blob(rng, z, centre, radius, rng.uniform(1.0, 1.22), 0.03) / np.float32(radius)  # 0 rim, 1 centre
    pallor_width = np.clip(1.02 - 0.55 * filling + rng.normal(0, 0.05), 0.2, 0.8)
    pallor_depth = np.clip(1.25 - 0.75 * filling + rng.normal(0, 0.13), 0.05, 0.92)
    out = np.clip(1 - depth, 0, 1.2) / np.float32(pallor_width)
    pallor = np.float32(pallor_depth) * np.exp(-(out**4))
    amount = (0.35 + 0.65 * filling) * rng.normal(1, 0.05) * (1 - pallor)
    box.paint(RED_CELL[:, None, None] * amount, np.clip(depth * radius / canvas.grid.pixel / 1.8 + 0.5, 0, 1))


def _platelet(rng: np.random.Generator, canvas: Canvas, centre: complex) -> None:
    radius = uniform(rng, (0.8, 1.5))
    box = canvas.window(centre, radius * 1.6)
    if box is None:
        return
    field = blob(rng, box.z, centre, radius, rng.uniform(1.0, 1.4), 0.12)
    side = max(box.z.shape)
    pixel = canvas.grid.pixel
    grains = dots(rng, side, 0.382 / pixel, 0.521 / pixel)[: box.z.shape[0], : box.z.shape[1]]
    cover = np.clip(field / pixel / 2 + 0.5, 0, 1) * (np.float32(0.35) + np.float32(0.65) * grains)
    box.paint(PLATELET[:, None, None], cover)
