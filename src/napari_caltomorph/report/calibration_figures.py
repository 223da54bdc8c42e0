"""Whether probabilities mean what they say: the reliability diagram (paper, figure 2E)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.report.drawing import prepare_shares, say_instead, title
from napari_caltomorph.report.figures import PAPER, Look
from napari_caltomorph.statistics.reliability import Reliability

# How high the bar of the fullest bin stands.
_TALLEST = 0.16
_COLOR = "#3b8fd9"


def draw_reliability(axes: Axes, evaluation: Evaluation, look: Look = PAPER) -> None:
    """Draw how often the predicted class is right, by what its probability says."""
    _draw(axes, evaluation, evaluation.reliability, look)
    if evaluation.reliability is not None:
        axes.set_xlabel("probability of the predicted class")
        axes.set_ylabel("share that is right")


def draw_malignancy_reliability(axes: Axes, evaluation: Evaluation, look: Look = PAPER) -> None:
    """Draw how often patients are malignant, by what their malignancy says."""
    _draw(axes, evaluation, evaluation.malignancy_reliability, look)
    if evaluation.malignancy_reliability is not None:
        axes.set_xlabel("malignancy")
        axes.set_ylabel("share that is malignant")


def _draw(axes: Axes, evaluation: Evaluation, found: Reliability | None, look: Look) -> None:
    if found is None:
        say_instead(axes, f"No reliability diagram: {evaluation.headline['accuracy'].remark}.", look)
        return
    prepare_shares(axes, look)
    bins = [one for one in found.bins if one.patients]
    patients = np.array([one.patients for one in bins])
    axes.bar(
        [one.low for one in bins],
        _TALLEST * patients / patients.max(),
        [one.high - one.low for one in bins],
        align="edge",
        color=look.faint,
        alpha=0.8,
        edgecolor=look.background,
        linewidth=0.8,
    )
    axes.plot([0, 1], [0, 1], color=look.text, linewidth=0.9, linestyle="--")
    for one in bins:
        assert one.mean_probability is not None
        assert one.observed is not None
        low, high = one.observed.low, one.observed.high
        if low is not None and high is not None:
            axes.plot([one.mean_probability, one.mean_probability], [low, high], color=_COLOR, linewidth=1.2, alpha=0.7)
        axes.scatter(
            [one.mean_probability], [one.observed.value], s=26, color=_COLOR, edgecolor=look.background, zorder=4
        )
    chance = found.chance
    beside = ""
    if chance is not None and chance.low is not None:
        beside = f"\nperfectly calibrated: {chance.value:.3f} ({chance.low:.3f} to {chance.high:.3f})"
    title(axes, f"ECE {found.ece:.3f}; {len(found.bins)} bins, {found.patients} patients{beside}", look)
