"""Where optical densities are painted, layer over layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_caltomorph.synthetic.shapes import Grid, grid
from napari_caltomorph.synthetic.texture import Field


@dataclass(frozen=True)
class Canvas:
    """The optical densities of one image, or of a rectangle of it: painting costs what the rectangle covers.

    Attributes
    ----------
    grid : Grid
        Where its pixels lie.
    densities : (3, H, W) float32
        0 is empty glass. A rectangle's are a view of the whole's.
    """

    grid: Grid
    densities: Field

    @classmethod
    def empty(cls, size: int) -> Canvas:
        """Return a clean canvas of `size` px."""
        return cls(grid(size), np.zeros((3, size, size), np.float32))

    def window(self, centre: complex, reach: float) -> Canvas | None:
        """Return what lies within `reach` micrometres of `centre`, `centre` being its origin; None if nothing does."""
        height, width = self.grid.shape
        pixel = self.grid.pixel
        left = centre.real - float(self.grid.x[0, 0]) + pixel / 2
        top = centre.imag - float(self.grid.y[0, 0]) + pixel / 2
        columns = slice(max(int((left - reach) / pixel), 0), min(int((left + reach) / pixel) + 2, width))
        rows = slice(max(int((top - reach) / pixel), 0), min(int((top + reach) / pixel) + 2, height))
        if columns.start >= columns.stop or rows.start >= rows.stop:
            return None
        x, y = self.grid.x[:, columns], self.grid.y[rows]
        moved = Grid(x - np.float32(centre.real), y - np.float32(centre.imag), pixel)
        return Canvas(moved, self.densities[:, rows, columns])

    def paint(self, color: Field, cover: Field) -> None:
        """Lay a colour (optical density, (3, H, W) or (3, 1, 1)) over what is there, as opaque as `cover`."""
        layer = color - self.densities
        layer *= cover
        below = self.densities
        below += layer

    def glaze(self, color: Field, amount: Field, overlap: float = 0.6) -> None:
        """Lay a transparent colour (optical density, (3, 1, 1)) on: where two such overlap, it is darker.

        With an `overlap` of 1 the densities of the two add up; with 0 only the denser is seen.
        """
        layer, below = color * amount, self.densities
        both = np.minimum(layer, below)
        both *= np.float32(overlap)
        np.maximum(layer, below, out=below)
        below += both
