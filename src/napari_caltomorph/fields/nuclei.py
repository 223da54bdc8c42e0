"""Where the nuclear stain is: one region a cell, its lobes joined, and what tells it from platelets and dirt.

A region ends where the stain is half of its own peak, so a pale nucleus is as large as a dark one. All lengths are
micrometres and all densities relative to the field's red cells: numbers of one laboratory hold in another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_caltomorph.fields.background import Pixels, nuclear_stain, optical_density, red_cell_density

PX_PER_UM = 4.0
"""Fields are searched at this resolution."""

_FAINTEST = 0.45  # Contrast of a seed, relative to red cells: their edges have less, platelets a little more
_MOST_SEEDS = 400  # In one window of 200 micrometres; what has more is no smear of single cells
_REACH_UM = 9.8  # Radius of the largest cell: lobes further apart are of two cells
_GAP_UM = 4.0  # Between lobes of one nucleus; eosinophils have granules there
_UNEVEN = 2.0  # Lobes of one nucleus are stained alike, within this factor
_BLOCK_UM = 25.0


@dataclass(frozen=True)
class Stained:
    """A window at working resolution, and what it absorbs."""

    density: Pixels  # (H, W, 3), relative to the field's red cells
    stain: Pixels  # (H, W), relative too
    smooth: Pixels  # `stain` without noise

    @classmethod
    def of(cls, image: NDArray[np.uint8]) -> Stained:
        """Measure (H, W, 3) RGB of `PX_PER_UM`."""
        density = optical_density(image)
        return cls.absorbing(density, red_cell_density(density), _BLOCK_UM * PX_PER_UM)

    @classmethod
    def absorbing(cls, density: Pixels, red_cells: NDArray[np.float32], block_px: float | None = None) -> Stained:
        """Measure an optical density (H, W, 3) of `PX_PER_UM`, next to that (3,) of red cells."""
        stain = nuclear_stain(density, red_cells, block_px)
        density = density / red_cells[:2].mean()
        return cls(density, stain, _smooth(stain, 0.5))


@dataclass(frozen=True)
class Nucleus:
    """A region of nuclear stain."""

    pixels: NDArray[np.intp]  # (N, 2) rows and columns
    peak: float  # Of its stain
    contrast: float  # Of its stain to what is around it

    @property
    def area_um2(self) -> float:
        return len(self.pixels) / PX_PER_UM**2

    @property
    def box(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """First and last row and column."""
        return self.pixels.min(axis=0), self.pixels.max(axis=0)


def find_nuclei(stained: Stained) -> list[Nucleus]:
    """Return the regions of nuclear stain; platelets and specks of stain are among them."""
    stain, smooth = stained.stain, stained.smooth
    contrast = _smooth(stain, 1.3) - _smooth(stain, 6.0)
    seeds = np.argwhere((ndimage.maximum_filter(contrast, int(4 * PX_PER_UM) | 1) == contrast) & (contrast > _FAINTEST))
    if not len(seeds):
        return []
    seeds = seeds[np.argsort(-contrast[tuple(seeds.T)], kind="stable")[:_MOST_SEEDS]]
    peaks = np.array([np.quantile(_around(smooth, seed, 2.0), 0.9) for seed in seeds])
    numbers = np.full(stain.shape, -1)
    numbers[tuple(seeds.T)] = np.arange(len(seeds))
    distance, nearest = ndimage.distance_transform_edt(numbers < 0, return_indices=True)
    owner = numbers[tuple(nearest)]
    parts = np.where((distance < 8 * PX_PER_UM) & (smooth > 0.5 * peaks[owner]), owner, -1)
    regions = []
    for number, window in enumerate(ndimage.find_objects(parts + 1)):
        if window is not None and len(pixels := _largest(parts[window] == number)) > 6:
            corner = [window[0].start, window[1].start]
            regions.append(Nucleus(pixels + corner, float(peaks[number]), float(contrast[tuple(seeds[number])])))
    return _joined(regions)


def _joined(regions: list[Nucleus]) -> list[Nucleus]:
    """Join what are lobes of one nucleus, beginning with the closest pair, until no two are left."""
    pairs = {}
    regions = list(regions)
    alive = set(range(len(regions)))

    def compare(a: int, b: int) -> None:
        if (gap := _gap(regions[a], regions[b])) is not None:
            pairs[a, b] = gap

    for a in range(len(regions)):
        for b in range(a):
            compare(a, b)
    while pairs:
        a, b = min(pairs, key=lambda pair: pairs[pair])
        one, other = regions[a], regions[b]
        alive -= {a, b}
        pairs = {pair: gap for pair, gap in pairs.items() if not {a, b} & set(pair)}
        both = np.concatenate([one.pixels, other.pixels])
        regions.append(Nucleus(both, max(one.peak, other.peak), max(one.contrast, other.contrast)))
        for c in alive:
            compare(len(regions) - 1, c)
        alive.add(len(regions) - 1)
    return [regions[number] for number in sorted(alive)]


def _gap(one: Nucleus, other: Nucleus) -> float | None:
    """Return the micrometres between two regions that can be lobes of one nucleus; None for others."""
    if np.abs(one.pixels[0] - other.pixels[0]).max() > 4 * _REACH_UM * PX_PER_UM:
        return None
    if not 1 / _UNEVEN < one.peak / other.peak < _UNEVEN:
        return None
    both = np.concatenate([one.pixels, other.pixels])
    middle = (both.min(axis=0) + both.max(axis=0)) / 2
    if np.hypot(*(both - middle).T).max() > _REACH_UM * PX_PER_UM:
        return None
    apart = one.pixels[::2, None] - other.pixels[None, ::2]
    gap = float(np.sqrt((apart**2).sum(axis=-1).min())) / PX_PER_UM
    return gap if gap < _GAP_UM else None


def describe(nucleus: Nucleus, stained: Stained) -> NDArray[np.float64]:
    """Return the 11 features of a nucleus: size, stain, colours, shape and rim; ratios as logarithms."""
    (top, left), (bottom, right) = nucleus.box
    margin = int(3 * PX_PER_UM)
    window = np.s_[max(top - margin, 0) : bottom + margin + 1, max(left - margin, 0) : right + margin + 1]
    smooth = stained.smooth[window]
    mask = np.zeros(smooth.shape, bool)
    mask[tuple((nucleus.pixels - [window[0].start, window[1].start]).T)] = True
    density = stained.density[window][mask]
    red, green, blue = np.median(density, axis=0)
    distance = ndimage.distance_transform_edt(~mask) / PX_PER_UM
    rim = (distance > 0.7) & (distance < 2.5)
    spread = np.cov(nucleus.pixels.T) / PX_PER_UM**2 + np.eye(2) / 12 / PX_PER_UM**2
    ellipse = 4 * np.pi * np.sqrt(np.linalg.det(spread))
    faint = (distance < 2.5) & (smooth > 0.3 * nucleus.peak)
    steep = (mask & (smooth > 0.7 * nucleus.peak)).sum() / max(faint.sum(), 1)
    return np.array(
        [
            np.log(nucleus.area_um2),
            np.log(nucleus.peak),
            np.log(nucleus.contrast),
            np.log(max(green, 0.1)),
            np.log(max(red, 0.1)),
            blue / max(green, 0.1),
            density[:, 1].std() / max(green, 0.1),
            nucleus.area_um2 / ellipse,
            0.5 * np.log(np.trace(spread)),
            steep,
            np.median(smooth[rim]) / nucleus.peak if rim.any() else 0.0,
        ]
    )


def _smooth(image: Pixels, sigma_um: float) -> Pixels:
    return np.asarray(ndimage.gaussian_filter(image, sigma_um * PX_PER_UM))


def _around(image: Pixels, place: NDArray[np.intp], reach_um: float) -> Pixels:
    reach = int(reach_um * PX_PER_UM)
    top, left = np.maximum(place - reach, 0)
    return image[top : place[0] + reach + 1, left : place[1] + reach + 1]


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the pixels of the largest connected part."""
    labels, _ = ndimage.label(mask)
    return np.argwhere(labels == 1 + np.bincount(labels.ravel())[1:].argmax())
