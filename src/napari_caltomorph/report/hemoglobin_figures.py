"""Predicted beside measured hemoglobin (paper, figures 2D and 4E)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.report.drawing import legend_beside, prepare_plot, say_instead, short, title
from napari_caltomorph.report.figures import PAPER, Look


def draw_hemoglobin_scatter(axes: Axes, evaluation: Evaluation, look: Look = PAPER) -> None:
    """Draw one dot a patient in the colour of the true class, with correlation and error."""
    groups = {group.name: group.numbers for group in evaluation.hemoglobin}
    overall = groups["all"]
    if overall["mae"].value is None:
        say_instead(axes, f"No hemoglobin: {overall['mae'].remark}.", look)
        return
    prepare_plot(axes, look)
    measured = evaluation.patients["measured_hemoglobin_g_dl"].to_numpy(dtype=float, na_value=np.nan)
    predicted = evaluation.patients["hemoglobin_g_dl"].to_numpy(dtype=float, na_value=np.nan)
    known = np.isfinite(measured) & np.isfinite(predicted)
    both = np.concatenate([measured[known], predicted[known]])
    margin = 0.04 * (both.max() - both.min()) or 1.0
    limits = both.min() - margin, both.max() + margin
    axes.plot(limits, limits, color=look.faint, linewidth=1, linestyle="--")
    handles = []
    kinds = [(one.name, one.color, evaluation.classes == c) for c, one in enumerate(evaluation.taxonomy.classes)]
    kinds.append(("no one class", look.text, evaluation.classes < 0))
    for name, color, of_kind in kinds:
        who = known & of_kind
        if who.any():
            axes.scatter(
                measured[who], predicted[who], s=16, color=color, edgecolor=look.background, linewidth=0.4, zorder=3
            )
            handles.append(
                Line2D([], [], linestyle="none", marker="o", color=color, label=f"{short(name)} ({who.sum()})")
            )
    legend_beside(axes, handles, look)
    axes.set(xlim=limits, ylim=limits)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel("measured hemoglobin, g/dl")
    axes.set_ylabel("predicted, g/dl")
    title(
        axes,
        f"r {overall['pearson_r'].shown(2)}\nwithin classes {groups['within classes']['pearson_r'].shown(2)}\n"
        f"mean error {overall['mae'].shown(2)}\nbias {overall['bias'].shown(2)}",
        look,
    )
