"""One image of one cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.synthetic.background import RedCells, draw_background
from napari_caltomorph.synthetic.canvas import Canvas
from napari_caltomorph.synthetic.cell_types import CELL_TYPES
from napari_caltomorph.synthetic.shapes import uniform
from napari_caltomorph.synthetic.stain import Stain


class UnknownCellType(CaltomorphError):
    """No row of the table of cell types has this slug."""


def draw_cell(
    cell_type: str, rng: np.random.Generator, stain: Stain, red_cells: RedCells, size: int = 144
) -> NDArray[np.uint8]:
    """Draw one cell among red cells.

    Parameters
    ----------
    cell_type : str
        A slug of `CELL_TYPES`.
    rng : numpy.random.Generator
        Every draw is another cell of this type.
    stain : Stain
        The slide's look; one for all cells of a patient.
    red_cells : RedCells
        What lies around the cell; their hemoglobin shows in them alone.
    size : int
        Side of the image, px; it is always 25 micrometres wide.

    Returns
    -------
    (size, size, 3) uint8 RGB

    Raises
    ------
    UnknownCellType
        The message lists the known ones.
    """
    if cell_type not in CELL_TYPES:
        raise UnknownCellType(f"{cell_type!r} is no cell type; there are {', '.join(CELL_TYPES)}.")
    kind = CELL_TYPES[cell_type]
    radius = uniform(rng, kind.diameter) / 2
    canvas = Canvas.empty(size)
    draw_background(rng, canvas, stain, red_cells, radius)
    kind.paint(rng, canvas, radius)
    return stain.develop(rng, canvas.grid, canvas.densities)
