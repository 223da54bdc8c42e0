"""Predictions against measured values: hemoglobin (paper, figures 2D, 4E), and covariates such as ratios (3B, 3C)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.evaluation.covariates import covariate_association, covariate_values
from napari_caltomorph.report.drawing import (
    PAPER,
    PlotStyle,
    draw_sentence,
    legend_beside,
    legend_dot,
    prepare_plot,
    short,
    title,
)
from napari_caltomorph.report.plot import Axis, Dots, Entry, Line, Plot, draw_plot


def hemoglobin_plot(evaluation: Evaluation, style: PlotStyle = PAPER) -> Plot:
    """Return one dot a patient in the colour of the true class, with correlation and error."""
    groups = {group.name: group.numbers for group in evaluation.hemoglobin}
    overall = groups["all"]
    if overall["mae"].value is None:
        return Plot(sentence=f"No hemoglobin: {overall['mae'].remark}.")
    both = measured_and_predicted(evaluation)
    known = np.isfinite(both).all(axis=1)
    scale = Axis.around(both[known], margin=0.04).numbered(6)
    kinds = [(one.name, one.color, evaluation.classes == c) for c, one in enumerate(evaluation.taxonomy.classes)]
    kinds.append(("no one class", style.text, evaluation.classes < 0))
    shown = [(name, color, known & of_kind) for name, color, of_kind in kinds if (known & of_kind).any()]
    title = (
        f"r {overall['pearson_r'].shown(2)}\nwithin classes {groups['within classes']['pearson_r'].shown(2)}\n"
        f"mean error {overall['mae'].shown(2)}\nbias {overall['bias'].shown(2)}"
    )
    return Plot(
        replace(scale, name="measured hemoglobin, g/dl"),
        replace(scale, name="predicted, g/dl"),
        tuple(Dots(both[who], [color] * who.sum(), style.background, width=0.4) for _, color, who in shown),
        (Line((scale.low, scale.high), (scale.low, scale.high), style.faint, is_dashed=True),),
        tuple(Entry(f"{short(name)} ({who.sum()})", color) for name, color, who in shown),
        title=title,
        grid="xy",
    )


def measured_and_predicted(evaluation: Evaluation) -> NDArray[np.float64]:
    """(P, 2) hemoglobin of each patient in g/dl, NaN where unknown."""
    columns = ("measured_hemoglobin_g_dl", "hemoglobin_g_dl")
    return np.stack([evaluation.patients[c].to_numpy(dtype=float, na_value=np.nan) for c in columns], axis=1)


def draw_hemoglobin_scatter(axes: Axes, evaluation: Evaluation, style: PlotStyle = PAPER) -> None:
    """Draw `hemoglobin_plot`."""
    draw_plot(axes, hemoglobin_plot(evaluation, style), style)


def draw_against(axes: Axes, evaluation: Evaluation, column: str, slug: str, style: PlotStyle = PAPER) -> None:
    """Draw the probability of a class against a column of `Evaluation.covariates`, for the patients of that class.

    Crosses are its patients that are predicted as another class, in the colour of that class.
    """
    one = evaluation.taxonomy.coarse(slug)
    number = evaluation.taxonomy.slugs.index(slug)
    values = covariate_values(evaluation, column)
    mine = (evaluation.classes == number) & np.isfinite(values)
    if not mine.any():
        draw_sentence(axes, f"No patient with {one.name} has a number for {column}.", style)
        return
    prepare_plot(axes, style)
    probability = evaluation.probabilities[:, number]
    right = mine & evaluation.is_right
    axes.scatter(values[right], probability[right], s=18, color=one.color, edgecolor=style.background, linewidth=0.4)
    handles = [legend_dot(f"{short(one.name)} ({right.sum()})", one.color)]
    for other, wrong in enumerate(evaluation.taxonomy.classes):
        who = mine & ~evaluation.is_right & (evaluation.predicted == other)
        if who.any():
            axes.scatter(values[who], probability[who], s=24, color=wrong.color, marker="X", linewidth=0, zorder=3)
            handles.append(legend_dot(f"as {short(wrong.name)} ({who.sum()})", wrong.color, marker="X"))
    axes.set_ylim(-0.02, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(column, parse_math=False)
    axes.set_ylabel(f"probability of {short(one.name)}", parse_math=False)
    legend_beside(axes, handles, style, heading="predicted")
    r = covariate_association(evaluation, column).correlations[slug]
    correlation = f", Spearman r {r.shown(2)}" if r.is_defined else ""
    title(axes, f"{mine.sum()} patients with {short(one.name)}{correlation}", style)


def draw_errors_by(axes: Axes, evaluation: Evaluation, column: str, style: PlotStyle = PAPER) -> None:
    """Draw the share of wrong predictions by quarters of the patients, ordered by a column of `Evaluation.covariates`.

    Ticks above are patients predicted wrong, ticks below those predicted right, in the colours of their classes.
    """
    association = covariate_association(evaluation, column)
    if not association.bins:
        draw_sentence(axes, f"No patient with a right answer has a number for {column}.", style)
        return
    prepare_plot(axes, style)
    for part in association.bins:
        error = part.error
        value, low, high = error.value or 0.0, error.low or 0.0, error.high or 0.0  # defined: a bin has patients
        axes.plot([part.low, part.high], [value] * 2, color=style.text, linewidth=2.4, solid_capstyle="butt")
        axes.plot([part.middle] * 2, [low, high], color=style.text, linewidth=1)
        axes.plot([part.middle], [value], marker="o", color=style.text, markersize=5)
    values = covariate_values(evaluation, column)
    colors = np.array([*evaluation.taxonomy.colors, style.text])[evaluation.classes]  # -1: several right answers
    known = np.isfinite(values) & (evaluation.has_one_class | evaluation.has_several)
    for is_right, low, high in ((True, -0.1, -0.04), (False, 1.04, 1.1)):
        who = known & (evaluation.is_right == is_right)
        axes.vlines(values[who], low, high, colors=colors[who].tolist(), linewidth=1)
    axes.set(ylim=(-0.12, 1.12), yticks=[0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(column, parse_math=False)
    axes.set_ylabel("share predicted wrong")
    title(axes, f"errors among {association.patients} patients\nticks: wrong above, right below", style)
