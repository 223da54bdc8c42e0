"""Figures of a cohort: patients left out and why (paper, figure 1B), classes by split, numbers of cells, examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.errors import CellUnreadable, SmearUnreadable
from napari_caltomorph.report.drawing import PAPER, PlotStyle
from napari_caltomorph.smear import open_place

_BOX: dict[str, Any] = {"boxstyle": "round,pad=0.45", "linewidth": 1}
_BINS = 20


def draw_flow(axes: Axes, cohort: Cohort, style: PlotStyle = PAPER) -> None:
    """Draw the patients found, those that each rule left out, and those in each split."""
    style.prepare(axes)
    axes.set(xticks=[], yticks=[])
    rules = cohort.left_out_counts()
    sides = cohort.table["split"].value_counts().to_dict()
    rest, parts = -len(rules) - 1.5, -len(rules) - 3.5
    axes.set(xlim=(0, 1), ylim=(parts - 0.8, 0.8))
    box: dict[str, Any] = {**_BOX, "facecolor": style.background, "edgecolor": style.text}
    text: dict[str, Any] = {"color": style.text, "fontsize": 8, "va": "center"}
    arrow = {"arrowstyle": "->", "color": style.text, "linewidth": 1}
    axes.plot([0.2, 0.2], [0, rest], color=style.text, linewidth=1, zorder=0)
    axes.text(0.2, 0, f"Found\nn={len(cohort) + len(cohort.left_out)}", bbox=box, ha="center", **text)
    for number, (rule, count) in enumerate(rules.items(), start=1):
        axes.annotate("", (0.31, -number - 0.2), (0.2, -number - 0.2), arrowprops=arrow)
        axes.text(0.335, -number - 0.2, f"{rule}  n={count}", bbox={**box, "edgecolor": style.faint}, ha="left", **text)
    for side, x in (("train", 0.1), ("test", 0.3)):
        axes.annotate("", (x, parts + 0.4), (0.2, rest), arrowprops=arrow, zorder=0)
        axes.text(x, parts, f"{side}\nn={sides.get(side, 0)}", bbox=box, ha="center", **text)
    axes.text(0.2, rest, f"In the cohort\nn={len(cohort)}", bbox=box, ha="center", **text)


def draw_classes(axes: Axes, cohort: Cohort, style: PlotStyle = PAPER) -> None:
    """Draw one bar a class: the training patients filled, the test patients in a lighter shade."""
    style.prepare(axes)
    taxonomy = cohort.taxonomy
    coarse = cohort.table["coarse"]
    counts = (
        pd.crosstab(coarse, cohort.table["split"]).reindex(index=taxonomy.slugs, columns=["train", "test"]).fillna(0)
    )
    rows = np.arange(len(taxonomy.classes))
    axes.barh(rows, counts["train"], height=0.62, color=taxonomy.colors)
    axes.barh(rows, counts["test"], left=counts["train"], height=0.62, color=taxonomy.colors, alpha=0.45)
    for row, (train, test) in enumerate(counts.itertuples(index=False)):
        axes.text(train + test, row, f"  {train:.0f} + {test:.0f}", va="center", fontsize=8, color=style.text)
    axes.set_yticks(rows, taxonomy.names, parse_math=False)
    axes.set(xticks=[], xlim=(0, 1.25 * max(float(counts.sum(axis=1).max()), 1)), ylim=(len(rows) - 0.5, -0.5))
    axes.set_title("patients: train + test", fontsize=8, color=style.text)


def draw_cells(axes: Axes, cohort: Cohort, style: PlotStyle = PAPER) -> None:
    """Draw a histogram of the usable cells per patient for each class, and its median to the right."""
    cells = cohort.table["n_cells"].astype(float)
    low, high = (int(cells.min()), int(cells.max())) if cells.notna().any() else (0, 0)
    spare = max(0, _BINS - (high - low)) // 2
    low, high = max(0, low - spare), high + spare
    width = -(-(high - low + 1) // _BINS)  # whole numbers, so that each bin holds as many of them
    edges = low - 0.5 + width * np.arange((high - low) // width + 2)
    _draw_histograms(axes, cohort, cells, edges, style, digits=0)
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
    axes.set_title("cells (median)", fontsize=8, color=style.text)


def has_hemoglobin(cohort: Cohort) -> bool:
    """Whether hemoglobin was measured in any of the patients."""
    return bool(cohort.table["hemoglobin_g_dl"].notna().any())


def draw_measured_hemoglobin(axes: Axes, cohort: Cohort, style: PlotStyle = PAPER) -> None:
    """Draw a histogram of measured hemoglobin for each class, and its median to the right."""
    values = cohort.table["hemoglobin_g_dl"].astype(float)
    low, high = (np.floor(values.min()), np.floor(values.max()) + 1) if has_hemoglobin(cohort) else (0.0, 20.0)
    _draw_histograms(axes, cohort, values, np.linspace(low, high, _BINS + 1), style, digits=1)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.set_title("Hb g/dl (median)", fontsize=8, color=style.text)


def _draw_histograms(
    axes: Axes, cohort: Cohort, values: pd.Series[float], edges: NDArray[Any], style: PlotStyle, *, digits: int
) -> None:
    """Draw one histogram a class, each scaled to the height of its row."""
    style.prepare(axes)
    taxonomy = cohort.taxonomy
    of_class = [values[cohort.table["coarse"] == slug].dropna() for slug in taxonomy.slugs]
    for row, (part, color) in enumerate(zip(of_class, taxonomy.colors, strict=True)):
        axes.axhline(row + 0.4, color=style.faint, linewidth=0.7, zorder=0)
        counts, _ = np.histogram(part, edges)
        heights = -0.8 * counts / max(1, counts.max())  # the axis points down
        axes.stairs(row + 0.4 + heights, edges, baseline=row + 0.4, fill=True, color=color)
        median = f"  {part.median():.{digits}f}" if len(part) else "  -"
        axes.text(edges[-1], row, median, va="center", fontsize=8, color=style.text)
    axes.set_yticks(np.arange(len(taxonomy.classes)), taxonomy.names, parse_math=False)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(len(taxonomy.classes) - 0.5, -0.5))


def draw_preview(axes: Axes, cohort: Cohort, style: PlotStyle = PAPER, *, cells: int = 12) -> None:
    """Draw the first cells of one patient of each class, one row a class."""
    style.prepare(axes)
    side, rows, names = 96, [], []
    for one in cohort.taxonomy.classes:
        paths = cohort.table.loc[(cohort.table["coarse"] == one.slug) & cohort.table["path"].notna(), "path"]
        if len(paths):
            rows.append(_row_of_cells(str(paths.iloc[0]), cells, side))
            names.append(one.name)
    if not rows:
        axes.text(0.5, 0.5, "features only: no images to show", color=style.text, ha="center")
        return
    axes.imshow(np.concatenate(rows), interpolation="antialiased")
    axes.set_yticks(np.arange(len(rows)) * side + side / 2, names)
    axes.set_xticks([])


def _row_of_cells(path: str, count: int, side: int) -> NDArray[np.uint8]:
    row = np.full((side, count * side, 3), 255, np.uint8)
    try:
        smear = open_place(path)
    except SmearUnreadable:
        return row  # left white in a preview; encoding reports it
    for position in range(min(count, len(smear))):
        try:
            cell = Image.fromarray(smear.on_canvas(position)).resize((side - 2, side - 2))
        except CellUnreadable:
            continue  # left white in a preview
        row[1:-1, position * side + 1 : (position + 1) * side - 1] = np.asarray(cell)
    return row
