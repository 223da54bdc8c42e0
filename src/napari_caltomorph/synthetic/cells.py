"""One image of one cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.synthetic.anatomy import CellType, Parts
from napari_caltomorph.synthetic.background import RedCells, draw_background
from napari_caltomorph.synthetic.canvas import Canvas
from napari_caltomorph.synthetic.cell_types import CELL_TYPES
from napari_caltomorph.synthetic.shapes import uniform
from napari_caltomorph.synthetic.stain import Stain

OFF_CENTRE_UM = 0.35  # The scanner cuts cells out by their bounding box, not to the pixel.


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
    canvas, _ = paint_cell(CELL_TYPES[cell_type], rng, stain, red_cells, size)
    return stain.develop(rng, canvas.grid, canvas.densities)


def paint_cell(
    kind: CellType, rng: np.random.Generator, stain: Stain, red_cells: RedCells, size: int = 144
) -> tuple[Canvas, Parts]:
    """Paint one cell as `draw_cell` does; return it undeveloped, with its segmentation."""
    canvas = Canvas.empty(size)
    cell = (complex(*rng.normal(0, OFF_CENTRE_UM, 2)), uniform(rng, kind.diameter) / 2)
    around = draw_background(rng, canvas, stain, red_cells, cell)
    return canvas, kind.paint(rng, canvas, cell, around)
