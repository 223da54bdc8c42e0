"""What HTML reports are made of: templates, and pictures that are part of the page.

A report loads nothing from a network, and no text in it is interpreted as HTML: ids, labels and names may be any text.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from jinja2 import Environment
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.smear import Smear
from napari_caltomorph.storage import StrPath, replacing

REPORT_NAME = "report.html"

# A vector figure of thousands of dots opens slowly.
_LARGEST_VECTOR = 800_000


def render(template: str, values: Mapping[str, object]) -> str:
    """Return the page from a template of this room, each value escaped."""
    environment = Environment(autoescape=True, trim_blocks=True)
    source = resources.files(__package__).joinpath(template).read_text("utf-8")
    return environment.from_string(source).render(values)


def save_page(html: str, path: StrPath) -> Path:
    """Write a page as one file; return its path. Raises `OutputRefused`."""
    with replacing(path := Path(path)) as part:
        part.write_text(html, "utf-8")
    return path


def figure_uri(figure: Figure) -> str:
    """Return a figure as a data URI: SVG, or PNG where that would be too large."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    if len(buffer.getvalue()) <= _LARGEST_VECTOR:
        return _data_uri("svg+xml", buffer.getvalue())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return _data_uri("png", buffer.getvalue())


def thumbnail_uri(cell: NDArray[np.uint8]) -> str:
    """Return the image of a cell, (H, W, 3), as the data URI of a JPEG of at most 112 px."""
    image = Image.fromarray(np.asarray(cell, dtype=np.uint8))
    image.thumbnail((112, 112))
    buffer = io.BytesIO()
    image.save(buffer, format="jpeg", quality=88)
    return _data_uri("jpeg", buffer.getvalue())


def cell_images(smear: Smear, names: Sequence[str], count: int) -> dict[str, NDArray[np.uint8]]:
    """Return the images, (H, W, 3) uint8, of the first `count` of these cells that can be read."""
    places = {name: i for i, name in enumerate(smear.cells)}
    images: dict[str, NDArray[np.uint8]] = {}
    for name in names:
        if len(images) == count:
            break
        if name in places:
            try:
                images[name] = smear.image(places[name])
            except CellUnreadable:
                continue
    return images


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
