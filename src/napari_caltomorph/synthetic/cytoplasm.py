"""Cytoplasm and its granules, and how they paint themselves onto a canvas."""

from __future__ import annotations

import math

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from napari_caltomorph.synthetic.background import Place
from napari_caltomorph.synthetic.canvas import Canvas, Color, density, tint
from napari_caltomorph.synthetic.fields import (
    Field,
    Grid,
    Range,
    blob,
    direction,
    disc,
    dots,
    fit_area,
    some,
    uniform,
    union,
    veins,
    within,
)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Granules:
    """Granules of one kind."""

    color: Color
    diameter: float  # Micrometres
    spacing: float  # Micrometres
    amount: Range  # Opacity of the whole, 0 to 1
    over_nucleus: float = 0.0  # How much of it is also on the nucleus
    patchiness: float = 0.3  # 0 is spread evenly, 1 is in heaps
    margin: float = 0.2  # How far from the border they keep, micrometres

    def cover(self, rng: np.random.Generator, grid: Grid) -> Field:
        """Return the opacity of granules (H, W) as if the cell filled the canvas."""
        heaps = np.float32(self.patchiness) * grid.clouds(rng, 1.3)
        heaps += 1
        np.clip(heaps, 0, 1, out=heaps)
        heaps *= dots(rng, grid.shape, self.diameter / grid.pixel, self.spacing / grid.pixel)
        heaps *= np.float32(uniform(rng, self.amount))
        return heaps


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Cytoplasm:
    """The body of the cell."""

    color: Color  # Inside
    rim: Color  # At the border: basophilic cells are deeper there
    ripe: Color | None = None  # Color of a mature cell; each cell is at some point on the way to it
    granules: tuple[Granules, ...] = ()
    mottle: float = 0.08  # Unevenness of the colour as a fraction
    vacuoles: tuple[int, int] = (0, 0)  # Fewest, most
    hof: float = 0.0  # Pallor of the Golgi zone next to the nucleus, 0 to 1
    elongation: Range = (1.0, 1.15)
    waviness: float = 0.03  # Smooth irregularity of the border, as a fraction of the radius
    frill: float = 0.035  # Fine irregularity of the border, micrometres
    hairs: float = 0.0  # Length of the hairs, micrometres
    corners: tuple[int, int] = (0, 2)  # Fewest, most sides on which the cell is pressed flat
    pieces: tuple[int, int] = (1, 1)  # Fewest, most clumped bodies that make the whole
    gives_way: bool = False  # Whether the cell is indented by red cells around it
    auer_rods: float = 0.0  # How often there are Auer rods, 0 to 1

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
        """Paint the body, around the nucleus (its field is all negative where there is none)."""
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
        """Paint vacuoles, some of them on the nucleus."""
        reach, color = float(np.max(body)), density(self.color) * np.float32(0.2)
        for _ in range(some(rng, self.vacuoles)):
            size = min(rng.exponential(0.25) + 0.25, 1.1)
            spot = rng.uniform(0.5, 0.92) * reach * direction(rng)
            box = canvas.window(spot, size + 0.5)
            if box is not None:
                box.paint(color, box.grid.cover(disc(box.grid, 0j, size)) * np.float32(rng.uniform(0.5, 0.95)))


def _golgi(grid: Grid, nucleus: Field) -> Field:
    """Return the Golgi zone: next to the nucleus, towards the middle of the cell."""
    inside = nucleus > 0
    count = max(int(np.count_nonzero(inside)), 1)
    x = float((grid.x[0] * inside.sum(0)).sum(dtype=float)) / count
    y = float((grid.y[:, 0] * inside.sum(1)).sum(dtype=float)) / count
    centre = complex(x, y)
    towards = -centre / max(abs(centre), 1e-3)
    spot = centre + towards * (float(nucleus.max()) + 1.0)
    return grid.cover(disc(grid, spot, 1.9), softness=14)
