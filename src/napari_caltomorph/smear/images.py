"""One image file -> its cells as 8-bit RGB. The suffix says that a file is an image, its content of which format.

What no rule covers (floating point, CMYK in a TIFF, other channel counts) is refused rather than guessed; what is read
follows the rules of `pixels.py`, and for pages and channels those of `tiff.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import PurePath
from typing import BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.smear.pixels import MALFORMED, SIDEWAYS, Alpha, StoredCell, refuse_if_large
from napari_caltomorph.smear.tiff import TIFF_STARTS, has_pages, tiff_cells
from napari_caltomorph.stand_ins import name_of_stand_in

IMAGE_SUFFIXES = frozenset(
    {*(".tif", ".tiff", ".btf", ".tf2", ".tf8"), *(".jpg", ".jpeg", ".jpe", ".jfif"), ".png", ".bmp", ".webp"}
)
IMAGE_KINDS = "TIFF, JPEG, PNG, BMP or WebP"

# Pillow would try all its formats on any file, and start Ghostscript for some.
_PILLOW_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
# A phone's JPEG can have several images too, of which the first is the picture.
_ANIMATED = ("PNG", "WEBP")
_ORIENTATION = 0x0112  # EXIF


def is_image(name: str) -> bool:
    """Whether a file name ends like an image that can be read."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES and not PurePath(name).name.startswith("._")


def read_cells(file: BinaryIO) -> list[StoredCell]:
    """Read the header of an image; a TIFF can have many cells, other formats have one. No pixel is decoded.

    Raises `CellUnreadable` where it is no readable image, or far too large for a cell.
    """
    with explaining(file):
        cells = tiff_cells(file) if _start(file, 4) in TIFF_STARTS else [_pillow_cell(file)]
        refuse_if_large(cells[0].height, cells[0].width)
        return cells


def read_cell(file: BinaryIO) -> StoredCell:
    """Read the header of an image that is one cell; `CellUnreadable` as in `read_cells`, and where it has several."""
    cells = read_cells(file)
    if len(cells) > 1:
        raise CellUnreadable(f"{len(cells)} cells in one file; open it alone, or save each cell in a file of its own")
    return cells[0]


def is_stack(file: BinaryIO) -> bool:
    """Whether a file has several cells, or several pages that cannot be read as cells."""
    try:
        return len(read_cells(file)) > 1
    except CellUnreadable:
        return _start(file, 4) in TIFF_STARTS and has_pages(file)


def decode(file: BinaryIO, bits_of_smear: Callable[[], int] = lambda: 16) -> NDArray[np.uint8]:
    """Decode the one cell of an image as (H, W, 3) uint8 RGB; `CellUnreadable` names what is wrong.

    `bits_of_smear` is called for 16-bit pixels whose file does not say how many bits it uses.
    """
    cell = read_cell(file)
    with explaining(file):
        return cell.rgb(bits_of_smear)


def peak(file: BinaryIO) -> int:
    """Return the largest value of 16-bit pixels whose file does not say how many bits it uses; 0 for others."""
    cell = read_cell(file)
    with explaining(file):
        return cell.peak()


def read_picture(file: BinaryIO) -> StoredCell:
    """Read the header of a JPEG, PNG, BMP or WebP of any size that Pillow takes; `CellUnreadable` for others."""
    with explaining(file), warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
        return _pillow_cell(file)


def _pillow_cell(file: BinaryIO) -> StoredCell:
    image = Image.open(file, formats=_PILLOW_FORMATS)
    if image.format in _ANIMATED and (count := getattr(image, "n_frames", 1)) > 1:
        raise CellUnreadable(f"an animation of {count} images; save each in a file of its own")
    start = _start(file, 26)
    orientation = _orientation(image)
    width, height = reversed(image.size) if orientation in SIDEWAYS else image.size
    cell = partial(StoredCell, height, width, orientation=orientation)
    if image.format == "PNG" and start[24] == 16:
        # Pillow would cut colours to their high byte. The first chunk has the bits and the kinds of samples.
        has_colors, has_alpha = start[25] & 2, start[25] & 4
        alpha = Alpha.STRAIGHT if has_alpha else Alpha.NONE
        return cell(partial(_deep_png, file), bits=None, colors=3 if has_colors else 1, alpha=alpha)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return cell(lambda: np.asarray(image.convert("RGBA")), alpha=Alpha.STRAIGHT)
    return cell(lambda: np.asarray(image.convert("RGB")))


def _deep_png(file: BinaryIO) -> NDArray[np.uint16]:
    file.seek(0)
    return np.asarray(imagecodecs.png_decode(file.read()))


def _orientation(image: Image.Image) -> int:
    """Return how a camera held the image, as EXIF numbers it; 1 where that is not said."""
    exif, stored = Image.Exif(), image.info.get("exif")
    if not stored:
        return 1
    try:
        with warnings.catch_warnings(action="ignore"):  # for all threads of the process, so only where it is needed
            exif.load(stored)
            return int(exif.get(_ORIENTATION, 1))
    except MALFORMED:  # the pixels are still good
        return 1


def _start(file: BinaryIO, count: int) -> bytes:
    place = file.tell()
    file.seek(0)
    start = file.read(count)
    file.seek(place)
    return start


@contextmanager
def explaining(file: BinaryIO) -> Iterator[None]:
    """Raise what a library stumbles over as `CellUnreadable`."""
    try:
        yield
    except CellUnreadable:
        raise
    except Exception as error:
        raise CellUnreadable(_what(error, file)) from error


def _what(error: Exception, file: BinaryIO) -> str:
    """Say in a few words what is wrong with a file that could not be read."""
    if isinstance(error, MemoryError):
        return "too large for this machine's memory"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return "far too large for a cell"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if not any(start := _start(file, 2**16)):
        return "zero-filled" if start else "empty file"
    if name := name_of_stand_in(start):
        return f"{name}, not an image"
    if isinstance(error, UnidentifiedImageError):
        return f"not {IMAGE_KINDS}, whatever its name says"
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    is_cut = "truncated" in text or isinstance(error, IndexError)
    return "truncated" if is_cut else f"damaged ({text[:120]})"
