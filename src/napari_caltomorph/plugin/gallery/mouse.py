"""Selecting cells of the gallery with the mouse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_caltomorph.plugin.gallery.gallery import Gallery

# A press that moves further than this, in pixels, pans the view and is no click.
_CLICK = 4


class GalleryMouse:
    """A click selects the cell under it, with Ctrl one more, with Shift all up to it; Shift and a drag, a rectangle."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        gallery.viewer.mouse_drag_callbacks.append(self._on_press)

    def close(self) -> None:
        """Let go of the viewer."""
        self._gallery.viewer.mouse_drag_callbacks.remove(self._on_press)

    def _on_press(self, viewer: object, event: Any) -> Iterator[None]:
        start, place = event.pos, event.position
        extends, adds = "Shift" in event.modifiers, "Control" in event.modifiers
        camera = self._gallery.viewer.scene.camera
        pans = camera.mouse_pan
        camera.mouse_pan = pans and not extends
        yield
        moved = 0
        while event.type == "mouse_move":
            moved = max(moved, *(abs(a - b) for a, b in zip(start, event.pos, strict=True)))
            if extends and moved > _CLICK:
                self._gallery.inspection.cells.select(self._gallery.cells_between(place, event.position))
            yield
        camera.mouse_pan = pans
        moved = max(moved, *(abs(a - b) for a, b in zip(start, event.pos, strict=True)))
        cell = self._gallery.cell_at(event.position)
        if moved <= _CLICK and cell is not None:
            self._choose(cell, extends=extends, adds=adds)

    def _choose(self, cell: int, *, extends: bool, adds: bool) -> None:
        cells = self._gallery.inspection.cells
        if extends:
            cells.extend_to(cell)
        elif adds:
            cells.toggle(cell)
        else:
            cells.select([cell])
