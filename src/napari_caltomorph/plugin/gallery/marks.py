"""What is drawn on the cells of the gallery: frames, heat of attention, and what the user did."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgba, to_rgba_array
from napari.layers import Points
from numpy.typing import NDArray

from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.report import Look

FRAME = 0.035
_MARKED_FRAME = 0.12
_HOT = "#ff3b00"
_HOTTEST = 0.45


def paint(points: Points, inspection: Inspection, look: Look, *, heat: bool) -> None:
    """Colour the squares, which are in rank order: frames by class or label, marks thick, what is left out faded."""
    ranked, cells = inspection.prediction.order, inspection.cells
    left_out, marked = (np.isin(ranked, list(some)) for some in (cells.left_out, cells.marked))
    frames = to_rgba_array(inspection.colors[ranked])
    frames[left_out] = to_rgba(look.faint)
    faces = np.zeros((len(ranked), 4))
    if heat:
        faces[:] = to_rgba(_HOT)
        faces[:, 3] = _heat(inspection.prediction.attention[ranked])
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
