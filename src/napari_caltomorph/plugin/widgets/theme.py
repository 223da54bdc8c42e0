"""napari's theme as colours for our own drawings."""

from __future__ import annotations

import numpy as np
from napari.utils.theme import get_theme
from numpy.typing import NDArray
from qtpy.QtGui import QImage, QPixmap

from napari_caltomorph.report import Look

WARNING = "#e0a100"
ERROR = "#e5534b"


def look_of(theme: str) -> Look:
    """Return the colours of a napari theme, for figures."""
    colors = get_theme(theme)
    return Look(text=colors.text.as_hex(), background=colors.background.as_hex(), faint=colors.primary.as_hex())


def colored(text: str, color: str) -> str:
    """Return HTML in a colour."""
    return f"<span style='color:{color}'>{text}</span>" if text else ""


def pixmap(image: NDArray[np.uint8]) -> QPixmap:
    """(H, W, 3) uint8 RGB as a Qt pixmap."""
    image = np.ascontiguousarray(image)
    height, width, _ = image.shape
    # QImage does not copy the buffer; the pixmap made from it does.
    return QPixmap.fromImage(QImage(image.data, width, height, 3 * width, QImage.Format.Format_RGB888))
