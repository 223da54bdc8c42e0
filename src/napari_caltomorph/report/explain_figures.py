"""Figures of explanations: what speaks for and against a class, and whether an order of cells is what a model goes by.

Each draws into axes that the caller owns, in napari's theme or on paper. Orders of cells have one colour everywhere.
No torch is loaded here: results come with it, and a panel draws them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.report.drawing import prepare_plot, say_instead, title
from napari_caltomorph.report.figures import PAPER, Look

if TYPE_CHECKING:
    from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness
    from napari_caltomorph.explanation.changed_bags import CellChanges
    from napari_caltomorph.explanation.contribution import Contributions
    from napari_caltomorph.explanation.faithfulness import CurveKind, Faithfulness

SPEAKS_FOR, SPEAKS_AGAINST = "#d55e00", "#0072b2"
ORDER_COLORS = {"attention": "#0072b2", "contribution": "#d55e00", "alone": "#009e73"}
_OTHER_COLOR = "#cc79a7"
_TITLES = {"deletion": "Deletion: first cells taken out", "insertion": "Insertion: first cells only"}
_BETTER = {"deletion": "lower is better", "insertion": "higher is better"}


def draw_contributions(axes: Axes, prediction: Prediction, found: Contributions, look: Look = PAPER) -> PathCollection:
    """Draw every cell at its attention and its signed contribution, coloured by the class of the cell alone.

    Where the model has no attention, its response to the cell alone stands in the place of attention.

    Returns
    -------
    PathCollection
        Its offsets are in the order of `prediction.cells`.
    """
    prepare_plot(axes, look)
    colors = np.array(prediction.taxonomy.colors)[prediction.alone_class]
    if prediction.has_attention:
        places = np.log10(np.maximum(prediction.attention, 1e-3))
        axes.set_xlabel("attention (1x: an average cell)")
    else:
        places = prediction.alone[:, prediction.taxonomy.slugs.index(found.slug)]
        axes.set_xlabel("response to the cell alone (no attention)")
    axes.axhline(0, color=look.text, linewidth=0.8)
    dots = axes.scatter(places, found.values, s=16, c=colors, edgecolor=look.background, linewidth=0.3, zorder=3)
    if prediction.has_attention:
        low, high = axes.get_xlim()
        ticks = np.outer(10.0 ** np.arange(-3, 6), [1] if high - low > 2 else [1, 2, 5]).ravel()
        axes.xaxis.set_major_locator(FixedLocator([t for t in np.log10(ticks) if low <= t <= high]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{10**place:g}x"))
    reach = 1.15 * max(float(np.abs(found.values).max()), 1e-6)
    axes.set_ylim(-reach, reach)
    axes.set_ylabel("contribution (log-odds)")
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_color(look.text)
        text.set_fontsize(8)
    return dots


def draw_strongest(
    axes: Axes, prediction: Prediction, found: Contributions, look: Look = PAPER, *, count: int = 8
) -> NDArray[np.intp]:
    """Draw bars of the cells that speak most for the class, and most against it.

    Returns
    -------
    (B,) int
        The cell of each bar, from the top: strongest for first, strongest against last.
    """
    look.prepare(axes)
    speak_for, against = found.strongest(count)
    cells = np.concatenate([speak_for, against[::-1]])
    if not len(cells):
        say_instead(axes, "No cell speaks for or against this class.", look)
        return cells
    values, rows = found.values[cells], np.arange(len(cells))
    axes.barh(rows, values, height=0.7, color=np.where(values > 0, SPEAKS_FOR, SPEAKS_AGAINST))
    axes.axvline(0, color=look.text, linewidth=0.8)
    if len(speak_for) and len(against):
        axes.axhline(len(speak_for) - 0.5, color=look.faint, linewidth=0.8)
    names = [f"#{prediction.ranks[i]}  {_short(found.cells[i])}" for i in cells]
    axes.set_yticks(rows, names, fontsize=7, parse_math=False)
    axes.set_ylim(len(cells) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(3))  # in a narrow dock, more of them touch
    axes.set_xlabel("against   |   contribution (log-odds)   |   for")
    axes.xaxis.label.set_color(look.text)
    return cells


def draw_leave_one_out(
    axes: Axes, prediction: Prediction, found: CellChanges, look: Look = PAPER, *, count: int = 16
) -> None:
    """Draw the change of the class's log-odds as each cell is left out, largest first, at most so many."""
    look.prepare(axes)
    if not len(found.change):
        say_instead(axes, "Select cells, then ask what changes without each of them.", look)
        return
    order = np.argsort(-np.abs(found.change), kind="stable")[:count]
    change, rows = found.change[order], np.arange(len(order))
    # A loss of log-odds is bad news for the class: the cell spoke for it.
    axes.barh(rows, change, height=0.7, color=np.where(change < 0, SPEAKS_FOR, SPEAKS_AGAINST))
    axes.axvline(0, color=look.text, linewidth=0.8)
    names = [f"#{prediction.ranks[found.rows[i]]}  {_short(found.cells[i])}" for i in order]
    axes.set_yticks(rows, names, fontsize=7, parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(3))  # in a narrow dock, more of them touch
    axes.set_xlabel("change without the cell (log-odds)")
    axes.xaxis.label.set_color(look.text)


def draw_curves(axes: Axes, found: Faithfulness, kind: CurveKind, look: Look = PAPER) -> None:
    """Draw a class's probability while the first cells of each order go, or come; random orders are a band."""
    shares = found.shares(kind)
    several = np.array([getattr(one, kind) for one in found.random])
    low, high = np.quantile(several, [0.025, 0.975], axis=0)
    axes.fill_between(
        shares, low, high, color=look.faint, alpha=0.7, linewidth=0, label=f"{len(several)} random orders"
    )
    axes.plot(shares, several.mean(axis=0), color=look.text, linewidth=1, linestyle=":", label="their mean")
    for order, curve in found.orders.items():
        label = f"{order} {found.gain(kind, order).value:+.2f}"
        axes.plot(shares, getattr(curve, kind), color=_color(order), linewidth=1.5, label=label)
    _finish_curves(axes, kind, look)


def draw_mean_curves(axes: Axes, found: CohortFaithfulness, kind: CurveKind, look: Look = PAPER) -> None:
    """Draw the mean of the patients' curves; beside each order, its mean area better than random."""
    axes.plot(found.shares, found.curves[kind, "random"], color=look.text, linewidth=1, linestyle=":", label="random")
    for order in found.orders:
        label = f"{order} {found.gain(kind, order).value:+.2f}"
        axes.plot(found.shares, found.curves[kind, order], color=_color(order), linewidth=1.5, label=label)
    _finish_curves(axes, kind, look)


def faithfulness_figure(found: CohortFaithfulness, look: Look = PAPER) -> Figure:
    """Return the mean curves of both kinds side by side."""
    figure = Figure(figsize=(7.6, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    draw_mean_curves(left, found, "deletion", look)
    draw_mean_curves(right, found, "insertion", look)
    return figure


def _finish_curves(axes: Axes, kind: CurveKind, look: Look) -> None:
    prepare_plot(axes, look)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_xlabel("share of the cells taken out" if kind == "deletion" else "share of the cells put in")
    axes.set_ylabel("probability of the class")
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_color(look.text)
        text.set_fontsize(8)
    title(axes, f"{_TITLES[kind]} ({_BETTER[kind]})", look)
    axes.legend(loc="best", fontsize=7, labelcolor=look.text, frameon=True, facecolor=look.background, edgecolor="none")


def _color(order: str) -> str:
    return ORDER_COLORS.get(order, _OTHER_COLOR)


def _short(cell: str, longest: int = 18) -> str:
    """Return the end of a cell's name, which tells cells of one folder apart."""
    name = cell.rsplit("/", 1)[-1]
    return name if len(name) <= longest else f"…{name[1 - longest :]}"
