"""Contrast and blur of cells, many images at once: what the quality rules compare with their limits.

Blur is scikit-image's `blur_effect` (Crete et al. 2007), whose filter has 11 pixels. Of 8-bit images the gradient and
that of the filtered image are sums and differences of a few pixels: 16-bit integers hold them without rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.smear.pixels import room_for

# Images of fewer pixels on a side have little but border, and larger ones are no cells: their blur is not measured.
_SMALLEST_SIDE, _LARGEST_SIDE = 16, 1024
# Images are measured in chunks of so many pixels: the intermediate results stay in a core's cache.
_CHUNK = 2**17
# 16 of the sums below are at most 16 x 2,040 and fit into 16 bits.
_SUMMED = 16

_Integers = NDArray[np.int16]


def measure_batch(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Measure contrast and blur of cells.

    Parameters
    ----------
    images : sequence of ndarray
        N images (H, W, 3) uint8, of any sizes; those of one size are measured together.

    Returns
    -------
    ndarray
        (N, 2): contrast, the distance between the 1st and the 99th percentile of green; and blur of green, from 0
        (sharp) to 1 (blurred), NaN where it cannot be measured.
    """
    measures = np.full((len(images), 2), np.nan)
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        by_shape.setdefault(image.shape[:2], []).append(index)
    for (height, width), indices in by_shape.items():
        count = max(1, _CHUNK // (height * width))
        for chunk in (indices[start : start + count] for start in range(0, len(indices), count)):
            with room_for(height, width):
                green = np.stack([images[index][..., 1] for index in chunk])
                measures[chunk, 0] = _spread(green)
                if min(height, width) >= _SMALLEST_SIDE and max(height, width) <= _LARGEST_SIDE:
                    measures[chunk, 1] = _blur(green)
    # Blur is relative to the image's own variation.
    measures[measures[:, 0] == 0, 1] = np.nan
    return measures


def _spread(green: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the 99th minus the 1st percentile of each of (N, H, W), as `numpy.percentile` interpolates them."""
    levels = np.sort(green.reshape(len(green), -1), axis=1, kind="stable")  # Of 8-bit integers this is a linear sort
    last = levels.shape[1] - 1
    at_percentiles = []
    for position in (0.01 * last, 0.99 * last):
        lower, upper = levels[:, int(position)], levels[:, min(int(position) + 1, last)]
        at_percentiles.append(lower + position % 1 * (upper - lower))
    return np.asarray(at_percentiles[1] - at_percentiles[0])


def _blur(green: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the blur of each of (N, H, W): the larger one of its blur along rows and along columns."""
    _, height, width = green.shape
    to_full_rows = -(width + 9) % _SUMMED
    padded = np.pad(green, ((0, 0), (4, 5), (4, 5 + to_full_rows)), mode="symmetric").astype(np.int16)
    row = padded.shape[2]
    return np.maximum(
        _blur_along(padded, row, 1, np.s_[: height - 3, 5 : width + 2]),
        _blur_along(padded, 1, row, np.s_[5 : height + 2, : width - 3]),
    )


def _blur_along(padded: _Integers, along: int, across: int, inside: tuple[slice, slice]) -> NDArray[np.float64]:
    """Return how much of the gradient along one axis is left in the filtered image.

    `along` and `across` are the steps from a pixel to its neighbours in memory. The images are one long row of pixels,
    so that every operation is one pass; what is computed across the ends of rows, not `inside`, is set to zero.
    """
    pixels = padded.ravel()
    smooth = pixels[:-across] + pixels[across:]
    smooth = smooth[:-across] + smooth[across:]
    pairs = smooth[:-along] + smooth[along:]
    count = pairs.size - 11 * along
    sharp, blurred = np.zeros_like(padded), np.zeros_like(padded)
    flat = sharp.ravel()[:count]
    np.abs(np.subtract(smooth[7 * along :][:count], smooth[5 * along :][:count], out=flat), out=flat)
    flat = blurred.ravel()[:count]
    # The sums of 11 pixels before and after a pixel have nine in common; four differ.
    np.abs(np.subtract(pairs[11 * along :], pairs[:count], out=flat), out=flat)
    mask = np.zeros(padded.shape[1:], np.int16)
    mask[inside] = 1
    sharp *= mask
    variation = _sums(sharp)
    sharp *= 11
    left = _sums(np.minimum(sharp, blurred, out=sharp))
    # What does not vary along this axis counts as blurred along it.
    return np.divide(left, 11 * variation, out=np.ones(len(padded)), where=variation > 0)


def _sums(values: _Integers) -> NDArray[np.int64]:
    """Return the sum of each of (N, H, W)."""
    partial = values.reshape(len(values), _SUMMED, -1).sum(axis=1, dtype=np.int16)
    return np.asarray(partial.sum(axis=1, dtype=np.int64))
