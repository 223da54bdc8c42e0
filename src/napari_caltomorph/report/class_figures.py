"""Which class is predicted: confusion matrices (paper, figures 2B, 3A, 4D) and the second most probable class (S1)."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.evaluation.confusion import Confusion
from napari_caltomorph.evaluation.coverage import LIMITS, coverage_curve
from napari_caltomorph.report.drawing import PAPER, PlotStyle, draw_matrix, draw_sentence, prepare_plot, short, title
from napari_caltomorph.report.prediction_figures import draw_bars
from napari_caltomorph.statistics.interval import percent

# With more rows, share and count of a cell are written side by side.
_MANY_ROWS = 12
_DELTA_BIN = 0.05
_SECOND_COLOR = "#d55e00"


def draw_confusion(axes: Axes, evaluation: Evaluation, style: PlotStyle = PAPER) -> None:
    """Draw patients by true and predicted class: counts, and shares of the row.

    Rows below the line have several right answers, or none. Row and column of a cell are its y and x, rounded.
    """
    _draw_confusion(axes, evaluation, evaluation.confusion, style)


def draw_detailed_confusion(axes: Axes, evaluation: Evaluation, style: PlotStyle = PAPER) -> None:
    """Draw the same with a row for each detailed class, of `evaluation.detailed_confusion`."""
    _draw_confusion(axes, evaluation, evaluation.detailed_confusion, style)


def draw_top2(axes: Axes, evaluation: Evaluation, style: PlotStyle = PAPER) -> None:
    """Draw for each class how often it is the first, and one of the first two."""
    numbers = list(evaluation.by_class.values())
    if not evaluation.has_one_class.any():
        draw_sentence(axes, f"No top-2 accuracy: {evaluation.headline['top2_accuracy'].remark}.", style)
        return
    style.prepare(axes)
    rows = np.arange(len(numbers))
    colors = evaluation.taxonomy.colors
    draw_bars(axes, rows, [one.top2.value or 0 for one in numbers], colors, style)
    for bar in axes.containers[-1]:
        bar.set_alpha(0.45)
    axes.barh(rows, [one.sensitivity.value or 0 for one in numbers], height=0.62, color=colors)
    for row, one in enumerate(numbers):
        text = "no patient" if one.top2.value is None else f"{one.sensitivity.value:.2f}, {one.top2.value:.2f}"
        axes.text(1.03, row, text, va="center", fontsize=8, color=style.text)
    names = [f"{short(one.name)} ({one.patients})" for one in numbers]
    axes.set_yticks(rows, names, parse_math=False)
    axes.set(xticks=[0, 0.5, 1], xlim=(0, 1.3), ylim=(len(rows) - 0.5, -0.5))
    title(axes, "full: right at first\npale: within the first two", style)


def draw_delta(axes: Axes, evaluation: Evaluation, style: PlotStyle = PAPER) -> None:
    """Draw the difference between the two highest probabilities where the second class is right."""
    is_second = evaluation.has_one_class & (evaluation.order[:, 1] == evaluation.classes)
    if not is_second.any():
        remark = evaluation.headline["top2_accuracy"].remark
        why = "no patient's class is the second most probable" if evaluation.has_one_class.any() else remark
        draw_sentence(axes, f"No differences: {why}.", style)
        return
    prepare_plot(axes, style)
    delta = evaluation.delta_probability[is_second]
    edges = np.arange(0, 1 + _DELTA_BIN / 2, _DELTA_BIN)
    axes.hist(delta, edges.tolist(), color=style.faint, edgecolor=style.background, linewidth=0.8)
    axes.set_xlim(0, 1)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.set(xlabel="first minus second probability", ylabel="patients (bars)")
    second_axis = axes.twinx()
    style.prepare(second_axis)
    second_axis.patch.set_visible(False)  # the bars are below
    second = np.sort(evaluation.probabilities[is_second], axis=1)[:, -2]
    second_axis.scatter(delta, second, s=14, color=_SECOND_COLOR, edgecolor=style.background, linewidth=0.4)
    second_axis.set_ylim(0, 0.525)
    second_axis.set_ylabel("second probability (dots)", fontsize=8, color=_SECOND_COLOR)
    second_axis.tick_params(axis="y", colors=_SECOND_COLOR)
    title(axes, f"{is_second.sum()} patients whose class came second", style)


def draw_coverage(axes: Axes, evaluation: Evaluation, style: PlotStyle = PAPER) -> None:
    """Draw the share of wrong classes among those who are predicted, where the smallest leads are withheld first."""
    curve = coverage_curve(evaluation)
    if curve is None:
        draw_sentence(axes, f"No coverage: {evaluation.headline['accuracy'].remark}.", style)
        return
    prepare_plot(axes, style)
    low, value, high = (np.array([getattr(one, name) for one in curve.error]) for name in ("low", "value", "high"))
    axes.fill_between(curve.coverage, low, high, step="pre", color=style.faint, alpha=0.6, linewidth=0)
    axes.step(curve.coverage, value, color=style.text, linewidth=1.4)
    for limit in LIMITS:
        if (kept := curve.limit >= limit).any() and not kept.all():
            at = int(kept.sum()) - 1
            axes.scatter([curve.coverage[at]], [value[at]], s=24, color=_SECOND_COLOR, zorder=3)
            where: dict[str, Any] = {"textcoords": "offset points", "xytext": (0, 6), "ha": "center"}
            axes.annotate(f"{limit:g}", (curve.coverage[at], value[at]), fontsize=7, color=style.text, **where)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="share of patients who are predicted", ylabel="predicted class is wrong")
    title(axes, f"all: {curve.error[-1].shown(2)}", style)


def _draw_confusion(axes: Axes, evaluation: Evaluation, confusion: Confusion, style: PlotStyle) -> None:
    if not confusion.counts.any():
        draw_sentence(axes, f"No confusion matrix: {evaluation.headline['accuracy'].remark}.", style)
        return
    taxonomy, counts, shares = evaluation.taxonomy, confusion.counts, confusion.fractions
    is_right = np.array([[slug in row.slugs for slug in confusion.columns] for row in confusion.rows])
    between = "\n" if len(confusion.rows) <= _MANY_ROWS else "  "
    draw_matrix(
        axes,
        counts,
        taxonomy.colors,
        style,
        is_right=is_right,
        cell_text=lambda row, column: f"{counts[row, column]}{between}{percent(shares[row, column], 0)}",
        linespacing=1.05,
    )
    frame: dict[str, Any] = {"fill": False, "edgecolor": style.text, "linewidth": 0.8, "zorder": 3}
    for row, column in np.argwhere(is_right).tolist():
        axes.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, **frame))
    first_other = next((i for i, row in enumerate(confusion.rows) if row.kind != "class"), 0)
    if first_other:
        axes.axhline(first_other - 0.5, color=style.text, linewidth=1)
    labels = [
        "\n".join(textwrap.wrap(f"{short(row.name, 56)} ({total})", 34))
        for row, total in zip(confusion.rows, counts.sum(axis=1), strict=True)
    ]
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    names = [short(name) for name in taxonomy.names]
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor", parse_math=False)
    title(axes, "patients and shares of the row\nrows: true, columns: predicted", style)
