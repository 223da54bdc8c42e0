"""The figure of a comparison: each fold's numbers joined across variants, so that a difference is seen fold by fold."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from napari_caltomorph.report.figures import PAPER, Look
from napari_caltomorph.statistics.metric import METRICS
from napari_caltomorph.storage import replacing
from napari_caltomorph.training.compare_options import GroupName
from napari_caltomorph.training.comparison import OPTIMISTIC, Comparison, Variant

TITLES: dict[GroupName, str] = {
    "aggregators": "aggregator",
    "depths": "layers of the transformer",
    "sizes": "training patients of a member",
    "encoders": "features",
}
_CAPTION = (
    "Dots: single members on their own folds, each fold joined by a line. Bars and thick lines: means over folds. "
    "Ringed dots: the reference."
)
# Told apart by people of any colour vision (Okabe and Ito 2008).
_ONE, _POOLINGS = "#0072b2", {"cls": "#0072b2", "mean": "#d55e00"}
# Labels nearer than this share of the axis would touch.
_LABEL_WIDTH = 0.13


def draw_group(axes: Axes, comparison: Comparison, group: GroupName, metric: str, look: Look = PAPER) -> None:
    """Draw one metric of the variants of one group.

    Depths and sizes are drawn as curves over their number, the others side by side.

    Parameters
    ----------
    axes : Axes
    comparison : Comparison
    group, metric : str
        One of the comparison's.
    look : Look
    """
    look.prepare(axes)
    axes.spines[["left", "bottom"]].set_visible(True)
    axes.spines[["left", "bottom"]].set_color(look.faint)
    axes.yaxis.grid(True, color=look.faint, linewidth=0.5, alpha=0.6)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_axisbelow(True)
    variants = comparison.of_group(group)
    if group == "depths":
        _draw_depths(axes, comparison, variants, metric, look)
    elif group == "sizes":
        _draw_sizes(axes, comparison, variants, metric, look)
    else:
        _draw_side_by_side(axes, comparison, variants, metric, look)
    axes.set_xlabel(TITLES[group])
    axes.set_ylabel(METRICS[metric].name)


def comparison_figure(comparison: Comparison, look: Look = PAPER) -> Figure | None:
    """Return a figure with a column a group and a row a metric, or None where nothing has a result."""
    groups = [group for group in comparison.groups if comparison.of_group(group)]
    metrics = comparison.metrics
    if not groups or not metrics:
        return None
    widths = [_width(comparison, group) for group in groups]
    figure = Figure(figsize=(max(4.2, sum(widths) + 0.6), 2.3 * len(metrics) + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(metrics), len(groups), sharex="col", sharey="row", squeeze=False, width_ratios=widths)
    for row, metric in zip(panels, metrics, strict=True):
        for axes, group in zip(row, groups, strict=True):
            draw_group(axes, comparison, group, metric, look)
            axes.label_outer()
    is_optimistic = any(variant.options.recipe == "paper" for variant in comparison.variants)
    caption = f"{_CAPTION} {OPTIMISTIC}" if is_optimistic else _CAPTION
    columns = int(16 * figure.get_figwidth())
    figure.supxlabel(textwrap.fill(caption, columns), fontsize=7, color=look.text, x=0.01, ha="left")
    return figure


def save_comparison_figure(comparison: Comparison, path: str | Path) -> Path | None:
    """Write that figure as a PNG; return where it stands, or None where nothing has a result.

    Raises
    ------
    OutputRefused
        It cannot be written.
    """
    figure = comparison_figure(comparison)
    if figure is None:
        return None
    with replacing(path := Path(path)) as part:
        figure.savefig(part, format="png", dpi=150)
    return path


def _width(comparison: Comparison, group: GroupName) -> float:
    """Inches that the labels below need."""
    return {"depths": 3.0, "sizes": 3.6}.get(group, 1.05 * max(2, len(comparison.of_group(group))))


def _values(comparison: Comparison, variants: list[Variant], metric: str) -> NDArray[np.float64]:
    """(V, K): a row a variant, a column a fold, NaN where undefined."""
    return np.stack([comparison.result(variant).values(metric) for variant in variants])


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(V,), NaN where no fold defines it."""
    counts = np.isfinite(values).sum(axis=1)
    means: NDArray[np.float64] = np.where(counts > 0, np.nansum(values, axis=1) / np.maximum(counts, 1), np.nan)
    return means


def _draw_folds(
    axes: Axes,
    places: NDArray[np.float64],
    values: NDArray[np.float64],
    variants: list[Variant],
    color: str,
    look: Look,
) -> None:
    for of_fold in values.T:
        axes.plot(places, of_fold, color=color, linewidth=0.7, alpha=0.35, zorder=1)
    for place, of_variant, variant in zip(places, values, variants, strict=True):
        edge = look.text if variant.is_reference else look.background
        axes.scatter(
            np.full(len(of_variant), place), of_variant, s=13, color=color, edgecolor=edge, linewidth=0.7, zorder=2
        )


def _draw_side_by_side(axes: Axes, comparison: Comparison, variants: list[Variant], metric: str, look: Look) -> None:
    values, places = _values(comparison, variants, metric), np.arange(len(variants), dtype=float)
    _draw_folds(axes, places, values, variants, _ONE, look)
    axes.hlines(_means(values), places - 0.28, places + 0.28, color=look.text, linewidth=2, zorder=3)
    labels = ["\n".join(line for part in v.name.split(", ") for line in textwrap.wrap(part, 13)) for v in variants]
    axes.set_xticks(places, labels, parse_math=False)
    axes.set_xlim(-0.6, len(variants) - 0.4)


def _draw_depths(axes: Axes, comparison: Comparison, variants: list[Variant], metric: str, look: Look) -> None:
    for shift, (pooling, color) in zip((-0.12, 0.12), _POOLINGS.items(), strict=True):
        some = [variant for variant in variants if variant.options.pooling == pooling]
        if not some:
            continue
        values = _values(comparison, some, metric)
        places = np.array([variant.options.depth for variant in some], dtype=float) + shift
        _draw_folds(axes, places, values, some, color, look)
        axes.plot(places, _means(values), color=color, linewidth=2, zorder=3, label=f"{pooling} pooling")
    depths = sorted({variant.options.depth for variant in variants})
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.set_xlim(depths[0] - 0.8, depths[-1] + 0.8)
    place = axes.get_subplotspec()
    if place is None or place.is_first_row():
        axes.legend(
            fontsize=7,
            frameon=False,
            labelcolor=look.text,
            ncols=2,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),  # above: inside it would hide folds
            borderaxespad=0.2,
        )


def _draw_sizes(axes: Axes, comparison: Comparison, variants: list[Variant], metric: str, look: Look) -> None:
    values = _values(comparison, variants, metric)
    places = np.array([np.mean(comparison.result(variant).patients) for variant in variants])
    _draw_folds(axes, places, values, variants, _ONE, look)
    axes.plot(places, _means(values), color=look.text, linewidth=2, zorder=3)
    labels = [f"{place:.0f}\n{variant.name}" for place, variant in zip(places, variants, strict=True)]
    reach = 1.08 * places.max()
    last = np.inf
    for position in reversed(range(len(places))):  # the largest has its label in any case
        if last - places[position] < _LABEL_WIDTH * reach:
            labels[position] = ""
        else:
            last = places[position]
    axes.set_xticks(places, labels)
    axes.set_xlim(0, reach)
