"""Stored pixels -> 8-bit RGB, by rules that are the same for every format.

- grey: repeated in three channels;
- 16 bits: the full scale becomes 0...255. Cameras write 10, 12 or 14 bits in 16; how many of them are used is one
  number for all cells of a smear, so that their brightness stays comparable;
- alpha: laid on white, as glass looks under the microscope; an alpha of zero everywhere is ignored;
- orientation: turned upright, as viewers show it.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.errors import CellUnreadable

# A whole field of a 100x objective has about 4 megapixels. Beyond this an image is no cell, and decoding it
# could exhaust memory: it is refused from its header alone.
MAX_PIXELS = 2**25

LARGE = 2**22
"""Images of more pixels are no cells. They are decoded one at a time, however many threads read: of four samples of 16
bits the largest take 270 MB each."""
_one_large = threading.RLock()

# Rows are converted in blocks of about so many pixels: intermediate results have up to 12 bytes a pixel.
_BLOCK = 2**18

USED_BITS = (8, 10, 12, 14)
"""How many of 16 bits cameras use, when they do not use all."""

MALFORMED = (
    *(ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, SyntaxError, TypeError, ValueError),
    struct.error,
)
"""What a parser of metadata raises when these are damaged, or were written by hand."""


class Alpha(Enum):
    """What the last sample of a pixel means."""

    NONE = "none"  # a colour, or of unknown meaning and ignored
    STRAIGHT = "straight"
    PREMULTIPLIED = "premultiplied"


@dataclass(frozen=True)
class StoredCell:
    """One cell in an open file: what the header says of it, and the way to its pixels."""

    height: int  # As it is shown
    width: int
    read: Callable[[], NDArray[Any]]  # Returns (H, W) or (H, W, 1...4), of type bool, uint8 or uint16, as it is stored
    bits: int | None = 8  # Bits of a sample; None where 16 are stored and the file does not say how many are used
    colors: int = 3  # Samples of a pixel that are colours: 1 or 3
    alpha: Alpha = Alpha.NONE
    is_inverted: bool = False  # Whether 0 is white
    orientation: int = 1  # As TIFF and EXIF number it
    pixel_size_um: float | None = None  # Micrometres

    def rgb(self, bits_of_smear: Callable[[], int]) -> NDArray[np.uint8]:
        """Return (H, W, 3) uint8; `bits_of_smear` is called where the file does not say how many bits it uses."""
        # First, because it may read other cells: whoever has a large cell in memory must not wait for another's.
        bits = bits_of_smear() if self.bits is None else self.bits
        with room_for(self.height, self.width):
            return np.ascontiguousarray(_upright(self._shown(self.read(), 2**bits - 1), self.orientation))

    def peak(self) -> int:
        """Return the largest colour value; 0 where the file says how many bits it uses."""
        if self.bits is not None:
            return 0
        with room_for(self.height, self.width):
            return int(np.atleast_3d(self.read())[..., : self.colors].max())

    def _shown(self, pixels: NDArray[Any], full_scale: int) -> NDArray[np.uint8]:
        """Bring pixels as they are stored to (H, W, 3) uint8."""
        if pixels.dtype not in (np.bool_, np.uint8, np.uint16):
            raise CellUnreadable(f"{pixels.dtype} pixels; only unsigned integers of 1 to 16 bits are read")
        if pixels.ndim == 2:
            pixels = pixels[..., np.newaxis]
        if pixels.ndim != 3 or pixels.shape[-1] not in (1, 2, 3, 4) or 0 in pixels.shape:
            raise CellUnreadable(f"shape {pixels.shape} is no colour image")
        glass = None if self.alpha is Alpha.NONE else pixels[..., -1]
        if glass is not None and (not glass.any() or glass.min() == _opaque(glass, full_scale)):
            glass = None
        shown = np.empty((*pixels.shape[:2], 3), np.uint8)
        rows = max(1, _BLOCK // pixels.shape[1])
        for block in (slice(top, top + rows) for top in range(0, len(pixels), rows)):
            rgb = _scaled(pixels[block, :, : self.colors], full_scale)
            if self.is_inverted:
                rgb = ~rgb
            if glass is not None:
                alpha = _scaled(glass[block, :, np.newaxis], _opaque(glass, full_scale))
                rgb = _on_white(rgb, alpha, is_premultiplied=self.alpha is Alpha.PREMULTIPLIED)
            shown[block] = rgb  # a grey one is repeated
        return shown


def room_for(height: int, width: int) -> AbstractContextManager[Any]:
    """Return a context in which an image of this size may be decoded: large ones wait for each other."""
    return _one_large if height * width > LARGE else nullcontext()


def refuse_if_large(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise CellUnreadable(f"{width} x {height} pixels, far too large for a cell")


def used_bits(peak: int) -> int:
    """Return how many of 16 bits are used when this is the largest value of all cells."""
    return next((bits for bits in USED_BITS if peak < 2**bits), 16)


def _scaled(pixels: NDArray[Any], full_scale: int) -> NDArray[np.uint8]:
    """Round to the nearest of 256 values; integers suffice, and keep every platform's result the same."""
    if full_scale == 255 and pixels.dtype == np.uint8:
        return pixels
    scaled = (pixels.astype(np.uint32) * 255 + full_scale // 2) // full_scale
    return np.minimum(scaled, 255).astype(np.uint8)


def _opaque(glass: NDArray[Any], full_scale: int) -> int:
    """Return the alpha that hides what is behind: some write it in 16 bits where colours use fewer."""
    return full_scale if glass.dtype != np.uint16 or glass.max() <= full_scale else 65535


def _on_white(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8], *, is_premultiplied: bool) -> NDArray[np.uint8]:
    weight = alpha.astype(np.float32) / 255
    cell = rgb if is_premultiplied else rgb * weight
    return np.asarray(np.rint(np.minimum(cell + 255 * (1 - weight), 255)).astype(np.uint8))


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn an image as TIFF's tag *Orientation* says: what its first row and its first column show."""
    if orientation in SIDEWAYS:
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image


SIDEWAYS = frozenset({5, 6, 7, 8})
"""Orientations in which rows are stored as columns."""
