"""One patient's prediction as an HTML file that prints on two pages: the paper's figure 5, and the evidence for it.

Everything in it derives from the `Prediction`, its `Trust` and its `Differential`: first the words, then the pictures,
then the page. Long lists (cells, warnings, files) are cut to fit on two pages; ``prediction.json`` has the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.prediction_files import find_smear
from napari_caltomorph.differential import Differential
from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.explanation.trust import Trust
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.report.drawing import one_by_one, short
from napari_caltomorph.report.html import cell_images, figure_uri, render, thumbnail_uri
from napari_caltomorph.report.patient_texts import Excerpt, patient_texts
from napari_caltomorph.report.prediction_figures import (
    alone_colors,
    draw_attention_swarm,
    draw_hemoglobin,
    draw_malignancy,
    draw_probabilities,
    draw_what_if,
)
from napari_caltomorph.smear import Smear

# Two rows on a page of paper.
_CELLS = 20

_WIDTH, _NAMES, _NUMBERS = 4.5, 1.55, 0.42  # inches
_MOST_HEIGHT = 2.9


@dataclass(frozen=True)
class ShownCell:
    """A cell with its thumbnail."""

    rank: int
    attention: float  # Ratio to an average cell
    name: str
    alone: str  # The class predicted for the cell alone; empty where the prediction is withheld
    color: str  # Of that class
    image: str  # Data URI; empty where there is no image


@dataclass(frozen=True)
class ClassCount:
    """The number of cells for which, each alone, the model predicts a class."""

    name: str
    color: str
    cells: int


def patient_report(
    prediction: Prediction,
    *,
    smear: Smear | None = None,
    trust: Trust | None = None,
    differential: Differential | None = None,
    metadata: Mapping[str, str] | None = None,
    progress: OnProgress = ignore,
) -> str:
    """Return the report of one patient: HTML that loads nothing from a network. `save_page` writes it.

    Without `smear`, the images are read from where the prediction was made; where there are none, the report explains
    why. Without `trust`, the reasons to believe the prediction are derived from the prediction alone. The differential
    is of the same cells; `metadata` is what else is known of the patient, such as age or the diagnosis of the clinic.
    `progress` is called before each figure.
    """
    texts = patient_texts(prediction, trust or Trust(prediction), differential, metadata or {})
    why_no_images = ""
    if smear is None:
        try:
            smear = find_smear(prediction)
        except SmearUnreadable as error:
            why_no_images = short(str(error), 200)
    pictures = _pictures(prediction, smear, progress) | {"why_no_images": why_no_images}
    return render("patient.html.j2", {"prediction": prediction, **texts, **pictures})


def _pictures(prediction: Prediction, smear: Smear | None, progress: OnProgress) -> dict[str, object]:
    """Return the figures as data URIs, and the cells that are shown; what there is none of is empty."""
    domain = prediction.domain
    # The cells with the highest attention, or the first of the smear where there is none.
    first, unusual = prediction.order[:_CELLS], None if domain is None else domain.unusual[: _CELLS // 2]
    drawn: dict[str, tuple[str, Callable[[], object] | None]] = {
        "bars": ("probabilities", None if prediction.withheld else partial(_bars_uri, prediction)),
        "swarm": ("attention", partial(_swarm_uri, prediction) if prediction.has_attention else None),
        "what_if": ("what if", None if prediction.shown_original is None else partial(_what_if_uri, prediction)),
        "cells": ("first cells", partial(_shown_cells, prediction, smear, first)),
        "unusual": ("unusual cells", None if unusual is None else partial(_shown_cells, prediction, smear, unusual)),
    }
    figures = [(name, title, draw) for name, (title, draw) in drawn.items() if draw is not None]
    shown = {name: draw() for name, _, draw in one_by_one(figures, lambda one: one[1], progress)}
    return {name: "" for name in drawn} | shown | {"alone": Excerpt.of(_alone_counts(prediction), 10)}


def _bars_uri(prediction: Prediction) -> str:
    """Return the class probabilities, malignancy and hemoglobin as one figure."""
    small = [draw_malignancy, draw_hemoglobin] if prediction.hemoglobin is not None else [draw_malignancy]
    bars = min(0.22 * len(prediction.taxonomy.names) + 0.05, _MOST_HEIGHT)
    heights = [bars, *(0.42 for _ in small)]
    figure = Figure(figsize=(_WIDTH, sum(heights)))
    grid = figure.add_gridspec(
        len(heights), 1, height_ratios=heights, left=_NAMES / _WIDTH, right=1 - _NUMBERS / _WIDTH, top=1, bottom=0.07
    )
    for row, draw in enumerate([draw_probabilities, *small]):
        axes = figure.add_subplot(grid[row])
        draw(axes, prediction)
        axes.patch.set_visible(False)  # the text below the row above reaches into it
        _shorten_names(axes, fontsize=min(8.0, 62 * bars / len(prediction.taxonomy.names)))
    return figure_uri(figure)


def _swarm_uri(prediction: Prediction) -> str:
    """Return the cells by attention; only where the model has any."""
    figure = Figure(figsize=(7.3, 1.3))
    draw_attention_swarm(figure.add_axes((0.01, 0.28, 0.98, 0.71)), prediction)
    return figure_uri(figure)


def _what_if_uri(prediction: Prediction) -> str:
    """Return the probabilities without the cells that a person left out, with the original ones outlined."""
    names = len(prediction.taxonomy.names) + 1
    figure = Figure(figsize=(3.5, min(0.17 * names + 0.1, _MOST_HEIGHT)))
    axes = figure.add_axes((0.37, 0.02, 0.42, 0.96))
    draw_what_if(axes, prediction)
    _shorten_names(axes, fontsize=7)
    return figure_uri(figure)


def _alone_counts(prediction: Prediction) -> list[ClassCount]:
    """Return the classes predicted for single cells, the most frequent first; none where it is withheld."""
    if prediction.withheld:
        return []
    counts = Counter(map(int, prediction.alone_class)).most_common()
    return [ClassCount(prediction.taxonomy.names[i], prediction.taxonomy.colors[i], count) for i, count in counts]


def _shown_cells(prediction: Prediction, smear: Smear | None, places: NDArray[np.intp]) -> list[ShownCell]:
    names = [prediction.cells[i] for i in places]
    images = {} if smear is None else cell_images(smear, names, len(names))
    alone = prediction.alone_class[places]
    colors = alone_colors(prediction)
    return [
        ShownCell(
            rank=int(prediction.ranks[i]),
            attention=float(prediction.attention[i]),
            name=name,
            alone="" if prediction.withheld else prediction.taxonomy.names[one],
            color=colors[i],
            image=thumbnail_uri(images[name]) if name in images else "",
        )
        for i, name, one in zip(places, names, alone, strict=True)
    ]


def _shorten_names(axes: Axes, fontsize: float) -> None:
    """Shorten names and reduce fonts so that bars and rows have room: taxonomies are the user's."""
    for text in axes.texts:
        text.set_fontsize(min(fontsize, text.get_fontsize()))
    ticks, names = axes.get_yticks(), [label.get_text() for label in axes.get_yticklabels()]
    bold = [label.get_fontweight() for label in axes.get_yticklabels()]
    axes.set_yticks(ticks, [short(name, 24) for name in names], parse_math=False)
    for label, weight in zip(axes.get_yticklabels(), bold, strict=True):
        label.set(fontweight=weight, fontsize=fontsize)
