"""Confusion matrices of an evaluation: coarse classes (paper, figure 2B), and detailed by coarse (figures 3A, 4D)."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.evaluation.confusion import Confusion
from napari_caltomorph.report.drawing import mixed, readable_on, say_instead, short, title
from napari_caltomorph.report.figures import PAPER, Look

# With more rows, share and count of a cell stand side by side.
_MANY = 12


def draw_confusion(axes: Axes, evaluation: Evaluation, look: Look = PAPER) -> None:
    """Draw patients by true and predicted class: counts, and shares of the row.

    Rows below the line have several right answers, or none. Row and column of a cell are its y and x, rounded, as
    `evaluation.confusion` counts them.
    """
    _draw(axes, evaluation, evaluation.confusion, look)


def draw_detailed_confusion(axes: Axes, evaluation: Evaluation, look: Look = PAPER) -> None:
    """Draw the same with a row for each detailed class, of `evaluation.detailed_confusion`."""
    _draw(axes, evaluation, evaluation.detailed_confusion, look)


def _draw(axes: Axes, evaluation: Evaluation, confusion: Confusion, look: Look) -> None:
    if not confusion.counts.any():
        say_instead(axes, f"No confusion matrix: {evaluation.headline['accuracy'].remark}.", look)
        return
    look.prepare(axes)
    taxonomy, counts, shares = evaluation.taxonomy, confusion.counts, confusion.fractions
    empty = mixed(look.background, look.faint, 0.35)
    colors = np.array([mixed(look.background, color, 1.0) for color in taxonomy.colors])  # (C, 3)
    image = empty + shares[..., None] * (colors[None] - empty)  # (rows, C, 3)
    axes.imshow(image, aspect="auto", interpolation="nearest")
    between = "\n" if len(confusion.rows) <= _MANY else "  "
    for row, meaning in enumerate(confusion.rows):
        for column, slug in enumerate(confusion.columns):
            is_right = slug in meaning.slugs
            if is_right:
                axes.add_patch(
                    Rectangle(
                        (column - 0.47, row - 0.47),
                        0.94,
                        0.94,
                        fill=False,
                        edgecolor=look.text,
                        linewidth=0.8,
                        zorder=3,
                    )
                )
            if counts[row, column]:
                axes.text(
                    column,
                    row,
                    f"{counts[row, column]}{between}{shares[row, column]:.0%}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    linespacing=1.05,
                    color=readable_on(image[row, column]),
                    weight="bold" if is_right else "normal",
                )
    axes.set_xticks(np.arange(len(confusion.columns)) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(confusion.rows)) - 0.5, minor=True)
    axes.grid(which="minor", color=look.background, linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    first_other = next((i for i, row in enumerate(confusion.rows) if row.kind != "class"), 0)
    if first_other:
        axes.axhline(first_other - 0.5, color=look.text, linewidth=1)
    labels = [
        "\n".join(textwrap.wrap(f"{short(row.name, 56)} ({total})", 34))
        for row, total in zip(confusion.rows, counts.sum(axis=1), strict=True)
    ]
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    axes.set_xticks(
        range(len(taxonomy.names)),
        [short(name) for name in taxonomy.names],
        rotation=35,
        ha="right",
        rotation_mode="anchor",
        parse_math=False,
    )
    title(axes, "patients and shares of the row\nrows: true, columns: predicted", look)
