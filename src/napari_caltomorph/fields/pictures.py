"""The pictures that are made of a field: each cell's square, and an overview of what was found.

A cell is cut out only where its whole square is in the field: no pixel is made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.fields.find import FoundCell, FoundCells
from napari_caltomorph.fields.images import FieldImage
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.storage import replacing

CELL_PX = 144
"""Width of a cell's image; a Metafer's have 5.76 pixels a micrometre."""

_UM_PER_CM = 10_000
_SIDE = 1600  # Of the overview, px
_STRIP = 2**23  # Pixels of the field that are read at once
_CUT, _LEFT_OUT, _NO_CELL = (0, 140, 60), (230, 120, 0), (110, 110, 110)


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


def write_cell(path: Path, pixels: NDArray[np.uint8], width_um: float) -> None:
    density = CELL_PX / width_um * _UM_PER_CM
    with replacing(path) as part, part.open("wb") as file:
        tifffile.imwrite(file, pixels, photometric="rgb", resolution=(density, density), resolutionunit="CENTIMETER")


def read_cell(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise OutputRefused(f"{path} is damaged; remove it, and run this again.") from error


def draw_overview(
    path: Path, image: FieldImage, found: FoundCells, kept: Sequence[FoundCell], side: float, progress: OnProgress
) -> None:
    """Write a JPEG: green squares are cut out, orange boxes left out, grey ones no white cells.

    `kept` are those of the found cells that are cut out; `side` is the width of a cut in the field's pixels.
    """
    factor = min(1.0, _SIDE / max(image.height, image.width))
    picture = _reduced(image, factor, progress)
    draw = ImageDraw.Draw(picture)
    for cell in found.rejected:
        draw.rectangle([v * factor for v in cell.box_px], outline=_NO_CELL)
    for cell in found.cells:
        is_cut = cell in kept
        half = side / 2
        square = (cell.x_px - half, cell.y_px - half, cell.x_px + half, cell.y_px + half)
        box = [v * factor for v in (square if is_cut else cell.box_px)]
        draw.rectangle(box, outline=_CUT if is_cut else _LEFT_OUT, width=2)
        draw.text((box[0] + 4, box[1] + 2), f"{cell.confidence:.2f}", fill=_CUT if is_cut else _LEFT_OUT)
    with replacing(path) as part:
        picture.save(part, "JPEG", quality=88)


def _reduced(image: FieldImage, factor: float, progress: OnProgress) -> Image.Image:
    """Return the whole field, made smaller strip by strip."""
    picture = Image.new("RGB", (max(1, round(image.width * factor)), max(1, round(image.height * factor))))
    step = max(1, _STRIP // image.width)
    for top in range(0, image.height, step):
        progress(Progress("Drawing overview", top, image.height, "rows"))
        bottom = min(top + step, image.height)
        strip = Image.fromarray(np.ascontiguousarray(image.read(top, 0, bottom, image.width)))
        start, end = round(top * factor), max(round(top * factor) + 1, round(bottom * factor))
        picture.paste(strip.resize((picture.width, end - start), Image.Resampling.BILINEAR), (0, start))
    return picture
