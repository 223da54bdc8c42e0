"""Some cells of the patient whose row is current: a row of pictures below a table of patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QLabel, QWidget

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.plugin.widgets.parts import column_of, line, plain
from napari_caltomorph.plugin.widgets.thumbnails import Thumbnails, shrunk
from napari_caltomorph.report.html import cell_images
from napari_caltomorph.smear import open_place

Images = Sequence[NDArray[np.uint8]]

CELLS = 8
_SIDE, _GAP = 40, 2


class PatientCells(QWidget):
    """Hidden until `show_patient`; the cells are read in a thread, once for each patient."""

    def __init__(self) -> None:
        super().__init__()
        self._key, self._caption = "", ""
        self.thumbnails: Thumbnails[str] = Thumbnails(self, _SIDE)
        self.thumbnails.loaded.connect(self._show)
        self._about, self.picture = line(), QLabel()
        self.picture.setFixedHeight(_SIDE)
        column_of(self, self._about, self.picture, spacing=1)
        self.hide()

    @property
    def text(self) -> str:
        return str(self._about.text())

    def begin(self, read: Callable[[str], Images] | None) -> None:
        """Show no patient yet. `read` returns, in a thread, at most `CELLS` images by the key of a patient."""
        side = self.thumbnails.pixels
        self.hide()
        self.thumbnails.show(None if read is None else lambda key: _side_by_side(read(key), side))

    def show_patient(self, key: str, caption: str) -> None:
        """Show the cells of a patient below a caption."""
        self._key, self._caption = key, caption
        self.show()
        self._show()

    def _show(self) -> None:
        picture = self.thumbnails.of(self._key)
        problem = self.thumbnails.problem(self._key)
        self._about.setText(plain(problem or self._caption))
        self.picture.setVisible(not problem)
        if picture is None:
            self.picture.clear()
        else:
            self.picture.setPixmap(picture)


def some_cells(place: str) -> Images:
    """Return images of cells of a smear, spread over it; `CellUnreadable` where there is none."""
    smear = open_place(place)
    spread = np.unique(np.linspace(0, len(smear) - 1, 2 * CELLS).astype(int))
    names = [smear.cells[i] for i in (*spread[::2], *spread[1::2])]
    return list(cell_images(smear, names, CELLS).values())


def _side_by_side(images: Images, side: int) -> NDArray[np.uint8]:
    """Return images in one row, (side, W, 4): transparent between them."""
    if not images:
        raise CellUnreadable("Its images are not at hand.")
    row = np.zeros((side, len(images) * (side + _GAP), 4), np.uint8)
    for place, image in enumerate(images):
        small = shrunk(image, side)
        left = place * (side + _GAP)
        row[: small.shape[0], left : left + small.shape[1], :3] = small
        row[: small.shape[0], left : left + small.shape[1], 3] = 255
    return row
