"""What a cell is made of, and how each part paints itself onto a canvas.

Parts hold colours as they look on the reference stain, lengths in micrometres and ranges from which every
single cell draws its own values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_caltomorph.synthetic.background import Place
from napari_caltomorph.synthetic.canvas import Canvas
from napari_caltomorph.synthetic.shapes import (
    Grid,
    NuclearShape,
    Range,
    blob,
    direction,
    disc,
    fit_area,
    segment,
    some,
    uniform,
    union,
    within,
)
from napari_caltomorph.synthetic.stain import Color, density, tint
from napari_caltomorph.synthetic.texture import Field, dots, veins

AUER_ROD = density((122, 26, 92))
MEMBRANE_UM = 0.22  # The least cytoplasm between nucleus and border.


@dataclass(frozen=True)
class Granules:
    """Granules of one kind.

    Attributes
    ----------
    color : Color
    diameter, spacing : float
        Micrometres.
    amount : (low, high)
        Opacity of the whole, 0 to 1.
    over_nucleus : float
        How much of it also lies on the nucleus.
    patchiness : float
        0 is spread evenly, 1 lies in heaps.
    margin : float
        How far from the border they keep, micrometres.
    """

    color: Color
    diameter: float
    spacing: float
    amount: Range
    over_nucleus: float = 0.0
    patchiness: float = 0.3
    margin: float = 0.2

    def cover(self, rng: np.random.Generator, grid: Grid) -> Field:
        """Return the opacity of granules (H, W) as if the cell filled the canvas."""
        heaps = np.float32(self.patchiness) * grid.clouds(rng, 1.3)
        heaps += 1
        np.clip(heaps, 0, 1, out=heaps)
        heaps *= dots(rng, grid.shape, self.diameter / grid.pixel, self.spacing / grid.pixel)
        heaps *= np.float32(uniform(rng, self.amount))
        return heaps


@dataclass(frozen=True)
class Cytoplasm:
    """The body of the cell.

    Attributes
    ----------
    color, rim : Color
        Inside, and at the border (basophilic cells are deeper there).
    ripe : Color, optional
        What the whole turns to as the cell matures; each cell stands somewhere on the way.
    granules : tuple of Granules
    mottle : float
        Unevenness of the colour as a fraction.
    vacuoles : (fewest, most)
    hof : float
        Pallor of the Golgi zone beside the nucleus, 0 to 1.
    elongation : (low, high)
    waviness, frill, hairs : float
        Irregularity of the border: smooth (fraction of the radius), fine, and hairs (their length); micrometres.
    corners : (fewest, most)
        Sides on which the cell is pressed flat.
    pieces : (fewest, most)
        Clumped bodies that make the whole.
    gives_way : bool
        Whether the cell is indented by red cells around it.
    auer_rods : float
        How often there are Auer rods, 0 to 1.
    """

    color: Color
    rim: Color
    ripe: Color | None = None
    granules: tuple[Granules, ...] = ()
    mottle: float = 0.08
    vacuoles: tuple[int, int] = (0, 0)
    hof: float = 0.0
    elongation: Range = (1.0, 1.15)
    waviness: float = 0.03
    frill: float = 0.035
    hairs: float = 0.0
    corners: tuple[int, int] = (0, 2)
    pieces: tuple[int, int] = (1, 1)
    gives_way: bool = False
    auer_rods: float = 0.0

    def outline(self, rng: np.random.Generator, grid: Grid, radius: float, red_cells: list[Place]) -> Field:
        """Return the distance field of the cell's border; the cell encloses the area of a disc of `radius`."""
        count = some(rng, self.pieces)
        if count == 1:
            body = blob(rng, grid, 0j, radius, uniform(rng, self.elongation), self.waviness)
        else:
            body = self._clump(rng, grid, radius, count)
        for _ in range(some(rng, self.corners)):
            u, _ = grid.along(0j, direction(rng))
            body = within(body, np.float32(radius * rng.uniform(0.78, 0.98)) - u, 0.25 * radius)
        if self.hairs:
            body += self._hairs(rng, grid, radius)
        body += np.float32(self.frill) * grid.clouds(rng, 0.3)
        if self.gives_way:
            for centre, size in red_cells:
                if abs(centre) < radius + size + 1.5:
                    body = within(body, np.float32(-0.1) - disc(grid, centre, size), 1.2)
        return fit_area(grid, body, math.pi * radius**2)

    def _clump(self, rng: np.random.Generator, grid: Grid, radius: float, count: int) -> Field:
        size = radius / math.sqrt(count)
        spots: list[complex] = []
        for _ in range(8 * count):
            spot = 0.95 * radius * math.sqrt(rng.random()) * direction(rng)
            if len(spots) < count and all(abs(spot - other) > 1.35 * size for other in spots):
                spots.append(spot)
        return union(
            [blob(rng, grid, s, size * rng.uniform(0.8, 1.2), rng.uniform(1, 1.5), self.waviness) for s in spots], 0.1
        )

    def _hairs(self, rng: np.random.Generator, grid: Grid, radius: float) -> Field:
        """Return hairs that stand out from the border: noise that depends on the direction alone, slightly curled."""
        x = grid.x + np.float32(0.35) * grid.clouds(rng, 1.2)
        y = grid.y + np.float32(0.35) * grid.clouds(rng, 1.2)
        away = np.sqrt(x * x + y * y) + np.float32(0.1)
        side = 192
        profile = veins(rng, (side, side), 3.0)
        at = np.float32(side * 0.48) / away
        around: Field = profile[(y * at + side // 2).astype(np.intp), (x * at + side // 2).astype(np.intp)]
        around *= np.float32(self.hairs) * np.clip(np.float32(0.65) + np.float32(0.4) * grid.clouds(rng, 3.0), 0, 1)
        around *= np.clip(away * np.float32(2 / radius) - 1, 0, 1)
        return around

    def paint(self, rng: np.random.Generator, canvas: Canvas, body: Field, nucleus: Field) -> None:
        """Paint the body, around the nucleus whose field is given (all negative where there is none)."""
        grid = canvas.grid
        dye = tint(rng, 0.1, 0.04)
        inner, rim = density(self.color) * dye, density(self.rim) * dye
        if self.ripe is not None:
            ripeness, ripe = np.float32(rng.random()), density(self.ripe) * dye
            inner, rim = inner + (ripe - inner) * ripeness, rim + (ripe * np.float32(1.1) - rim) * ripeness
        strength = grid.clouds(rng, 0.2) + grid.clouds(rng, 1.2)
        strength *= np.float32(self.mottle)
        strength += 1
        if self.hof:
            pallor: Field = 1 - np.float32(self.hof) * _golgi(grid, nucleus)
            strength *= pallor
        depth: Field = np.maximum(body, 0) * np.float32(1 / 0.5)
        at_rim = np.float32(1) / (1 + depth * depth)
        canvas.paint((inner + (rim - inner) * at_rim) * strength, grid.cover(body))
        for granules in self.granules:
            inside = grid.cover(body - np.float32(granules.margin), softness=8 * granules.margin)
            canvas.paint(density(granules.color), granules.cover(rng, grid) * inside)

    def paint_vacuoles(self, rng: np.random.Generator, canvas: Canvas, body: Field) -> None:
        """Paint vacuoles, some of which lie on the nucleus."""
        reach, color = float(np.max(body)), density(self.color) * np.float32(0.2)
        for _ in range(some(rng, self.vacuoles)):
            size = min(rng.exponential(0.25) + 0.25, 1.1)
            spot = rng.uniform(0.5, 0.92) * reach * direction(rng)
            box = canvas.window(spot, size + 0.5)
            if box is not None:
                box.paint(color, box.grid.cover(disc(box.grid, 0j, size)) * np.float32(rng.uniform(0.5, 0.95)))


@dataclass(frozen=True)
class Nucleus:
    """The nucleus, by its shape and its chromatin.

    Attributes
    ----------
    shape : NuclearShape
    share : (low, high)
        Area of the nucleus over the area of the cell, as an N:C ratio is estimated by eye.
    dark, light : Color
        Condensed and open chromatin.
    clump : float
        Size of a chromatin clump, micrometres.
    open : float
        Share of open chromatin, 0 to 1.
    blocks : float
        0 is cloudy chromatin, 1 are blocks parted by a net of open lines.
    contrast : float
        How far clouds of chromatin stand out.
    folds : float
        Strength of the creases.
    nucleoli : (fewest, most)
    """

    shape: NuclearShape
    share: Range
    dark: Color = (52, 12, 106)
    light: Color = (126, 84, 166)
    clump: float = 0.24
    open: float = 0.3
    blocks: float = 0.3
    contrast: float = 1.0
    folds: float = 0.0
    nucleoli: tuple[int, int] = (0, 0)

    def paint(self, rng: np.random.Generator, canvas: Canvas, nucleus: Field) -> None:
        """Paint chromatin, membrane and nucleoli."""
        grid = canvas.grid
        is_open = grid.clouds(rng, self.clump) * np.float32(0.36 * self.contrast * (1 - self.blocks))
        is_open += grid.clouds(rng, 0.13) * np.float32(0.2 * self.contrast)
        is_open += grid.clouds(rng, 1.4) * np.float32(0.08)
        if self.blocks:
            is_open += (veins(rng, grid.shape, self.clump / grid.pixel) - np.float32(0.6)) * np.float32(self.blocks)
        is_open += np.float32(self.open)
        if self.folds:
            crease = veins(rng, grid.shape, 1.8 / grid.pixel) ** 2
            crease *= crease
            is_open -= np.float32(self.folds) * crease
        membrane = np.maximum(nucleus, 0) * np.float32(1 / 0.28)
        membrane *= membrane
        is_open *= 1 - np.float32(0.8) / (1 + membrane)
        np.clip(is_open, 0, 1, out=is_open)
        for _ in range(some(rng, self.nucleoli)):
            is_open += (np.float32(rng.uniform(0.75, 1.05)) - is_open) * self._nucleolus(rng, grid, nucleus)
        dye = tint(rng, 0.07, 0.05)
        dark, light = density(self.dark) * dye, density(self.light) * dye
        canvas.paint(dark + (light - dark) * is_open, grid.cover(nucleus))

    @staticmethod
    def _nucleolus(rng: np.random.Generator, grid: Grid, nucleus: Field) -> Field:
        inside = np.flatnonzero(nucleus > 0.3 * nucleus.max())
        row, column = divmod(int(rng.choice(inside)), grid.shape[1])
        centre = complex(float(grid.x[0, column]), float(grid.y[row, 0]))
        spot = blob(rng, grid, centre, rng.uniform(0.6, 1.3), rng.uniform(1, 1.5), 0.1)
        return grid.cover(spot, softness=4) * np.float32(rng.uniform(0.5, 0.9))


@dataclass(frozen=True)
class Parts:
    """The segmentation of a drawn cell.

    Attributes
    ----------
    grid : Grid
        Its origin is the cell's centre.
    cell, nucleus : (H, W) float32
        Distance fields, positive inside; of a bare nucleus both are the same.
    auer_rods : int
    """

    grid: Grid
    cell: Field
    nucleus: Field
    auer_rods: int = 0

    @property
    def area(self) -> float:
        """Area of the cell, square micrometres."""
        return self.grid.area(self.cell)

    @property
    def nuclear_share(self) -> float:
        """Area of the nucleus over that of the cell."""
        return self.grid.area(self.nucleus) / self.area


@dataclass(frozen=True)
class CellType:
    """One row of the table of cell types.

    Attributes
    ----------
    slug : str
    diameter : (low, high)
        Micrometres on the smear, where cells are spread flat: that of a disc of the cell's area.
    cytoplasm : Cytoplasm, optional
        None for a bare nucleus.
    nucleus : Nucleus, optional
        None for a platelet.
    """

    slug: str
    diameter: Range
    cytoplasm: Cytoplasm | None
    nucleus: Nucleus | None

    def paint(self, rng: np.random.Generator, canvas: Canvas, cell: Place, red_cells: list[Place]) -> Parts:
        """Paint one cell (centre, radius) onto the canvas, among red cells."""
        centre, radius = cell
        box = canvas.window(centre, 1.4 * radius + 1.0)
        if box is None:
            raise ValueError(f"a cell at {centre} lies outside the image")
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
        """Return where the nucleus may lie: within the membrane, and not in the hairs."""
        if self.cytoplasm is None or body is None:
            return None
        room = body - np.float32(MEMBRANE_UM)
        return within(room, disc(grid, 0j, 0.76 * radius), 0.5) if self.cytoplasm.hairs else room

    def _paint_granules_on_nucleus(self, rng: np.random.Generator, canvas: Canvas, nucleus: Field) -> None:
        for granules in self.cytoplasm.granules if self.cytoplasm else ():
            if granules.over_nucleus:
                cover = granules.cover(rng, canvas.grid) * canvas.grid.cover(nucleus)
                canvas.paint(density(granules.color), cover * np.float32(granules.over_nucleus))


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


def _golgi(grid: Grid, nucleus: Field) -> Field:
    """Return where the Golgi zone lies: beside the nucleus, towards the middle of the cell."""
    inside = nucleus > 0
    count = max(int(np.count_nonzero(inside)), 1)
    x = float((grid.x[0] * inside.sum(0)).sum(dtype=float)) / count
    y = float((grid.y[:, 0] * inside.sum(1)).sum(dtype=float)) / count
    centre = complex(x, y)
    towards = -centre / max(abs(centre), 1e-3)
    spot = centre + towards * (float(nucleus.max()) + 1.0)
    return grid.cover(disc(grid, spot, 1.9), softness=14)
