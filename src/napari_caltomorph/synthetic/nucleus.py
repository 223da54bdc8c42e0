"""The nucleus, by its shape and its chromatin, and how it paints itself onto a canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_caltomorph.synthetic.canvas import Canvas
from napari_caltomorph.synthetic.shapes import (
    Grid,
    NuclearShape,
    Range,
    blob,
    some,
)
from napari_caltomorph.synthetic.stain import Color, density, tint
from napari_caltomorph.synthetic.texture import Field, veins


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
