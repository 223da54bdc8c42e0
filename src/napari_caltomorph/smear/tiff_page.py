"""One page of a TIFF -> its pixels as they are stored, with samples last.

A page is refused before any memory is taken where no rule covers it, or where it would unpack to more than it says.
"""

from __future__ import annotations

import io
import math
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.smear.pixels import LARGE, USED_BITS, Alpha, refuse_if_large

_PHOTOMETRIC = tifffile.PHOTOMETRIC
_COMPRESSION = tifffile.COMPRESSION
# Their decoders return RGB already.
_JPEGS = frozenset({_COMPRESSION.OJPEG, _COMPRESSION.JPEG, _COMPRESSION.ALT_JPEG, _COMPRESSION.JPEG_LOSSY})
# Strips of these have a size of their own; what is not among Pillow's formats is refused.
_IMAGES_IN_STRIPS = tifffile.TIFF.IMAGE_COMPRESSIONS | {_COMPRESSION.LERC}
_FORMATS_IN_STRIPS = ("JPEG", "JPEG2000", "PNG", "WEBP")
_BLOCK = 16  # Pixels


def is_grey(page: tifffile.TiffPage) -> bool:
    return bool(page.photometric != _PHOTOMETRIC.PALETTE and page.samplesperpixel < 3)


def alpha_of(page: tifffile.TiffPage) -> Alpha:
    """Return what the last sample is; an extra sample of unspecified kind is no alpha, by TIFF 6."""
    match page.extrasamples[-1] if page.extrasamples else None:
        case tifffile.EXTRASAMPLE.ASSOCALPHA:
            return Alpha.PREMULTIPLIED
        case tifffile.EXTRASAMPLE.UNASSALPHA:
            return Alpha.STRAIGHT
    return Alpha.NONE


def bits_of(page: tifffile.TiffPage) -> int | None:
    """Return how many bits a sample uses; None where 16 are stored and the file does not say."""
    if page.photometric == _PHOTOMETRIC.PALETTE:
        return 8  # the colours of the palette
    if page.bitspersample != 16:
        return page.bitspersample if isinstance(page.bitspersample, int) else 8
    # Some write the brightest value of each image here: as a scale it would make every cell equally bright.
    claims = np.unique(page.tags.valueof("SMaxSampleValue", 0))
    return next((bits for bits in USED_BITS if len(claims) == 1 and claims[0] == 2**bits - 1), None)


def read_image_at(page: tifffile.TiffPage, offset: int) -> NDArray[Any]:
    """Read one of many images that are like `page`, without compression, from its place in the file."""
    _refuse_before_decoding(page)
    kind = np.dtype(f"{page.parent.byteorder}{page.dtype.char}")
    pixels = page.parent.filehandle.read_array(kind, math.prod(page.shape), offset).reshape(page.shape)
    return _colored(page, pixels)


def read_page(page: tifffile.TiffPage | tifffile.TiffFrame) -> NDArray[Any]:
    """Decode a page; `CellUnreadable` where that is not possible, or whatever the decoder raises."""
    _refuse_before_decoding(page.keyframe)
    _refuse_damaged_strips(page)
    return _colored(page.keyframe, page.asarray())


def read_uncompressed(page: tifffile.TiffPage, file: BinaryIO) -> NDArray[Any]:
    """Read the pixels, 8 bits a sample, in one piece and as they are, of another file with the same header."""
    _refuse_before_decoding(page)
    _refuse_damaged_strips(page)
    file.seek(page.dataoffsets[0])
    return _colored(page, np.frombuffer(file.read(page.nbytes), np.uint8).reshape(page.shape))


def _colored(page: tifffile.TiffPage, pixels: NDArray[Any]) -> NDArray[Any]:
    """Return what is read with its samples last, and a palette or YCbCr as RGB."""
    if page.axes.startswith("S"):
        return np.moveaxis(pixels, 0, -1)
    if page.photometric == _PHOTOMETRIC.PALETTE:
        # Writers scale a palette to 16 bits by 256 or by 257, and a few not at all; the high byte undoes both.
        palette = page.colormap if page.colormap.max() < 256 else page.colormap >> 8
        return np.asarray(palette.T.astype(np.uint8)[pixels.astype(np.intp)])
    if page.photometric == _PHOTOMETRIC.YCBCR and page.compression not in _JPEGS:
        height, width = pixels.shape[:2]
        return np.asarray(Image.frombytes("YCbCr", (width, height), pixels.tobytes()).convert("RGB"))
    return pixels


def _refuse_before_decoding(page: tifffile.TiffPage) -> None:
    """Refuse, before any memory is taken, what no rule covers."""
    refuse_if_large(page.imagelength, page.imagewidth)
    if page.tilelength * page.tilewidth > max(LARGE, page.imagelength * page.imagewidth):
        raise CellUnreadable(f"tiles of {page.tilewidth} x {page.tilelength} pixels, far too large for a cell")
    if page.photometric == _PHOTOMETRIC.SEPARATED:
        raise CellUnreadable("CMYK colours in a TIFF; export it as RGB")
    if page.photometric > _PHOTOMETRIC.YCBCR or page.photometric == _PHOTOMETRIC.MASK:
        raise CellUnreadable(f"{_PHOTOMETRIC(page.photometric).name} colours; export it as RGB")
    bits = page.bitspersample
    if page.dtype not in (bool, np.uint8, np.uint16) or not isinstance(bits, int):
        kind = page.dtype if page.dtype not in (np.uint8, np.uint16) else f"{bits}-bit"
        raise CellUnreadable(f"{kind} pixels; only unsigned integers of 1 to 16 bits are read")
    if page.samplesperpixel > 4 or page.imagedepth > 1:
        raise CellUnreadable(f"shape {page.shape} is no colour image")


def _refuse_damaged_strips(page: tifffile.TiffPage | tifffile.TiffFrame) -> None:
    """Refuse strips or tiles that are not all there, and images in them that are larger than the header says."""
    keyframe, file = page.keyframe, page.parent.filehandle
    chunks = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    # Strips of no bytes are what remains when an export stops between header and pixels.
    if not chunks or any(not count or offset + count > file.size for offset, count in chunks):
        raise CellUnreadable("truncated")
    if keyframe.compression not in _IMAGES_IN_STRIPS:
        return
    for offset, count in chunks:
        file.seek(offset)
        _refuse_if_larger_than_declared(keyframe, (keyframe.jpegheader or b"") + file.read(count))


def _refuse_if_larger_than_declared(page: tifffile.TiffPage, strip: bytes) -> None:
    """Refuse an image in a strip or tile that would unpack to more than the page's header says."""
    length, width = min(page.rowsperstrip, page.imagelength), page.imagewidth
    if page.is_tiled:
        length, width = page.tilelength, page.tilewidth
    try:
        with Image.open(io.BytesIO(strip), formats=_FORMATS_IN_STRIPS) as image:
            size = image.size
    except UnidentifiedImageError as error:
        name = _COMPRESSION(page.compression).name
        raise CellUnreadable(f"damaged, or compressed as {name}; save it without compression") from error
    # Encoders fill their blocks; some of them count that.
    if size[0] > width + _BLOCK or size[1] > length + _BLOCK:
        raise CellUnreadable(f"an image of {size[0]} x {size[1]} pixels in a strip of {width} x {length}")
