"""Contrast and blur of cells, many images at once: what the quality rules compare with their limits.

Blur is scikit-image's `blur_effect` (Crete et al. 2007), whose filter has 11 pixels. Of 8-bit images the gradient and
that of the filtered image are sums and differences of a few pixels: 16-bit integers hold them without rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.smear.pixels import room_for

# Images of fewer pixels on a side have little but border, and larger ones are no cells: their blur is not measured.
_SMALLEST_SIDE, _LARGEST_SIDE = 16, 1024
# Images are measured in chunks of so many pixels: the intermediate results stay in a core's cache.
_CHUNK = 3 * 2**15
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
    by_size: dict[tuple[int, int], list[int]] = {}
    for index, image in enumerate(images):
        by_size.setdefault(image.shape[:2], []).append(index)
    scratch = np.empty(0, np.int16)  # Used for every chunk: new memory costs as much as what is computed in it
    for (height, width), indices in by_size.items():
        is_measurable = min(height, width) >= _SMALLEST_SIDE and max(height, width) <= _LARGEST_SIDE
        count = max(1, _CHUNK // (height * width))
        for chunk in (indices[start : start + count] for start in range(0, len(indices), count)):
            with room_for(height, width):
                green = np.stack([images[index][..., 1] for index in chunk])
                measures[chunk, 0] = _spread(green)
                if is_measurable:
                    if scratch.size < (size := 4 * len(chunk) * math.prod(_padded(height, width))):
                        scratch = np.empty(size, np.int16)
                    measures[chunk, 1] = _blur(green, scratch)
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


def _blur(green: NDArray[np.uint8], scratch: _Integers) -> NDArray[np.float64]:
    """Return the blur of each of (N, H, W): the larger one of its blur along rows and along columns."""
    count, height, width = green.shape
    rows, columns = _padded(height, width)
    work = scratch[: 4 * count * rows * columns].reshape(4, count, rows, columns)
    work[0] = np.pad(green, ((0, 0), (4, rows - height - 4), (4, columns - width - 4)), mode="symmetric")
    return np.maximum(
        _blur_along(work, columns, 1, np.s_[: height - 3, 5 : width + 2]),
        _blur_along(work, 1, columns, np.s_[5 : height + 2, : width - 3]),
    )


def _padded(height: int, width: int) -> tuple[int, int]:
    """Return the size of an image with what the filter needs around it; its pixels are a multiple of `_SUMMED`."""
    return height + 9, -(-(width + 9) // _SUMMED) * _SUMMED


def _blur_along(work: _Integers, along: int, across: int, inside: tuple[slice, slice]) -> NDArray[np.float64]:
    """Return how much of the gradient along one axis is left in the filtered image.

    `work` is (4, N, H, W): the images, which stay, and room for three more of them. `along` and `across` are the steps
    from a pixel to its neighbours in memory. The images are one long row of pixels, so that every operation is one
    pass; what is computed across the ends of rows, not `inside`, is set to zero.
    """
    pixels, first, second, third = work.reshape(4, -1)
    np.add(pixels[:-across], pixels[across:], out=first[:-across])
    smooth = second[: -2 * across]
    np.add(first[: -2 * across], first[across:-across], out=smooth)
    pairs = first[: smooth.size - along]
    np.add(smooth[:-along], smooth[along:], out=pairs)
    count = pairs.size - 11 * along
    sharp = third[:count]
    np.abs(np.subtract(smooth[7 * along :][:count], smooth[5 * along :][:count], out=sharp), out=sharp)
    blurred = second[:count]
    # The sums of 11 pixels before and after a pixel have nine in common; four differ.
    np.abs(np.subtract(pairs[11 * along :], pairs[:count], out=blurred), out=blurred)
    mask = np.zeros(work.shape[2:], np.int16)
    mask[inside] = 1
    work[3] *= mask
    variation = _sums(work[3])
    sharp *= 11
    np.minimum(sharp, blurred, out=sharp)
    # What does not vary along this axis counts as blurred along it.
    return np.divide(_sums(work[3]), 11 * variation, out=np.ones(len(variation)), where=variation > 0)


def _sums(values: _Integers) -> NDArray[np.int64]:
    """Return the sum of each of (N, H, W)."""
    partial = values.reshape(len(values), _SUMMED, -1).sum(axis=1, dtype=np.int16)
    return np.asarray(partial.sum(axis=1, dtype=np.int64))
