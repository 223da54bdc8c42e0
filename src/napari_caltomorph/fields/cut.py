"""Fields -> a folder of single-cell images that is a smear.

Each field is written when it is finished, and `cut.json` says with which options, so that a stopped run is resumed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, Field

from napari_caltomorph.csv_files import write_csv
from napari_caltomorph.errors import FieldUnreadable, NoCellsFound, OutputRefused, counted
from napari_caltomorph.fields.find import FindOptions, FoundCell, FoundCells, FoundFields, find_cells
from napari_caltomorph.fields.images import FieldImage, open_fields
from napari_caltomorph.fields.overlaps import SeenCells
from napari_caltomorph.fields.pictures import crop, draw_overview, is_whole, read_cell, write_cell
from napari_caltomorph.fields.scale import Scale, scale_of_fields
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.reading import read_as
from napari_caltomorph.smear import Smear, read_smear
from napari_caltomorph.storage import StrPath, only_run, replacing

TABLE, RECORD = "fields.csv", "cut.json"
COLUMNS = ("cell", "field", "x_px", "y_px", "x_um", "y_um", "diameter_um", "confidence")
_VERSION = 1
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


class _Record(BaseModel):
    """What was cut with which options, for the next run."""

    version: int
    options: dict[str, Any]
    fields: dict[str, CutField]


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
    todo = [_ToCut(image, scale) for image, scale in zip(images, scales, strict=True)]
    return _cut(todo, problems, Path(out), options, progress)


def cut_found(found: FoundFields, out: StrPath, options: CutOptions, *, progress: OnProgress = ignore) -> CutCells:
    """Cut out the cells of fields as they were found, and corrected by a person; as `cut_cells` otherwise."""
    todo = [_ToCut(image, one.scale, one) for image, one in zip(found.images, found.found, strict=True)]
    return _cut(todo, list(found.problems), Path(out), options, progress)


@dataclass(frozen=True)
class _ToCut:
    """A field, and its cells where they are known already."""

    image: FieldImage
    scale: Scale
    found: FoundCells | None = None

    @property
    def key(self) -> str:
        """What the field is cut from: another file, another scale, or other cells are cut again."""
        status = self.image.path.stat() if self.image.path else None
        version = f"{status.st_size} {status.st_mtime_ns}" if status else ""
        known = hashlib.sha256(repr(self.found.cells).encode()).hexdigest() if self.found is not None else ""
        return f"{self.image.name} {self.image.path} {version} {self.scale.pixel_size_um:.9g} {known}"


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
                    seen.add(cut.field, [read_cell(out / row["cell"]) for row in cut.cells])
                else:
                    try:
                        found = one.found
                        if found is None:
                            found = find_cells(one.image, options, scale=one.scale, progress=progress)
                        cut = _cut_field(one.image, found, options, out, seen, progress)
                    except FieldUnreadable as error:
                        problems.append(str(error))
                        continue
                record[one.key] = cut
                done.append(cut)
        finally:
            _write_record(out, options, record)
        if not done:
            raise FieldUnreadable(problems[0])
        write_csv(pd.DataFrame([row for one in done for row in one.cells], columns=list(COLUMNS)), out / TABLE)
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
            write_cell(out / name, pixels, options.width_um)
    kept = [cell for cell, is_kept in zip(whole, is_new, strict=True) if is_kept]
    draw_overview(out / f"overview_{stem}.jpg", image, found, kept, side, progress)
    return CutField(
        image.name, tuple(rows), scale, len(found.cells) - len(whole), len(whole) - len(rows), len(found.rejected)
    )


def _row(name: str, field: str, cell: FoundCell, pixel_um: float) -> dict[str, Any]:
    x, y = round(cell.x_px, 1), round(cell.y_px, 1)
    values = (x, y, x * pixel_um, y * pixel_um, cell.diameter_um(pixel_um))
    return dict(zip(COLUMNS, (name, field, *(round(v, 2) for v in values), round(cell.confidence, 4)), strict=True))


def _earlier(out: Path, options: CutOptions) -> dict[str, CutField]:
    """Return what an earlier run with the same options cut; of another run, its cells are removed."""
    path = out / RECORD
    if not path.exists():
        if others := [one.name for one in out.iterdir() if not one.name.startswith(".")]:
            raise OutputRefused(f"{out} contains {others[0]}, which is not of `cut`; choose an empty folder.")
        return {}
    record = read_as(_Record, path, "a record of `cut`", OutputRefused, "choose an empty folder, or remove this one")
    if (record.version, record.options) == (_VERSION, options.model_dump()):
        return record.fields
    for cut in record.fields.values():
        _remove(out, cut)
    return {}


def _remove(out: Path, cut: CutField) -> None:
    for row in cut.cells:
        (out / Path(row["cell"]).name).unlink(missing_ok=True)


def _write_record(out: Path, options: CutOptions, fields: dict[str, CutField]) -> None:
    record = _Record(version=_VERSION, options=options.model_dump(), fields=fields)
    with replacing(out / RECORD) as part:
        part.write_text(record.model_dump_json(indent=1), "utf-8")
