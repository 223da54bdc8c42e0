"""Figures of one prediction, each drawn into axes that the caller owns: a panel, a report or a file.

Colours of classes come from the taxonomy; text and background from a `Look`, so that the same function draws in
napari's theme and on paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from napari_caltomorph.diagnosis import NO_ATTENTION, Prediction


@dataclass(frozen=True)
class Look:
    """Colours of everything that is no class."""

    text: str = "#202020"
    background: str = "#ffffff"
    faint: str = "#d0d0d0"

    def prepare(self, axes: Axes) -> None:
        """Strip the axes down to what carries information."""
        axes.set_facecolor(self.background)
        axes.figure.set_facecolor(self.background)
        axes.spines[:].set_visible(False)
        axes.tick_params(colors=self.text, length=0, labelsize=8)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set_color(self.text)
            text.set_fontsize(8)


PAPER = Look()


def draw_probabilities(axes: Axes, prediction: Prediction, look: Look = PAPER) -> None:
    """Draw one bar a class, with the members' own probabilities as dots on it (paper, figure 5).

    Where the model is calibrated, the dots stand at the same temperature as the bar, so that the two compare; the bar
    is then the calibrated mean of the raw ones, and need not end at the mean of the dots. Where cells were left out by
    hand, what was said before is outlined.
    """
    look.prepare(axes)
    taxonomy, mean = prediction.taxonomy, prediction.probabilities
    rows = np.arange(len(mean))
    axes.barh(rows, np.ones_like(mean), height=0.62, color=look.faint, alpha=0.35)
    axes.barh(rows, mean, height=0.62, color=taxonomy.colors)
    if prediction.original is not None:
        outline(axes, rows, prediction.original.probabilities, 0.62, look)
    members = prediction.shown_member_probabilities
    axes.scatter(
        members.ravel(),
        np.tile(rows, len(members)),
        s=9,
        color=look.text,
        edgecolor=look.background,
        linewidth=0.5,
        zorder=3,
    )
    winner = int(mean.argmax())
    for row, value in enumerate(mean):
        weight = "bold" if row == winner else "normal"
        axes.text(1.03, row, _probability(value), va="center", fontsize=8, color=look.text, weight=weight)
    axes.set_yticks(rows, taxonomy.names, parse_math=False)  # a class may be called "t($;$)"
    axes.get_yticklabels()[winner].set_fontweight("bold")
    axes.set_xticks([])
    axes.set_xlim(0, 1.02)
    axes.set_ylim(len(mean) - 0.5, -0.5)


def draw_malignancy(axes: Axes, prediction: Prediction, look: Look = PAPER) -> None:
    """Draw the malignancy probability on a scale from 0 to 1, with the threshold as a tick."""
    look.prepare(axes)
    value, threshold = prediction.malignancy, prediction.threshold.value
    axes.barh(0, 1, height=0.5, color=look.faint, alpha=0.35)
    axes.barh(0, value, height=0.5, color="#b3261e" if prediction.is_malignant else "#009e73")
    if prediction.original is not None:
        outline(axes, 0, prediction.original.malignancy, 0.5, look)
    axes.plot([threshold, threshold], [-0.45, 0.45], color=look.text, linewidth=1.5)
    axes.text(1.03, 0, _probability(value), va="center", fontsize=8, color=look.text, weight="bold")
    axes.set_yticks([0], ["Malignant"])
    axes.set_xticks([threshold], [f"threshold {threshold:g}"])
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.6, 0.6)


def draw_hemoglobin(axes: Axes, prediction: Prediction, look: Look = PAPER) -> None:
    """Draw the hemoglobin estimate in g/dl, with its interval from unseen patients where the model has one."""
    look.prepare(axes)
    value, interval = prediction.hemoglobin, prediction.hemoglobin_range
    assert value is not None
    # The scale holds every living patient; a model far off is shown as it is.
    before = None if prediction.original is None else prediction.original.hemoglobin
    shown = [value, *(interval or ()), *([] if before is None else [before])]
    low, high = (f(4.0, 20.0, *shown) for f in (min, max))
    axes.barh(0, high - low, left=low, height=0.12, color=look.faint, alpha=0.6)
    if interval is not None:
        axes.plot(interval, [0, 0], color=look.text, linewidth=3, alpha=0.6, solid_capstyle="butt")
    if before is not None:
        axes.scatter([before], [0], s=36, facecolor="none", edgecolor=look.text, linewidth=1.1, zorder=2)
    axes.scatter([value], [0], s=36, color="#d1495b", edgecolor=look.background, linewidth=0.8, zorder=3)
    reach = high + 0.02 * (high - low)
    axes.text(reach + 0.01 * (high - low), 0, f"{value:.1f}", va="center", fontsize=8, color=look.text, weight="bold")
    axes.set_yticks([0], ["Hemoglobin g/dl"])
    ticks = MaxNLocator(5, steps=[1, 2, 4, 5, 10]).tick_values(low, high)
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.set_xlim(low, reach)
    axes.set_ylim(-0.6, 0.6)


def draw_attention_swarm(axes: Axes, prediction: Prediction, look: Look = PAPER) -> PathCollection:
    """Draw every cell as a dot at its attention, coloured by the class the model answers it with alone (figure 5).

    Returns
    -------
    PathCollection
        Its offsets are in the order of `prediction.cells`; there are none where the model has no attention, which is
        then said in place of the dots.
    """
    look.prepare(axes)
    if not prediction.has_attention:
        axes.set_axis_off()
        axes.text(0.5, 0.5, NO_ATTENTION, ha="center", va="center", wrap=True, fontsize=8, color=look.text)
        return axes.scatter([], [])
    logs = np.log10(np.maximum(prediction.attention, 1e-3))
    low, high = min(logs.min(), -0.3), max(logs.max(), 0.3)
    heights = _swarm_offsets((logs - low) / (high - low))
    colors = np.array(prediction.taxonomy.colors)[prediction.alone_class]
    axes.axvline(0, color=look.faint, linewidth=1)
    dots = axes.scatter(logs, heights, s=14, c=colors, edgecolor=look.background, linewidth=0.3)
    margin = 0.06 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    # Over more than two powers of ten, the labels between them would touch.
    ticks = np.outer(10.0 ** np.arange(-3, 6), [1] if high - low > 2 else [1, 2, 5]).ravel()
    ticks = ticks[(np.log10(ticks) >= low - margin) & (np.log10(ticks) <= high + margin)]
    axes.set_xticks(np.log10(ticks), [f"{t:g}x" for t in ticks])
    axes.set_yticks([])
    reach = max(1.0, float(np.abs(heights).max()))
    axes.set_ylim(-1.15 * reach, 1.15 * reach)
    axes.set_xlabel("attention (1x: an average cell)")
    return dots


def _swarm_offsets(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread dots of similar place, 0 to 1 along the axis, evenly around 0, so that none hides another for long."""
    bins = np.round(places * 60).astype(int)
    offsets = np.zeros(len(places))
    for one in np.unique(bins):
        inside = np.flatnonzero(bins == one)
        steps = np.arange(len(inside))
        offsets[inside] = np.where(steps % 2, 1, -1) * ((steps + 1) // 2)
    return offsets


def outline(axes: Axes, rows: ArrayLike, values: ArrayLike, height: float, look: Look) -> None:
    """Draw bars of what was said before cells were left out."""
    axes.barh(rows, values, height=height + 0.14, facecolor="none", edgecolor=look.text, linewidth=1.1)


def _probability(value: float) -> str:
    """Two digits, and never a certainty that the numbers do not hold."""
    if value < 0.005:
        return "<.01"
    return ">.99" if value > 0.995 else f"{value:.2f}".lstrip("0")
