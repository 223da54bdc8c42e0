"""Textures that cells are made of: cloudy noise, nets and scattered dots.

Each texture is a large tile computed once from a fixed seed; a cell takes a random, randomly turned window
of it. Drawing from a tile costs microseconds where filtering fresh noise for every cell costs milliseconds.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]
Shape = tuple[int, int]

TILE = 512  # Large against a cell of 144 px, so that two cells rarely show the same window.
DOT_TILE = 320  # Dots take longer to make.


def clouds(rng: np.random.Generator, shape: Shape, scale: float) -> Field:
    """Return a window of smooth noise.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (H, W)
        Of the window, px.
    scale : float
        Size of a cloud (sigma of the smoothing), px; taken to the nearest half octave.

    Returns
    -------
    (H, W) float32, mean 0 and standard deviation 1 over the tile.
    """
    return _window(rng, _cloud_tile(_half_octave(scale)), shape)


def veins(rng: np.random.Generator, shape: Shape, scale: float) -> Field:
    """Return a window of a net: 1 on its threads, towards 0 in its meshes.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (H, W)
        Of the window, px.
    scale : float
        Size of a mesh, as that of `clouds`.
    """
    return _window(rng, _vein_tile(_half_octave(scale)), shape)


def dots(rng: np.random.Generator, shape: Shape, diameter: float, spacing: float) -> Field:
    """Return a window of scattered dots of varying size and strength.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (H, W)
        Of the window, px.
    diameter, spacing : float
        Mean diameter of a dot and mean distance between two, px.

    Returns
    -------
    (H, W) float32 in [0, 1], the opacity of the dots.
    """
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
    """Return a tile that nobody can paint over: every later cell is drawn from it."""
    kept = tile.astype(np.float32)
    kept.flags.writeable = False
    return kept
