"""Figures of one patient: class probabilities, malignancy, hemoglobin, attention, what-if changes, differential.

Each is drawn into axes that the caller owns: a panel, a report or a file. Colours of classes come from the taxonomy,
all others from a `PlotStyle`, so that the same function draws in napari's theme and on paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from napari_caltomorph.diagnosis import NO_ATTENTION, Prediction
from napari_caltomorph.differential import Differential, ProbeDescription, cell_type
from napari_caltomorph.differential.cell_types import GROUPS
from napari_caltomorph.differential.count import ALL_BLASTS, Row
from napari_caltomorph.report.drawing import PAPER, PlotStyle, draw_matrix, draw_sentence, short
from napari_caltomorph.report.plot import Axis, Dots, Line, Plot, draw_plot
from napari_caltomorph.statistics.interval import percent
from napari_caltomorph.statistics.metric import signed


def unless_withheld(draw: Callable[..., None]) -> Callable[..., None]:
    """Return a figure of the numbers of a prediction that is a sentence where they are withheld."""

    @wraps(draw)
    def drawn(axes: Axes, prediction: Prediction, style: PlotStyle = PAPER) -> None:
        if prediction.withheld:
            draw_sentence(axes, prediction.diagnosis_in_words, style)
        else:
            draw(axes, prediction, style)

    return drawn


@unless_withheld
def draw_probabilities(axes: Axes, prediction: Prediction, style: PlotStyle = PAPER) -> None:
    """Draw one bar a class, with the members' own probabilities as dots on it (paper, figure 5).

    Where the model is calibrated, dots and bar have the same temperature, so that they can be compared. The bar is
    then the calibrated mean of the raw probabilities, which is not the mean of the dots. Where cells were left out by
    hand, the probabilities with all cells are outlined.
    """
    style.prepare(axes)
    taxonomy, mean, before = prediction.taxonomy, prediction.probabilities, prediction.shown_original
    rows = np.arange(len(mean))
    draw_bars(axes, rows, mean, taxonomy.colors, style, outline=None if before is None else before.probabilities)
    members = prediction.shown_member_probabilities
    axes.scatter(
        members.ravel(),
        np.tile(rows, len(members)),
        s=9,
        color=style.text,
        edgecolor=style.background,
        linewidth=0.5,
        zorder=3,
    )
    winner = int(mean.argmax()) if prediction.stands_out else None
    for row, value in enumerate(mean):
        weight = "bold" if row == winner else "normal"
        axes.text(1.03, row, f"{value:.2f}", va="center", fontsize=8, color=style.text, weight=weight)
    axes.set_yticks(rows, taxonomy.names, parse_math=False)  # a class may be called "t($;$)"
    if winner is not None:
        axes.get_yticklabels()[winner].set_fontweight("bold")
    axes.set(xticks=[], xlim=(0, 1.02), ylim=(len(mean) - 0.5, -0.5))


@unless_withheld
def draw_malignancy(axes: Axes, prediction: Prediction, style: PlotStyle = PAPER) -> None:
    """Draw the malignancy probability on a scale from 0 to 1, with the threshold as a tick."""
    style.prepare(axes)
    value, threshold, before = prediction.malignancy, prediction.shown_threshold.value, prediction.shown_original
    color, outline = malignancy_color(prediction), None if before is None else before.malignancy
    draw_bars(axes, 0, value, color, style, outline=outline, height=0.5)
    axes.plot([threshold, threshold], [-0.45, 0.45], color=style.text, linewidth=1.5)
    axes.text(1.03, 0, f"{value:.2f}", va="center", fontsize=8, color=style.text, weight="bold")
    axes.set_yticks([0], ["Malignant"])
    at = prediction.prevalence
    where = "" if at is None else f"; where {percent(at.value)} are malignant"
    axes.set_xticks([threshold], [f"threshold {threshold:.3g}{where}"])
    axes.get_xticklabels()[0].set_horizontalalignment(("left", "center", "right")[int(np.clip(3 * threshold, 0, 2))])
    axes.set(xlim=(0, 1.02), ylim=(-0.6, 0.6))


@unless_withheld
def draw_hemoglobin(axes: Axes, prediction: Prediction, style: PlotStyle = PAPER) -> None:
    """Draw the hemoglobin estimate in g/dl, with `hemoglobin_range` as a line where it is known."""
    style.prepare(axes)
    value, interval = prediction.hemoglobin, prediction.hemoglobin_range
    assert value is not None
    # The scale covers all living patients; it is longer where a model predicts a value outside it.
    before = None if prediction.shown_original is None else prediction.shown_original.hemoglobin
    shown = [value, *(interval or ()), *([] if before is None else [before])]
    low, high = (f(4.0, 20.0, *shown) for f in (min, max))
    axes.barh(0, high - low, left=low, height=0.12, color=style.faint, alpha=0.6)
    if interval is not None:
        axes.plot(interval, [0, 0], color=style.text, linewidth=3, alpha=0.6, solid_capstyle="butt")
    if before is not None:
        axes.scatter([before], [0], s=36, facecolor="none", edgecolor=style.text, linewidth=1.1, zorder=2)
    axes.scatter([value], [0], s=36, color="#d1495b", edgecolor=style.background, linewidth=0.8, zorder=3)
    reach = high + 0.02 * (high - low)
    axes.text(reach + 0.01 * (high - low), 0, f"{value:.1f}", va="center", fontsize=8, color=style.text, weight="bold")
    axes.set_yticks([0], ["Hemoglobin g/dl"])
    ticks = MaxNLocator(5, steps=[1, 2, 4, 5, 10]).tick_values(low, high)
    axes.set(xticks=[tick for tick in ticks if low <= tick <= high], xlim=(low, reach), ylim=(-0.6, 0.6))


def attention_swarm(prediction: Prediction, style: PlotStyle = PAPER) -> Plot:
    """Return every cell as a dot at its attention, coloured by the class predicted for it alone (figure 5).

    The dots are in the order of `prediction.cells`; of a model without attention there is only a sentence.
    """
    if not prediction.has_attention:
        return Plot(sentence=NO_ATTENTION)
    logs = np.log10(np.maximum(prediction.attention, 1e-3))
    low, high = min(logs.min(), -0.3), max(logs.max(), 0.3)
    heights = _swarm_offsets((logs - low) / (high - low))
    margin, reach = 0.06 * (high - low), 1.15 * max(3.0, float(np.abs(heights).max()))
    ticks = attention_ticks(low, high, margin)
    dots = Dots(np.stack([logs, heights], axis=1), alone_colors(prediction), style.background, size=3.7)
    return Plot(
        Axis(low - margin, high + margin, "attention (1x: an average cell)", ticks),
        Axis(-reach, reach),
        dots=(dots,),
        lines=(Line((0, 0), (-reach, reach), style.faint),),
    )


def draw_attention_swarm(axes: Axes, prediction: Prediction, style: PlotStyle = PAPER) -> None:
    """Draw `attention_swarm`."""
    draw_plot(axes, attention_swarm(prediction, style), style)


def alone_colors(prediction: Prediction) -> list[str]:
    """Return the colour of the class predicted for each cell alone, in the order of `prediction.cells`.

    They are grey where the prediction is withheld: the commonest colour would be read as the diagnosis.
    """
    if prediction.withheld:
        return ["#808080"] * len(prediction.cells)
    return [prediction.taxonomy.colors[i] for i in prediction.alone_class]


@unless_withheld
def draw_what_if(axes: Axes, prediction: Prediction, style: PlotStyle = PAPER) -> None:
    """Draw classes and malignancy with and without the cells that the user left out; bars alone without such cells."""
    style.prepare(axes)
    taxonomy, before = prediction.taxonomy, prediction.shown_original or prediction
    now = np.append(prediction.probabilities, prediction.malignancy)
    then = np.append(before.probabilities, before.malignancy)
    names = [*(short(name) for name in taxonomy.names), "Malignant"]
    colors = [*taxonomy.colors, malignancy_color(prediction)]
    rows = np.append(np.arange(len(taxonomy.names)), len(taxonomy.names) + 0.5)
    draw_bars(axes, rows, now, colors, style, outline=None if prediction.shown_original is None else then)
    axes.set_yticks(rows, names, parse_math=False)
    for row, value, earlier in zip(rows, now, then, strict=True):
        written = f"{value:.2f}" if prediction.shown_original is None else f"{value:.2f} {signed(earlier, value)}"
        weight = "normal" if round(value, 2) == round(earlier, 2) else "bold"
        axes.text(1.03, row, written, va="center", fontsize=8, color=style.text, weight=weight)
    axes.set(xticks=[], xlim=(0, 1.02), ylim=(rows[-1] + 0.5, -0.5))


def draw_differential(axes: Axes, differential: Differential, style: PlotStyle = PAPER) -> int:
    """Draw one bar a type, in percent of the leukocytes; return the number of rows, for the height of the figure.

    The bar is the share as classified. The dot is the share corrected for the probe's confusions, with a thick line
    for the classifier's error and a thin line for classifier and counting error together. Below the horizontal line
    are cells that are no leukocytes, per 100 leukocytes.
    """
    rows = differential.shown_rows
    if not rows:
        draw_sentence(axes, "No cell is counted yet.", style)
        return 0
    style.prepare(axes)
    places = [float(place) for place in range(len(rows))]
    reach = min(100.0, 100 * max(max(row.share.high, row.share.called) for row in rows))
    called = [min(100 * row.share.called, reach) for row in rows]
    draw_bars(axes, places, called, [_color(row.name) for row in rows], style, full=reach)
    for place, (name, share, *_) in zip(places, rows, strict=True):
        for (low, high), width in (((share.low, share.high), 1.0), (share.classifier, 3.0)):
            ends = np.minimum([100 * low, 100 * high], reach)
            axes.plot(ends, [place, place], color=style.text, linewidth=width, solid_capstyle="butt", zorder=3)
        dot = min(100 * share.value, reach)
        axes.scatter(dot, place, s=18, color=style.text, edgecolor=style.background, linewidth=0.6, zorder=4)
        words = f"{100 * share.value:.0f} ({100 * share.low:.0f}-{100 * share.high:.0f})"
        text = axes.text(1.02, place, words, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        text.set(color=style.text, fontweight="bold" if _is_blast(name) else "normal")
    counted = sum(row.is_counted for row in rows)
    if counted < len(rows):
        axes.axhline(counted - 0.5, color=style.text, linewidth=0.8)
    axes.set_yticks(places, [_line(row) for row in rows], parse_math=False)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        if _is_blast(row.name):
            label.set_fontweight("bold")
    axes.set_xlim(0, reach)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("% of leukocytes (below: per 100 of them)" if counted < len(rows) else "% of leukocytes")
    return len(rows)


def draw_probe_confusion(axes: Axes, probe: ProbeDescription, style: PlotStyle = PAPER) -> None:
    """Draw labelled cells by their label (rows) and by the probe's out-of-fold class (columns)."""
    counts = np.array(probe.confusion)
    colors = [_color(name) for name in probe.types]
    draw_matrix(
        axes,
        counts,
        colors,
        style,
        is_right=np.eye(len(counts), dtype=bool),
        cell_text=lambda row, column: str(counts[row, column]),
    )
    names = [short(name, 20) for name in probe.types]
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor", parse_math=False)


def draw_bars(
    axes: Axes,
    rows: ArrayLike,
    values: ArrayLike,
    colors: str | Sequence[str],
    style: PlotStyle,
    *,
    outline: ArrayLike | None = None,
    height: float = 0.62,
    full: float = 1,
) -> None:
    """Draw bars on pale bars of full length; outlined, other values, such as those before cells were left out."""
    axes.barh(rows, np.full_like(rows, full, dtype=float), height=height, color=style.faint, alpha=0.35)
    axes.barh(rows, values, height=height, color=colors)
    if outline is not None:
        axes.barh(rows, outline, height=height + 0.14, facecolor="none", edgecolor=style.text, linewidth=1.1)


def malignancy_color(prediction: Prediction) -> str:
    """Return the colour of malignancy on its side of the threshold."""
    return "#b3261e" if prediction.is_malignant else "#009e73"


def attention_ticks(low: float, high: float, margin: float = 0) -> dict[float, str]:
    """Return place -> text of the ticks on an axis of log10(attention), with a margin on both sides."""
    # Over more than two powers of ten, the labels between them would touch.
    ticks = np.outer(10.0 ** np.arange(-3, 6), [1] if high - low > 2 else [1, 2, 5]).ravel()
    ticks = ticks[(np.log10(ticks) >= low - margin) & (np.log10(ticks) <= high + margin)]
    return {float(np.log10(tick)): f"{tick:g}x" for tick in ticks}


def _swarm_offsets(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread dots of similar place, 0 to 1 along the axis, evenly around 0, so that few hide each other."""
    bins = np.round(places * 60).astype(int)
    offsets = np.zeros(len(places))
    for one in np.unique(bins):
        inside = np.flatnonzero(bins == one)
        steps = np.arange(len(inside))
        offsets[inside] = np.where(steps % 2, 1, -1) * ((steps + 1) // 2)
    return offsets


def _line(row: Row) -> str:
    """Return the name and cells of a row of a differential; those that the row above it has too are in brackets."""
    cells = f"({row.share.cells})" if row.is_part else f"{row.share.cells}"
    return f"{short(row.label, 22)}  {cells}"


def _color(name: str) -> str:
    first, *_ = GROUPS.get(name, ("blast" if name == ALL_BLASTS else name,))
    return cell_type(first).color


def _is_blast(name: str) -> bool:
    return name == ALL_BLASTS or cell_type(name).is_blast
