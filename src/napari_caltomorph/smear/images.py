"""One image file's bytes -> 8-bit RGB, by rules that are the same for every format.

- grey: repeated in three channels; a palette is applied; CMYK and YCbCr are converted;
- 16 bits: the full scale 0...65535 becomes 0...255 (one scale for all cells: their brightness stays comparable);
- alpha: laid on white, as glass looks under the microscope; an alpha of zero everywhere is ignored.

Anything else (floating point, 12 bits, CMYK in a TIFF, other channel counts) is refused rather than guessed. A TIFF's
pixel size comes from its tags; no image is refused because of them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

import imagecodecs
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

# Pillow would try all its formats on any file, and start Ghostscript for some.
_PILLOW_FORMATS = ("JPEG", "PNG", "BMP")

_PHOTOMETRIC = tifffile.PHOTOMETRIC
_COMPRESSION = tifffile.COMPRESSION
# Their decoders return RGB already.
_JPEGS = frozenset({_COMPRESSION.OJPEG, _COMPRESSION.JPEG, _COMPRESSION.ALT_JPEG, _COMPRESSION.JPEG_LOSSY})

# Resolution tags are often a printer's default (72 or 96 dpi are 353 and 265 um a pixel); only what a
# microscope can have is believed.
_PLAUSIBLE_UM = (0.01, 2.0)

# The micro sign and the Greek mu look the same and are both used.
_MICROMETRES = ("µm", "μm", "um", "micron", "microns", "\\u00B5m")
_UM_PER_NAMED_UNIT = dict.fromkeys(_MICROMETRES, 1.0) | {"nm": 1e-3, "mm": 1e3, "cm": 1e4}
_UM_PER_TAGGED_UNIT = {2: 25_400.0, 3: 10_000.0}


def is_image(name: str) -> bool:
    """Whether a file name ends like an image that can be read."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES and not PurePath(name).name.startswith("._")


def is_tiff(name: str) -> bool:
    return PurePath(name).suffix.lower() in TIFF_SUFFIXES


@dataclass(frozen=True)
class Header:
    """What a file says about its image before any pixel is decoded."""

    height: int
    width: int
    pages: int = 1
    pixel_size_um: float | None = None  # Micrometres


def read_header(file: BinaryIO, name: str) -> Header:
    """Read size, pages and pixel size; `CellUnreadable` where it is no readable image, or far too large for a cell."""
    try:
        if is_tiff(name):
            with tifffile.TiffFile(file) as tiff:
                page = tiff.pages[0]
                header = Header(page.imagelength, page.imagewidth, len(tiff.pages), pixel_size_um(tiff))
        else:
            with Image.open(file, formats=_PILLOW_FORMATS) as image:
                header = Header(image.height, image.width)
        _refuse_if_large(header.height, header.width)
    except CellUnreadable:
        raise
    except Exception as error:
        raise CellUnreadable(_what(error, file)) from error
    return header


def decode(file: BinaryIO, name: str) -> NDArray[np.uint8]:
    """Decode one image as (H, W, 3) uint8 RGB; `CellUnreadable` names what is wrong where that is not possible."""
    try:
        if is_tiff(name):
            with tifffile.TiffFile(file) as tiff:
                return decode_page(tiff.pages[0])
        with Image.open(file, formats=_PILLOW_FORMATS) as image:
            _refuse_if_large(image.height, image.width)
            if image.format == "PNG" and _is_16_bit_png(file):
                file.seek(0)
                return to_rgb8(imagecodecs.png_decode(file.read()))
            return _pillow_to_rgb(image)
    except CellUnreadable:
        raise
    except Exception as error:
        raise CellUnreadable(_what(error, file)) from error


def decode_page(page: tifffile.TiffPage) -> NDArray[np.uint8]:
    """Decode one page of a TIFF as (H, W, 3) uint8 RGB; `CellUnreadable` as in `decode`."""
    _refuse_before_decoding(page)
    pixels = page.asarray()
    if page.axes.startswith("S"):
        pixels = np.moveaxis(pixels, 0, -1)
    if page.photometric == _PHOTOMETRIC.PALETTE:
        # Writers scale a palette to 16 bits by 256 or by 257, and a few not at all; the high byte undoes both.
        palette = page.colormap if page.colormap.max() < 256 else page.colormap >> 8
        pixels = palette.T.astype(np.uint8)[pixels.astype(np.intp)]
    elif page.photometric == _PHOTOMETRIC.MINISWHITE:
        pixels = ~pixels
    elif page.photometric == _PHOTOMETRIC.YCBCR and page.compression not in _JPEGS:
        height, width = pixels.shape[:2]
        pixels = np.asarray(Image.frombytes("YCbCr", (width, height), pixels.tobytes()).convert("RGB"))
    return to_rgb8(pixels, is_premultiplied=tifffile.EXTRASAMPLE.ASSOCALPHA in page.extrasamples)


def to_rgb8(pixels: NDArray[Any], *, is_premultiplied: bool = False) -> NDArray[np.uint8]:
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
        rgb = _lay_on_white(rgb, pixels[..., -1], is_premultiplied)
    return np.ascontiguousarray(rgb, dtype=np.uint8)


def _lay_on_white(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8], is_premultiplied: bool) -> NDArray[np.uint8]:
    if alpha.min() == 255 or not alpha.any():
        return rgb
    weight = alpha[..., np.newaxis].astype(np.float32) / 255
    cell = rgb if is_premultiplied else rgb * weight
    return np.asarray(np.rint(np.minimum(cell + 255 * (1 - weight), 255)).astype(np.uint8))


def _pillow_to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    return to_rgb8(np.asarray(image.convert("RGBA" if has_alpha else "RGB")))


def _is_16_bit_png(file: BinaryIO) -> bool:
    """Pillow would cut colours of 16 bits to their high byte; the depth is in the first chunk."""
    return _start(file, 25)[24] == 16


def _start(file: BinaryIO, count: int) -> bytes:
    place = file.tell()
    file.seek(0)
    start = file.read(count)
    file.seek(place)
    return start


def _refuse_if_large(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise CellUnreadable(f"{width} x {height} pixels, far too large for a cell")


def _refuse_before_decoding(page: tifffile.TiffPage) -> None:
    """Refuse, before any memory is taken, what no rule covers and what is not all there."""
    _refuse_if_large(page.imagelength, page.imagewidth)
    _refuse_if_large(page.tilelength, page.tilewidth)
    if page.photometric == _PHOTOMETRIC.SEPARATED:
        raise CellUnreadable("CMYK colours in a TIFF; export it as RGB")
    if page.photometric > _PHOTOMETRIC.YCBCR or page.photometric == _PHOTOMETRIC.MASK:
        raise CellUnreadable(f"{_PHOTOMETRIC(page.photometric).name} colours; export it as RGB")
    is_palette = page.photometric == _PHOTOMETRIC.PALETTE
    if not is_palette and (page.dtype not in (bool, np.uint8, np.uint16) or page.bitspersample not in (1, 8, 16)):
        kind = page.dtype if page.dtype not in (np.uint8, np.uint16) else f"{page.bitspersample}-bit"
        raise CellUnreadable(f"{kind} pixels; only 8-bit and 16-bit images are read")
    if page.samplesperpixel > 4 or page.imagedepth > 1:
        raise CellUnreadable(f"shape {page.shape} is no colour image")
    size = page.parent.filehandle.size
    chunks = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    # Strips of no bytes are what remains when an export stops between header and pixels.
    if not chunks or any(not count or offset + count > size for offset, count in chunks):
        raise CellUnreadable("truncated")


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
    if isinstance(error, UnidentifiedImageError) or "not a TIFF" in str(error):
        return "not an image of its kind, whatever its name says"
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    is_cut = "truncated" in text or isinstance(error, IndexError)
    return "truncated" if is_cut else f"damaged ({text[:120]})"


def pixel_size_um(tiff: tifffile.TiffFile) -> float | None:
    """Micrometres a pixel from OME, ImageJ or resolution tags; None where none is plausible."""
    low, high = _PLAUSIBLE_UM
    for read in (_from_ome, _from_tags):
        try:
            size = read(tiff)
        except (ParseError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            continue  # written by hand, or cut off: the pixels are still good
        if size is not None and low <= size <= high:
            return size
    return None


def _from_ome(tiff: tifffile.TiffFile) -> float | None:
    if not tiff.is_ome:
        return None
    image = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    return float(pixels["PhysicalSizeX"]) * _UM_PER_NAMED_UNIT[pixels.get("PhysicalSizeXUnit", "µm")]


def _from_tags(tiff: tifffile.TiffFile) -> float | None:
    tags = tiff.pages[0].tags
    resolution = tags.valueof("XResolution")
    if not resolution:
        return None
    unit_um = _UM_PER_TAGGED_UNIT.get(int(tags.valueof("ResolutionUnit", 2)))
    if tiff.is_imagej and (named := str((tiff.imagej_metadata or {}).get("unit"))) in _UM_PER_NAMED_UNIT:
        unit_um = _UM_PER_NAMED_UNIT[named]
    return None if unit_um is None else float(unit_um * resolution[1] / resolution[0])
