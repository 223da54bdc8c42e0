"""Textures that cells are made of: cloudy noise and scattered dots.

Each texture is a large tile computed once from a fixed seed; a cell takes a random, randomly turned window
of it. Drawing from a tile costs microseconds where filtering fresh noise for every cell costs milliseconds.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]

TILE = 512  # Large against a cell of 144 px, so that two cells rarely show the same window.


def clouds(rng: np.random.Generator, size: int, scale: float) -> Field:
    """Return a window of smooth noise.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Side of the window, px.
    scale : float
        Size of a cloud (sigma of the smoothing), px.

    Returns
    -------
    (size, size) float32, mean 0 and standard deviation 1 over the tile.
    """
    return _window(rng, _cloud_tile(max(round(scale, 2), 0.4)), size)


def dots(rng: np.random.Generator, size: int, diameter: float, spacing: float) -> Field:
    """Return a window of scattered round dots.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Side of the window, px.
    diameter, spacing : float
        Mean diameter of a dot and mean distance between two, px.

    Returns
    -------
    (size, size) float32 in [0, 1], the opacity of the dots.
    """
    return _window(rng, _dot_tile(round(diameter, 2), max(round(spacing, 2), 1.0)), size)


def _window(rng: np.random.Generator, tile: Field, size: int) -> Field:
    if size > TILE:
        tile = np.tile(tile, (-(-size // TILE) + 1,) * 2)
    top, left = rng.integers(0, len(tile) - size + 1, 2)
    window = np.rot90(tile[top : top + size, left : left + size], int(rng.integers(4)))
    return window.T if rng.random() < 0.5 else window


@lru_cache(maxsize=64)
def _cloud_tile(scale: float) -> Field:
    noise = np.random.default_rng(1).standard_normal((TILE, TILE)).astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, scale, mode="wrap")
    return np.asarray((smooth - smooth.mean()) / smooth.std(), np.float32)


@lru_cache(maxsize=64)
def _dot_tile(diameter: float, spacing: float) -> Field:
    rng = np.random.default_rng(2)
    steps = np.arange(0, TILE, spacing)
    centres = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    centres = (centres + rng.uniform(-0.6, 0.6, centres.shape) * spacing) % TILE
    radii = diameter / 2 * rng.uniform(0.7, 1.3, len(centres))
    opacity = rng.uniform(0.55, 1.0, len(centres))

    reach = int(np.ceil(diameter)) + 1
    offsets = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2), -1).reshape(-1, 2)
    pixels = np.floor(centres)[:, None] + offsets  # (dots, pixels near a dot, 2)
    distance = np.linalg.norm(pixels - centres[:, None], axis=-1)
    cover = np.clip(radii[:, None] - distance + 0.5, 0, 1) * opacity[:, None]

    tile = np.zeros((TILE, TILE), np.float32)
    columns, rows = (pixels.astype(int) % TILE).transpose(2, 0, 1)
    np.maximum.at(tile, (rows, columns), cover.astype(np.float32))
    return tile
