"""Malignant or not: the ROC curve (paper, figure 2C), and what a threshold costs for each disease (figure 3D)."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from napari_caltomorph.evaluation import Evaluation, OperatingPoint
from napari_caltomorph.report.drawing import (
    MARKERS,
    legend_beside,
    note,
    prepare_plot,
    prepare_shares,
    say_instead,
    short,
    title,
)
from napari_caltomorph.report.figures import PAPER, Look


def draw_roc(axes: Axes, evaluation: Evaluation, look: Look = PAPER, *, threshold: float | None = None) -> None:
    """Draw the ROC curve of malignancy with its AUROC, and the operating point.

    Parameters
    ----------
    axes : Axes
    evaluation : Evaluation
    look : Look
    threshold : float, optional
        Of the operating point; that of the evaluation where not given.
    """
    curve, auroc = evaluation.roc(), evaluation.headline["malignant_auroc"]
    if curve is None:
        say_instead(axes, f"No ROC curve: {auroc.remark}.", look)
        return
    prepare_shares(axes, look)
    axes.plot([0, 1], [0, 1], color=look.faint, linewidth=1, linestyle="--")
    axes.plot(*curve, color=look.text, linewidth=1.6)
    point = evaluation.at(threshold)
    specificity, sensitivity = point.specificity.value, point.sensitivity.value
    assert specificity is not None  # defined where the curve is
    assert sensitivity is not None
    axes.scatter([1 - specificity], [sensitivity], s=34, color="#d55e00", edgecolor=look.background, zorder=4)
    malignant = point.sensitivity.patients
    note(
        axes,
        f"AUROC {auroc.shown()}\n{malignant} malignant, {point.specificity.patients} not\n"
        f"at {point.threshold:.3g}: sensitivity {point.sensitivity.shown(2)}\n"
        f"specificity {point.specificity.shown(2)}",
        look,
    )
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    title(axes, "malignant or not", look)


def draw_class_rocs(axes: Axes, evaluation: Evaluation, look: Look = PAPER) -> None:
    """Draw each class against the rest, named with its AUROC."""
    curves = {slug: evaluation.roc(slug) for slug in evaluation.taxonomy.slugs}
    if not any(curve is not None for curve in curves.values()):
        say_instead(axes, f"No ROC curves: {evaluation.headline['macro_auroc'].remark}.", look)
        return
    prepare_shares(axes, look)
    axes.plot([0, 1], [0, 1], color=look.faint, linewidth=1, linestyle="--")
    handles = []
    for one in evaluation.taxonomy.classes:
        auroc = evaluation.by_class[one.slug].auroc
        curve = curves[one.slug]
        if curve is not None:
            axes.plot(*curve, color=one.color, linewidth=1.4)
            handles.append(Line2D([], [], color=one.color, linewidth=2, label=f"{short(one.name)}\n{auroc.shown(2)}"))
    legend_beside(axes, handles, look, heading="AUROC")
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    title(axes, "each class against the rest", look)


def draw_fdr(
    axes: Axes,
    evaluation: Evaluation,
    look: Look = PAPER,
    *,
    threshold: float | None = None,
    healthy: bool = True,
) -> None:
    """Draw each malignant class's sensitivity against the false discovery rate, over all thresholds.

    Parameters
    ----------
    axes : Axes
    evaluation : Evaluation
    look : Look
    threshold : float, optional
        Of the operating point; that of the evaluation where not given.
    healthy : bool
        Whether healthy donors count among those who may be falsely called.
    """
    point = evaluation.at(threshold)
    fdr = point.fdr if healthy else point.fdr_without_healthy
    curve = evaluation.screened.curve()
    column = "fdr" if healthy else "fdr_without_healthy"
    present = [c for c in evaluation.taxonomy.classes if f"sensitivity_{c.slug}" in curve]
    others = not_malignant(evaluation, healthy=healthy)
    reach = max(0.1, float(np.nan_to_num(curve[column]).max()))
    if not present or not others:
        why = "no malignant patient" if not present else fdr.remark
        if not evaluation.has_one_class.any():
            why = evaluation.headline["accuracy"].remark
        say_instead(axes, f"No false discovery rate: {why}.", look)
        return
    prepare_plot(axes, look)
    axes.set(xlim=(-0.02 * reach, 1.02 * reach), ylim=(-0.02, 1.02))
    handles = []
    for number, one in enumerate(present):
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(curve[column], curve[f"sensitivity_{one.slug}"], color=one.color, linewidth=1.4)
        sensitivity = point.sensitivity_of(one.slug)
        if fdr.value is not None and sensitivity.value is not None:
            axes.plot(
                [fdr.value],
                [sensitivity.value],
                marker=marker,
                color=one.color,
                markersize=8,
                markeredgecolor=look.background,
                linestyle="none",
                zorder=4,
            )
        handles.append(
            Line2D([], [], color=one.color, marker=marker, label=f"{short(one.name)}\n{sensitivity.shown(2)}")
        )
    if fdr.value is not None:
        axes.axvline(fdr.value, color=look.text, linewidth=0.8, linestyle=":", zorder=0)
    legend_beside(axes, handles, look, heading=f"sensitivity at {point.threshold:.3g}")
    against = "\n".join(textwrap.wrap(short(f"against {others}", 120), 42))
    axes.set_xlabel(f"false discovery rate\n{against}", loc="left", parse_math=False)
    axes.set_ylabel("sensitivity")
    title(axes, f"at {point.threshold:.3g}: FDR {fdr.shown(2)}\n{_calls(point)}", look)


def draw_fdr_without_healthy(
    axes: Axes, evaluation: Evaluation, look: Look = PAPER, *, threshold: float | None = None
) -> None:
    """Draw `draw_fdr` as if the cohort had no healthy donors: nobody punctures their bone marrow."""
    draw_fdr(axes, evaluation, look, threshold=threshold, healthy=False)


def _calls(point: OperatingPoint) -> str:
    missed = len(point.missed)
    return f"{missed} malignant missed" if missed else "no malignant missed"


def not_malignant(evaluation: Evaluation, *, healthy: bool = True) -> str:
    """Return who stands against the malignant patients, e.g. ``"9 Reactive changes, 14 Healthy"``; empty for nobody.

    Without `healthy`, healthy donors are left out.
    """
    screened = evaluation.screened
    who = ~screened.is_malignant & (healthy | ~screened.is_healthy_donor)
    counts = {c.name: int((screened.groups[who] == c.slug).sum()) for c in evaluation.taxonomy.classes}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
