"""The nucleus: its shape, its chromatin, and how it is painted.

A new shape is a class with a literal `kind` and a `field` method, listed in `NuclearShape`; a cell type names its kind.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict
from pydantic import Field as Validated
from pydantic.dataclasses import dataclass

from napari_caltomorph.synthetic.canvas import Canvas, Color, density, tint
from napari_caltomorph.synthetic.fields import (
    Field,
    Grid,
    Range,
    blob,
    direction,
    disc,
    segment,
    some,
    uniform,
    union,
    veins,
    within,
)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Round:
    """One rounded nucleus: blasts, lymphocytes, plasma cells; dented, it is a kidney."""

    elongation: Range = (1.0, 1.2)  # Axis ratio
    dent: Range = (0.0, 0.0)  # Depth as a fraction of the nuclear radius
    eccentricity: Range = (0.2, 0.8)  # 0 in the centre of the cell, 1 touching its border
    waviness: float = 0.05  # Irregularity of the border as a fraction of the radius
    dents: int = 1  # How many dents there are at most
    cleft: float = 0.0  # How often a dent is a narrow cleft, 0 to 1
    kind: Literal["round"] = "round"

    def field(self, rng: np.random.Generator, grid: Grid, cell_radius: float, area: float) -> Field:
        """Return the distance field of a nucleus of about `area` square micrometres."""
        radius = math.sqrt(area / math.pi)
        room = max(cell_radius - radius * 1.04, 0.0)
        towards = direction(rng)
        centre = room * uniform(rng, self.eccentricity) * towards
        nucleus = blob(rng, grid, centre, radius, uniform(rng, self.elongation), self.waviness)
        for _ in range(self.dents):
            depth = uniform(rng, self.dent)
            if depth < 0.05:
                continue
            # Dents face the wide side of the cytoplasm more often than not.
            side = -towards * complex(1, rng.normal(0, 0.8))
            side /= abs(side)
            if rng.random() < self.cleft:
                u, v = grid.along(centre, side)
                mouth = np.float32(0.12) * (u - np.float32(radius * (1 - 1.1 * depth))) - np.abs(v)
                mouth += np.float32(0.12) * grid.clouds(rng, 1.0)
            else:
                bite = radius * rng.uniform(0.4, 0.9)
                mouth = disc(grid, centre + side * (radius * (1 - depth) + bite), bite)
                mouth += np.float32(0.07 * bite) * grid.clouds(rng, 0.8)
            nucleus = within(nucleus, -mouth, 1.0)
        return nucleus


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Smudged:
    """A nucleus that burst when the smear was made: ragged, drawn out to one side, with a faint border."""

    elongation: Range = (1.0, 1.6)
    tear: Range = (0.2, 1.0)  # How far it is drawn out, micrometres
    kind: Literal["smudged"] = "smudged"

    def field(self, rng: np.random.Generator, grid: Grid, cell_radius: float, area: float) -> Field:
        """Return the distance field of a nucleus of about `area` square micrometres."""
        radius = math.sqrt(area / math.pi)
        nucleus = blob(rng, grid, 0j, radius, uniform(rng, self.elongation), 0.14)
        along, _ = grid.along(0j, direction(rng))
        tail = np.clip(along * np.float32(1 / radius) + np.float32(0.2), 0, 1.3)
        nucleus += np.float32(uniform(rng, self.tear)) * tail * grid.clouds(rng, 0.8)
        nucleus += np.float32(0.07) * grid.clouds(rng, 0.25)
        nucleus *= np.float32(0.35)  # A slope below 1 is a soft border.
        return nucleus


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Lobed:
    """Lobes on a bent chain, joined by strands: segmented granulocytes."""

    lobes: tuple[int, int] = (3, 5)  # Fewest, most
    strand: Range = (0.4, 1.0)  # Width of the strands between lobes, micrometres
    bend: Range = (0.5, 1.5)  # How the chain turns from lobe to lobe, radians
    elongation: Range = (1.0, 1.7)  # Of a lobe
    waviness: float = 0.1  # Irregularity of a lobe's border as a fraction of its radius
    kind: Literal["lobed"] = "lobed"

    def field(self, rng: np.random.Generator, grid: Grid, cell_radius: float, area: float) -> Field:
        """Return the distance field of a nucleus of about `area` square micrometres."""
        count = some(rng, self.lobes)
        if count > 3 and rng.random() < 0.5:  # Three and four lobes are the rule.
            count -= 1
        radius = math.sqrt(area / math.pi / count)
        centres = self._chain(rng, count, radius, cell_radius - radius - 0.3)
        parts = [
            blob(rng, grid, centre, radius * rng.uniform(0.88, 1.12), uniform(rng, self.elongation), self.waviness)
            for centre in centres
        ]
        parts += [
            segment(grid, start, end, uniform(rng, self.strand) / 2) for start, end in itertools.pairwise(centres)
        ]
        return union(parts, 0.45)

    def _chain(self, rng: np.random.Generator, count: int, radius: float, room: float) -> list[complex]:
        """Return the best of several random walks: lobes apart from each other, none outside the cell."""
        best: tuple[float, list[complex]] = (math.inf, [])
        for _ in range(10):
            step, turn = 2.15 * radius * direction(rng), rng.choice((-1, 1))
            chain = [0j]
            for _ in range(count - 1):
                chain.append(chain[-1] + step)
                angle = turn * uniform(rng, self.bend) + rng.normal(0, 0.25)
                step *= complex(math.cos(angle), math.sin(angle)) * rng.uniform(0.94, 1.06)
            middle = sum(chain) / count + 0.3 * radius * direction(rng)
            chain = [one - middle for one in chain]
            outside = sum(max(abs(one) - room, 0) for one in chain)
            near = sum(max(2.1 * radius - abs(a - b), 0) for a, b in itertools.combinations(chain, 2))
            if outside + near < best[0]:
                best = (outside + near, chain)
        return best[1]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Band:
    """A bent sausage: band neutrophils."""

    bend: Range = (2.6, 4.4)  # Angle that the arc spans, radians
    kind: Literal["band"] = "band"

    def field(self, rng: np.random.Generator, grid: Grid, cell_radius: float, area: float) -> Field:
        """Return the distance field of a nucleus of about `area` square micrometres."""
        span = uniform(rng, self.bend)
        arc = cell_radius * rng.uniform(0.46, 0.6)
        half_width = min(area / (arc * span + 2.0) / 2, arc * 0.72)
        u, v = grid.along(0.12 * cell_radius * direction(rng), direction(rng))
        across = np.abs(v)
        # Distance to an arc: to the circle between its ends, to the nearer end beyond them.
        ex, ey = math.cos(span / 2), math.sin(span / 2)
        on_arc = np.abs(np.sqrt(u * u + v * v) - np.float32(arc))
        du, dv = u - np.float32(arc * ex), across - np.float32(arc * ey)
        beyond = np.float32(ex) * across - np.float32(ey) * u > 0
        distance = np.where(beyond, np.sqrt(du * du + dv * dv), on_arc)
        field = np.float32(half_width) - distance
        field += np.float32(0.17 * half_width) * grid.clouds(rng, 1.1)
        field += np.float32(0.04 * half_width) * grid.clouds(rng, 0.45)
        return field


NuclearShape = Annotated[Round | Smudged | Lobed | Band, Validated(discriminator="kind")]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Nucleus:
    """The nucleus, by its shape and its chromatin."""

    shape: NuclearShape
    share: Range  # Area of the nucleus over the area of the cell, as an N:C ratio is estimated by eye
    dark: Color = (52, 12, 106)  # Condensed chromatin
    light: Color = (126, 84, 166)  # Open chromatin
    clump: float = 0.24  # Size of a chromatin clump, micrometres
    open: float = 0.3  # Share of open chromatin, 0 to 1
    blocks: float = 0.3  # 0 is cloudy chromatin, 1 are blocks parted by a net of open lines
    contrast: float = 1.0  # How far clouds of chromatin stand out
    folds: float = 0.0  # Strength of the creases
    nucleoli: tuple[int, int] = (0, 0)  # Fewest, most

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
