"""A field's file -> windows of its pixels as 8-bit RGB.

Small images are decoded once, by the rules of `smear`; of a tiled or large TIFF only the tiles of a window are, so that
memory does not grow with a slide scan.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_caltomorph.errors import CellUnreadable, FieldUnreadable
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear.entries import sorted_out
from napari_caltomorph.smear.images import IMAGE_KINDS, explaining, is_image, read_cells, read_picture
from napari_caltomorph.smear.pixel_size import pixel_size_um
from napari_caltomorph.smear.pixels import LARGE, StoredCell, used_bits
from napari_caltomorph.smear.read import natural
from napari_caltomorph.smear.tiff import TIFF_STARTS
from napari_caltomorph.smear.tiff_page import alpha_of, bits_of
from napari_caltomorph.storage import StrPath

FIELD_SUFFIXES = frozenset({".svs", ".scn", ".bif", ".vms"})
"""Slide scans that are TIFFs, next to the images that a smear may have."""

_CENTRE = 2048  # Pixels on a side of what scale and kind of an image are measured on
_PREVIEW = 128  # Of these, as many rows and columns are looked at to refuse an image
_DARK = 60  # Median of green below which there is no bright field: glass is brighter than cells

Read = Callable[[int, int, int, int], NDArray[np.uint8]]


@dataclass(frozen=True)
class FieldImage:
    """One field of view, photograph or region of a slide."""

    name: str
    height: int
    width: int
    read: Read  # Top, left, bottom and right -> (H, W, 3) uint8 RGB
    pixel_size_um: float | None = None  # Micrometres, where its file says so
    path: Path | None = None

    @property
    def stem(self) -> str:
        """What the files of its cells begin with."""
        return self.name.replace("/", "_").rsplit(".", 1)[0]

    @property
    def centre(self) -> NDArray[np.uint8]:
        """The middle of the field, at most 2048 px wide and high."""
        top, left = max(0, (self.height - _CENTRE) // 2), max(0, (self.width - _CENTRE) // 2)
        return self.read(top, left, min(self.height, top + _CENTRE), min(self.width, left + _CENTRE))

    def refuse_unsuitable(self) -> None:
        """Raise `FieldUnreadable` where no cells can be found by their stain."""
        pixels = self.centre
        sample = pixels[:: max(1, len(pixels) // _PREVIEW), :: max(1, pixels.shape[1] // _PREVIEW)].astype(np.int16)
        if np.quantile(np.ptp(sample, axis=-1), 0.99) <= 3:
            raise FieldUnreadable(f"{self.name}: a grey image; cells are found by the colour of their stain.")
        if np.median(sample[..., 1]) < _DARK:
            raise FieldUnreadable(
                f"{self.name}: dark where a bright field has light (inverted, fluorescence or underexposed); "
                "export the image as the microscope shows it."
            )


def is_field(name: str) -> bool:
    """Whether a file name ends like an image or a slide scan."""
    return is_image(name) or Path(name).suffix.lower() in FIELD_SUFFIXES


def array_field(pixels: NDArray[np.uint8], name: str = "field", pixel_size_um: float | None = None) -> FieldImage:
    """Return (H, W, 3) uint8 RGB, which is not copied, as a field; further channels are refused."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3 or min(pixels.shape[:2]) < 16:
        raise FieldUnreadable(
            f"{name}: an array of shape {pixels.shape} and type {pixels.dtype} is no field; it takes 8-bit RGB of "
            "shape (height, width, 3)."
        )
    height, width = pixels.shape[:2]
    return FieldImage(name, height, width, lambda t, left, b, r: pixels[t:b, left:r], pixel_size_um)


def open_field(path: StrPath) -> FieldImage:
    """Open a JPEG, PNG, BMP, WebP, TIFF, OME-TIFF or pyramidal slide scan; no pixel is decoded.

    Raises
    ------
    FieldUnreadable
        It is no image, damaged, empty, or has several images.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            is_tiff = file.read(4) in TIFF_STARTS
            file.seek(0)
            with explaining(file):
                if is_tiff and (found := _segments(path)) is not None:
                    return found
                cells = read_cells(file) if is_tiff else [read_picture(file)]
            if len(cells) > 1:
                raise CellUnreadable(f"{len(cells)} images in one file; save each field in a file of its own")
            height, width, size_um = cells[0].height, cells[0].width, cells[0].pixel_size_um
    except (CellUnreadable, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FieldUnreadable(f"{path}: {reason}; export it again as {IMAGE_KINDS}.") from error
    if min(height, width) < 16:
        raise FieldUnreadable(f"{path}: {width} x {height} pixels are no field.")
    return FieldImage(path.name, height, width, _Whole(path, is_tiff), size_um, path)


def open_fields(
    places: StrPath | Sequence[StrPath], *, progress: OnProgress = ignore
) -> tuple[list[FieldImage], list[str]]:
    """Open the fields that paths and folders mean, under names whose stems differ; return the reasons of the others.

    Parameters
    ----------
    places : str, Path, or a sequence of them
    progress : callable
        See `OnProgress`.

    Raises
    ------
    FieldUnreadable
        None can be opened.
    """
    paths = [Path(places)] if isinstance(places, str | os.PathLike) else [Path(one) for one in places]
    images: list[FieldImage] = []
    problems: list[str] = []
    stems: set[str] = set()
    files = _field_files(paths)
    for number, path in enumerate(files):
        progress(Progress("Opening", number, len(files), "fields"))
        try:
            image = open_field(path)
        except FieldUnreadable as error:
            problems.append(str(error))
            continue
        names = (image.name, f"{path.parent.name}/{image.name}", f"{number + 1}/{image.name}")
        image = next(one for name in names if (one := replace(image, name=name)).stem not in stems)
        stems.add(image.stem)
        images.append(image)
    if not images:
        raise FieldUnreadable(problems[0])
    return images, problems


def _field_files(paths: Iterable[Path]) -> list[Path]:
    """Return the image files that are meant, in natural order within each folder."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FieldUnreadable(f"{path} does not exist; check the path.")
        if not path.is_dir():
            found.append(path)
            continue
        entries = sorted_out([one.name for one in path.iterdir() if one.is_file()], [])
        inside = [path / name for name in entries.files if is_field(name)]
        if not inside:
            raise FieldUnreadable(f"{path}: no images in it; name the folder that directly contains the fields.")
        found += sorted(inside, key=lambda one: natural(one.name))
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class _Whole:
    """An image that is decoded when its first pixel is needed."""

    path: Path
    is_tiff: bool

    def __call__(self, top: int, left: int, bottom: int, right: int) -> NDArray[np.uint8]:
        return self.pixels[top:bottom, left:right]

    @property
    def pixels(self) -> NDArray[np.uint8]:
        try:
            return _decoded(self.path, self.is_tiff, self.path.stat().st_mtime_ns)
        except (CellUnreadable, OSError) as error:
            raise FieldUnreadable(f"{self.path}: {error}; export it again.") from error


@lru_cache(maxsize=2)  # Not all fields of a slide
def _decoded(path: Path, is_tiff: bool, version: int) -> NDArray[np.uint8]:
    with path.open("rb") as file:
        cell = read_cells(file)[0] if is_tiff else read_picture(file)
        with explaining(file), warnings.catch_warnings(action="ignore"):
            return cell.rgb(lambda: used_bits(cell.peak()))


def _segments(path: Path) -> FieldImage | None:
    """Return a large TIFF, or one of several resolutions, whose tiles or strips are read one at a time."""
    with tifffile.TiffFile(path) as tiff:
        levels = tiff.series[0].levels
        page = levels[0].keyframe
        if not (page.imagelength * page.imagewidth > LARGE or tiff.is_svs or len(levels) > 1):
            return None
        is_rgb = page.samplesperpixel >= 3 and page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        if not is_rgb or page.dtype not in (np.uint8, np.uint16):
            raise CellUnreadable("a large TIFF that is not RGB of 8 or 16 bits with its colours side by side")
        read = _Segments(path, page, page.decode, page.jpegtables)
        return FieldImage(path.name, page.imagelength, page.imagewidth, read, pixel_size_um(tiff), path)


@dataclass(frozen=True)
class _Segments:
    """The tiles or strips of one page."""

    path: Path
    page: tifffile.TiffPage  # Its header; the file is closed
    decode: Any
    jpeg_tables: bytes | None

    def __call__(self, top: int, left: int, bottom: int, right: int) -> NDArray[np.uint8]:
        pixels = self._stored(top, left, bottom, right)
        cell = StoredCell(bottom - top, right - left, lambda: pixels, bits_of(self.page), alpha=alpha_of(self.page))
        return cell.rgb(lambda: self._bits)

    @cached_property
    def _bits(self) -> int:
        """How many of 16 bits are used, where the file does not say so."""
        height, step = self.page.imagelength, max(1, LARGE // self.page.imagewidth)
        rows = (self._stored(top, 0, min(top + step, height), self.page.imagewidth) for top in range(0, height, step))
        return used_bits(max(int(one[..., :3].max()) for one in rows))

    def _stored(self, top: int, left: int, bottom: int, right: int) -> NDArray[Any]:
        page = self.page
        pixels = np.zeros((bottom - top, right - left, page.samplesperpixel), page.dtype)
        for row, column, tile in self._tiles(top, left, bottom, right):
            height, width = tile.shape[:2]
            here = np.s_[max(row - top, 0) : row + height - top, max(column - left, 0) : column + width - left]
            target = pixels[here]
            first_row, first_column = max(top - row, 0), max(left - column, 0)
            target[...] = tile[first_row : first_row + target.shape[0], first_column : first_column + target.shape[1]]
        return pixels

    def _tiles(self, top: int, left: int, bottom: int, right: int) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Yield row, column and pixels of the tiles or strips that a window touches."""
        page = self.page
        tall, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        across = math.ceil(page.imagewidth / wide)
        try:
            with self.path.open("rb") as file:
                for row in range(top // tall, math.ceil(bottom / tall)):
                    for column in range(left // wide, math.ceil(right / wide)):
                        number = row * across + column
                        file.seek(page.dataoffsets[number])
                        stored = file.read(page.databytecounts[number])
                        tile, _, shape = self.decode(stored, number, jpegtables=self.jpeg_tables)
                        if tile is not None:
                            yield row * tall, column * wide, tile[0, : shape[1], : shape[2]]
        except Exception as error:
            raise FieldUnreadable(f"{self.path}: a tile cannot be read ({error}); export it again.") from error
