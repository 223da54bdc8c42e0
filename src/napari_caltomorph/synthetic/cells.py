"""Drawn images of single cells, each of one cell type.

The cell types are the entries of ``cell_types.yaml``: colours as they look on the reference stain, lengths in
micrometres, and ranges from which every single cell draws its own values. A new type is a new entry; nothing else in
the code knows the names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import resources

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.synthetic.background import Place, RedCells, draw_background
from napari_caltomorph.synthetic.canvas import Canvas, Stain, density
from napari_caltomorph.synthetic.cytoplasm import Cytoplasm, Granules
from napari_caltomorph.synthetic.fields import Field, Grid, Range, disc, fit_area, segment, uniform, within
from napari_caltomorph.synthetic.nucleus import Nucleus

AUER_ROD = density((122, 26, 92))
MEMBRANE_UM = 0.22  # The least cytoplasm between nucleus and border.
OFF_CENTRE_UM = 0.35  # The scanner cuts cells out by their bounding box, not to the pixel.


class UnknownCellType(CaltomorphError):
    """No entry of the table of cell types has this slug."""


@dataclass(frozen=True)
class Parts:
    """The segmentation of a drawn cell."""

    grid: Grid  # Its origin is the cell's centre
    cell: Field  # (H, W), a distance field, positive inside; that of the nucleus where there is no cytoplasm
    nucleus: Field  # (H, W), a distance field
    auer_rods: int = 0

    @property
    def area(self) -> float:
        """Area of the cell, square micrometres."""
        return self.grid.area(self.cell)


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CellType:
    """One entry of the table of cell types."""

    diameter: Range  # Of a disc of the cell's area, micrometres on the smear, where cells are spread flat
    cytoplasm: Cytoplasm | None = None  # None for a bare nucleus
    nucleus: Nucleus | None = None  # None for a platelet

    def paint(self, rng: np.random.Generator, canvas: Canvas, cell: Place, red_cells: list[Place]) -> Parts:
        """Paint one cell (centre, radius) onto the canvas, among red cells."""
        centre, radius = cell
        box = canvas.window(centre, 1.4 * radius + 1.0)
        if box is None:
            raise ValueError(f"a cell at {centre} is outside the image")
        grid = box.grid
        body, nucleus = None, np.full(grid.shape, -1, np.float32)
        if self.cytoplasm is not None:
            body = self.cytoplasm.outline(rng, grid, radius, [(spot - centre, size) for spot, size in red_cells])
        if self.nucleus is not None:
            area = uniform(rng, self.nucleus.share) * math.pi * radius**2
            nucleus = self.nucleus.shape.field(rng, grid, radius, area)
            nucleus += np.float32(0.05) * grid.clouds(rng, 0.25)
            nucleus = fit_area(grid, nucleus, area, self._room(grid, radius, body))
        if self.cytoplasm is not None and body is not None:
            self.cytoplasm.paint(rng, box, body, nucleus)
        if self.nucleus is not None:
            self.nucleus.paint(rng, box, nucleus)
            self._paint_granules_on_nucleus(rng, box, nucleus)
        if self.cytoplasm is not None and body is not None:
            self.cytoplasm.paint_vacuoles(rng, box, body)
        rods = 0
        if self.cytoplasm is not None and body is not None and rng.random() < self.cytoplasm.auer_rods:
            rods = 1 + int(rng.random() < 0.25)
            for _ in range(rods):
                _paint_auer_rod(rng, box, np.minimum(body, -nucleus))
        return Parts(grid, nucleus if body is None else body, nucleus, rods)

    def _room(self, grid: Grid, radius: float, body: Field | None) -> Field | None:
        """Return where the nucleus may be: within the membrane, and not in the hairs."""
        if self.cytoplasm is None or body is None:
            return None
        room = body - np.float32(MEMBRANE_UM)
        return within(room, disc(grid, 0j, 0.76 * radius), 0.5) if self.cytoplasm.hairs else room

    def _paint_granules_on_nucleus(self, rng: np.random.Generator, canvas: Canvas, nucleus: Field) -> None:
        for granules in self.cytoplasm.granules if self.cytoplasm else ():
            if granules.over_nucleus:
                cover = granules.cover(rng, canvas.grid) * canvas.grid.cover(nucleus)
                canvas.paint(density(granules.color), cover * np.float32(granules.over_nucleus))


class _Table(BaseModel, extra="forbid"):
    """The content of ``cell_types.yaml``; types name the shared granules by YAML's anchors."""

    granules: dict[str, Granules]
    cell_types: dict[str, CellType]


_FILE = resources.files(__package__).joinpath("cell_types.yaml")
CELL_TYPES = _Table(**yaml.safe_load(_FILE.read_text("utf-8"))).cell_types
"""By slug."""


def draw_cell(
    cell_type: str, rng: np.random.Generator, stain: Stain, red_cells: RedCells, size: int = 144
) -> NDArray[np.uint8]:
    """Draw one cell among red cells, (size, size, 3) uint8 RGB, always 25 micrometres wide.

    Parameters
    ----------
    cell_type : str
        A slug of `CELL_TYPES`; `UnknownCellType` lists them.
    rng : numpy.random.Generator
        Every draw is another cell of this type.
    stain : Stain
        The slide's look; one for all cells of a patient.
    red_cells : RedCells
        The surroundings; hemoglobin changes only them.
    size : int
        Side of the image, px.
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


def _paint_auer_rod(rng: np.random.Generator, canvas: Canvas, room: Field) -> None:
    """Lay a rod where there is most room in the cytoplasm; `room` is the distance to the nearest border."""
    grid = canvas.grid
    place = int(np.argmax(room + np.float32(0.3) * grid.clouds(rng, 1.2)))
    row, column = divmod(place, grid.shape[1])
    middle = complex(float(grid.x[0, column]), float(grid.y[row, 0]))
    around = 1j * middle / max(abs(middle), 1e-3) * complex(1, rng.normal(0, 0.3))
    half = around / abs(around) * rng.uniform(1.4, 2.3)
    rod = segment(grid, middle - half, middle + half, rng.uniform(0.16, 0.26))
    canvas.paint(AUER_ROD, grid.cover(rod, 1.3) * np.float32(rng.uniform(0.75, 1.0)))
