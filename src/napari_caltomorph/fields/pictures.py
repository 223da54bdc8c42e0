"""A picture of a field with what was found: cells that were cut out, cells left out, and what is no white cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from napari_caltomorph.fields.find import FoundCells
from napari_caltomorph.fields.images import FieldImage
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.storage import replacing

_SIDE = 1600  # Of the picture, px
_STRIP = 2**23  # Pixels of the field that are read at once
_CUT, _LEFT_OUT, _NO_CELL = (0, 140, 60), (230, 120, 0), (110, 110, 110)


def draw_overview(
    path: Path, image: FieldImage, found: FoundCells, is_cut_out: Sequence[bool], side: float, progress: OnProgress
) -> None:
    """Write a JPEG: green squares are cut out, orange boxes left out, grey ones no white cells.

    `side` is the width of a cut in the field's pixels.
    """
    factor = min(1.0, _SIDE / max(image.height, image.width))
    picture = _reduced(image, factor, progress)
    draw = ImageDraw.Draw(picture)
    for cell in found.rejected:
        draw.rectangle([v * factor for v in cell.box_px], outline=_NO_CELL)
    for cell, is_cut in zip(found.cells, is_cut_out, strict=True):
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
