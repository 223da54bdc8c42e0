"""A plot of dots and lines as plain numbers and colours: matplotlib draws it into a report, Qt into a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from napari_caltomorph.report.drawing import (
    PAPER,
    PlotStyle,
    draw_sentence,
    legend_beside,
    legend_dot,
    prepare_plot,
    title,
)

Numbers = NDArray[np.floating]


@dataclass(frozen=True)
class Axis:
    """Where an axis begins and ends, its name, and its ticks: place -> text."""

    low: float
    high: float
    name: str = ""
    ticks: Mapping[float, str] = field(default_factory=dict)

    @classmethod
    def around(cls, values: Numbers, name: str = "", *, margin: float = 0.05) -> Axis:
        """Return an axis without ticks on which all known values are, with a margin as a share of their range."""
        known = np.asarray(values)[np.isfinite(values)]
        low, high = float(known.min()), float(known.max())
        reach = margin * (high - low) or 1.0
        return cls(low - reach, high + reach, name)

    def numbered(self, most: int = 5, *, integer: bool = False) -> Axis:
        """Return the same axis with ticks at round numbers."""
        places = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10], integer=integer, min_n_ticks=1).tick_values(
            self.low, self.high
        )
        return replace(self, ticks={float(place): f"{place:g}" for place in places if self.low <= place <= self.high})


@dataclass(frozen=True)
class Dots:
    """Dots of one marker: filled ``"o"`` and ``"D"``, or ``"x"``. Diameter and width of the edge are in points."""

    places: Numbers  # (N, 2)
    faces: Sequence[str]  # (N,) colours; "none" of a hollow dot
    edges: str | Sequence[str]  # one, or (N,)
    size: float = 4
    width: float = 0.3
    marker: str = "o"
    alpha: float = 1


@dataclass(frozen=True)
class Line:
    """A line through points; NaN is left out, and the line is straight over it."""

    x: Sequence[float]
    y: Sequence[float]
    color: str
    width: float = 1
    is_dashed: bool = False


@dataclass(frozen=True)
class Entry:
    """An entry of a legend: a dot of this marker, hollow or not, or a ``"-"`` line."""

    name: str
    color: str
    marker: str = "o"
    face: str | None = None
    size: float = 6


@dataclass(frozen=True)
class Plot:
    """Dots over lines, in two axes; or only a `sentence` in their place."""

    x: Axis = Axis(0, 1)
    y: Axis = Axis(0, 1)
    dots: tuple[Dots, ...] = ()
    lines: tuple[Line, ...] = ()
    legend: tuple[Entry, ...] = ()
    heading: str = ""  # of the legend
    title: str = ""
    grid: str = ""  # "x", "y", "xy"
    sentence: str = ""


def draw_plot(axes: Axes, plot: Plot, style: PlotStyle = PAPER) -> None:
    """Draw it with matplotlib; the offsets of the collections are the places of `plot.dots`."""
    if plot.sentence:
        draw_sentence(axes, plot.sentence, style)
        return
    if plot.grid:
        prepare_plot(axes, style, vertical_grid="x" in plot.grid)
    else:
        style.prepare(axes)
    for line in plot.lines:
        known = np.isfinite(np.asarray(line.y, dtype=float))
        x, y = np.asarray(line.x)[known], np.asarray(line.y)[known]
        marker = "." if len(y) == 1 else ""
        dashes = "--" if line.is_dashed else "-"
        axes.plot(x, y, color=line.color, linewidth=line.width, linestyle=dashes, marker=marker)
    for zorder, dots in enumerate(plot.dots, start=3):
        # matplotlib warns where a cross has an edge.
        edges: dict[str, Any] = {} if dots.marker == "x" else {"edgecolor": dots.edges}
        x, y = dots.places.T
        # An alpha of 1 would fill hollow dots.
        alpha = dots.alpha if dots.alpha < 1 else None
        look: dict[str, Any] = {"linewidth": dots.width, "alpha": alpha, "zorder": zorder, **edges}
        # One colour is drawn faster, as one marker that is repeated.
        colors = list(dots.faces if len(set(dots.faces)) > 1 else dots.faces[:1])
        axes.scatter(x, y, s=dots.size**2, c=colors, marker=dots.marker, **look)
    for one, axis, set_range in ((plot.x, axes.xaxis, axes.set_xlim), (plot.y, axes.yaxis, axes.set_ylim)):
        set_range(one.low, one.high)
        axis.set_ticks(list(one.ticks), list(one.ticks.values()))
        axis.set_label_text(one.name)
    if plot.title:
        title(axes, plot.title, style)
    if plot.legend:
        legend_beside(axes, [_handle(entry) for entry in plot.legend], style, heading=plot.heading)


def _handle(entry: Entry) -> Line2D:
    if entry.marker == "-":
        return Line2D([], [], color=entry.color, label=entry.name)
    fill = {"markerfacecolor": entry.face or entry.color, "markeredgewidth": 1, "markersize": entry.size}
    return legend_dot(entry.name, entry.color, marker=entry.marker, **fill)
