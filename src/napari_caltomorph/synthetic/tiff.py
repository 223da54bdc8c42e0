"""TIFF files of single cells: small, uncompressed, all alike but for the pixels.

Their head depends on nothing but the image's size, so it is made once, and a cell is its head and its pixels.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_caltomorph.synthetic.shapes import FIELD_OF_VIEW_UM

MICROMETRES_PER_CM = 10_000


def tiff_bytes(image: NDArray[np.uint8]) -> bytes:
    """Return a cell, (H, W, 3) uint8 RGB, as a TIFF file that states its pixel size."""
    return _head(image.shape) + image.tobytes()


@lru_cache(maxsize=8)
def _head(shape: tuple[int, ...]) -> bytes:
    blank = np.zeros(shape, np.uint8)
    pixels_per_cm = len(blank) / FIELD_OF_VIEW_UM * MICROMETRES_PER_CM
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        blank,
        photometric="rgb",
        rowsperstrip=len(blank),
        resolution=(pixels_per_cm, pixels_per_cm),
        resolutionunit="CENTIMETER",
        software="napari-caltomorph, synthetic",
        metadata=None,
    )
    return file.getvalue()[: -blank.nbytes]
