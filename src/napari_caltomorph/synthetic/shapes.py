"""Outlines of cells and nuclei as distance fields: micrometres to the border, positive inside.

A field makes soft edges, membranes and unions of lobes one line each. Each nuclear shape is a frozen
dataclass with a `field` method, so that a new shape is a new class and a row in the table of cell types.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_caltomorph.synthetic.texture import Field, clouds

FIELD_OF_VIEW_UM = 25.0  # Width of a Metafer cell image; 144 px at 57.6 px per 10 um.

Range = tuple[float, float]
Complex = NDArray[np.complex64]


@dataclass(frozen=True)
class Grid:
    """The pixel centres of an image.

    Attributes
    ----------
    z : (size, size) complex64
        Position of each pixel as x + iy, micrometres from the centre of the image.
    pixel : float
        Width of a pixel, micrometres.
    """

    z: Complex
    pixel: float

    @property
    def size(self) -> int:
        """Side of the image, px."""
        return len(self.z)

    def cover(self, field: Field, softness: float = 1.5) -> Field:
        """Turn a distance field into opacity: 0 outside, 1 inside, `softness` px between."""
        cover: Field = np.clip(field / (softness * self.pixel) + np.float32(0.5), 0, 1)
        return cover


@lru_cache(maxsize=8)
def grid(size: int) -> Grid:
    """Return the grid of a square image of `size` px that is 25 micrometres wide."""
    pixel = FIELD_OF_VIEW_UM / size
    steps = ((np.arange(size) + 0.5) * pixel - FIELD_OF_VIEW_UM / 2).astype(np.float32)
    return Grid((steps[None, :] + 1j * steps[:, None]).astype(np.complex64), pixel)


def uniform(rng: np.random.Generator, limits: Range) -> float:
    """Draw one number from a range of the table."""
    return float(rng.uniform(*limits))


def direction(rng: np.random.Generator) -> complex:
    """Draw a random direction as a unit complex number."""
    return complex(np.exp(2j * np.pi * rng.random()))


def disc(z: Complex, centre: complex, radius: float) -> Field:
    """Return the distance field of a disc."""
    field: Field = np.float32(radius) - np.abs(z - np.complex64(centre))
    return field


def blob(
    rng: np.random.Generator, z: Complex, centre: complex, radius: float, elongation: float, waviness: float
) -> Field:
    """Return the field of an irregular ellipse.

    Parameters
    ----------
    rng : numpy.random.Generator
    z : (H, W) complex64
        Positions of the pixels, micrometres.
    centre : complex
    radius : float
        Of the disc of the same area, micrometres.
    elongation : float
        Long axis over short axis.
    waviness : float
        Amplitude of the border's irregularity as a fraction of the radius.
    """
    turn = direction(rng)
    local = (z - np.complex64(centre)) * np.complex64(turn)
    stretch = np.sqrt(elongation)
    local = local.real / np.float32(stretch) + 1j * (local.imag * np.float32(stretch))
    distance = np.abs(local) + np.float32(1e-3)
    unit = local / distance
    power, border = unit, np.ones_like(distance)
    for k in range(2, 6):
        power = power * unit
        border += np.float32(waviness * 2 / k) * (power * np.complex64(direction(rng) * rng.random())).real
    field: Field = np.float32(radius) * border - distance
    return field


def union(fields: list[Field], blend: float) -> Field:
    """Join fields; `blend` is the width in micrometres over which two shapes flow together."""
    joined = fields[0]
    for one in fields[1:]:
        gap = np.maximum(np.float32(blend) - np.abs(joined - one), 0)
        joined = np.maximum(joined, one) + gap * gap / np.float32(4 * blend)
    return joined


class NuclearShape(Protocol):
    """How a nucleus lies in its cell."""

    def field(self, rng: np.random.Generator, grid: Grid, cell_radius: float, area: float) -> Field:
        """Return the distance field of a nucleus of about `area` square micrometres."""


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
        How many dents there are.
    """

    elongation: Range = (1.0, 1.2)
    dent: Range = (0.0, 0.0)
    eccentricity: Range = (0.2, 0.8)
    waviness: float = 0.05
    dents: int = 1

    def field(self, rng: np.random.Generator, grid: Grid, cell_radius: float, area: float) -> Field:
        """Return the distance field of a nucleus of about `area` square micrometres."""
        radius = float(np.sqrt(area / np.pi))
        room = max(cell_radius - radius * 1.08, 0.0)
        centre = room * uniform(rng, self.eccentricity) * direction(rng)
        nucleus = blob(rng, grid.z, centre, radius, uniform(rng, self.elongation), self.waviness)
        for _ in range(self.dents):
            depth = uniform(rng, self.dent)
            if depth > 0:
                bite = radius * rng.uniform(0.35, 0.7)
                mouth = centre + direction(rng) * (radius * (1 - depth) + bite)
                nucleus = -union([-nucleus, disc(grid.z, mouth, bite)], 1.2)
        return nucleus


@dataclass(frozen=True)
class Smudged:
    """A nucleus that burst when the smear was made: ragged, drawn out into streaks, with a faint border.

    Attributes
    ----------
    elongation : (low, high)
    tear : (low, high)
        Depth of the streaks, micrometres.
    """

    elongation: Range = (1.1, 1.9)
    tear: Range = (0.3, 1.6)

    def field(self, rng: np.random.Generator, grid: Grid, cell_radius: float, area: float) -> Field:
        """Return the distance field of a nucleus of about `area` square micrometres."""
        radius = float(np.sqrt(area / np.pi))
        nucleus = blob(rng, grid.z, 0j, radius, uniform(rng, self.elongation), 0.2)
        local = grid.z * np.complex64(direction(rng))
        across = local.imag + np.float32(0.3) * clouds(rng, grid.size, 1.5 / grid.pixel)
        profile = ndimage.gaussian_filter1d(rng.standard_normal(4 * grid.size), 0.22 / grid.pixel)
        streak = (profile / profile.std()).astype(np.float32)[(across / grid.pixel).astype(int) + 2 * grid.size]
        towards_tail = np.clip(local.real / np.float32(radius) + 0.3, 0, 1.5)
        torn = nucleus + np.float32(uniform(rng, self.tear)) * towards_tail * streak
        fray = np.float32(0.25) * clouds(rng, grid.size, 0.25 / grid.pixel)
        border: Field = (torn + fray) * np.float32(0.45)  # A slope below 1 is a soft border.
        return border


@dataclass(frozen=True)
class Lobed:
    """Lobes on a bent chain, joined by strands: segmented granulocytes.

    Attributes
    ----------
    lobes : (fewest, most)
    strand : float
        Width of the strands between lobes, micrometres.
    bend : (low, high)
        Angle that the chain spans around the cell's centre, radians.
    """

    lobes: tuple[int, int] = (3, 5)
    strand: float = 0.7
    bend: Range = (3.0, 5.0)

    def field(self, rng: np.random.Generator, grid: Grid, cell_radius: float, area: float) -> Field:
        """Return the distance field of a nucleus of about `area` square micrometres."""
        count = int(rng.integers(self.lobes[0], self.lobes[1] + 1))
        radius = float(np.sqrt(area / np.pi / count))
        span = uniform(rng, self.bend) * (1 - 1 / count) * 1.2
        # Lobes touch at most a little: the chain's radius follows from their size and the angle between them.
        step = span / max(count - 1, 1)
        reach = min(radius * 1.05 / max(float(np.sin(step / 2)), 0.3), cell_radius - radius * 0.85)
        angles = np.linspace(0, span, count) + rng.normal(0, 0.14, count)
        far = reach * rng.uniform(0.8, 1.12, count)
        centres = far * np.exp(1j * angles) * direction(rng) - 0.25 * reach * rng.random()
        lobes = [
            blob(rng, grid.z, centre, radius * rng.uniform(0.85, 1.15), rng.uniform(1.0, 1.5), 0.08)
            for centre in centres
        ]
        strands = [_segment(grid.z, start, end, self.strand / 2) for start, end in itertools.pairwise(centres)]
        return union(lobes + strands, 0.7)


@dataclass(frozen=True)
class Band:
    """A bent sausage: band neutrophils.

    Attributes
    ----------
    bend : (low, high)
        Angle that the arc spans, radians.
    """

    bend: Range = (2.8, 4.4)

    def field(self, rng: np.random.Generator, grid: Grid, cell_radius: float, area: float) -> Field:
        """Return the distance field of a nucleus of about `area` square micrometres."""
        span = uniform(rng, self.bend)
        arc = cell_radius * rng.uniform(0.46, 0.56)
        half_width = min(area / (arc * span) / 2, arc * 0.8)
        local = grid.z * np.complex64(direction(rng))
        angle = np.angle(local)
        on_arc = np.clip(angle, -span / 2, span / 2).astype(np.float32)
        nearest = np.float32(arc) * np.exp(1j * on_arc)
        swell = 1 + 0.22 * np.cos(on_arc * rng.uniform(1.5, 4.0) + rng.uniform(0, 6)).astype(np.float32)
        return np.asarray(np.float32(half_width) * swell - np.abs(local - nearest), np.float32)


def _segment(z: Complex, start: complex, end: complex, half_width: float) -> Field:
    axis = complex(end - start)
    local = z - np.complex64(start)
    along = (local * np.complex64(axis.conjugate())).real / np.float32(abs(axis) ** 2 + 1e-6)
    field: Field = np.float32(half_width) - np.abs(local - np.clip(along, 0, 1) * np.complex64(axis))
    return field
