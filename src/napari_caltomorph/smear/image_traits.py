"""Traits of a smear's images that need no cell: borders, colours and size.

A trait is a number of one image; a smear is the mean and the spread of it over a bounded sample of the images. The
border is the outer frame of an image, measured on pixels of the frame only, so that nothing inside can leak into it.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_caltomorph.errors import CellUnreadable, SmearUnreadable
from napari_caltomorph.smear.check import WHOLE_FIELD
from napari_caltomorph.smear.smear import Smear

# Of the shorter side. The cell is in the middle; the rim of large blasts reaches the frame, and is masked.
_FRAME = 0.12
# Optical density in the red above the frame's own light. Nuclei, platelets and dirt have 0.3 and more, red cells 0.2.
_DARK = 0.25
# Red density above blue density: what is bluer than its light, as cytoplasm and nuclei are and red cells are not.
_BLUE = 0.06
# Of the shorter side, around what is masked: optics blur a cell's rim over some pixels.
_RIM = 0.02
# A frame of which less is left is mostly cells, and shows nothing of what is between them.
_LEAST_LEFT = 0.2

Traits = dict[str, float]
_CHANNELS = ("red", "green", "blue")
_DENSITY = -np.log10((np.arange(256) + 1) / 256)  # of each grey level

APPEARANCE = ("grain", *(f"{channel} {of}" for channel in _CHANNELS for of in ("mean", "0.1", "0.5", "0.9")))
"""Traits of the borders, each the mean over images, by which patients with similar images are found; sizes are next."""
SIZES = ("height", "width")
BACKGROUND = tuple(f"{channel} 0.1" for channel in _CHANNELS)
"""Of `APPEARANCE`, those of the lightest pixels of the borders: glass, and not red cells, which diseases change."""


def border_traits(image: NDArray[np.uint8]) -> Traits:
    """Return the traits of the frame of an (H, W, 3) image, without what is stained like a cell.

    Per channel the mean and the 10th, 50th and 90th percentile of optical density, and the grain: how much a pixel's
    green differs from the mean of its two neighbours. Empty where too little of the frame is left. Red cells are in
    it: they are stained with the same dyes.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    margin = max(2, round(_FRAME * side))
    if side <= 2 * margin + 2:
        return {}
    is_frame = np.ones((height, width), dtype=bool)
    is_frame[margin:-margin, margin:-margin] = False
    is_left = is_frame & ~_stained(image, is_frame, round(_RIM * side))
    if is_left.sum() < _LEAST_LEFT * is_frame.sum():
        return {}
    green = image[..., 1].astype(np.int16)
    bend = np.abs(green[:, :-2] - 2 * green[:, 1:-1] + green[:, 2:])
    is_run = is_left[:, :-2] & is_left[:, 1:-1] & is_left[:, 2:]
    traits = {"grain": float(bend[is_run].mean()) if is_run.any() else 0.0}
    for name, levels in zip(_CHANNELS, image[is_left].T, strict=True):
        mean, _, percentiles = _summary(levels, (0.1, 0.5, 0.9))
        traits |= {f"{name} mean": mean} | {f"{name} {p}": value for p, value in percentiles.items()}
    return traits


def colour_traits(image: NDArray[np.uint8]) -> Traits:
    """Return mean, spread and the 5th, 50th and 95th percentile of each channel's optical density, cell included."""
    traits: Traits = {}
    for name, levels in zip(_CHANNELS, image.reshape(-1, 3).T, strict=True):
        mean, spread, percentiles = _summary(levels, (0.05, 0.5, 0.95))
        traits |= {f"{name} mean": mean, f"{name} spread": spread}
        traits |= {f"{name} {p}": value for p, value in percentiles.items()}
    return traits


def appearance(smear: Smear) -> Traits:
    """Return the traits `APPEARANCE` and `SIZES` of a smear, as far as they can be measured; none without an image."""
    try:
        borders, _, sizes, _ = smear_traits(smear)
    except SmearUnreadable:
        return {}
    both = borders | sizes
    return {name: both[name] for name in (*APPEARANCE, *SIZES) if name in both}


def _stained(image: NDArray[np.uint8], is_frame: NDArray[np.bool_], rim: int) -> NDArray[np.bool_]:
    """(H, W) pixels of the frame that belong to nucleated cells, platelets or dirt, and a rim around them."""
    frame = image[is_frame]  # (n, 3)
    # The brightest twentieth is empty glass, or the thinnest there is: densities are counted from there.
    red, blue = (_DENSITY[frame[:, c]] - _DENSITY[int(np.quantile(frame[:, c], 0.95))] for c in (0, 2))
    is_stained = np.zeros(image.shape[:2], dtype=bool)
    is_stained[is_frame] = (red > _DARK) | (red - blue > _BLUE)
    return ndimage.binary_dilation(is_stained, iterations=rim) if rim and is_stained.any() else is_stained


def _summary(levels: NDArray[np.uint8], shares: tuple[float, ...]) -> tuple[float, float, Traits]:
    """Return mean, standard deviation and percentiles, by share, of the optical density of grey levels."""
    counts = np.bincount(levels, minlength=256) / len(levels)
    mean = float(counts @ _DENSITY)
    spread = float(np.sqrt(max(0.0, counts @ _DENSITY**2 - mean**2)))
    darkest_first = np.cumsum(counts)
    # Density falls as the grey level rises: the 10th percentile of one is the 90th of the other.
    return mean, spread, {f"{share:g}": float(_DENSITY[np.searchsorted(darkest_first, 1 - share)]) for share in shares}


def smear_traits(
    smear: Smear, cells: int = 60, seed: int = 0, patient_id: str | None = None
) -> tuple[Traits, Traits, Traits, int]:
    """Return traits of borders, colours and sizes, and how many images could not be read on the way.

    So many `cells`, different images without whole fields and unreadable ones, are chosen at random, by seed and
    patient. `SmearUnreadable` where no image can be read.
    """
    rng = np.random.default_rng([seed, zlib.crc32((patient_id or smear.patient_id).encode())])
    unreadable = 0
    digests: set[str] = set()
    sizes: list[Traits] = []
    borders: list[Traits] = []
    colours: list[Traits] = []
    for index in rng.permutation(len(smear)):
        try:
            digest = smear.source.digest(int(index))
            if digest in digests:
                continue
            image = smear.image(int(index))
        except CellUnreadable:
            unreadable += 1
            continue
        digests.add(digest)
        sizes.append({"height": float(image.shape[0]), "width": float(image.shape[1])})
        borders.append(border_traits(image))
        colours.append(colour_traits(image))
        if len(sizes) == cells:
            break
    if not sizes:
        raise SmearUnreadable(f"{smear.path or smear.patient_id}: no image can be read; export the smear again.")
    long_sides = np.array([max(size.values()) for size in sizes])
    is_cell = long_sides <= WHOLE_FIELD * np.sort(long_sides)[(len(long_sides) - 1) // 2]
    return _over_cells(borders, is_cell), _over_cells(colours, is_cell), _over_cells(sizes, is_cell), unreadable


def _over_cells(traits: list[Traits], is_cell: NDArray[np.bool_]) -> Traits:
    kept = [one for one, is_in in zip(traits, is_cell, strict=True) if is_in and one]
    if not kept:
        return {}
    values = np.array([list(one.values()) for one in kept])  # (cells, traits)
    spreads = [f"{name}, over cells" for name in kept[0]]
    numbers = [*values.mean(axis=0).tolist(), *values.std(axis=0).tolist()]
    return dict(zip([*kept[0], *spreads], numbers, strict=True))
