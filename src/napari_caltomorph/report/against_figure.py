"""A class's probability against something that was measured, such as a ratio of cells (paper, figures 3B and 3C)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from napari_caltomorph.evaluate import Evaluation
from napari_caltomorph.report.drawing import legend_beside, prepare_plot, say_instead, short, title
from napari_caltomorph.report.figures import PAPER, Look


def numeric_covariates(evaluation: Evaluation) -> tuple[str, ...]:
    """Columns of the cohort's table that hold more than two different numbers."""
    found = []
    for column in evaluation.covariates.columns:
        values = pd.to_numeric(evaluation.covariates[column], errors="coerce")
        if values.nunique() > 2:
            found.append(str(column))
    return tuple(found)


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
    there = evaluation.covariates.get(column)
    values = np.full(len(evaluation), np.nan)
    if there is not None:
        values = pd.to_numeric(there, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
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
    title(axes, f"{mine.sum()} patients with {one.name}", look)
