"""Colours of cells in the gallery and in the plots: by the class of the cell alone, its label, or what a probe says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.prediction import Prediction
from napari_caltomorph.differential.cell_types import cell_type

BY_CLASS, BY_LABEL, BY_TYPE = "alone_class", "label", "cell_type"
UNLABELLED = "#8a8a8a"


def colors_by(column: str, prediction: Prediction, labels: tuple[str, ...]) -> NDArray[np.str_]:
    """(N,) ``#rrggbb`` of each cell, in the order of `Prediction.cells`."""
    if column == BY_CLASS:
        return np.array(prediction.taxonomy.colors)[prediction.alone_class]
    known = {label: cell_type(label).color if label else UNLABELLED for label in set(labels)}
    return np.array([known[label] for label in labels])


def legend(column: str, prediction: Prediction, labels: tuple[str, ...]) -> list[tuple[str, str, int]]:
    """Return what the colours mean: name, colour and how many cells, most frequent first."""
    names = np.array(labels, dtype=object)
    if column == BY_CLASS:
        names = np.array(prediction.taxonomy.names, dtype=object)[prediction.alone_class]
    colors = colors_by(column, prediction, labels)
    found, first, counts = np.unique(names, return_index=True, return_counts=True)
    return [(found[i] or "no label", str(colors[first[i]]), int(counts[i])) for i in np.argsort(-counts, kind="stable")]
