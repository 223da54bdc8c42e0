"""What the gallery shows besides the selection: other views set it, and the gallery follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray
from psygnal import Signal


@dataclass(frozen=True)
class Overlay:
    """An image that lies over one cell and moves with it.

    Attributes
    ----------
    cell : int
    name : str
        Of the layer; a later overlay of this name replaces it.
    image : (H, W) or (H, W, 3) array
        Of any size: it is stretched over the cell.
    options : mapping
        Of napari's image layer.
    """

    cell: int
    name: str
    image: NDArray[Any]
    options: Mapping[str, Any] = field(default_factory=dict)


class GalleryState:
    """The display options of the gallery of one prediction.

    Attributes
    ----------
    is_available : bool
        Whether a gallery follows; none does without images.
    columns : int
        Cells in a row, set by the gallery.
    heat : bool
        Whether cells with more attention than average are tinted.
    cell_width : int
        Width of a cell on the screen in pixels; 0: all cells are in view.
    keys : dict of str to callable
        What each key does while the picture has the keyboard, as napari spells keys.
    """

    heat_changed = Signal()
    cell_width_changed = Signal()
    overlay_added = Signal(Overlay)
    key_changed = Signal(str)

    def __init__(self) -> None:
        self.is_available = False
        self.columns = 1
        self.heat = False
        self.cell_width = 0
        self.keys: dict[str, Callable[[], None]] = {}

    def show_heat(self, on: bool) -> None:
        """Tint the cells with more attention than an average one, or do not."""
        self.heat = on
        self.heat_changed.emit()

    def show_cell_width(self, width: int) -> None:
        """Show cells of this width on the screen, in pixels, and as many in a row as fit; 0: all of them in view."""
        self.cell_width = width
        self.cell_width_changed.emit()

    def add_overlay(self, overlay: Overlay) -> None:
        """Show an image over a cell."""
        self.overlay_added.emit(overlay)

    def bind_key(self, key: str, function: Callable[[], None] | None) -> None:
        """Call a function when a key is pressed over the picture, instead of napari's own action; None: no more."""
        if function is None:
            self.keys.pop(key, None)
        else:
            self.keys[key] = function
        self.key_changed.emit(key)
