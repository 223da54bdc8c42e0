"""Optical densities, painted layer over layer, and how the slide's own look turns them into a picture.

A cell is painted as optical density (Beer-Lambert: densities of a dye scale, colours do not), and the patient's
`Stain` develops it: light, dye and microscope. The stain varies from patient to patient and not with the disease.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.synthetic.fields import FIELD_OF_VIEW_UM, Field, Grid, clouds, grid

Color = tuple[int, int, int]

REFERENCE_LIGHT: Color = (253, 228, 203)
"""Empty glass of the reference stain; the tables' colours are seen on it."""
LEVELS_PER_DENSITY = 1024  # Densities are looked up in a table: far finer than 256 grey values.
DENSEST = 5.0


@dataclass(frozen=True)
class Canvas:
    """The optical densities of one image, or of a rectangle of it: painting costs what the rectangle covers."""

    grid: Grid  # The positions of its pixels
    densities: Field  # (3, H, W); 0 is empty glass. A rectangle's are a view of the whole's.

    @classmethod
    def empty(cls, size: int) -> Canvas:
        """Return a clean canvas of `size` px."""
        return cls(grid(size), np.zeros((3, size, size), np.float32))

    def window(self, centre: complex, reach: float) -> Canvas | None:
        """Return the part within `reach` micrometres of `centre`, its new origin; None if it is outside the image."""
        height, width = self.grid.shape
        pixel = self.grid.pixel
        left = centre.real - float(self.grid.x[0, 0]) + pixel / 2
        top = centre.imag - float(self.grid.y[0, 0]) + pixel / 2
        columns = slice(max(int((left - reach) / pixel), 0), min(int((left + reach) / pixel) + 2, width))
        rows = slice(max(int((top - reach) / pixel), 0), min(int((top + reach) / pixel) + 2, height))
        if columns.start >= columns.stop or rows.start >= rows.stop:
            return None
        x, y = self.grid.x[:, columns], self.grid.y[rows]
        moved = Grid(x - np.float32(centre.real), y - np.float32(centre.imag), pixel)
        return Canvas(moved, self.densities[:, rows, columns])

    def paint(self, color: Field, cover: Field) -> None:
        """Lay a colour (optical density, (3, H, W) or (3, 1, 1)) over what is there, as opaque as `cover`."""
        layer = color - self.densities
        layer *= cover
        below = self.densities
        below += layer

    def glaze(self, color: Field, amount: Field, overlap: float = 0.6) -> None:
        """Lay a transparent colour (optical density, (3, 1, 1)) on: where two such overlap, it is darker.

        With an `overlap` of 1 the densities of the two add up; with 0 only the denser is seen.
        """
        layer, below = color * amount, self.densities
        both = np.minimum(layer, below)
        both *= np.float32(overlap)
        np.maximum(layer, below, out=below)
        below += both


def density(color: Color) -> Field:
    """Return the optical density (3, 1, 1) of a table's colour, as the reference stain shows it."""
    absorbed: Field = -np.log(np.array(color, float) / np.array(REFERENCE_LIGHT, float)).astype(np.float32)
    return absorbed[:, None, None]


def tint(rng: np.random.Generator, strength: float, hue: float) -> Field:
    """Draw how a dye took, (3, 1, 1) factors of density; `strength` and `hue` are standard deviations."""
    shift = rng.normal(0, hue)
    dye: Field = (rng.normal(1, strength) * np.array([1 - shift, 1.0, 1 + shift])).astype(np.float32)
    return dye[:, None, None]


@dataclass(frozen=True)
class Stain:
    """How one patient's slide was smeared, stained, lit and focused."""

    light: tuple[float, float, float]  # RGB of empty glass
    gain: tuple[float, float, float]  # Strength of the dye as each channel sees it; 1 is the reference
    blur: float  # Defocus, micrometres
    unevenness: float  # Fall of the light across the image, as a fraction
    noise: float  # Standard deviation of the camera's noise, grey values
    crowding: float  # Density of red cells, 0 to 1
    thickness: float = 1.0  # Of the smear: how dense the red cells look, whatever their hemoglobin; 1 is the reference
    flatness: float = 0.0  # How drying shifted the central pallor of red cells, 0 not at all
    sharpening: float = 0.0  # How much the camera sharpens edges
    dirt: float = 0.0  # Mean number of specks of stain precipitate an image

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Stain:
        """Draw the stain of one patient."""
        warmth, brightness = rng.uniform(0.3, 1.1), rng.uniform(-5, 2)
        light = np.array([244.0, 235.0, 220.0]) * (1 - warmth) + np.array([254.0, 226.0, 199.0]) * warmth
        gain = tint(rng, 0.08, 0.06).ravel() * rng.normal(1.0, 0.03, 3)
        red, green, blue = np.clip(light + brightness, 0, 254)
        return cls(
            light=(float(red), float(green), float(blue)),
            gain=(float(gain[0]), float(gain[1]), float(gain[2])),
            blur=float(rng.uniform(0.03, 0.13)),
            unevenness=float(rng.uniform(0.0, 0.05)),
            noise=float(rng.uniform(0.8, 2.0)),
            crowding=float(rng.uniform(0.3, 1.0)),
            thickness=float(np.clip(rng.normal(1.0, 0.1), 0.7, 1.3)),
            flatness=float(rng.normal(0, 0.08)),
            sharpening=float(rng.uniform(0.0, 0.12)),
            dirt=float(min(rng.exponential(0.12), 1.0)),
        )

    def develop(self, rng: np.random.Generator, grid: Grid, densities: Field) -> NDArray[np.uint8]:
        """Turn optical densities (3, size, size) into the picture (size, size, 3) that the camera saw."""
        blurred = _blur(densities, (self.blur / grid.pixel * rng.uniform(0.7, 1.5)) ** 2 - self.sharpening)
        tables = _colors_of_densities(self.light, self.gain)
        blurred *= np.float32(LEVELS_PER_DENSITY)
        levels = np.clip(blurred, 0, tables.shape[1] - 1, out=blurred).astype(np.intp)
        shade = 1 + np.float32(self.unevenness / FIELD_OF_VIEW_UM) * grid.x
        noise = np.float32(self.noise) * clouds(rng, grid.shape, 0.5) + np.float32(0.5)
        picture = np.empty((*grid.shape, 3), np.uint8)
        for channel in range(3):
            seen = tables[channel][levels[channel]]
            seen *= shade
            seen += noise
            picture[..., channel] = np.clip(seen, 0, 255, out=seen)
        return picture


@lru_cache(maxsize=64)
def _colors_of_densities(light: tuple[float, float, float], gain: tuple[float, float, float]) -> Field:
    """Return what the camera sees of each density, (3, levels).

    The exponential of each pixel would be slower, and its last bit differs between processors.
    """
    steps = np.arange(int(DENSEST * LEVELS_PER_DENSITY) + 1) / LEVELS_PER_DENSITY
    return (np.array(light)[:, None] * np.exp(-np.array(gain)[:, None] * steps)).astype(np.float32)


def _blur(densities: Field, variance: float) -> Field:
    """Blur (3, H, W) as a Gaussian of this variance (px squared) would, by few passes of three pixels each.

    A variance below zero sharpens.
    """
    passes = max(math.ceil(variance / 0.6), 1)
    side = np.float32(variance / passes / 2)
    for _ in range(passes):
        for axis in (1, 2):
            ends = [slice(None)] * 3, [slice(None)] * 3
            ends[0][axis], ends[1][axis] = slice(1, None), slice(None, -1)
            slope = (densities[tuple(ends[0])] - densities[tuple(ends[1])]) * side
            densities = densities.copy() if axis == 1 else densities
            densities[tuple(ends[1])] += slope
            densities[tuple(ends[0])] -= slope
    return densities
