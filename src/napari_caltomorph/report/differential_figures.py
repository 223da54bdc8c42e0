"""Figures of a differential: the types with their two errors, and what the probe confuses."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from napari_caltomorph.differential import Differential, ProbeDescription, Share, cell_type
from napari_caltomorph.report.drawing import mixed, readable_on, say_instead, short
from napari_caltomorph.report.figures import PAPER, Look

ALL_BLASTS = "all blasts"
# A type that nobody called is worth a row only where the correction finds some.
_WORTH_A_ROW = 0.01


def draw_differential(axes: Axes, differential: Differential, look: Look = PAPER) -> int:
    """Draw one bar a type, in percent of the leukocytes.

    The bar is the share as it is called. The dot is the share corrected for what the probe confuses, its thick line
    the classifier's error, its thin line classifier and counting error together. Below the line across stands what is
    no leukocyte, for each 100 of them.

    Returns
    -------
    int
        How many rows there are: what a caller makes the figure as high as.
    """
    rows = shown_rows(differential)
    if not rows:
        say_instead(axes, "No cell is counted yet.", look)
        return 0
    look.prepare(axes)
    places = [float(place) for place in range(len(rows))]
    reach = min(100.0, 100 * max(max(share.high, share.called) for _, share, _ in rows))
    axes.barh(places, [reach] * len(rows), height=0.62, color=look.faint, alpha=0.35)
    colors = [_color(name) for name, _, _ in rows]
    axes.barh(places, [min(100 * share.called, reach) for _, share, _ in rows], height=0.62, color=colors)
    for place, (name, share, _) in zip(places, rows, strict=True):
        for (low, high), width in (((share.low, share.high), 1.0), (share.classifier, 3.0)):
            ends = np.minimum([100 * low, 100 * high], reach)
            axes.plot(ends, [place, place], color=look.text, linewidth=width, solid_capstyle="butt", zorder=3)
        dot = min(100 * share.value, reach)
        axes.scatter(dot, place, s=18, color=look.text, edgecolor=look.background, linewidth=0.6, zorder=4)
        words = f"{100 * share.value:.0f} ({100 * share.low:.0f}-{100 * share.high:.0f})"
        weight = "bold" if name == ALL_BLASTS or cell_type(name).is_blast else "normal"
        axes.text(
            1.02,
            place,
            words,
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=8,
            color=look.text,
            weight=weight,
        )
    counted = sum(is_counted for _, _, is_counted in rows)
    if counted < len(rows):
        axes.axhline(counted - 0.5, color=look.text, linewidth=0.8)
    axes.set_yticks(places, [f"{short(name, 22)}  {share.cells}" for name, share, _ in rows], parse_math=False)
    for label, (name, _, _) in zip(axes.get_yticklabels(), rows, strict=True):
        if name == ALL_BLASTS or cell_type(name).is_blast:
            label.set_fontweight("bold")
    axes.set_xlim(0, reach)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("% of leukocytes (below: per 100 of them)" if counted < len(rows) else "% of leukocytes")
    return len(rows)


def shown_rows(differential: Differential) -> list[tuple[str, Share, bool]]:
    """Return name, share and whether it is counted, of the types worth showing, all blasts among them."""
    rows = [(name, differential.share_of(name), cell_type(name).is_counted) for name in differential.all_types]
    rows = [(name, share, counted) for name, share, counted in rows if share.cells or share.value >= _WORTH_A_ROW]
    rows.sort(key=lambda row: not row[2])  # stable: what is no leukocyte comes last
    if sum(cell_type(name).is_blast for name, _, _ in rows) > 1:
        rows.insert(sum(counted for _, _, counted in rows), (ALL_BLASTS, differential.blasts, True))
    return rows


def draw_probe_confusion(axes: Axes, probe: ProbeDescription, look: Look = PAPER) -> None:
    """Draw labelled cells by their label (rows) and by what the probe calls them out of fold (columns)."""
    look.prepare(axes)
    counts = np.array(probe.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    empty = mixed(look.background, look.faint, 0.35)
    colors = np.array([mixed(look.background, _color(name), 1.0) for name in probe.types])
    image = empty + shares[..., None] * (colors[None] - empty)
    axes.imshow(image, aspect="auto", interpolation="nearest")
    for row, column in np.argwhere(counts > 0):
        axes.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            fontsize=7,
            color=readable_on(image[row, column]),
            weight="bold" if row == column else "normal",
        )
    names = [short(name, 20) for name in probe.types]
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_xticks(np.arange(len(names)) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names)) - 0.5, minor=True)
    axes.grid(which="minor", color=look.background, linewidth=1.5)
    axes.tick_params(which="minor", length=0)


def _color(name: str) -> str:
    return cell_type("blast").color if name == ALL_BLASTS else cell_type(name).color
