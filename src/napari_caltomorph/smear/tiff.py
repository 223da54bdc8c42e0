"""A TIFF -> its cells.

A page is not always a cell: a cell can be three pages (one a colour), or one of many images after a single directory;
pages can be reduced copies or masks. tifffile's series and axes say which; what they leave open is refused.
"""

from __future__ import annotations

import io
import logging
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.smear.pixel_size import pixel_size_um
from napari_caltomorph.smear.pixels import MALFORMED, SIDEWAYS, USED_BITS, Alpha, StoredCell, refuse_if_large

# tifffile logs what it survives; what it does not survive we say ourselves.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of a TIFF and of a BigTIFF, in both byte orders."""

# More are no smear; a file of a few gigabytes can declare one for each of its bytes.
_MAX_CELLS = 2**18

# Formats inside a TIFF that are for slides or movies; some of them make tifffile open files next to this one. Their
# pages are read as those of a TIFF that says nothing. "uniform" would trust the first page for all others.
_OTHER_KINDS = (
    *("avs", "bif", "eer", "fluoview", "lsm", "mdgel", "mmstack", "ndpi", "ndtiff", "nih"),
    *("philips", "qpi", "scanimage", "scn", "sis", "stk", "svs", "uniform"),
)

_PHOTOMETRIC = tifffile.PHOTOMETRIC
_COMPRESSION = tifffile.COMPRESSION
# Their decoders return RGB already.
_JPEGS = frozenset({_COMPRESSION.OJPEG, _COMPRESSION.JPEG, _COMPRESSION.ALT_JPEG, _COMPRESSION.JPEG_LOSSY})
# Strips of these are whole images with a size of their own; what is not among Pillow's formats is refused.
_IMAGES_IN_STRIPS = tifffile.TIFF.IMAGE_COMPRESSIONS
_FORMATS_IN_STRIPS = ("JPEG", "JPEG2000", "PNG", "WEBP")
_BLOCK = 16  # Pixels

_ALPHA = {
    tifffile.EXTRASAMPLE.ASSOCALPHA: Alpha.PREMULTIPLIED,
    tifffile.EXTRASAMPLE.UNASSALPHA: Alpha.STRAIGHT,
}  # an extra sample of unspecified kind is none, by TIFF 6

_RED_GREEN_BLUE, _WHITE = [(255, 0, 0), (0, 255, 0), (0, 0, 255)], (255, 255, 255)
_CELLS_OR_COLORS = "3 grey pages can be 3 cells or the colours of one; save its cells as RGB"


@dataclass(frozen=True)
class _Plane:
    """One image of a TIFF: a page, or one of many images after a single directory."""

    page: tifffile.TiffPage  # Describes the pixels
    place: int  # Its order in the file
    read: Callable[[], NDArray[Any]]

    @property
    def is_grey(self) -> bool:
        return bool(self.page.photometric != _PHOTOMETRIC.PALETTE and self.page.samplesperpixel < 3)

    @property
    def is_extra(self) -> bool:
        """Whether it is a reduced copy or a mask of another image."""
        return bool(self.page.is_reduced or self.page.is_mask or self.page.is_subifd)


_Planes = tuple[_Plane, ...]  # One that is a cell, or the red, green and blue of one


def tiff_cells(file: BinaryIO) -> list[StoredCell]:
    """Return the cells of a TIFF, in order; `CellUnreadable` where it does not say what its pages are."""
    try:
        tiff, series = _open(file)
    except MALFORMED:  # a description written by hand, or pages unlike the first: each page says what it is
        tiff, series = _open(file, is_ome=False, is_imagej=False, is_shaped=False)
    _refuse_if_description_misfits(tiff, series)
    cells = [planes for one in series for planes in _cells_of_series(tiff, one)]
    # Reduced copies and masks are no cells, unless there is nothing else.
    cells = [planes for planes in cells if not planes[0].is_extra] or cells
    is_grey = len(cells[0]) == 1 and cells[0][0].is_grey
    if len({(planes[0].page.dtype, len(planes), planes[0].is_grey) for planes in cells}) > 1:
        raise CellUnreadable("pages of different kinds, such as a cell and its mask; save the cells alone, as RGB")
    if len(cells) == 3 and is_grey:
        raise CellUnreadable(_CELLS_OR_COLORS)
    lock, size = threading.Lock(), pixel_size_um(tiff)
    return [_stored(planes, is_grey, lock, size) for planes in sorted(cells, key=lambda planes: planes[0].place)]


def has_pages(file: BinaryIO) -> bool:
    """Whether a TIFF has more than one page, cells or not."""
    try:
        file.seek(0)
        return _count_pages(tifffile.TiffFile(file)) > 1
    except (CellUnreadable, *MALFORMED):
        return False


def _count_pages(tiff: tifffile.TiffFile) -> int:
    """Return the number of pages; raise where one leads back to an earlier one, which tifffile follows for ever."""
    offsets: set[int] = set()
    for number in range(_MAX_CELLS + 1):
        try:
            offset = tiff.pages._seek(number)
        except IndexError:
            return number
        if offset in offsets:
            raise CellUnreadable("damaged: its pages lead back to an earlier one")
        offsets.add(offset)
    raise CellUnreadable(f"more than {_MAX_CELLS} pages")


def _open(file: BinaryIO, **kinds: bool) -> tuple[tifffile.TiffFile, list[tifffile.TiffPageSeries]]:
    file.seek(0)
    others = {f"is_{kind}": False for kind in _OTHER_KINDS}
    tiff = tifffile.TiffFile(file, _multifile=False, **others, **kinds)
    _count_pages(tiff)
    if tiff.is_ome:
        _check_ome(tiff)
    series = tiff.series
    if series[0].kind == "generic":
        # tifffile takes any page of half the size for a reduced copy; here only what is marked as one is.
        series = [level for one in series for level in one.levels]
    for name in kinds:  # only of no use for the series: the pixel size may still be read from it
        delattr(tiff, name)
    return tiff, series


def _check_ome(tiff: tifffile.TiffFile) -> None:
    """Raise where OME-XML is incomplete, or declares more planes than there are: tifffile makes a list of them."""
    pages = len(tiff.pages)
    for pixels in ElementTree.fromstring(tiff.ome_metadata or "").iterfind(".//{*}Pixels"):
        planes = math.prod(int(pixels.attrib[f"Size{axis}"]) for axis in "ZCT")
        counts = [int(data.get(name, 0)) for data in pixels for name in ("IFD", "NumPlanes", "PlaneCount")]
        if planes > 4 * pages or max(counts, default=0) > pages:  # up to four samples are one page
            raise ValueError("OME-XML declares more than there is")


def _refuse_if_description_misfits(tiff: tifffile.TiffFile, series: list[tifffile.TiffPageSeries]) -> None:
    """Refuse pages whose description says more of them than can be found; their colours may be elsewhere."""
    page = tiff.pages.first
    if series[0].kind != "generic" or not (page.is_ome or page.is_imagej):
        return
    after = tiff.filehandle.size - (page.dataoffsets[0] + page.nbytes) if page.is_final else 0
    if _Plane(page, 0, page.asarray).is_grey or (page.is_imagej and len(tiff.pages) == 1 and after >= page.nbytes):
        raise CellUnreadable("cut off, or one of a set of files: its description names more images than are there")


def _cells_of_series(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Iterator[_Planes]:
    """Yield the cells of one series: every axis outside of a page counts cells, except that of the channels."""
    page = series.keyframe
    shape, axes = series.get_shape(True), series.get_axes(True)
    outside = len(shape) - len(page.shape)
    outer, count = shape[:outside], math.prod(shape[:outside])
    if outside < 0 or shape[outside:] != page.shape or count > _MAX_CELLS:
        raise CellUnreadable(f"its description ({axes} {shape}) does not fit its pages ({page.axes} {page.shape})")
    planes = _planes(tiff, series, count)
    channels = next((n for n, axis in enumerate(axes[:outside]) if axis in "CS"), None)
    if channels is None or not planes[0].is_grey:
        if planes[0].is_grey and 3 in outer:
            raise CellUnreadable(_CELLS_OR_COLORS)
        yield from ((plane,) for plane in planes)
        return
    if outer[channels] != 3:
        raise CellUnreadable(f"{outer[channels]} channels as separate pages; save its cells as RGB")
    numbers = np.moveaxis(np.arange(count).reshape(outer), channels, -1).reshape(-1, 3)
    order = _order_of_channels(tiff, series)
    yield from (tuple(planes[n] for n in cell[order]) for cell in numbers)


def _planes(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, count: int) -> list[_Plane]:
    if not series.is_truncated:
        if len(series) != count or None in (pages := list(series)):
            raise CellUnreadable(f"truncated: {count} images declared")
        if series.keyframe.photometric == _PHOTOMETRIC.PALETTE:
            pages = [page.aspage() for page in pages]  # each with its own palette
        return [_Plane(page.keyframe, page.index, partial(_decoded, page)) for page in pages]
    page, start = series.keyframe, series.dataoffset
    if start is None or start + count * page.nbytes > tiff.filehandle.size or page.bitspersample not in (8, 16):
        raise CellUnreadable(f"truncated: {count} images declared")
    return [_Plane(page, n, partial(_image_at, page, start + n * page.nbytes)) for n in range(count)]


def _order_of_channels(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> list[int]:
    """Return which channel is red, green and blue: as they are coloured, in this order where they are not."""
    if series.kind == "imagej":
        colors = [tuple(table[:, -1].tolist()) for table in (tiff.imagej_metadata or {}).get("LUTs", [])[:3]]
    elif series.kind == "ome":
        images = ElementTree.fromstring(tiff.ome_metadata or "").findall("{*}Image")
        colors = [_color_of_ome(channel.get("Color", "-1")) for channel in images[0].findall("{*}Pixels/{*}Channel")]
    else:
        colors = []
    if set(colors) <= {_WHITE}:
        return [0, 1, 2]
    if sorted(colors) != sorted(_RED_GREEN_BLUE):
        raise CellUnreadable("3 channels as separate pages, not coloured red, green and blue; save its cells as RGB")
    return [colors.index(color) for color in _RED_GREEN_BLUE]


def _color_of_ome(value: str) -> tuple[int, ...]:
    """OME writes red, green, blue and alpha as one signed number."""
    return tuple((int(value) % 2**32).to_bytes(4, "big")[:3])


def _stored(planes: _Planes, is_grey: bool, lock: threading.Lock, size_um: float | None) -> StoredCell:
    page = planes[0].page
    orientation = page.tags.valueof("Orientation", 1)
    sides = (page.imagelength, page.imagewidth)
    height, width = reversed(sides) if orientation in SIDEWAYS else sides
    return StoredCell(
        height,
        width,
        partial(_read, planes, lock),
        bits=_bits(page),
        colors=1 if is_grey else 3,
        alpha=_ALPHA.get(page.extrasamples[-1], Alpha.NONE) if page.extrasamples else Alpha.NONE,
        is_inverted=page.photometric == _PHOTOMETRIC.MINISWHITE,
        orientation=orientation,
        pixel_size_um=size_um,
    )


def _bits(page: tifffile.TiffPage) -> int | None:
    """Return how many bits a sample uses; None where 16 are stored and the file does not say."""
    if page.photometric == _PHOTOMETRIC.PALETTE:
        return 8  # the colours of the palette
    if page.bitspersample != 16:
        return page.bitspersample if isinstance(page.bitspersample, int) else 8
    # Some write the brightest value of each image here: as a scale it would make every cell equally bright.
    claims = np.unique(page.tags.valueof("SMaxSampleValue", 0))
    return next((bits for bits in USED_BITS if len(claims) == 1 and claims[0] == 2**bits - 1), None)


def _read(planes: _Planes, lock: threading.Lock) -> NDArray[Any]:
    with lock:
        images = [plane.read() for plane in planes]
    return images[0] if len(images) == 1 else np.stack(images, axis=-1)


def _image_at(page: tifffile.TiffPage, offset: int) -> NDArray[Any]:
    _refuse_before_decoding(page)
    kind = np.dtype(f"{page.parent.byteorder}{page.dtype.char}")
    pixels = page.parent.filehandle.read_array(kind, math.prod(page.shape), offset).reshape(page.shape)
    return _colored(page, pixels)


def _decoded(page: tifffile.TiffPage | tifffile.TiffFrame) -> NDArray[Any]:
    _refuse_before_decoding(page.keyframe)
    _refuse_damaged_strips(page)
    return _colored(page.keyframe, page.asarray())


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
    refuse_if_large(page.tilelength, page.tilewidth)
    if page.photometric == _PHOTOMETRIC.SEPARATED:
        raise CellUnreadable("CMYK colours in a TIFF; export it as RGB")
    if page.photometric > _PHOTOMETRIC.YCBCR or page.photometric == _PHOTOMETRIC.MASK:
        raise CellUnreadable(f"{_PHOTOMETRIC(page.photometric).name} colours; export it as RGB")
    bits = page.bitspersample
    if page.dtype not in (bool, np.uint8, np.uint16) or not isinstance(bits, int):
        kind = page.dtype if page.dtype not in (np.uint8, np.uint16) else f"{bits}-bit"
        raise CellUnreadable(f"{kind} pixels; only images of 1 to 16 bits are read")
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
    length, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    try:
        with Image.open(io.BytesIO(strip), formats=_FORMATS_IN_STRIPS) as image:
            size = image.size
    except UnidentifiedImageError as error:
        name = _COMPRESSION(page.compression).name
        raise CellUnreadable(f"damaged, or compressed as {name}; save it without compression") from error
    # Encoders fill their blocks; some of them count that.
    if size[0] > width + _BLOCK or size[1] > length + _BLOCK:
        raise CellUnreadable(f"an image of {size[0]} x {size[1]} pixels in a strip of {width} x {length}")
