"""Where optical densities are painted, layer over layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_caltomorph.synthetic.shapes import FIELD_OF_VIEW_UM, Complex, Grid, grid
from napari_caltomorph.synthetic.texture import Field


@dataclass(frozen=True)
class Window:
    """A rectangle of a canvas; painting in it costs what it covers.

    Attributes
    ----------
    densities : (3, H, W) float32
        View of the canvas.
    z : (H, W) complex64
        Positions of its pixels, micrometres.
    """

    densities: Field
    z: Complex

    def paint(self, color: Field, cover: Field) -> None:
        """Lay a colour (optical density, (3, H, W) or (3, 1, 1)) over what is there, as opaque as `cover`."""
        below = self.densities
        below += cover * (color - below)


@dataclass(frozen=True)
class Canvas:
    """The optical densities of one image.

    Attributes
    ----------
    grid : Grid
    densities : (3, size, size) float32
        0 is empty glass.
    """

    grid: Grid
    densities: Field

    @classmethod
    def empty(cls, size: int) -> Canvas:
        """Return a clean canvas of `size` px."""
        return cls(grid(size), np.zeros((3, size, size), np.float32))

    @property
    def whole(self) -> Window:
        """The canvas as one window."""
        return Window(self.densities, self.grid.z)

    def window(self, centre: complex, reach: float) -> Window | None:
        """Return the canvas within `reach` micrometres of `centre`; None where that lies outside."""
        size, pixel = self.grid.size, self.grid.pixel
        left, top = centre.real + FIELD_OF_VIEW_UM / 2, centre.imag + FIELD_OF_VIEW_UM / 2
        columns = slice(max(int((left - reach) / pixel), 0), min(int((left + reach) / pixel) + 2, size))
        rows = slice(max(int((top - reach) / pixel), 0), min(int((top + reach) / pixel) + 2, size))
        if columns.start >= columns.stop or rows.start >= rows.stop:
            return None
        return Window(self.densities[:, rows, columns], self.grid.z[rows, columns])
