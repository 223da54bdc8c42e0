"""Figures of trainings: losses and out-of-fold predictions of one ensemble, and the comparison of several variants.

In a comparison, the numbers of each fold are joined across variants, so that differences are seen fold by fold.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from napari_caltomorph.diagnosis import ModelDescription
from napari_caltomorph.diagnosis.model_card import TRAINING_CURVES
from napari_caltomorph.report.drawing import (
    PAPER,
    PlotStyle,
    draw_matrix,
    new_figure,
    prepare_plot,
    save_figure,
)
from napari_caltomorph.report.plot import Axis, Dots, Entry, Line, Plot, draw_plot
from napari_caltomorph.statistics.interval import percent
from napari_caltomorph.statistics.metric import METRICS
from napari_caltomorph.storage import StrPath
from napari_caltomorph.taxonomy import Taxonomy
from napari_caltomorph.training.comparison import EQUAL_STEPS, OPTIMISTIC, Comparison
from napari_caltomorph.training.variants import GroupName, Variant

# Distinguishable with any colour vision (Okabe and Ito 2008); as light as both backgrounds allow.
_FOLD_COLORS = ("#3b8fd9", "#e69f00", "#1fb58f", "#d97fb0", "#e5683a", "#8e7cc3", "#b8a500")
_ONE_CURVE, _POOLINGS = _FOLD_COLORS[0], {"cls": _FOLD_COLORS[0], "mean": _FOLD_COLORS[4]}
# With fewer classes, a cell of the matrix has room for its share below its count.
_FEW_CLASSES = 5
_GROUP_TITLES: dict[GroupName, str] = {
    "aggregators": "aggregator",
    "depths": "layers of the transformer",
    "sizes": "training patients of a member",
    "encoders": "features",
}
_CAPTION = (
    "Dots: single members on their own folds, each fold joined by a line. Bars and thick lines: means over folds. "
    "Ringed dots: the reference."
)
# Labels nearer than this share of the axis would touch.
_LABEL_WIDTH = 0.13


class Losses(Protocol):
    """Losses of one member, one number an epoch, NaN where unknown; the two sequences may differ in length."""

    @property
    def train_loss(self) -> Sequence[float]: ...
    @property
    def validation_loss(self) -> Sequence[float]: ...
    @property
    def best_epoch(self) -> int:
        """Counted from 1; 0 where there is none yet."""


def loss_plot(folds: Sequence[Losses], style: PlotStyle = PAPER) -> Plot:
    """Return each member's loss by epoch: training solid, validation dashed, a dot at the best epoch."""
    lines, dots, legend = [], [], []
    for number, fold in enumerate(folds):
        color = _FOLD_COLORS[number % len(_FOLD_COLORS)]
        legend.append(Entry(f"{number + 1}", color, "-"))
        for losses, is_dashed in ((fold.train_loss, False), (fold.validation_loss, True)):
            if np.isfinite(losses).any():
                lines.append(Line(range(1, len(losses) + 1), losses, color, 1.3, is_dashed))
        best = fold.validation_loss[fold.best_epoch - 1 : fold.best_epoch]  # empty where there is none
        if np.isfinite(best).any():
            place = np.array([[fold.best_epoch, best[0]]])
            dots.append(Dots(place, [color], style.background, size=5, width=1))
    if not lines:
        return Plot(sentence="No loss is known yet.")
    epochs = max(len(fold.train_loss) for fold in folds)
    has_validation = any(len(fold.validation_loss) for fold in folds)
    return Plot(
        Axis(0.5, max(epochs, 5) + 0.5, "epoch").numbered(6, integer=True),
        Axis.around(np.concatenate([line.y for line in lines])).numbered(),
        tuple(dots),
        tuple(lines),
        tuple(legend) if len(folds) > 1 else (),
        heading="fold",
        title="loss; dashed: validation, dot: best" if has_validation else "loss in training",
        grid="y",
    )


def draw_loss_curves(axes: Axes, folds: Sequence[Losses], style: PlotStyle = PAPER) -> None:
    """Draw `loss_plot`."""
    draw_plot(axes, loss_plot(folds, style), style)


def draw_out_of_fold_confusion(
    axes: Axes, taxonomy: Taxonomy, counts: NDArray[np.integer], style: PlotStyle = PAPER
) -> None:
    """Draw numbers of patients, (C, C), by true (row) and predicted class; deeper for a larger share of the row."""
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]  # (C, C)
    places = range(len(counts))

    def cell_text(row: int, column: int) -> str:
        return f"{counts[row, column]}" + (f"\n{percent(shares[row, column], 0)}" if len(counts) < _FEW_CLASSES else "")

    draw_matrix(
        axes,
        counts,
        taxonomy.colors,
        style,
        color_rows=True,
        is_right=np.eye(len(counts), dtype=bool),
        cell_text=cell_text,
        fontsize=8,
    )
    names = taxonomy.names
    axes.set_yticks(places, [f"{name} ({n})" for name, n in zip(names, totals, strict=True)], parse_math=False)
    is_long = len(names) > 2 or max(map(len, names)) > 9
    axes.set_xticks(places, names, rotation=90 if is_long else 0, parse_math=False)
    # At the right edge: the names of the rows leave the matrix less room than the title takes.
    axes.set_title("patients: true (row), predicted (column)", loc="right", fontsize=8, color=style.text)


def save_training_curves(description: ModelDescription, folder: StrPath) -> Path | None:
    """Write the figure of the model card into the model's folder.

    Parameters
    ----------
    description : ModelDescription
    folder : str or Path

    Returns
    -------
    Path or None
        None without known losses.

    Raises
    ------
    OutputRefused
        It cannot be written.
    """
    folds = [fold for fold in description.training.folds if fold.train_loss]
    if not folds:
        return None
    figure = new_figure(7.2, 3.6)
    draw_loss_curves(figure.subplots(), folds)
    return save_figure(figure, Path(folder) / TRAINING_CURVES, dpi=110)


def draw_group(axes: Axes, comparison: Comparison, group: GroupName, metric: str, style: PlotStyle = PAPER) -> None:
    """Draw one metric of the variants of one group: curves over depth or size, the others side by side."""
    prepare_plot(axes, style, vertical_grid=False)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    variants = comparison.of_group(group)
    if group == "depths":
        _draw_depths(axes, comparison, variants, metric, style)
    elif group == "sizes":
        _draw_sizes(axes, comparison, variants, metric, style)
    else:
        _draw_side_by_side(axes, comparison, variants, metric, style)
    axes.set(xlabel=_GROUP_TITLES[group], ylabel=METRICS[metric].name)


def comparison_figure(comparison: Comparison, style: PlotStyle = PAPER) -> Figure | None:
    """Return a figure with a column a group and a row a metric, or None where nothing has a result."""
    groups = [group for group in comparison.groups if comparison.of_group(group)]
    metrics = comparison.metrics
    if not groups or not metrics:
        return None
    widths = [_width(comparison, group) for group in groups]
    figure = new_figure(max(4.2, sum(widths) + 0.6), 2.3 * len(metrics) + 0.9)
    panels = figure.subplots(len(metrics), len(groups), sharex="col", sharey="row", squeeze=False, width_ratios=widths)
    for row, metric in zip(panels, metrics, strict=True):
        for axes, group in zip(row, groups, strict=True):
            draw_group(axes, comparison, group, metric, style)
            axes.label_outer()
    is_optimistic = any(variant.options.recipe == "paper" for variant in comparison.variants)
    caption = _CAPTION + (f" {EQUAL_STEPS}" if "sizes" in groups else "") + (f" {OPTIMISTIC}" if is_optimistic else "")
    columns = int(16 * figure.get_figwidth())
    figure.supxlabel(textwrap.fill(caption, columns), fontsize=7, color=style.text, x=0.01, ha="left")
    return figure


def save_comparison_figure(comparison: Comparison, path: StrPath) -> Path | None:
    """Write that figure as a PNG; return its path, or None where nothing has a result. Raises `OutputRefused`."""
    figure = comparison_figure(comparison)
    return None if figure is None else save_figure(figure, path, dpi=150)


def _width(comparison: Comparison, group: GroupName) -> float:
    """Inches that the labels below need."""
    return {"depths": 3.0, "sizes": 3.6}.get(group, 1.05 * max(2, len(comparison.of_group(group))))


def _values(comparison: Comparison, variants: list[Variant], metric: str) -> NDArray[np.float64]:
    """(V, K): a row a variant, a column a fold, NaN where undefined."""
    return np.stack([comparison.results[variant.slug].values(metric) for variant in variants])


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
    style: PlotStyle,
) -> None:
    for of_fold in values.T:
        axes.plot(places, of_fold, color=color, linewidth=0.7, alpha=0.35, zorder=1)
    for place, of_variant, variant in zip(places, values, variants, strict=True):
        edge = style.text if variant.is_reference else style.background
        axes.scatter(
            np.full(len(of_variant), place), of_variant, s=13, color=color, edgecolor=edge, linewidth=0.7, zorder=2
        )


def _draw_side_by_side(
    axes: Axes, comparison: Comparison, variants: list[Variant], metric: str, style: PlotStyle
) -> None:
    values, places = _values(comparison, variants, metric), np.arange(len(variants), dtype=float)
    _draw_folds(axes, places, values, variants, _ONE_CURVE, style)
    axes.hlines(_means(values), places - 0.28, places + 0.28, color=style.text, linewidth=2, zorder=3)
    labels = ["\n".join(line for part in v.name.split(", ") for line in textwrap.wrap(part, 13)) for v in variants]
    axes.set_xticks(places, labels, parse_math=False)
    axes.set_xlim(-0.6, len(variants) - 0.4)


def _draw_depths(axes: Axes, comparison: Comparison, variants: list[Variant], metric: str, style: PlotStyle) -> None:
    for shift, (pooling, color) in zip((-0.12, 0.12), _POOLINGS.items(), strict=True):
        some = [variant for variant in variants if variant.options.pooling == pooling]
        if not some:
            continue
        values = _values(comparison, some, metric)
        places = np.array([variant.options.depth for variant in some], dtype=float) + shift
        _draw_folds(axes, places, values, some, color, style)
        axes.plot(places, _means(values), color=color, linewidth=2, zorder=3, label=f"{pooling} pooling")
    depths = sorted({variant.options.depth for variant in variants})
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.set_xlim(depths[0] - 0.8, depths[-1] + 0.8)
    place = axes.get_subplotspec()
    if place is None or place.is_first_row():
        axes.legend(
            fontsize=7,
            frameon=False,
            labelcolor=style.text,
            ncols=2,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),  # above: inside it would hide folds
            borderaxespad=0.2,
        )


def _draw_sizes(axes: Axes, comparison: Comparison, variants: list[Variant], metric: str, style: PlotStyle) -> None:
    values = _values(comparison, variants, metric)
    places = np.array([np.mean(comparison.results[variant.slug].patients) for variant in variants])
    _draw_folds(axes, places, values, variants, _ONE_CURVE, style)
    axes.plot(places, _means(values), color=style.text, linewidth=2, zorder=3)
    reach = 1.08 * places.max()
    labels: dict[float, str] = {}  # of small cohorts, two shares may be one number of patients
    for place, variant in zip(places[::-1], variants[::-1], strict=True):  # the largest has its label in any case
        if min(labels, default=np.inf) - place >= _LABEL_WIDTH * reach:
            labels[place] = f"{place:.0f}\n{variant.name}"
    ticks = np.unique(places)
    axes.set_xticks(ticks, [labels.get(tick, "") for tick in ticks])
    axes.set_xlim(0, reach)
