"""What a cell is made of, and how each part paints itself onto a canvas.

Parts hold colours as they look on the reference stain, lengths in micrometres and ranges from which every
single cell draws its own values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_caltomorph.synthetic.canvas import Canvas
from napari_caltomorph.synthetic.shapes import Grid, NuclearShape, Range, blob, direction, disc, uniform
from napari_caltomorph.synthetic.stain import Color, density
from napari_caltomorph.synthetic.texture import Field, clouds, dots


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
    """

    color: Color
    diameter: float
    spacing: float
    amount: Range
    over_nucleus: float = 0.0
    patchiness: float = 0.3

    def cover(self, rng: np.random.Generator, grid: Grid) -> Field:
        """Return the opacity of granules (size, size) as if the cell filled the image."""
        grains = dots(rng, grid.size, self.diameter / grid.pixel, self.spacing / grid.pixel)
        heaps = np.clip(1 + np.float32(self.patchiness) * clouds(rng, grid.size, 1.3 / grid.pixel), 0, 1)
        opacity: Field = grains * heaps * np.float32(uniform(rng, self.amount))
        return opacity


@dataclass(frozen=True)
class Cytoplasm:
    """The body of the cell.

    Attributes
    ----------
    color, rim : Color
        Inside, and at the border (basophilic cells are deeper there).
    granules : tuple of Granules
    mottle : float
        Unevenness of the colour as a fraction.
    vacuoles : (fewest, most)
    hof : float
        Pallor of the Golgi zone beside the nucleus, 0 to 1.
    elongation : (low, high)
    waviness, hairs : float
        Smooth irregularity of the border (fraction of the radius); fine projections (micrometres).
    """

    color: Color
    rim: Color
    granules: tuple[Granules, ...] = ()
    mottle: float = 0.08
    vacuoles: tuple[int, int] = (0, 0)
    hof: float = 0.0
    elongation: Range = (1.0, 1.15)
    waviness: float = 0.04
    hairs: float = 0.0

    def outline(self, rng: np.random.Generator, grid: Grid, radius: float) -> Field:
        """Return the distance field of the cell's border."""
        body = blob(rng, grid.z, 0j, radius, uniform(rng, self.elongation), self.waviness)
        if self.hairs:
            body = body + np.float32(self.hairs) * clouds(rng, grid.size, 0.3 / grid.pixel)
        return body

    def paint(self, rng: np.random.Generator, canvas: Canvas, body: Field, nucleus: Field) -> None:
        """Paint the body, around the nucleus whose field is given (all negative where there is none)."""
        grid, whole = canvas.grid, canvas.whole
        depth = np.exp(-np.maximum(body, 0) / np.float32(0.55))
        inner, rim = density(self.color)[:, None, None], density(self.rim)[:, None, None]
        strength = np.float32(rng.normal(1, 0.08)) + np.float32(self.mottle) * (
            clouds(rng, grid.size, 0.2 / grid.pixel) + clouds(rng, grid.size, 1.2 / grid.pixel)
        )
        if self.hof:
            strength *= 1 - np.float32(self.hof) * _golgi(grid, nucleus)
        whole.paint((inner + (rim - inner) * depth) * strength, grid.cover(body))
        for granules in self.granules:
            cover = granules.cover(rng, grid) * grid.cover(body - np.float32(0.25))
            whole.paint(density(granules.color)[:, None, None], cover)
        for _ in range(int(rng.integers(self.vacuoles[0], self.vacuoles[1] + 1))):
            reach = float(np.max(body))
            hole = disc(grid.z, rng.uniform(0.4, 0.9) * reach * direction(rng), rng.uniform(0.25, 0.75))
            whole.paint(inner * np.float32(0.25), grid.cover(np.minimum(hole, body)) * np.float32(0.85))


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
    contrast : float
        How far open chromatin goes from `dark` (0) to `light` (1).
    nucleoli : (fewest, most)
    """

    shape: NuclearShape
    share: Range
    dark: Color = (66, 24, 117)
    light: Color = (160, 102, 162)
    clump: float = 0.2
    contrast: float = 0.75
    nucleoli: tuple[int, int] = (0, 0)

    def paint(self, rng: np.random.Generator, canvas: Canvas, nucleus: Field) -> None:
        """Paint chromatin, membrane and nucleoli."""
        grid = canvas.grid
        texture = clouds(rng, grid.size, self.clump / grid.pixel) + np.float32(0.5) * clouds(
            rng, grid.size, 0.12 / grid.pixel
        )
        # Clipped below: most chromatin is condensed, with small open spots between.
        is_open = np.clip(np.float32(0.33) + np.float32(0.42) * texture, 0, 1)
        membrane = np.exp(-(np.maximum(nucleus, 0) ** 2) / np.float32(0.1))
        condensed = np.clip(1 - np.float32(self.contrast) * is_open * (1 - np.float32(0.8) * membrane), 0, 1)
        for _ in range(int(rng.integers(self.nucleoli[0], self.nucleoli[1] + 1))):
            condensed *= 1 - np.float32(0.8) * self._nucleolus(rng, grid, nucleus)
        dark, light = density(self.dark)[:, None, None], density(self.light)[:, None, None]
        color = (light + (dark - light) * condensed) * np.float32(rng.normal(1, 0.07))
        canvas.whole.paint(color, grid.cover(nucleus))

    @staticmethod
    def _nucleolus(rng: np.random.Generator, grid: Grid, nucleus: Field) -> Field:
        inside = np.flatnonzero(nucleus > 0.35 * nucleus.max())
        centre = complex(grid.z.ravel()[rng.choice(inside)])
        return grid.cover(blob(rng, grid.z, centre, rng.uniform(0.8, 1.4), 1.2, 0.1), softness=3)


@dataclass(frozen=True)
class CellType:
    """One row of the table of cell types.

    Attributes
    ----------
    slug : str
    diameter : (low, high)
        Micrometres on the smear, where cells are spread flat.
    cytoplasm : Cytoplasm, optional
        None for a bare nucleus.
    nucleus : Nucleus, optional
        None for a platelet.
    """

    slug: str
    diameter: Range
    cytoplasm: Cytoplasm | None
    nucleus: Nucleus | None

    def paint(self, rng: np.random.Generator, canvas: Canvas, radius: float) -> None:
        """Paint one cell of `radius` micrometres into the middle of the canvas."""
        grid = canvas.grid
        nucleus = np.full(grid.z.shape, -1, np.float32)
        if self.nucleus is not None:
            area = uniform(rng, self.nucleus.share) * np.pi * radius**2
            nucleus = self.nucleus.shape.field(rng, grid, radius, area)
        if self.cytoplasm is not None:
            body = self.cytoplasm.outline(rng, grid, radius)
            self.cytoplasm.paint(rng, canvas, body, nucleus)
            nucleus = np.minimum(nucleus, body)
        if self.nucleus is not None:
            self.nucleus.paint(rng, canvas, nucleus)
            self._paint_granules_on_nucleus(rng, canvas, nucleus)

    def _paint_granules_on_nucleus(self, rng: np.random.Generator, canvas: Canvas, nucleus: Field) -> None:
        for granules in self.cytoplasm.granules if self.cytoplasm else ():
            if granules.over_nucleus:
                cover = granules.cover(rng, canvas.grid) * canvas.grid.cover(nucleus)
                canvas.whole.paint(density(granules.color)[:, None, None], cover * np.float32(granules.over_nucleus))


def _golgi(grid: Grid, nucleus: Field) -> Field:
    """Return where the Golgi zone lies: beside the nucleus, towards the middle of the cell."""
    inside = nucleus > 0
    centre = complex(grid.z[inside].mean()) if inside.any() else 0j
    towards = -centre / max(abs(centre), 1e-3)
    spot = centre + towards * (float(nucleus.max()) + 0.9)
    return grid.cover(disc(grid.z, spot, 2.0), softness=14)
