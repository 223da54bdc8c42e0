"""Fields -> a folder of single-cell images that is a smear.

Each field is written when it is finished, and `cut.json` says with which options, so that a stopped run is resumed. A
cell is cut out only where its whole square is in the field: no pixel is made up.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from napari_caltomorph.errors import FieldUnreadable, NoCellsFound, OutputRefused, counted
from napari_caltomorph.fields.find import FindOptions, FoundCell, FoundCells, FoundFields, find_cells
from napari_caltomorph.fields.images import FieldImage, open_fields
from napari_caltomorph.fields.overlaps import SeenCells
from napari_caltomorph.fields.overview import draw_overview
from napari_caltomorph.fields.scale import Scale, scale_of_fields
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import Smear, read_smear
from napari_caltomorph.storage import StrPath, only_run, replacing

CELL_PX = 144
"""Width of a cell's image; a Metafer's have 5.76 pixels a micrometre."""

TABLE, RECORD = "fields.csv", "cut.json"
COLUMNS = ("cell", "field", "x_px", "y_px", "x_um", "y_um", "diameter_um", "confidence")
_VERSION = 1
_UM_PER_CM = 10_000
_SECONDS_BETWEEN_RECORDS = 2.0  # What a killed run did since is done again


class CutOptions(FindOptions):
    """How cells are found and cut out."""

    width_um: float = Field(25.0, gt=5, le=100, description="Width of a cell's image, micrometres.")


@dataclass(frozen=True)
class CutField:
    """One field that was cut."""

    field: str
    cells: tuple[dict[str, Any], ...]  # Rows of the table
    scale: Scale
    near_border: int = 0  # Cells whose square is not all in the field
    repeats: int = 0  # Cells that an earlier field shows
    rejected: int = 0  # Stained things that are no white cells


@dataclass(frozen=True)
class CutCells:
    """What was cut out of fields."""

    folder: Path
    fields: tuple[CutField, ...]
    problems: tuple[str, ...] = ()  # Fields that could not be searched, and why

    @property
    def count(self) -> int:
        return sum(len(field.cells) for field in self.fields)

    def place_of(self, cell: str) -> tuple[str, float, float] | None:
        """Return where a cell's image was cut out: its field, x and y in pixels; None for another smear's cell."""
        rows = (row for field in self.fields for row in field.cells)
        return next(((row["field"], row["x_px"], row["y_px"]) for row in rows if row["cell"] == cell), None)

    @property
    def scale_in_words(self) -> str:
        """The size of a pixel and how it is known; of each field where they differ."""
        return "; ".join(dict.fromkeys(field.scale.in_words for field in self.fields))

    @property
    def smear(self) -> Smear:
        """The cells, as any other smear."""
        return read_smear(self.folder)

    @property
    def in_words(self) -> str:
        """What was found and left out, in one sentence."""
        near, repeats, rejected = (
            sum(getattr(field, name) for field in self.fields) for name in ("near_border", "repeats", "rejected")
        )
        return (
            f"{counted(self.count, 'cell')} in {counted(len(self.fields), 'field')}; left out: {near} near a border, "
            f"{repeats} that an earlier field shows, {rejected} stained things that are no white cells"
        )


def cut_cells(
    fields: StrPath | Sequence[StrPath],
    out: StrPath,
    options: CutOptions = CutOptions(),  # noqa: B008 (frozen)
    *,
    progress: OnProgress = ignore,
) -> CutCells:
    """Cut the white cells out of microscope fields of one patient, and write them as a smear.

    Parameters
    ----------
    fields : path or list of paths
        Images, or folders of images.
    out : path
        Folder for the cells (TIFF, 144 px, with their resolution), `fields.csv`, and an overview picture of each field.
        What an earlier run with the same options wrote there is not computed again.
    options : CutOptions
    progress : callable
        Called for each field; raising `Cancelled` in it stops cleanly, and the next run continues.

    Returns
    -------
    CutCells
        Counts, and the cells as a `Smear`.

    Raises
    ------
    FieldUnreadable
        None of the fields can be searched; of some, the result lists them as problems.
    ScaleUnknown
        The size of a pixel is unknown, or magnifications are mixed.
    NoCellsFound
        No white cell is whole in any field; the overview pictures show what was found instead.
    OutputRefused
        The folder contains something else, or cannot be written.
    """
    images, problems = open_fields(fields, progress=progress)
    scales = scale_of_fields(images, options, progress=progress)

    def search(image: FieldImage, scale: Scale) -> FoundCells:
        return find_cells(image, options, scale=scale, progress=progress)

    todo = [_ToCut(image, scale, partial(search, image, scale)) for image, scale in zip(images, scales, strict=True)]
    return _cut(todo, problems, Path(out), options, progress)


def cut_found(found: FoundFields, out: StrPath, options: CutOptions, *, progress: OnProgress = ignore) -> CutCells:
    """Cut out the cells of fields as they were found, and corrected by a person; as `cut_cells` otherwise."""
    todo = [
        _ToCut(
            image,
            one.scale,
            partial(lambda same: same, one),
            corrected=hashlib.sha256(repr(one.cells).encode()).hexdigest(),
        )
        for image, one in zip(found.images, found.found, strict=True)
    ]
    return _cut(todo, list(found.problems), Path(out), options, progress)


@dataclass(frozen=True)
class _ToCut:
    """A field, and what finds its cells."""

    image: FieldImage
    scale: Scale
    find: Callable[[], FoundCells]
    corrected: str = ""  # Digest of its cells, where they are known already

    @property
    def key(self) -> str:
        """What the field is cut from: another file, another scale, or other cells are cut again."""
        status = self.image.path.stat() if self.image.path else None
        version = f"{status.st_size} {status.st_mtime_ns}" if status else ""
        return f"{self.image.name} {self.image.path} {version} {self.scale.pixel_size_um:.9g} {self.corrected}"


def _cut(todo: Sequence[_ToCut], problems: list[str], out: Path, options: CutOptions, progress: OnProgress) -> CutCells:
    with only_run(out, ".cut.lock", "another folder"):
        record = _earlier(out, options)
        for key in record.keys() - {one.key for one in todo}:
            _remove(out, record.pop(key))
        done: list[CutField] = []
        seen = SeenCells()
        written = 0.0
        try:
            for number, one in enumerate(todo):
                progress(Progress("Cutting cells", number, len(todo), "fields"))
                if time.monotonic() > written + _SECONDS_BETWEEN_RECORDS:
                    _write_record(out, options, record)
                    written = time.monotonic()
                cut = record.get(one.key)
                if cut is not None and all((out / row["cell"]).exists() for row in cut.cells):
                    seen.add(cut.field, [_read_cell(out / row["cell"]) for row in cut.cells])
                else:
                    try:
                        cut = _cut_field(one.image, one.find(), options, out, seen, progress)
                    except FieldUnreadable as error:
                        problems.append(str(error))
                        continue
                record[one.key] = cut
                done.append(cut)
        finally:
            _write_record(out, options, record)
        if not done:
            raise FieldUnreadable(problems[0])
        _write_table(out, done)
    result = CutCells(out, tuple(done), tuple(problems))
    if not result.count:
        raise NoCellsFound(f"{result.in_words}. The pictures in {out} show what was found instead.")
    return result


def _cut_field(
    image: FieldImage, found: FoundCells, options: CutOptions, out: Path, seen: SeenCells, progress: OnProgress
) -> CutField:
    scale = found.scale
    side = options.width_um / scale.pixel_size_um
    whole = [cell for cell in found.cells if is_whole(cell, found, side)]
    crops = [crop(image, cell, side) for cell in whole]
    is_new = seen.add(image.name, crops)
    stem = image.stem
    rows: list[dict[str, Any]] = []
    for cell, pixels, is_kept in zip(whole, crops, is_new, strict=True):
        if is_kept:
            name = f"{stem}_{len(rows) + 1:03d}.tif"
            rows.append(_row(name, image.name, cell, scale.pixel_size_um))
            _write_cell(out / name, pixels, options.width_um)
    kept = {id(cell) for cell, is_kept in zip(whole, is_new, strict=True) if is_kept}
    draw_overview(
        out / f"overview_{stem}.jpg", image, found, [id(cell) in kept for cell in found.cells], side, progress
    )
    return CutField(
        image.name, tuple(rows), scale, len(found.cells) - len(whole), len(whole) - len(rows), len(found.rejected)
    )


def is_whole(cell: FoundCell, found: FoundCells, side: float) -> bool:
    """Whether a cell and the square that is cut out, `side` pixels wide, are all in the field; others are left out."""
    half = side / 2
    return (
        half <= cell.x_px <= found.width_px - half and half <= cell.y_px <= found.height_px - half and not cell.is_cut
    )


def crop(image: FieldImage, cell: FoundCell, side: float) -> NDArray[np.uint8]:
    """Return (144, 144, 3) around the middle of a cell; `side` is its width in the field's pixels."""
    left, top = max(cell.x_px - side / 2, 0.0), max(cell.y_px - side / 2, 0.0)
    margin = 4
    first_row, first_column = max(int(top) - margin, 0), max(int(left) - margin, 0)
    last_row = min(int(top + side) + margin + 1, image.height)
    last_column = min(int(left + side) + margin + 1, image.width)
    window = Image.fromarray(np.ascontiguousarray(image.read(first_row, first_column, last_row, last_column)))
    x, y = left - first_column, top - first_row
    box = (x, y, min(x + side, window.width), min(y + side, window.height))
    # Pillow widens its filter where an image becomes smaller: no aliasing
    return np.asarray(window.resize((CELL_PX, CELL_PX), Image.Resampling.BICUBIC, box=box))


def _row(name: str, field: str, cell: FoundCell, pixel_um: float) -> dict[str, Any]:
    x, y = round(cell.x_px, 1), round(cell.y_px, 1)
    values = (x, y, x * pixel_um, y * pixel_um, cell.diameter_um(pixel_um))
    return dict(zip(COLUMNS, (name, field, *(round(v, 2) for v in values), round(cell.confidence, 4)), strict=True))


def _write_cell(path: Path, pixels: NDArray[np.uint8], width_um: float) -> None:
    density = CELL_PX / width_um * _UM_PER_CM
    with replacing(path) as part, part.open("wb") as file:
        tifffile.imwrite(file, pixels, photometric="rgb", resolution=(density, density), resolutionunit="CENTIMETER")


def _read_cell(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise OutputRefused(f"{path} is damaged; remove it, and run this again.") from error


def _earlier(out: Path, options: CutOptions) -> dict[str, CutField]:
    """Return what an earlier run with the same options cut; of another run, its cells are removed."""
    try:
        record = json.loads((out / RECORD).read_text("utf-8"))
        fields = {
            key: CutField(**{**cut, "cells": tuple(cut["cells"]), "scale": Scale(**cut["scale"])})
            for key, cut in record["fields"].items()
        }
    except FileNotFoundError:
        if others := [one.name for one in out.iterdir() if not one.name.startswith(".")]:
            raise OutputRefused(f"{out} contains {others[0]}, which is not of `cut`; choose an empty folder.") from None
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OutputRefused(f"{out / RECORD} is damaged; choose an empty folder, or remove this one.") from error
    if record.get("version") == _VERSION and record["options"] == options.model_dump():
        return fields
    for cut in fields.values():
        _remove(out, cut)
    return {}


def _remove(out: Path, cut: CutField) -> None:
    for row in cut.cells:
        (out / Path(row["cell"]).name).unlink(missing_ok=True)


def _write_record(out: Path, options: CutOptions, fields: dict[str, CutField]) -> None:
    record = {"version": _VERSION, "options": options.model_dump(), "fields": {k: asdict(v) for k, v in fields.items()}}
    with replacing(out / RECORD) as part:
        part.write_text(json.dumps(record, indent=1), "utf-8")


def _write_table(out: Path, fields: Iterable[CutField]) -> None:
    import pandas as pd

    from napari_caltomorph.csv_files import write_csv

    write_csv(pd.DataFrame(list(_rows(fields)), columns=list(COLUMNS)), out / TABLE)


def _rows(fields: Iterable[CutField]) -> Iterator[dict[str, Any]]:
    for field in fields:
        yield from field.cells
