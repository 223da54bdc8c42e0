"""Quality of the probabilities: ROC (paper, figure 2C), false discovery rate (3D), calibration (2E)."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.report.drawing import (
    MARKERS,
    PAPER,
    PlotStyle,
    draw_sentence,
    legend_beside,
    note,
    prepare_plot,
    prepare_shares,
    short,
    title,
)
from napari_caltomorph.statistics.reliability import Reliability

_BIN_COLOR = "#3b8fd9"
# Height of the bar of the bin with most patients.
_HIGHEST_BAR = 0.16


def draw_roc(axes: Axes, evaluation: Evaluation, style: PlotStyle = PAPER, *, threshold: float | None = None) -> None:
    """Draw the ROC curve of malignancy with its AUROC, and the operating point: the evaluation's, unless given."""
    curve, auroc = evaluation.roc(), evaluation.headline["malignant_auroc"]
    if curve is None:
        draw_sentence(axes, f"No ROC curve: {auroc.remark}.", style)
        return
    prepare_shares(axes, style)
    axes.plot([0, 1], [0, 1], color=style.faint, linewidth=1, linestyle="--")
    axes.plot(*curve, color=style.text, linewidth=1.6)
    point = evaluation.at(threshold)
    specificity, sensitivity = point.specificity.value, point.sensitivity.value
    assert specificity is not None  # defined where the curve is
    assert sensitivity is not None
    axes.scatter([1 - specificity], [sensitivity], s=34, color="#d55e00", edgecolor=style.background, zorder=4)
    malignant = point.sensitivity.patients
    note(
        axes,
        f"AUROC {auroc.shown()}\n{malignant} malignant, {point.specificity.patients} not\n"
        f"at {point.threshold:.3g}: sensitivity {point.sensitivity.shown(2)}\n"
        f"specificity {point.specificity.shown(2)}",
        style,
    )
    axes.set(xlabel="1 - specificity", ylabel="sensitivity")
    title(axes, "malignant or not", style)


def draw_class_rocs(axes: Axes, evaluation: Evaluation, style: PlotStyle = PAPER) -> None:
    """Draw each class against the rest, named with its AUROC."""
    curves = {slug: evaluation.roc(slug) for slug in evaluation.taxonomy.slugs}
    if not any(curve is not None for curve in curves.values()):
        draw_sentence(axes, f"No ROC curves: {evaluation.headline['macro_auroc'].remark}.", style)
        return
    prepare_shares(axes, style)
    axes.plot([0, 1], [0, 1], color=style.faint, linewidth=1, linestyle="--")
    handles = []
    for one in evaluation.taxonomy.classes:
        auroc = evaluation.by_class[one.slug].auroc
        curve = curves[one.slug]
        if curve is not None:
            axes.plot(*curve, color=one.color, linewidth=1.4)
            handles.append(Line2D([], [], color=one.color, linewidth=2, label=f"{short(one.name)}\n{auroc.shown(2)}"))
    legend_beside(axes, handles, style, heading="AUROC")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity")
    title(axes, "each class against the rest", style)


def draw_fdr(
    axes: Axes,
    evaluation: Evaluation,
    style: PlotStyle = PAPER,
    *,
    threshold: float | None = None,
    healthy: bool = True,
) -> None:
    """Draw each malignant class's sensitivity against the false discovery rate, over all thresholds.

    `threshold` is the operating point: the evaluation's, unless given. With `healthy`, healthy donors are among those
    who can be false positives. A dashed line is the rate if all patients were punctured.
    """
    point, everyone = evaluation.at(threshold), evaluation.screened.everyone
    fdr, fdr_of_all = (one.fdr if healthy else one.fdr_without_healthy for one in (point, everyone))
    curve = evaluation.screened.curve()
    column = "fdr" if healthy else "fdr_without_healthy"
    present = [c for c in evaluation.taxonomy.classes if f"sensitivity_{c.slug}" in curve]
    others = not_malignant(evaluation, healthy=healthy)
    reach = max(0.1, float(np.nan_to_num(curve[column]).max()))
    if not present or not others:
        why = "no malignant patient" if not present else fdr.remark
        if not evaluation.has_one_class.any():
            why = evaluation.headline["accuracy"].remark
        draw_sentence(axes, f"No false discovery rate: {why}.", style)
        return
    prepare_plot(axes, style)
    axes.set(xlim=(-0.02 * reach, 1.02 * reach), ylim=(-0.02, 1.02))
    handles = []
    for number, one in enumerate(present):
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(curve[column], curve[f"sensitivity_{one.slug}"], color=one.color, linewidth=1.4)
        sensitivity = point.sensitivity_of(one.slug)
        if fdr.value is not None and sensitivity.value is not None:
            axes.plot([fdr.value], [sensitivity.value], marker, color=one.color, ms=8, mec=style.background, zorder=4)
        handles.append(
            Line2D([], [], color=one.color, marker=marker, label=f"{short(one.name)}\n{sensitivity.shown(2)}")
        )
    if fdr.value is not None:
        axes.axvline(fdr.value, color=style.text, linewidth=0.8, linestyle=":", zorder=0)
    assert fdr_of_all.value is not None  # defined where there are others
    axes.axvline(fdr_of_all.value, color=style.text, linewidth=1.2, linestyle="--", zorder=0)
    legend_beside(axes, handles, style, heading=f"sensitivity at {point.threshold:.3g}", labelspacing=0.3)
    against = "\n".join(textwrap.wrap(short(f"against {others}", 120), 42))
    axes.set_xlabel(f"false discovery rate\n{against}", loc="left", parse_math=False)
    axes.set_ylabel("sensitivity")
    missed = f"{len(point.missed) or 'no'} malignant missed"
    reference = f"dashed: FDR {fdr_of_all.value:.2f} if all were punctured"
    title(axes, f"at {point.threshold:.3g}: FDR {fdr.shown(2)}\n{missed}\n{reference}", style)


def draw_fdr_without_healthy(
    axes: Axes, evaluation: Evaluation, style: PlotStyle = PAPER, *, threshold: float | None = None
) -> None:
    """Draw `draw_fdr` as if the cohort had no healthy donors: their bone marrow is not punctured."""
    draw_fdr(axes, evaluation, style, threshold=threshold, healthy=False)


def draw_reliability(axes: Axes, evaluation: Evaluation, style: PlotStyle = PAPER) -> None:
    """Draw how often the predicted class is right, by its probability."""
    _draw_reliability(axes, evaluation, evaluation.reliability, style)
    if evaluation.reliability is not None:
        axes.set(xlabel="probability of the predicted class", ylabel="share that is right")


def draw_malignancy_reliability(axes: Axes, evaluation: Evaluation, style: PlotStyle = PAPER) -> None:
    """Draw how often patients are malignant, by their malignancy."""
    _draw_reliability(axes, evaluation, evaluation.malignancy_reliability, style)
    if evaluation.malignancy_reliability is not None:
        axes.set(xlabel="malignancy", ylabel="share that is malignant")


def not_malignant(evaluation: Evaluation, *, healthy: bool = True) -> str:
    """Return the patients who are not malignant, e.g. ``"9 Reactive changes, 14 Healthy"``; empty where all are.

    Without `healthy`, healthy donors are left out.
    """
    screened = evaluation.screened
    who = ~screened.is_malignant & (healthy | ~screened.is_healthy_donor)
    counts = {c.name: int((screened.groups[who] == c.slug).sum()) for c in evaluation.taxonomy.classes}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _draw_reliability(axes: Axes, evaluation: Evaluation, reliability: Reliability | None, style: PlotStyle) -> None:
    if reliability is None:
        draw_sentence(axes, f"No reliability diagram: {evaluation.headline['accuracy'].remark}.", style)
        return
    prepare_shares(axes, style)
    bins = [one for one in reliability.bins if one.patients]
    patients = np.array([one.patients for one in bins])
    heights, widths = _HIGHEST_BAR * patients / patients.max(), [one.high - one.low for one in bins]
    look: dict[str, Any] = {"color": style.faint, "alpha": 0.8, "edgecolor": style.background, "linewidth": 0.8}
    axes.bar([one.low for one in bins], heights, widths, align="edge", **look)
    axes.plot([0, 1], [0, 1], color=style.text, linewidth=0.9, linestyle="--")
    for one in bins:
        assert one.mean_probability is not None
        assert one.observed is not None
        low, high = one.observed.low, one.observed.high
        place = [one.mean_probability]
        if low is not None and high is not None:
            axes.plot(place * 2, [low, high], color=_BIN_COLOR, linewidth=1.2, alpha=0.7)
        axes.scatter(place, [one.observed.value], s=26, color=_BIN_COLOR, edgecolor=style.background, zorder=4)
    chance = reliability.chance
    expected = ""
    if chance is not None and chance.low is not None:
        expected = f"\nperfectly calibrated: {chance.value:.3f} ({chance.low:.3f} to {chance.high:.3f})"
    counts = f"{len(reliability.bins)} bins, {reliability.patients} patients"
    title(axes, f"ECE {reliability.ece:.3f}; {counts}{expected}", style)
