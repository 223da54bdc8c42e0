"""What the mouse does in the picture of the cells: a click selects, Shift and a drag select a rectangle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from napari_caltomorph.plugin.session.selection import CellSelection

Place = tuple[float, ...]

# A press that moves further than this, in pixels, pans the view and is no click.
_CLICK = 4


def press(
    event: Any,
    camera: Any,
    cells: CellSelection,
    cell_at: Callable[[Place], int | None],
    cells_between: Callable[[Place, Place], Iterable[int]],
) -> Iterator[None]:
    """A click selects a cell, with Ctrl one more, with Shift all up to it; Shift and drag select a rectangle."""
    start, place = event.pos, event.position
    extends, adds = "Shift" in event.modifiers, "Control" in event.modifiers
    pans = camera.mouse_pan
    camera.mouse_pan = pans and not extends
    yield
    moved = 0
    while event.type == "mouse_move":
        moved = max(moved, *(abs(a - b) for a, b in zip(start, event.pos, strict=True)))
        if extends and moved > _CLICK:
            cells.select(cells_between(place, event.position))
        yield
    camera.mouse_pan = pans
    moved = max(moved, *(abs(a - b) for a, b in zip(start, event.pos, strict=True)))
    cell = cell_at(event.position)
    if moved > _CLICK or cell is None:
        return
    if extends:
        cells.extend_to(cell)
    elif adds:
        cells.toggle(cell)
    else:
        cells.select([cell])
