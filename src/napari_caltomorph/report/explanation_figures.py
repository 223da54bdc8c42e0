"""Figures of explanations and of trust: contributions, faithfulness, training cohort, members, certainty.

Each draws into axes that the caller owns, in napari's theme or on paper. An order of cells has one colour everywhere.
No torch is imported here: the results come from the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.domain import Aspect, DomainResult
from napari_caltomorph.report.drawing import PAPER, PlotStyle, new_figure, prepare_plot, short, title
from napari_caltomorph.report.plot import Axis, Dots, Line, Plot
from napari_caltomorph.report.prediction_figures import alone_colors, attention_ticks, unless_withheld

if TYPE_CHECKING:
    from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness
    from napari_caltomorph.explanation.contribution import Contributions
    from napari_caltomorph.explanation.faithfulness import CurveKind, Faithfulness
    from napari_caltomorph.explanation.trust import Trust

SUPPORTS, OPPOSES = "#d55e00", "#0072b2"
OUTSIDE, INSIDE = "#e0a100", "#009e73"
RIGHT, WRONG = "#4477aa", "#cc6677"

_ORDER_COLORS = {"attention": "#0072b2", "contribution": "#d55e00", "alone": "#009e73"}
_OTHER_COLOR = "#cc79a7"
_TITLES = {"deletion": "Deletion: first cells removed", "insertion": "Insertion: first cells only"}
_BETTER = {"deletion": "lower is better", "insertion": "higher is better"}
_ASPECTS: dict[Aspect, str] = {
    "cells": "single cells",
    "smear": "average cell",
    "embedding": "members' view",
    "images": "background",
}
# As a multiple of the distance of the farthest training patient; a smear beyond it is drawn at the edge.
_FARTHEST = 1.6
_CERTAINTY_BINS = 12


def contribution_plot(prediction: Prediction, contributions: Contributions, style: PlotStyle = PAPER) -> Plot:
    """Return every cell as a dot at its attention and its signed contribution, coloured by the class of the cell alone.

    Where the model has no attention, its response to the cell alone takes its place. The dots are in the order of
    `prediction.cells`.
    """
    if prediction.has_attention:
        places = np.log10(np.maximum(prediction.attention, 1e-3))
        x = Axis.around(places, "attention (1x: an average cell)")
        x = replace(x, ticks=attention_ticks(x.low, x.high))
    else:
        places = prediction.alone[:, prediction.taxonomy.slugs.index(contributions.slug)]
        x = Axis.around(places, "response to the cell alone (no attention)").numbered()
    reach = 1.15 * max(float(np.abs(contributions.values).max()), 1e-6)
    both = np.stack([places, contributions.values], axis=1)
    return Plot(
        x,
        Axis(-reach, reach, "contribution (log-odds)").numbered(),
        dots=(Dots(both, alone_colors(prediction), style.background),),
        lines=(Line((x.low, x.high), (0, 0), style.text, width=0.8),),
        grid="xy",
    )


def draw_curves(axes: Axes, faithfulness: Faithfulness, kind: CurveKind, style: PlotStyle = PAPER) -> None:
    """Draw a class's probability while cells are removed or added in each order; random orders are a band."""
    shares = faithfulness.shares(kind)
    several = np.array([getattr(one, kind) for one in faithfulness.random])
    low, high = np.quantile(several, [0.025, 0.975], axis=0)
    axes.fill_between(
        shares, low, high, color=style.faint, alpha=0.7, linewidth=0, label=f"{len(several)} random orders"
    )
    axes.plot(shares, several.mean(axis=0), color=style.text, linewidth=1, linestyle=":", label="their mean")
    curves = {order: getattr(curve, kind) for order, curve in faithfulness.orders.items()}
    _draw_orders(axes, faithfulness, kind, shares, curves, style)


def draw_mean_curves(axes: Axes, faithfulness: CohortFaithfulness, kind: CurveKind, style: PlotStyle = PAPER) -> None:
    """Draw the mean of the patients' curves; the legend has each order's mean area better than random."""
    shares, random = faithfulness.shares, faithfulness.curves[kind, "random"]
    axes.plot(shares, random, color=style.text, linewidth=1, linestyle=":", label="random")
    curves = {order: faithfulness.curves[kind, order] for order in faithfulness.orders}
    _draw_orders(axes, faithfulness, kind, shares, curves, style)


def faithfulness_figure(faithfulness: CohortFaithfulness, style: PlotStyle = PAPER) -> Figure:
    """Return the mean curves of both kinds side by side."""
    figure = new_figure(7.6, 3.4)
    left, right = figure.subplots(1, 2)
    draw_mean_curves(left, faithfulness, "deletion", style)
    draw_mean_curves(right, faithfulness, "insertion", style)
    return figure


def draw_domain(axes: Axes, domain: DomainResult, style: PlotStyle = PAPER) -> None:
    """Draw the position of a smear among held-out training patients, one row an aspect.

    The 41 strokes are quantiles of the training patients; the diamond is the smear.
    """
    style.prepare(axes)
    rows = len(domain.aspects)
    reference = np.array([one.reference for one in domain.aspects])  # (A, 41)
    edge = _FARTHEST * float(reference.max())
    low = float(min(reference.min(), *(one.score for one in domain.aspects)))
    at_right = blended_transform_factory(axes.transAxes, axes.transData)
    at_row_end: dict[str, Any] = {"transform": at_right, "va": "center", "color": style.text}
    for row, one in enumerate(domain.aspects):
        axes.plot([low, edge], [row, row], color=style.faint, linewidth=0.8, zorder=1)
        axes.scatter(reference[row], np.full(reference.shape[1], row), marker="|", s=90, color=style.text, alpha=0.45)
        color = OUTSIDE if one.p_value <= domain.level else INSIDE
        axes.scatter(
            [min(one.score, edge)], [row], marker="D", s=46, color=color, edgecolor=style.text, linewidth=0.8, zorder=3
        )
        if one.score > edge:
            axes.text(edge, row - 0.42, f"{one.score:.0f}", ha="center", fontsize=7, color=style.text)
        count = round(one.p_value * (domain.patients + 1)) - 1
        axes.text(1.02, row, f"{count} of {domain.patients}", fontsize=8, **at_row_end)
    axes.text(1.02, -0.75, "as far out", fontsize=7, **at_row_end)
    axes.set_yticks(range(rows), [_ASPECTS[one.aspect] for one in domain.aspects])
    axes.set_ylim(rows - 0.4, -1.0)
    axes.set_xlim(low - 0.05 * (edge - low), edge + 0.05 * (edge - low))
    axes.set_xlabel("distance (0: median, 1: standard deviation)")


@unless_withheld
def draw_members(axes: Axes, prediction: Prediction, style: PlotStyle = PAPER) -> None:
    """Draw the class probabilities of each member as a bar from 0 to 1; the last bar is the ensemble."""
    style.prepare(axes)
    taxonomy, votes = prediction.taxonomy, prediction.shown_member_probabilities
    rows = [*votes, prediction.probabilities]
    places = [*range(len(votes)), len(votes) + 0.4]
    for place, shares in zip(places, rows, strict=True):
        starts = np.concatenate([[0], np.cumsum(shares)[:-1]])
        bars: dict[str, Any] = {"color": taxonomy.colors, "edgecolor": style.background, "linewidth": 0.6}
        axes.barh(np.full(len(shares), place), shares, left=starts, height=0.78, **bars)
        first = int(np.argmax(shares))
        name = f"{short(taxonomy.names[first], 22)} {shares[first]:.2f}"
        axes.text(1.02, place, name, va="center", fontsize=7.5, color=style.text, parse_math=False)
    axes.set_yticks(places, [*(f"member {i + 1}" for i in range(len(votes))), "together"])
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.set(xticks=[], xlim=(0, 1), ylim=(places[-1] + 0.5, -0.5))


def draw_certainty(axes: Axes, trust: Trust, style: PlotStyle = PAPER) -> None:
    """Draw the entropy of members on their held-out patients, right and wrong, and the entropy of this smear.

    Raises `ValueError` where `Trust.held_out` is None.
    """
    held_out = trust.held_out
    if held_out is None:
        raise ValueError("there is no held-out certainty: Trust.held_out is None")
    prepare_plot(axes, style)
    values = [held_out.entropies[held_out.is_correct], held_out.entropies[~held_out.is_correct]]
    axes.hist(values, bins=_CERTAINTY_BINS, range=(0, 1), stacked=True, color=[RIGHT, WRONG], rwidth=0.92)
    here = trust.member_entropy
    axes.axvline(here, color=style.text, linewidth=1.5)
    top = axes.get_ylim()[1]
    side = "left" if here < 0.5 else "right"
    axes.text(here, 1.12 * top, " this smear ", ha=side, va="top", fontsize=8, color=style.text)
    for place, (word, color) in ((0, ("right", RIGHT)), (0.4, ("wrong", WRONG))):
        axes.text(place, 1.03, f"■ {word}", transform=axes.transAxes, va="bottom", fontsize=8, color=color)
    axes.set(xlim=(0, 1), ylim=(0, 1.18 * top), ylabel="patients")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, prune="lower"))  # the x axis has the 0 of the corner
    at = trust.members_hold and f",\n{trust.members_hold.strip()}"
    axes.set_xlabel(f"entropy of a member's answer (0: certain){at}")


def _draw_orders(
    axes: Axes,
    faithfulness: Faithfulness | CohortFaithfulness,
    kind: CurveKind,
    shares: NDArray[np.float64],
    curves: Mapping[str, NDArray[np.float64]],
    style: PlotStyle,
) -> None:
    """Draw a curve for each order of the cells, with its area better than random in the legend."""
    for order, curve in curves.items():
        color = _ORDER_COLORS.get(order, _OTHER_COLOR)
        label = f"{order} {faithfulness.gain(kind, order).value:+.2f}"
        axes.plot(shares, curve, color=color, linewidth=1.5, label=label)
    prepare_plot(axes, style)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_xlabel("share of the cells removed" if kind == "deletion" else "share of the cells added")
    axes.set_ylabel("probability of the class")
    title(axes, f"{_TITLES[kind]} ({_BETTER[kind]})", style)
    axes.legend(
        loc="best", fontsize=7, labelcolor=style.text, frameon=True, facecolor=style.background, edgecolor="none"
    )
