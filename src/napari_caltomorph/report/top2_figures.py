"""The second most probable class: how often it is right, and by how much it lost (paper, supplementary figure 1)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.report.drawing import prepare_plot, say_instead, short, title
from napari_caltomorph.report.figures import PAPER, Look

_BIN = 0.05
_DOT = "#d55e00"


def draw_top2(axes: Axes, evaluation: Evaluation, look: Look = PAPER) -> None:
    """Draw for each class how often it is the first, and one of the first two."""
    numbers = list(evaluation.by_class.values())
    if not evaluation.has_one_class.any():
        say_instead(axes, f"No top-2 accuracy: {evaluation.headline['top2_accuracy'].remark}.", look)
        return
    look.prepare(axes)
    rows = np.arange(len(numbers))
    axes.barh(rows, np.ones(len(rows)), height=0.62, color=look.faint, alpha=0.35)
    second = axes.barh(rows, [one.top2.value or 0 for one in numbers], height=0.62, color=evaluation.taxonomy.colors)
    for bar in second:
        bar.set_alpha(0.45)
    axes.barh(rows, [one.sensitivity.value or 0 for one in numbers], height=0.62, color=evaluation.taxonomy.colors)
    for row, one in enumerate(numbers):
        said = "nobody" if one.top2.value is None else f"{one.sensitivity.value:.2f}, {one.top2.value:.2f}"
        axes.text(1.03, row, said, va="center", fontsize=8, color=look.text)
    names = [f"{short(one.name)} ({one.patients})" for one in numbers]
    axes.set_yticks(rows, names, parse_math=False)
    axes.set(xticks=[0, 0.5, 1], xlim=(0, 1.3), ylim=(len(rows) - 0.5, -0.5))
    title(axes, "full: right at first\npale: within the first two", look)


def draw_delta(axes: Axes, evaluation: Evaluation, look: Look = PAPER) -> None:
    """Draw by how much the first class led where the second was right; dots: the second's probability."""
    who = is_second(evaluation)
    if not who.any():
        remark = evaluation.headline["top2_accuracy"].remark
        why = "nobody's class is the second most probable" if evaluation.has_one_class.any() else remark
        say_instead(axes, f"No differences: {why}.", look)
        return
    prepare_plot(axes, look)
    delta = evaluation.delta_probability[who]
    edges = np.arange(0, 1 + _BIN / 2, _BIN)
    axes.hist(delta, edges.tolist(), color=look.faint, edgecolor=look.background, linewidth=0.8)
    axes.set_xlim(0, 1)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.set_xlabel("first less second probability")
    axes.set_ylabel("patients (bars)")
    beside = axes.twinx()
    look.prepare(beside)
    beside.patch.set_visible(False)  # the bars lie below
    second = np.sort(evaluation.probabilities[who], axis=1)[:, -2]
    beside.scatter(delta, second, s=14, color=_DOT, edgecolor=look.background, linewidth=0.4)
    beside.set_ylim(0, 0.525)
    beside.set_ylabel("second probability (dots)", fontsize=8, color=_DOT)
    beside.tick_params(axis="y", colors=_DOT)
    title(axes, f"{who.sum()} patients whose class came second", look)


def is_second(evaluation: Evaluation) -> NDArray[np.bool_]:
    """(P,) whose one class is the second most probable."""
    who: NDArray[np.bool_] = evaluation.has_one_class & (evaluation.order[:, 1] == evaluation.classes)
    return who
