"""The pictures of a patient's report: figures as data URIs, and the first cells with their thumbnails."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.report.drawing import short
from napari_caltomorph.report.figures import (
    draw_attention_swarm,
    draw_hemoglobin,
    draw_malignancy,
    draw_probabilities,
)
from napari_caltomorph.report.html import figure_uri, thumbnail_uri
from napari_caltomorph.report.top_cells import cell_images
from napari_caltomorph.report.what_if_figure import draw_what_if
from napari_caltomorph.smear import Smear

CELLS = 20
"""So many cells are shown: two rows on a page of paper."""

_WIDTH, _NAMES, _NUMBERS = 4.5, 1.55, 0.42  # inches
_LONGEST = 2.9


@dataclass(frozen=True)
class ShownCell:
    """One of the first cells.

    Attributes
    ----------
    rank : int
    attention : float
        Ratio to an average cell.
    name, alone, color : str
        The cell, and the class that the model answers with to it alone.
    image : str
        Data URI; empty where there is no image.
    """

    rank: int
    attention: float
    name: str
    alone: str
    color: str
    image: str


@dataclass(frozen=True)
class ClassCount:
    """How many cells, each alone, the model answers with a class."""

    name: str
    color: str
    cells: int


def bars_uri(prediction: Prediction) -> str:
    """Return the class probabilities, malignancy and hemoglobin as one figure."""
    small = [draw_malignancy, draw_hemoglobin] if prediction.hemoglobin is not None else [draw_malignancy]
    bars = min(0.22 * len(prediction.taxonomy.names) + 0.05, _LONGEST)
    heights = [bars, *(0.38 for _ in small)]
    figure = Figure(figsize=(_WIDTH, sum(heights)))
    grid = figure.add_gridspec(
        len(heights), 1, height_ratios=heights, left=_NAMES / _WIDTH, right=1 - _NUMBERS / _WIDTH, top=1, bottom=0.07
    )
    for row, draw in enumerate([draw_probabilities, *small]):
        axes = figure.add_subplot(grid[row])
        draw(axes, prediction)
        _shorten_names(axes, fontsize=min(8.0, 62 * bars / len(prediction.taxonomy.names)))
    return figure_uri(figure)


def swarm_uri(prediction: Prediction) -> str:
    """Return the cells by attention; only where the model has any."""
    figure = Figure(figsize=(7.3, 1.3))
    draw_attention_swarm(figure.add_axes((0.01, 0.28, 0.98, 0.71)), prediction)
    return figure_uri(figure)


def what_if_uri(prediction: Prediction) -> str:
    """Return the answer beside the original, where a person left cells out."""
    names = len(prediction.taxonomy.names) + 1
    figure = Figure(figsize=(3.5, min(0.17 * names + 0.1, _LONGEST)))
    axes = figure.add_axes((0.37, 0.02, 0.42, 0.96))
    draw_what_if(axes, prediction)
    _shorten_names(axes, fontsize=7)
    return figure_uri(figure)


def alone_counts(prediction: Prediction) -> list[ClassCount]:
    """Return the classes with which the model answers single cells, the most frequent first."""
    counts = Counter(map(int, prediction.alone_class)).most_common()
    return [ClassCount(prediction.taxonomy.names[i], prediction.taxonomy.colors[i], count) for i, count in counts]


def first_cells(prediction: Prediction, smear: Smear | None) -> list[ShownCell]:
    """Return the cells with the highest attention, or in the smear's order where there is none."""
    return _shown(prediction, smear, prediction.order[:CELLS])


def unusual_cells(prediction: Prediction, smear: Smear | None) -> list[ShownCell]:
    """Return the cells that are least like the training cells; none where the model does not know those."""
    return [] if prediction.domain is None else _shown(prediction, smear, prediction.domain.unusual[: CELLS // 2])


def _shown(prediction: Prediction, smear: Smear | None, places: NDArray[np.intp]) -> list[ShownCell]:
    names = [prediction.cells[i] for i in places]
    images = {} if smear is None else cell_images(smear, names, len(names))
    alone = [prediction.alone_class[i] for i in places]
    return [
        ShownCell(
            rank=int(prediction.ranks[i]),
            attention=float(prediction.attention[i]),
            name=name,
            alone=prediction.taxonomy.names[one],
            color=prediction.taxonomy.colors[one],
            image=thumbnail_uri(images[name]) if name in images else "",
        )
        for i, name, one in zip(places, names, alone, strict=True)
    ]


def _shorten_names(axes: Axes, fontsize: float) -> None:
    """Leave the bars room, and the rows theirs; taxonomies are the user's."""
    for text in axes.texts:
        text.set_fontsize(min(fontsize, text.get_fontsize()))
    ticks, names = axes.get_yticks(), [label.get_text() for label in axes.get_yticklabels()]
    bold = [label.get_fontweight() for label in axes.get_yticklabels()]
    axes.set_yticks(ticks, [short(name, 24) for name in names], parse_math=False)
    for label, weight in zip(axes.get_yticklabels(), bold, strict=True):
        label.set(fontweight=weight, fontsize=fontsize)
