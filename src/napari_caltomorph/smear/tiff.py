"""A TIFF -> its cells.

A page is not always a cell: a cell can be three pages (one a colour), or one of many images after a single directory;
pages can be reduced copies or masks. tifffile's series and axes say which; what they leave open is refused.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.smear.pixel_size import pixel_size_um
from napari_caltomorph.smear.pixels import MALFORMED, SIDEWAYS, StoredCell
from napari_caltomorph.smear.tiff_headers import NotingFile, is_plain, known_cell, remember
from napari_caltomorph.smear.tiff_page import alpha_of, bits_of, is_grey, read_image_at, read_page

# tifffile logs what it survives; what it does not survive we say ourselves.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of a TIFF and of a BigTIFF, in both byte orders."""

# More are no smear, and each takes 10 kB of memory before it is read.
_MAX_CELLS = 2**16

# Formats inside a TIFF that are for slides or movies; some of them make tifffile open files next to this one. Their
# pages are read as those of a TIFF that says nothing. "uniform" would trust the first page for all others.
_OTHER_KINDS = (
    *("avs", "bif", "eer", "fluoview", "lsm", "mdgel", "mmstack", "ndpi", "ndtiff", "nih"),
    *("philips", "qpi", "scanimage", "scn", "sis", "stk", "svs", "uniform"),
)

_PHOTOMETRIC = tifffile.PHOTOMETRIC
_RED_GREEN_BLUE, _WHITE = [(255, 0, 0), (0, 255, 0), (0, 0, 255)], (255, 255, 255)
_CELLS_OR_COLORS = "3 grey pages can be 3 cells or the colours of one; save its cells as RGB"


@dataclass(frozen=True)
class _Plane:
    """One image of a TIFF: a page, or one of many images after a single directory."""

    page: tifffile.TiffPage  # Describes the pixels
    place: int  # Its order in the file
    read: Callable[[], NDArray[Any]]

    @property
    def is_extra(self) -> bool:
        """Whether it is a reduced copy or a mask of another image."""
        return bool(self.page.is_reduced or self.page.is_mask or self.page.is_subifd)


_Planes = tuple[_Plane, ...]  # One that is a cell, or the red, green and blue of one


# As attributes of the class, since versions of tifffile differ in which of these flags they take as arguments.
_PlainTiff = type("_PlainTiff", (tifffile.TiffFile,), {f"is_{kind}": False for kind in _OTHER_KINDS})


class _Tiff(_PlainTiff):  # type: ignore[valid-type, misc]  # mypy does not read tifffile
    """A TIFF whose pages are sorted by their kind where nothing says what they are.

    tifffile would compare each page with all others, minutes for 20,000, and take any of half the size for a reduced
    copy; here only what is marked as one is.
    """

    def _series_generic(self) -> list[tifffile.TiffPageSeries]:
        self.pages._clear(fully=False)
        self.pages.useframes = False
        alike: dict[int, list[tifffile.TiffPage]] = {}
        for page in self.pages:
            if page.shape:  # none where a side is 0
                alike.setdefault(page.hash, []).append(page.aspage())
        return [
            tifffile.TiffPageSeries(
                pages, (len(pages), *pages[0].shape), pages[0].dtype, f"I{pages[0].axes}", kind="generic"
            )
            for pages in alike.values()
        ]


def tiff_cells(file: BinaryIO) -> list[StoredCell]:
    """Return the cells of a TIFF, in order; `CellUnreadable` where it does not say what its pages are."""
    if (known := known_cell(file)) is not None:
        return [known]
    noting = NotingFile(file)
    cells, planes = _parse(noting)
    is_like_others = len(planes) == 1 and is_plain(planes[0].page)
    parts = noting.stop()
    if len(cells) == 1 and is_like_others:
        remember(file.seek(0, os.SEEK_END), parts, cells[0], planes[0].page)
    return cells


def _parse(file: NotingFile) -> tuple[list[StoredCell], _Planes]:
    """Return the cells, and the images that the first one is made of."""
    try:
        tiff, series = _open(file)
    except MALFORMED:  # a description written by hand, or pages unlike the first: each page says what it is
        tiff, series = _open(file, is_ome=False, is_imagej=False, is_shaped=False)
    _refuse_if_cut_off(tiff, series)
    cells = [planes for one in series for planes in _cells_of_series(tiff, one)]
    # Reduced copies and masks are no cells, unless there is nothing else.
    cells = [planes for planes in cells if not planes[0].is_extra] or cells
    are_grey = len(cells[0]) == 1 and is_grey(cells[0][0].page)
    if len({(planes[0].page.dtype, len(planes), is_grey(planes[0].page)) for planes in cells}) > 1:
        raise CellUnreadable("pages of different kinds, such as a cell and its mask; save the cells alone, as RGB")
    if len(cells) == 3 and are_grey:
        raise CellUnreadable(_CELLS_OR_COLORS)
    lock, size = threading.Lock(), pixel_size_um(tiff)
    cells.sort(key=lambda planes: planes[0].place)
    return [_stored(planes, are_grey, lock, size) for planes in cells], cells[0]


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


def _open(file: NotingFile, **kinds: bool) -> tuple[tifffile.TiffFile, list[tifffile.TiffPageSeries]]:
    file.seek(0)
    tiff = _Tiff(file, _multifile=False, is_ndpi=False, **kinds)
    _count_pages(tiff)
    count = len(tiff.pages)
    # tifffile makes a list of what is declared. Up to four samples of a page are planes.
    if tiff.is_ome and any(planes > 4 * count or pages > count for planes, pages in _pixels_of_ome(tiff)):
        raise ValueError("OME-XML declares more than there is")
    series = tiff.series
    for name in kinds:  # only of no use for the series: the pixel size may still be read from it
        delattr(tiff, name)
    return tiff, series


def _pixels_of_ome(tiff: tifffile.TiffFile) -> Iterator[tuple[int, int]]:
    """Yield how many planes each image of OME-XML has, and the largest number of pages that it is read from."""
    for pixels in ElementTree.fromstring(tiff.ome_metadata or "").iterfind(".//{*}Pixels"):
        pages = [int(data.get(name, 0)) for data in pixels for name in ("IFD", "NumPlanes", "PlaneCount")]
        yield math.prod(int(pixels.attrib[f"Size{axis}"]) for axis in "ZCT"), max(pages, default=0)


def _refuse_if_cut_off(tiff: tifffile.TiffFile, series: list[tifffile.TiffPageSeries]) -> None:
    """Refuse pages where the description names more than are there: a cell's colours may be elsewhere."""
    page, declared = tiff.pages.first, 0
    if series[0].kind != "generic":
        return
    with contextlib.suppress(*MALFORMED):
        if tiff.is_ome:
            declared = sum(planes for planes, _ in _pixels_of_ome(tiff))
        elif tiff.is_imagej:
            declared = int((tiff.imagej_metadata or {}).get("images", 1))
    # Copies of single cells may have the description of their stack.
    is_rest_there = page.is_final and page.dataoffsets[0] + 2 * page.nbytes <= tiff.filehandle.size
    if declared > len(tiff.pages) and (is_grey(page) or (tiff.is_imagej and is_rest_there)):
        raise CellUnreadable(f"cut off, or one of a set of files: {declared} images declared, {len(tiff.pages)} found")


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
    if channels is None or not is_grey(planes[0].page):
        if is_grey(planes[0].page) and 3 in outer:
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
        return [_Plane(page.keyframe, page.index, partial(read_page, page)) for page in pages]
    page, start = series.keyframe, series.dataoffset
    if start is None or start + count * page.nbytes > tiff.filehandle.size or page.bitspersample not in (8, 16):
        raise CellUnreadable(f"truncated: {count} images declared")
    return [_Plane(page, n, partial(read_image_at, page, start + n * page.nbytes)) for n in range(count)]


def _order_of_channels(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> list[int]:
    """Return which channel is red, green and blue: as they are coloured, in this order where they are not."""
    found: set[tuple[tuple[int, ...], ...]] = set()  # colours of the channels, of each image
    if series.kind == "imagej":
        found = {tuple(tuple(table[:, -1].tolist()) for table in (tiff.imagej_metadata or {}).get("LUTs", [])[:3])}
    elif series.kind == "ome":
        images = ElementTree.fromstring(tiff.ome_metadata or "").iterfind(".//{*}Pixels")
        found = {tuple(map(_color_of_ome, image.iterfind("{*}Channel"))) for image in images}
    if all(set(colors) <= {_WHITE} for colors in found):
        return [0, 1, 2]
    colors = next(iter(found))
    if len(found) > 1 or sorted(colors) != sorted(_RED_GREEN_BLUE):
        raise CellUnreadable("3 channels as separate pages, not coloured red, green and blue; save its cells as RGB")
    return [colors.index(color) for color in _RED_GREEN_BLUE]


def _color_of_ome(channel: ElementTree.Element) -> tuple[int, ...]:
    """Return red, green and blue, which OME writes with alpha as one signed number."""
    return tuple((int(channel.get("Color", "-1")) % 2**32).to_bytes(4, "big")[:3])


def _stored(planes: _Planes, are_grey: bool, lock: threading.Lock, size_um: float | None) -> StoredCell:
    page = planes[0].page
    orientation = page.tags.valueof("Orientation", 1)
    sides = (page.imagelength, page.imagewidth)
    height, width = reversed(sides) if orientation in SIDEWAYS else sides
    return StoredCell(
        height,
        width,
        partial(_read, planes, lock),
        bits=bits_of(page),
        colors=1 if are_grey else 3,
        alpha=alpha_of(page),
        is_inverted=page.photometric == _PHOTOMETRIC.MINISWHITE,
        orientation=orientation,
        pixel_size_um=size_um,
    )


def _read(planes: _Planes, lock: threading.Lock) -> NDArray[Any]:
    with lock:
        images = [plane.read() for plane in planes]
    return images[0] if len(images) == 1 else np.stack(images, axis=-1)
