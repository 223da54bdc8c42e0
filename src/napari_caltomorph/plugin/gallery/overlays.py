"""Images that lie over single cells of the gallery and move with them."""

from __future__ import annotations

from typing import Any

import napari
import numpy as np
from napari.layers import Image, Points
from numpy.typing import NDArray

from napari_caltomorph.plugin.gallery.pictures import Grid
from napari_caltomorph.plugin.session.selection import CellSelection


class CellOverlays:
    """The overlays of one gallery, by the names of their layers."""

    def __init__(self, viewer: napari.viewer.Viewer, points: Points) -> None:
        self._viewer, self._points = viewer, points
        self._layers: dict[str, tuple[Image, int]] = {}

    def add(self, cell: int, name: str, image: NDArray[Any], **options: Any) -> Image:
        """Lay an image over a cell, in place of the one of this name.

        Parameters
        ----------
        cell : int
        name : str
            Of the layer.
        image : (H, W) or (H, W, 3) array
            Of any size: it is stretched over the cell.
        **options
            Of napari's image layer.
        """
        if name in self._layers and self._layers[name][0] in self._viewer.layers:
            self._viewer.layers.remove(self._layers[name][0])
        layer = self._viewer.add_image(image, name=name, units=self._points.units, **options)
        self._layers[name] = layer, cell
        self._viewer.layers.selection.active = self._points  # the keys of the gallery go on working
        return layer

    def place(self, cells: CellSelection, grid: Grid) -> None:
        """Put each where its cell stands now; hide those whose cell is not shown."""
        pixel = np.array(self._points.scale[-2:])
        for layer, cell in self._layers.values():
            position = cells.position(cell)
            layer.visible = position is not None
            if position is not None:
                step = np.array(grid.cell) / layer.data.shape[:2]
                layer.scale = pixel * step
                layer.translate = pixel * (np.array(grid.corner(position)) + (step - 1) / 2)
