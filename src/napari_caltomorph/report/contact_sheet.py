"""The cells of a smear by the type that a differential counts them as, as one picture: the least sure first.

So a person sees within a minute which types to believe. Of a common type only the least sure are drawn: the others are
not worse.
"""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.differential import Differential
from napari_caltomorph.errors import CellUnreadable, counted
from napari_caltomorph.smear import Smear
from napari_caltomorph.storage import StrPath, replacing

_SIDE, _GAP, _ACROSS, _MOST_ROWS = 84, 4, 15, 3  # Of a cell, in px; cells in a row; rows of a type
_HEAD, _CAPTION = 24, 13
_WIDTH = _ACROSS * (_SIDE + _GAP) + _GAP
_GREY, _LETTERS = "#666666", 200


def save_contact_sheet(smear: Smear, differential: Differential, path: StrPath) -> None:
    """Draw the cells of a smear by type, each with the probability of its type, as PNG.

    Parameters
    ----------
    smear : Smear
    differential : Differential
        Of this smear.
    path : str or Path

    Raises
    ------
    OutputRefused
        The file cannot be written.
    """
    with replacing(Path(path)) as part:
        draw_contact_sheet(smear, differential).save(part, "PNG")


def draw_contact_sheet(smear: Smear, differential: Differential) -> Image.Image:
    """Return the picture that `save_contact_sheet` writes."""
    groups = _least_sure_first(differential)
    rows = {name: -(-len(cells[: _ACROSS * _MOST_ROWS]) // _ACROSS) for name, cells in groups.items()}
    sentences = [f"{one[:1].upper()}{one[1:]}." for one in differential.warnings] + [RESEARCH_USE]
    notes = [line for one in sentences for line in wrap(one, _LETTERS)]
    height = _HEAD * (1 + len(groups)) + sum(rows.values()) * (_SIDE + _CAPTION + _GAP) + 16 * len(notes) + 2 * _GAP
    sheet = Image.new("RGB", (_WIDTH, height), "white")
    pen, head, small = ImageDraw.Draw(sheet), _font(15), _font(9)
    pen.text((_GAP, 4), f"{differential.patient_id}: {counted(len(differential), 'cell')} by type", "black", head)
    places, top = {cell: i for i, cell in enumerate(smear.cells)}, _HEAD
    for name, cells in groups.items():
        drawn = cells[: _ACROSS * _MOST_ROWS]
        words = f"{name}: {len(cells)}" + (f", the {len(drawn)} least sure" if len(drawn) < len(cells) else "")
        pen.text((_GAP, top + 4), words, "black", head)
        for number, place in enumerate(drawn):
            row, column = divmod(number, _ACROSS)
            left, above = _GAP + column * (_SIDE + _GAP), top + _HEAD + row * (_SIDE + _CAPTION + _GAP)
            sheet.paste(_picture(smear, places[differential.cells[place]]), (left, above))
            pen.text((left, above + _SIDE), _caption(differential, place), _GREY, small)
        top += _HEAD + rows[name] * (_SIDE + _CAPTION + _GAP)
    for number, note in enumerate(notes):
        pen.text((_GAP, top + _GAP + 16 * number), note, _GREY, _font(10))
    return sheet


def _least_sure_first(differential: Differential) -> dict[str, list[int]]:
    """Return type -> places of its cells; those that are unlike every type, the least unlike first."""
    by_sureness = np.lexsort((differential.distance, differential.certainty))
    groups: dict[str, list[int]] = {name: [] for name in differential.all_types}
    for place in by_sureness.tolist():
        groups[differential.cell_types[place]].append(place)
    return {name: cells for name, cells in groups.items() if cells}


def _caption(differential: Differential, place: int) -> str:
    """Return how a cell got its type: by hand, by a probability, or by its distance from all types."""
    if differential.cells[place] in differential.by_hand:
        return "by hand"
    if math.isnan(certainty := differential.certainty[place]):
        return f"{differential.distance[place]:.1f}x"
    return f"{certainty:.2f}"


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return matplotlib's font, which has the micro sign and most names; Pillow's own has neither."""
    return ImageFont.truetype(str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def _picture(smear: Smear, index: int) -> Image.Image:
    try:
        cell = smear.on_canvas(index)
    except CellUnreadable:
        cell = np.full((_SIDE, _SIDE, 3), 200, np.uint8)
    return Image.fromarray(cell).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
