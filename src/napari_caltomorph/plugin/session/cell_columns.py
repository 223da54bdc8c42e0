"""What is known of each cell as columns and colours, and which cells a filter shows in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from natsort import natsort_keygen
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.prediction import Prediction
from napari_caltomorph.differential.cell_types import cell_type
from napari_caltomorph.plugin.session.undiagnosed import UndiagnosedCells
from napari_caltomorph.smear import Smear

Column = NDArray[Any]
AnyCells = Prediction | UndiagnosedCells
_natural = natsort_keygen()

# The columns that cells can be coloured by.
BY_CLASS, BY_LABEL, BY_TYPE = "alone_class", "label", "cell_type"
# The probability of the type that the probe predicts: sorted by it, the doubtful cells come first.
CERTAINTY = "p_called"
# The place of a cell among all, by type in the order of a differential, the least sure of each type first.
GROUPED = "type_and_p"
# What a cell's image shows, where cells were described.
IN_VIEW = "in_view"
# Of cells without a label, or whose class is not shown.
PLAIN = "#8a8a8a"


@dataclass(frozen=True)
class CellFilter:
    """Which cells are shown: those that meet all conditions."""

    search: str = ""  # part of the cell's name; case is ignored
    alone_class: str | None = None  # the class that the model predicts for the cell alone
    label: str | None = None  # "": it has none
    quality: float = 0.0  # least sharpness, 0 ... 1; cells that were not graded are shown
    top: int | None = None  # only the first so many cells, as they are sorted


@dataclass(frozen=True)
class Sort:
    """By which column cells are ordered; unknown values come last, ties in the order of attention."""

    column: str = "attention"
    descending: bool = True


def cell_columns(bag: AnyCells, smear: Smear | None = None) -> dict[str, Column]:
    """Return what is known of each cell but its label, in the order of `bag.cells`."""
    sharpness = {}
    if smear is not None and smear.grades is not None:
        sharpness = {cell: 1 - grade.blur for cell, grade in zip(smear.cells, smear.grades, strict=True)}
    columns = {"cell": np.array(bag.cells, dtype=object), "rank": bag.ranks}
    quality = {"quality": np.array([sharpness.get(cell, np.nan) for cell in bag.cells])}
    if not isinstance(bag, Prediction):
        return columns | quality
    columns["attention"] = bag.attention
    columns["alone_class"] = np.array(bag.taxonomy.names, dtype=object)[bag.alone_class]
    return columns | quality | {f"alone_p_{slug}": bag.alone[:, i] for i, slug in enumerate(bag.taxonomy.slugs)}


def shown_order(columns: Mapping[str, Column], sort: Sort, wanted: CellFilter) -> NDArray[np.intp]:
    """Return (K,) the cells that a filter shows, as they are sorted."""
    shown = np.ones(len(columns["rank"]), dtype=bool)
    if wanted.search:
        search = wanted.search.casefold()
        shown &= np.array([search in cell.casefold() for cell in columns["cell"]], dtype=bool)
    if wanted.alone_class is not None:
        shown &= columns["alone_class"] == wanted.alone_class
    if wanted.label is not None:
        shown &= columns["label"] == wanted.label
    if wanted.quality > 0:
        shown &= ~(columns["quality"] < wanted.quality)  # NaN is not known to be worse
    by_attention = np.argsort(columns["rank"], kind="stable")
    order = by_attention[_sorted(columns[sort.column][by_attention], descending=sort.descending)]
    order = order[shown[order]]
    return order if wanted.top is None else order[: wanted.top]


def colors_by(column: str, bag: AnyCells, labels: tuple[str, ...]) -> NDArray[np.str_]:
    """(N,) ``#rrggbb`` of each cell, in the order of `bag.cells`."""
    if column == BY_CLASS and isinstance(bag, Prediction):
        if bag.withheld:
            return np.full(len(bag.cells), PLAIN)
        return np.array(bag.taxonomy.colors)[bag.alone_class]
    known = {label: cell_type(label).color if label else PLAIN for label in set(labels)}
    return np.array([known[label] for label in labels])


def legend(column: str, bag: AnyCells, labels: tuple[str, ...], among: NDArray[np.intp]) -> list[tuple[str, str, int]]:
    """Return what the colours of some cells mean: name, colour and how many, most frequent first."""
    names = np.array(labels, dtype=object)
    if column == BY_CLASS and isinstance(bag, Prediction):
        names = np.array(bag.taxonomy.names, dtype=object)[bag.alone_class]
    names, colors = names[among], colors_by(column, bag, labels)[among]
    unique, first, counts = np.unique(names, return_index=True, return_counts=True)
    most = np.argsort(-counts, kind="stable")
    return [(unique[i] or "no label", str(colors[first[i]]), int(counts[i])) for i in most]


def _sorted(values: Column, *, descending: bool) -> NDArray[np.intp]:
    """Return a stable order; texts as a person counts (cell 2 before cell 10), unknown values last."""
    if values.dtype.kind in "fiub":
        keys = values.astype(float)
        unknown = np.isnan(keys)
    else:
        texts = [str(value) for value in values]
        places = {text: place for place, text in enumerate(sorted(set(texts), key=_natural))}
        keys = np.array([places[text] for text in texts], dtype=float)
        unknown = np.array([not text for text in texts], dtype=bool)
    keys = -keys if descending else keys
    order: NDArray[np.intp] = np.argsort(np.where(unknown, np.inf, keys), kind="stable")
    return order
