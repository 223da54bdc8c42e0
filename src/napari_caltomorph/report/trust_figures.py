"""Figures of whether to believe a prediction: beside the training cohort, member by member, and as unsure as whom."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import blended_transform_factory

from napari_caltomorph.diagnosis.domain import Aspect, DomainResult
from napari_caltomorph.diagnosis.prediction import Prediction
from napari_caltomorph.explanation.trust import Trust
from napari_caltomorph.report.drawing import prepare_plot, short
from napari_caltomorph.report.figures import PAPER, Look

OUTSIDE, INSIDE = "#e0a100", "#009e73"
RIGHT, WRONG = "#4477aa", "#cc6677"
_NAMES: dict[Aspect, str] = {"cells": "single cells", "smear": "average cell", "embedding": "members' view"}
# So many times as far as the farthest training patient; a smear beyond is drawn at the edge, with its number.
_FARTHEST = 1.6
_BINS = 12


def draw_domain(axes: Axes, domain: DomainResult, look: Look = PAPER) -> None:
    """Draw where a smear stands among training patients that the judging members had not seen, a row an aspect.

    A stroke stands for so many training patients that 41 of them are all; the diamond is the smear.
    """
    look.prepare(axes)
    rows = len(domain.aspects)
    reference = np.array([one.reference for one in domain.aspects])  # (A, 41)
    edge = _FARTHEST * float(reference.max())
    low = float(min(reference.min(), *(one.score for one in domain.aspects)))
    at_right = blended_transform_factory(axes.transAxes, axes.transData)
    for row, one in enumerate(domain.aspects):
        axes.plot([low, edge], [row, row], color=look.faint, linewidth=0.8, zorder=1)
        axes.scatter(reference[row], np.full(reference.shape[1], row), marker="|", s=90, color=look.text, alpha=0.45)
        color = OUTSIDE if one.p_value <= domain.level else INSIDE
        axes.scatter(
            [min(one.score, edge)], [row], marker="D", s=46, color=color, edgecolor=look.text, linewidth=0.8, zorder=3
        )
        if one.score > edge:
            axes.text(edge, row - 0.42, f"{one.score:.0f}", ha="center", fontsize=7, color=look.text)
        count = round(one.p_value * (domain.patients + 1)) - 1
        axes.text(
            1.02, row, f"{count} of {domain.patients}", transform=at_right, va="center", fontsize=8, color=look.text
        )
    axes.text(1.02, -0.75, "as far out", transform=at_right, va="center", fontsize=7, color=look.text)
    axes.set_yticks(range(rows), [_NAMES[one.aspect] for one in domain.aspects])
    axes.set_ylim(rows - 0.4, -1.0)
    axes.set_xlim(low - 0.05 * (edge - low), edge + 0.05 * (edge - low))
    axes.set_xlabel("distance (0: median patient, 1: a standard deviation)")


def draw_members(axes: Axes, prediction: Prediction, look: Look = PAPER) -> None:
    """Draw what each member says: a bar from 0 to 1, its classes in their colours; the last bar is the answer."""
    look.prepare(axes)
    taxonomy, votes = prediction.taxonomy, prediction.shown_member_probabilities
    rows = [*votes, prediction.probabilities]
    places = [*range(len(votes)), len(votes) + 0.4]
    for place, shares in zip(places, rows, strict=True):
        starts = np.concatenate([[0], np.cumsum(shares)[:-1]])
        axes.barh(
            np.full(len(shares), place),
            shares,
            left=starts,
            height=0.78,
            color=taxonomy.colors,
            edgecolor=look.background,
            linewidth=0.6,
        )
        first = int(np.argmax(shares))
        name = f"{short(taxonomy.names[first], 22)} {shares[first]:.2f}"
        axes.text(1.02, place, name, va="center", fontsize=7.5, color=look.text, parse_math=False)
    axes.set_yticks(places, [*(f"member {i + 1}" for i in range(len(votes))), "together"])
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.set_xticks([])
    axes.set_xlim(0, 1)
    axes.set_ylim(places[-1] + 0.5, -0.5)


def draw_certainty(axes: Axes, found: Trust, look: Look = PAPER) -> None:
    """Draw how unsure members were of patients they did not know, named right and wrong, and where this smear stands.

    Raises
    ------
    ValueError
        `Trust.held_out` is None.
    """
    held_out = found.held_out
    if held_out is None:
        raise ValueError("there is no held-out certainty")
    prepare_plot(axes, look)
    values = [held_out.entropies[held_out.is_correct], held_out.entropies[~held_out.is_correct]]
    axes.hist(values, bins=_BINS, range=(0, 1), stacked=True, color=[RIGHT, WRONG], rwidth=0.92)
    here = found.member_entropy
    axes.axvline(here, color=look.text, linewidth=1.5)
    top = axes.get_ylim()[1]
    side = "left" if here < 0.5 else "right"
    axes.text(here, 1.12 * top, " this smear ", ha=side, va="top", fontsize=8, color=look.text)
    for place, (word, color) in ((0, ("named right", RIGHT)), (0.4, ("named wrong", WRONG))):
        axes.text(place, 1.03, f"■ {word}", transform=axes.transAxes, va="bottom", fontsize=8, color=color)
    axes.set(xlim=(0, 1), ylim=(0, 1.18 * top), xlabel="entropy of a member's answer (0: certain)", ylabel="patients")
