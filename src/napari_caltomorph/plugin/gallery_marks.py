"""What is drawn on the cells of the gallery: frames, heat of attention, what the user did, and ranks below them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import to_rgba, to_rgba_array
from napari.layers import Points
from numpy.typing import NDArray

from napari_caltomorph.plugin.cell_colors import BY_LABEL
from napari_caltomorph.plugin.gallery import Grid
from napari_caltomorph.plugin.inspected import Inspected
from napari_caltomorph.report import Look
from napari_caltomorph.report.drawing import short

FRAME = 0.035
_MARKED_FRAME = 0.12
_HOT = "#ff3b00"
_HOTTEST = 0.45
# A cell must be this wide on the screen, in pixels, for its rank to be written below it.
_READABLE = 110
_MOST_TEXTS = 150
# Letters that fit below such a cell.
_LONGEST = 13


def paint(points: Points, inspected: Inspected, look: Look, *, heat: bool) -> None:
    """Colour the squares, which are in rank order: frames by class or label, marks thick, what is left out faded."""
    ranked, cells = inspected.prediction.order, inspected.cells
    left_out, marked = (np.isin(ranked, list(some)) for some in (cells.left_out, cells.marked))
    frames = to_rgba_array(inspected.colors[ranked])
    frames[left_out] = to_rgba(look.faint)
    faces = np.zeros((len(ranked), 4))
    if heat:
        faces[:] = to_rgba(_HOT)
        faces[:, 3] = _heat(inspected.prediction.attention[ranked])
    faces[left_out] = to_rgba(look.background, 0.66)
    with points.events.blocker_all():  # one update for all of it
        points.border_color = frames
        points.face_color = faces
        points.border_width = np.where(marked, _MARKED_FRAME, FRAME)
    points.refresh()


def _heat(attention: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) opacity: none up to an average cell's attention, the most for the most attended."""
    logs = np.log(np.maximum(attention, 1.0))
    return _HOTTEST * logs / max(float(logs.max()), 1e-9)


def readable_positions(points: Points, grid: Grid, places: NDArray[np.float64], zoom: float) -> tuple[int, ...]:
    """Return the positions in view whose cells are wide enough to bear a text; text for all would freeze the window."""
    on_screen = grid.cell[1] * float(points.scale[-1]) * zoom
    if on_screen < _READABLE or not points.visible:
        return ()
    top_left, bottom_right = points.corner_pixels[:, -2:]
    half = np.array(grid.cell) / 2
    inside = (places >= top_left - half) & (places <= bottom_right + half)
    return tuple(np.flatnonzero(inside.all(axis=1))[:_MOST_TEXTS].tolist())


def write_ranks(points: Points, inspected: Inspected, cells: list[int], grid: Grid, look: Look) -> None:
    """Write rank and attention below these cells, and the type where the frames are coloured by it."""
    prediction = inspected.prediction
    labels = inspected.cells.labels if inspected.coloring == BY_LABEL else None
    strings = [""] * len(prediction.cells)
    for cell in cells:
        rank = int(prediction.ranks[cell])
        said = f"#{rank}"
        if cell in inspected.cells.left_out:
            said += "   left out"
        elif labels and labels[cell]:
            said = short(labels[cell], _LONGEST)
        elif prediction.has_attention:
            said += f"   {prediction.attention[cell]:.1f}x"
        strings[rank - 1] = said
    text: dict[str, Any] = {
        "string": strings,
        "size": 9,
        "color": look.text,
        "anchor": "center",
        "translation": (grid.pitch[0] / 2, 0),
    }
    points.text = text
