"""Outlines of cells and nuclei as distance fields: micrometres to the border, positive inside.

A field makes soft edges, membranes and unions of lobes one line each. Each nuclear shape is a frozen
dataclass with a `field` method, so that a new shape is a new class and a row in the table of cell types.
Only sums, products and square roots of pixels, which every processor rounds alike: the same seed must draw
the same bytes everywhere.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from napari_caltomorph.synthetic.texture import Field, Shape, clouds

FIELD_OF_VIEW_UM = 25.0  # Width of a Metafer cell image; 144 px at 57.6 px per 10 um.

Range = tuple[float, float]


@dataclass(frozen=True)
class Grid:
    """The pixel centres of an image, or of a rectangle of it.

    Attributes
    ----------
    x : (1, W) float32
    y : (H, 1) float32
        Micrometres from the origin.
    pixel : float
        Width of a pixel, micrometres.
    """

    x: Field
    y: Field
    pixel: float

    @property
    def shape(self) -> Shape:
        """Height and width, px."""
        return len(self.y), self.x.shape[1]

    def along(self, centre: complex, direction: complex) -> tuple[Field, Field]:
        """Return coordinates (H, W) of the pixels from `centre`, along a unit vector and across it."""
        x, y = self.x - np.float32(centre.real), self.y - np.float32(centre.imag)
        c, s = np.float32(direction.real), np.float32(direction.imag)
        return x * c + y * s, y * c - x * s

    def cover(self, field: Field, softness: float = 1.6) -> Field:
        """Turn a distance field into opacity: 0 outside, 1 inside, `softness` px between."""
        cover = field * np.float32(1 / (softness * self.pixel))
        cover += np.float32(0.5)
        np.clip(cover, 0, 1, out=cover)
        return cover

    def clouds(self, rng: np.random.Generator, scale: float) -> Field:
        """Return smooth noise (H, W) whose clouds measure `scale` micrometres."""
        return clouds(rng, self.shape, scale / self.pixel)

    def area(self, field: Field) -> float:
        """Return how many square micrometres a field encloses."""
        return float(np.count_nonzero(field > 0)) * self.pixel**2


@lru_cache(maxsize=8)
def grid(size: int) -> Grid:
    """Return the grid of a square image of `size` px that is 25 micrometres wide."""
    pixel = FIELD_OF_VIEW_UM / size
    steps = ((np.arange(size) + 0.5) * pixel - FIELD_OF_VIEW_UM / 2).astype(np.float32)
    return Grid(steps[None, :], steps[:, None], pixel)


def uniform(rng: np.random.Generator, limits: Range) -> float:
    """Draw one number from a range of the table."""
    return limits[0] + (limits[1] - limits[0]) * rng.random()


def some(rng: np.random.Generator, limits: tuple[int, int]) -> int:
    """Draw a count from a range of the table, both ends included."""
    return int(rng.integers(limits[0], limits[1] + 1))


def direction(rng: np.random.Generator) -> complex:
    """Draw a random direction as a unit complex number."""
    turn = 2 * math.pi * rng.random()
    return complex(math.cos(turn), math.sin(turn))


def disc(grid: Grid, centre: complex, radius: float) -> Field:
    """Return the distance field of a disc."""
    x, y = grid.x - np.float32(centre.real), grid.y - np.float32(centre.imag)
    field: Field = np.float32(radius) - np.sqrt(x * x + y * y)
    return field


def blob(
    rng: np.random.Generator, grid: Grid, centre: complex, radius: float, elongation: float, waviness: float
) -> Field:
    """Return the field of an irregular ellipse.

    Parameters
    ----------
    rng : numpy.random.Generator
    grid : Grid
    centre : complex
    radius : float
        Of the disc of the same area, micrometres.
    elongation : float
        Long axis over short axis.
    waviness : float
        Amplitude of the border's irregularity as a fraction of the radius.
    """
    u, v = grid.along(centre, direction(rng))
    u *= np.float32(1 / math.sqrt(elongation))
    v *= np.float32(math.sqrt(elongation))
    u *= u
    v *= v
    u += v
    field = np.float32(radius) - np.sqrt(u)
    if waviness:
        field += np.float32(waviness * radius) * grid.clouds(rng, 0.4 * radius)
    return field


def union(fields: list[Field], blend: float) -> Field:
    """Join fields; `blend` is the width in micrometres over which two shapes flow together."""
    joined = fields[0]
    for one in fields[1:]:
        gap = np.abs(joined - one)
        np.subtract(np.float32(blend), gap, out=gap)
        np.maximum(gap, 0, out=gap)
        gap *= gap
        gap *= np.float32(1 / (4 * blend))
        joined = np.maximum(joined, one)
        joined += gap
    return joined


def within(field: Field, other: Field, blend: float) -> Field:
    """Return what two fields share, its corners rounded over `blend` micrometres."""
    return -union([-field, -other], blend)


def fit_area(grid: Grid, field: Field, area: float, limit: Field | None = None) -> Field:
    """Grow or shrink a shape until it encloses `area` square micrometres, as far as it lies within `limit`.

    What irregularity, dents and overlap do to a shape's size is undone here, so that a row of the table means
    what it says. Two of Newton's steps: area changes with distance as the border is long.
    """
    for _ in range(3):
        shown = field if limit is None else np.minimum(field, limit)
        border = np.count_nonzero(np.abs(shown) < np.float32(0.25)) * grid.pixel**2 / 0.5
        step = (area - grid.area(shown)) / max(border, 1.0)
        field = field + np.float32(min(max(step, -1.0), 1.0))
    return field if limit is None else np.minimum(field, limit)


class NuclearShape(Protocol):
    """How a nucleus lies in its cell."""

    @property
    def lobes(self) -> tuple[int, int]:
        """Fewest and most lobes."""

    def field(self, rng: np.random.Generator, grid: Grid, cell_radius: float, area: float) -> Field:
        """Return the distance field of a nucleus of about `area` square micrometres, the cell lying at the origin."""


@dataclass(frozen=True)
class Round:
    """One rounded nucleus: blasts, lymphocytes, plasma cells; dented, it is a kidney.

    Attributes
    ----------
    elongation, dent, eccentricity : (low, high)
        Axis ratio; depth of the dent as a fraction of the nuclear radius; how far out the nucleus lies,
        0 in the centre of the cell, 1 touching its border.
    waviness : float
        Irregularity of the border as a fraction of the radius.
    dents : int
        How many dents there are at most.
    cleft : float
        How often a dent is a narrow cleft, 0 to 1.
    """

    elongation: Range = (1.0, 1.2)
    dent: Range = (0.0, 0.0)
    eccentricity: Range = (0.2, 0.8)
    waviness: float = 0.05
    dents: int = 1
    cleft: float = 0.0
    lobes: tuple[int, int] = (1, 1)

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


@dataclass(frozen=True)
class Smudged:
    """A nucleus that burst when the smear was made: ragged, drawn out to one side, with a faint border.

    Attributes
    ----------
    elongation : (low, high)
    tear : (low, high)
        How far it is drawn out, micrometres.
    """

    elongation: Range = (1.0, 1.6)
    tear: Range = (0.2, 1.0)
    lobes: tuple[int, int] = (1, 1)

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


@dataclass(frozen=True)
class Lobed:
    """Lobes on a bent chain, joined by strands: segmented granulocytes.

    Attributes
    ----------
    lobes : (fewest, most)
    strand : (low, high)
        Width of the strands between lobes, micrometres.
    bend : (low, high)
        How the chain turns from lobe to lobe, radians.
    elongation : (low, high)
        Of a lobe.
    waviness : float
        Irregularity of a lobe's border as a fraction of its radius.
    """

    lobes: tuple[int, int] = (3, 5)
    strand: Range = (0.4, 1.0)
    bend: Range = (0.5, 1.5)
    elongation: Range = (1.0, 1.7)
    waviness: float = 0.1

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


@dataclass(frozen=True)
class Band:
    """A bent sausage: band neutrophils.

    Attributes
    ----------
    bend : (low, high)
        Angle that the arc spans, radians.
    """

    bend: Range = (2.6, 4.4)
    lobes: tuple[int, int] = (1, 1)

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


def segment(grid: Grid, start: complex, end: complex, half_width: float) -> Field:
    length = abs(end - start)
    u, v = grid.along(start, (end - start) / max(length, 1e-6))
    u -= np.clip(u, 0, np.float32(length))
    return np.float32(half_width) - np.sqrt(u * u + v * v)
