"""Fields of pixels that drawn cells are made of: distances to an outline, and textures of noise, nets and dots.

A distance field is micrometres to the border, positive inside, which makes soft edges, membranes and unions of
lobes one line each. A texture is a random window of a large tile that is computed once: that costs microseconds where
filtering fresh noise for every cell costs milliseconds. Pixels are only added, multiplied and square-rooted, which
every processor rounds alike: the same seed draws the same bytes everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]
Shape = tuple[int, int]
Range = tuple[float, float]

FIELD_OF_VIEW_UM = 25.0  # Width of a Metafer cell image; 144 px at 57.6 px per 10 um.
TILE = 512  # Large against a cell of 144 px, so that two cells rarely show the same window.
DOT_TILE = 320  # Dots take longer to make.


@dataclass(frozen=True)
class Grid:
    """The pixel centres of an image, or of a rectangle of it."""

    x: Field  # (1, W), micrometres from the origin
    y: Field  # (H, 1), micrometres from the origin
    pixel: float  # Width of a pixel, micrometres

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
        """Return smooth noise (H, W) with clouds of `scale` micrometres."""
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
    """Return the field of an irregular ellipse with the area of a disc of `radius` micrometres.

    `elongation` is the long axis over the short one, `waviness` the border's irregularity as a fraction of the radius.
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
    """Grow or shrink a shape until it encloses `area` square micrometres, as far as it is within `limit`.

    This undoes the effect of irregularity, dents and overlap on a shape's size, so that the table's sizes are true.
    Three of Newton's steps: area changes with distance in proportion to the border's length.
    """
    for _ in range(3):
        shown = field if limit is None else np.minimum(field, limit)
        border = np.count_nonzero(np.abs(shown) < np.float32(0.25)) * grid.pixel**2 / 0.5
        step = (area - grid.area(shown)) / max(border, 1.0)
        field = field + np.float32(min(max(step, -1.0), 1.0))
    return field if limit is None else np.minimum(field, limit)


def segment(grid: Grid, start: complex, end: complex, half_width: float) -> Field:
    """Return the distance field of a line of this half width, its ends rounded."""
    length = abs(end - start)
    u, v = grid.along(start, (end - start) / max(length, 1e-6))
    u -= np.clip(u, 0, np.float32(length))
    return np.float32(half_width) - np.sqrt(u * u + v * v)


def clouds(rng: np.random.Generator, shape: Shape, scale: float) -> Field:
    """Return a window of smooth noise; over its tile, the mean is 0 and the standard deviation 1.

    `scale` is the size of a cloud (sigma of the smoothing) in px, taken to the nearest half octave.
    """
    return _window(rng, _cloud_tile(_half_octave(scale)), shape)


def veins(rng: np.random.Generator, shape: Shape, scale: float) -> Field:
    """Return a window of a net: 1 on its threads, towards 0 in its meshes, which have the size `scale` in px."""
    return _window(rng, _vein_tile(_half_octave(scale)), shape)


def dots(rng: np.random.Generator, shape: Shape, diameter: float, spacing: float) -> Field:
    """Return the opacity, 0 to 1, of scattered dots; mean diameter and mean distance between two are in px."""
    return _window(rng, _dot_tile(round(diameter, 2), max(round(spacing, 2), 1.0)), shape)


def _half_octave(scale: float) -> float:
    """Round to one of few values, so that few tiles serve all sizes."""
    return float(max(2.0 ** (round(2 * np.log2(max(scale, 0.1))) / 2), 0.5))


def _window(rng: np.random.Generator, tile: Field, shape: Shape) -> Field:
    height, width = shape
    if max(shape) > len(tile):
        tile = np.tile(tile, (-(-max(shape) // len(tile)) + 1,) * 2)
    turn, top, left = int(rng.integers(8)), rng.integers(len(tile) - height + 1), rng.integers(len(tile) - width + 1)
    if turn & 1:
        tile = tile.T
    if turn & 2:
        tile = tile[::-1]
    if turn & 4:
        tile = tile[:, ::-1]
    return tile[top : top + height, left : left + width]


@lru_cache(maxsize=64)
def _cloud_tile(scale: float) -> Field:
    noise = np.random.default_rng(1).standard_normal((TILE, TILE))
    smooth = ndimage.gaussian_filter(noise, scale, mode="wrap")
    return _kept((smooth - smooth.mean()) / smooth.std())


@lru_cache(maxsize=64)
def _vein_tile(scale: float) -> Field:
    """Threads run where a field of clouds crosses zero."""
    noise = np.random.default_rng(3).standard_normal((TILE, TILE))
    smooth = ndimage.gaussian_filter(noise, scale, mode="wrap")
    return _kept(1 / (1 + (smooth / smooth.std() / 0.7) ** 2))


@lru_cache(maxsize=64)
def _dot_tile(diameter: float, spacing: float) -> Field:
    rng = np.random.default_rng(2)
    steps = np.arange(0, DOT_TILE, spacing)
    centres = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    centres = (centres + rng.uniform(-0.9, 0.9, centres.shape) * spacing) % DOT_TILE
    radii = diameter / 2 * np.clip(rng.normal(1, 0.28, len(centres)), 0.45, 1.8)
    opacity = rng.uniform(0.35, 1.0, len(centres))
    corner = np.floor(centres).astype(int)
    reach = int(np.ceil(0.9 * diameter + 0.8))

    tile = np.zeros((DOT_TILE, DOT_TILE))
    for offset in np.ndindex(2 * reach + 1, 2 * reach + 1):
        pixel = corner + np.array(offset) - reach
        distance = np.sqrt(((pixel - centres) ** 2).sum(-1))
        cover = np.clip((radii - distance) / 1.6 + 0.5, 0, 1) * opacity
        touched = cover > 0
        column, row = (pixel[touched] % DOT_TILE).T
        np.maximum.at(tile, (row, column), cover[touched])
    return _kept(tile)


def _kept(tile: NDArray[np.float32] | NDArray[np.float64]) -> Field:
    """Return a tile that cannot be changed: every later cell is drawn from it."""
    kept = tile.astype(np.float32)
    kept.flags.writeable = False
    return kept
