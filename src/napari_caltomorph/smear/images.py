"""One image file's bytes -> 8-bit RGB, by rules that are the same for every format.

- grey: repeated in three channels; a palette is applied; CMYK and YCbCr are converted;
- 16 bits: the full scale 0...65535 becomes 0...255 (one scale for all cells: their brightness stays comparable);
- alpha: laid on white, as glass looks under the microscope; an alpha of zero everywhere is ignored.

Anything else (floating point, other channel counts) is refused rather than guessed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from napari_caltomorph.errors import CellUnreadable

# tifffile logs what it survives; what it does not survive we say ourselves.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".jpg", ".jpeg", ".png", ".bmp"})
TIFF_SUFFIXES = frozenset({".tif", ".tiff"})

# A whole field of a 100x objective has about 4 megapixels. Beyond this an image is no cell, and decoding it
# could exhaust memory: it is refused from its header alone.
MAX_PIXELS = 2**25

# Resolution tags are often a printer's default (72 or 96 dpi are 353 and 265 um a pixel); only what a
# microscope can have is believed.
_PLAUSIBLE_UM = (0.01, 2.0)
_IMAGEJ_MICROMETRES = ("micron", "um", "µm", "\\u00B5m")
_UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0}


def is_image(name: str) -> bool:
    """Whether a file name ends like an image that can be read."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES and not PurePath(name).name.startswith("._")


def is_tiff(name: str) -> bool:
    """Whether a file name ends like a TIFF."""
    return PurePath(name).suffix.lower() in TIFF_SUFFIXES


@dataclass(frozen=True)
class Header:
    """What a file says about its image before any pixel is decoded."""

    height: int
    width: int
    pages: int = 1
    pixel_size_um: float | None = None


def read_header(file: BinaryIO, name: str) -> Header:
    """Read size, page count and pixel size (micrometres).

    Raises
    ------
    CellUnreadable
        The file is no image that can be read.
    """
    try:
        if is_tiff(name):
            with tifffile.TiffFile(file) as tiff:
                page = tiff.pages[0]
                return Header(page.imagelength, page.imagewidth, len(tiff.pages), _pixel_size_um(tiff))
        with _open_with_pillow(file) as image:
            return Header(image.height, image.width)
    except CellUnreadable:
        raise
    except Exception as error:
        raise CellUnreadable(_what(error)) from error


def decode(file: BinaryIO, name: str) -> NDArray[np.uint8]:
    """Decode one image as (H, W, 3) uint8 RGB.

    Raises
    ------
    CellUnreadable
        Truncated, damaged, too large, or of a kind no rule covers; the message says which.
    """
    try:
        if is_tiff(name):
            with tifffile.TiffFile(file) as tiff:
                return decode_page(tiff.pages[0])
        with _open_with_pillow(file) as image:
            _refuse_if_large(image.height, image.width)
            return _pillow_to_rgb(image)
    except CellUnreadable:
        raise
    except Exception as error:
        raise CellUnreadable(_what(error)) from error


def decode_page(page: tifffile.TiffPage) -> NDArray[np.uint8]:
    """Decode one page of a TIFF as (H, W, 3) uint8 RGB; `CellUnreadable` as in `decode`."""
    _refuse_if_large(page.imagelength, page.imagewidth)
    size = page.parent.filehandle.size
    if any(o + n > size for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)):
        raise CellUnreadable("truncated")
    pixels = page.asarray()
    photometric = tifffile.PHOTOMETRIC(page.photometric)
    if photometric == tifffile.PHOTOMETRIC.PALETTE:
        pixels = np.moveaxis(page.colormap, 0, -1)[pixels]
    elif photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        pixels = np.iinfo(pixels.dtype).max - pixels
    elif photometric == tifffile.PHOTOMETRIC.SEPARATED:
        raise CellUnreadable("CMYK colours in a TIFF; export it as RGB")
    elif page.axes.startswith("S"):
        pixels = np.moveaxis(pixels, 0, -1)
    return to_rgb8(pixels)


def to_rgb8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring (H, W), (H, W, 1...4) pixels of 1, 8 or 16 bits to (H, W, 3) uint8 by this module's rules."""
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif pixels.dtype == np.uint16:
        # Integer rounding of x / 257 without leaving 32 bits.
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        raise CellUnreadable(f"{pixels.dtype} pixels; only 8-bit and 16-bit images are read")
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 2, 3, 4) or 0 in pixels.shape:
        raise CellUnreadable(f"shape {pixels.shape} is no colour image")
    colors = pixels.shape[-1] - 1 if pixels.shape[-1] in (2, 4) else pixels.shape[-1]
    rgb = np.broadcast_to(pixels[..., :colors], (*pixels.shape[:2], 3))
    if colors < pixels.shape[-1]:
        rgb = _lay_on_white(rgb, pixels[..., -1])
    return np.ascontiguousarray(rgb, dtype=np.uint8)


def _lay_on_white(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if (alpha.all() and alpha.min() == 255) or not alpha.any():
        return rgb
    weight = alpha[..., np.newaxis].astype(np.float32) / 255
    laid: NDArray[np.uint8] = np.rint(rgb * weight + 255 * (1 - weight)).astype(np.uint8)
    return laid


def _open_with_pillow(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        raise CellUnreadable("not an image, whatever its name says") from None
    except Image.DecompressionBombError:
        raise CellUnreadable(f"far too large for a cell (over {MAX_PIXELS / 1e6:.0f} megapixels)") from None


def _pillow_to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        return to_rgb8(np.asarray(image).astype(np.uint16))
    if image.mode in ("F", "I"):
        raise CellUnreadable(f"pixels of mode {image.mode}; only 8-bit and 16-bit images are read")
    has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    return to_rgb8(np.asarray(image.convert("RGBA" if has_alpha else "RGB")))


def _refuse_if_large(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise CellUnreadable(f"{width} x {height} pixels, far too large for a cell")


def _what(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "truncated" if "truncated" in text else f"damaged ({text[:120]})"


def _pixel_size_um(tiff: tifffile.TiffFile) -> float | None:
    """Micrometres a pixel from OME, ImageJ or resolution tags; None where none is plausible."""
    sizes = [_ome_pixel_size_um(tiff), _tag_pixel_size_um(tiff)]
    low, high = _PLAUSIBLE_UM
    return next((size for size in sizes if size is not None and low <= size <= high), None)


def _ome_pixel_size_um(tiff: tifffile.TiffFile) -> float | None:
    if not tiff.is_ome:
        return None
    pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"].get("Image", {})
    pixels = (pixels[0] if isinstance(pixels, list) else pixels).get("Pixels", {})
    if pixels.get("PhysicalSizeXUnit", "µm") not in ("µm", "um"):
        return None
    size = pixels.get("PhysicalSizeX")
    return None if size is None else float(size)


def _tag_pixel_size_um(tiff: tifffile.TiffFile) -> float | None:
    tags = tiff.pages[0].tags
    resolution = tags.valueof("XResolution")
    if not resolution or not resolution[0] or not resolution[1]:
        return None
    per_unit = resolution[0] / resolution[1]
    unit_um = _UM_PER_UNIT.get(int(tags.valueof("ResolutionUnit", 2)))
    if tiff.is_imagej and (tiff.imagej_metadata or {}).get("unit") in _IMAGEJ_MICROMETRES:
        unit_um = 1.0
    return None if unit_um is None else unit_um / per_unit
