"""Predictions against something that was measured, such as a ratio of cells (paper, figures 3B and 3C).

For each class its probability, and for all patients the share of errors.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.evaluation.covariates import covariate_association, covariate_values
from napari_caltomorph.report.drawing import legend_beside, prepare_plot, say_instead, short, title
from napari_caltomorph.report.figures import PAPER, Look


def draw_against(axes: Axes, evaluation: Evaluation, column: str, slug: str, look: Look = PAPER) -> None:
    """Draw the probability of a class against a column of `Evaluation.covariates`, for the patients who have it.

    Parameters
    ----------
    axes : Axes
    evaluation : Evaluation
    column : str
    slug : str
        Of the class; crosses are its patients that are predicted as another, in that one's colour.
    look : Look
    """
    one = evaluation.taxonomy.coarse(slug)
    number = evaluation.taxonomy.slugs.index(slug)
    values = covariate_values(evaluation, column)
    mine = (evaluation.classes == number) & np.isfinite(values)
    if not mine.any():
        say_instead(axes, f"No patient with {one.name} has a number for {column}.", look)
        return
    prepare_plot(axes, look)
    probability = evaluation.probabilities[:, number]
    right = mine & evaluation.is_right
    axes.scatter(values[right], probability[right], s=18, color=one.color, edgecolor=look.background, linewidth=0.4)
    handles = [
        Line2D([], [], linestyle="none", marker="o", color=one.color, label=f"{short(one.name)} ({right.sum()})")
    ]
    for other, wrong in enumerate(evaluation.taxonomy.classes):
        who = mine & ~evaluation.is_right & (evaluation.predicted == other)
        if who.any():
            axes.scatter(values[who], probability[who], s=24, color=wrong.color, marker="X", linewidth=0, zorder=3)
            label = f"as {short(wrong.name)} ({who.sum()})"
            handles.append(Line2D([], [], linestyle="none", marker="X", color=wrong.color, label=label))
    axes.set_ylim(-0.02, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(column, parse_math=False)
    axes.set_ylabel(f"probability of {short(one.name)}", parse_math=False)
    legend_beside(axes, handles, look, heading="predicted")
    r = covariate_association(evaluation, column).correlations[slug]
    said = f", Spearman r {r.shown(2)}" if r.is_defined else ""
    title(axes, f"{mine.sum()} patients with {short(one.name)}{said}", look)


def draw_errors_by(axes: Axes, evaluation: Evaluation, column: str, look: Look = PAPER) -> None:
    """Draw the share of wrong predictions by quarters of the patients, ordered by a column of `Evaluation.covariates`.

    Ticks above and below are patients that are predicted wrong and right, in the colours of their classes.
    """
    found = covariate_association(evaluation, column)
    if not found.bins:
        say_instead(axes, f"No patient with a right answer has a number for {column}.", look)
        return
    prepare_plot(axes, look)
    for part in found.bins:
        error = part.error
        value, low, high = error.value or 0.0, error.low or 0.0, error.high or 0.0  # defined: a bin has patients
        axes.plot([part.low, part.high], [value] * 2, color=look.text, linewidth=2.4, solid_capstyle="butt")
        axes.plot([part.middle] * 2, [low, high], color=look.text, linewidth=1)
        axes.plot([part.middle], [value], marker="o", color=look.text, markersize=5)
    values = covariate_values(evaluation, column)
    colors = np.array([*evaluation.taxonomy.colors, look.text])[evaluation.classes]  # -1: several right answers
    known = np.isfinite(values) & (evaluation.has_one_class | evaluation.has_several)
    for is_right, low, high in ((True, -0.1, -0.04), (False, 1.04, 1.1)):
        who = known & (evaluation.is_right == is_right)
        axes.vlines(values[who], low, high, colors=colors[who].tolist(), linewidth=1)
    axes.set_ylim(-0.12, 1.12)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(column, parse_math=False)
    axes.set_ylabel("share predicted wrong")
    title(axes, f"errors among {found.patients} patients\nticks: wrong above, right below", look)
