"""What every HTML report is made of: a template, and pictures that stand inside the page.

A report asks no network for anything, and no text in it is read as HTML: ids, labels and names may hold what they will.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from importlib import resources

import numpy as np
from jinja2 import Environment
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

# Vector figures of thousands of dots would be slow to open.
_LARGEST_VECTOR = 800_000


def render(template: str, values: Mapping[str, object]) -> str:
    """Return the page that a template of this room makes of values, each text escaped."""
    environment = Environment(autoescape=True, trim_blocks=True)
    source = resources.files(__package__).joinpath(template).read_text("utf-8")
    return environment.from_string(source).render(values)


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


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
