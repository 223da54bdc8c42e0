"""What all figures share: their style, axes with a grid, matrices, legends, texts, and how a figure becomes a file."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.storage import StrPath, replacing

Drawn = TypeVar("Drawn")

MARKERS = "osD^vPX*<>hp"
"""One per class, in addition to its colour, where many lines share axes."""

_SENTENCE = "sentence"


@dataclass(frozen=True)
class PlotStyle:
    """The colours of everything but classes; one style for paper, one for each theme of napari."""

    text: str = "#202020"
    background: str = "#ffffff"
    faint: str = "#d0d0d0"

    def prepare(self, axes: Axes) -> None:
        """Remove spines and tick marks, and set the colours and sizes of all texts."""
        axes.set_facecolor(self.background)
        axes.figure.set_facecolor(self.background)
        axes.spines[:].set_visible(False)
        axes.tick_params(colors=self.text, length=0, labelsize=8)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set_color(self.text)
            text.set_fontsize(8)


PAPER = PlotStyle()
"""Black on white, for print."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that no window shows."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def prepare_plot(axes: Axes, style: PlotStyle, *, vertical_grid: bool = True) -> None:
    """Prepare axes with two spines and a faint grid."""
    style.prepare(axes)
    axes.spines[["left", "bottom"]].set_visible(True)
    axes.spines[["left", "bottom"]].set_color(style.faint)
    axes.grid(True, axis="both" if vertical_grid else "y", color=style.faint, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)


def prepare_shares(axes: Axes, style: PlotStyle) -> None:
    """Prepare axes on which both directions are shares from 0 to 1."""
    prepare_plot(axes, style)
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=ticks, yticks=ticks)


def draw_sentence(axes: Axes, sentence: str, style: PlotStyle) -> None:
    """Write in place of a figure why there is none."""
    style.prepare(axes)
    axes.set_axis_off()
    axes.set_gid(_SENTENCE)
    where: dict[str, Any] = {"ha": "center", "va": "center", "transform": axes.transAxes}
    axes.text(0.5, 0.5, sentence, wrap=True, fontsize=8, color=style.text, parse_math=False, **where)


def has_sentence(axes: Axes) -> bool:
    """Whether `draw_sentence` wrote into these axes."""
    return bool(axes.get_gid() == _SENTENCE)


def draw_matrix(
    axes: Axes,
    counts: NDArray[np.integer],
    colors: Sequence[str],
    style: PlotStyle,
    *,
    color_rows: bool = False,
    is_right: NDArray[np.bool_],
    cell_text: Callable[[int, int], str],
    fontsize: float = 7,
    **text: Any,
) -> None:
    """Draw counts (R, C) as a matrix of coloured cells; the larger a cell's share of its row, the deeper its colour.

    `colors` are of the columns, or of the rows with `color_rows`. Cells with `is_right` (R, C) are in bold.
    `cell_text` maps row and column to what is written where the count is not 0.
    """
    style.prepare(axes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    background, full = np.array(to_rgb(style.background)), to_rgba_array(colors)[:, :3]
    empty = background + 0.35 * (np.array(to_rgb(style.faint)) - background)
    image = empty + shares[..., None] * ((full[:, None] if color_rows else full[None]) - empty)  # (R, C, 3)
    axes.imshow(image, aspect="auto", interpolation="nearest")
    for row, column in np.argwhere(counts > 0).tolist():
        axes.text(
            column,
            row,
            cell_text(row, column),
            ha="center",
            va="center",
            fontsize=fontsize,
            color=_readable_on(image[row, column]),
            weight="bold" if is_right[row, column] else "normal",
            **text,
        )
    for axis, count in ((axes.yaxis, len(counts)), (axes.xaxis, counts.shape[1])):
        axis.set_ticks(np.arange(count) - 0.5, minor=True)
    axes.grid(which="minor", color=style.background, linewidth=1.5)
    axes.tick_params(which="minor", length=0)


def title(axes: Axes, text: str, style: PlotStyle) -> None:
    """Write a title from the left edge of the axes: a long one then ends above the legend, uncut."""
    axes.set_title(text, loc="left", fontsize=8, color=style.text, parse_math=False)


def note(axes: Axes, text: str, style: PlotStyle) -> None:
    """Write numbers into the lower right corner of the axes, on a background that keeps them readable."""
    axes.text(
        0.98,
        0.02,
        text,
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=8,
        color=style.text,
        parse_math=False,
        bbox={"facecolor": style.background, "edgecolor": "none", "alpha": 0.85, "pad": 2},
        zorder=6,
    )


def legend_beside(axes: Axes, handles: list[Line2D], style: PlotStyle, *, heading: str = "", **options: Any) -> Legend:
    """Put a legend to the right of the axes; `options` are those of matplotlib's legend."""
    options = {"handlelength": 1.4, "bbox_to_anchor": (1.01, 1.0), "alignment": "left"} | options
    legend = axes.legend(
        handles=handles,
        title=heading or None,
        title_fontsize=8,
        fontsize=8,
        labelcolor=style.text,
        frameon=False,
        loc="upper left",
        borderaxespad=0,
        **options,
    )
    legend.get_title().set_color(style.text)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return legend


def legend_dot(label: str, color: str, *, marker: str = "o", **options: Any) -> Line2D:
    """Return an entry of a legend that is a marker without a line; `options` are those of `Line2D`."""
    return Line2D([], [], linestyle="none", marker=marker, color=color, label=label, **options)


def unbroken(text: str) -> str:
    """Return a text as HTML in which Qt breaks no line: at no space, and not at the slash of "MDS/MPN"."""
    return html.escape(text).replace(" ", "&nbsp;").replace("/", "/\u2060")


def short(name: str, longest: int = 28) -> str:
    """Return a name shortened to leave a figure room: taxonomies are the user's."""
    return name if len(name) <= longest else name[: longest - 1].rstrip() + "…"


def one_by_one(figures: Sequence[Drawn], title: Callable[[Drawn], str], progress: OnProgress) -> Iterator[Drawn]:
    """Yield what is to be drawn, and report each before it is drawn: a reader sees which, and can cancel there."""
    for number, figure in enumerate(figures, start=1):
        progress(Progress(f"Drawing {title(figure)}", number, len(figures), "figures"))
        yield figure


def save_figure(figure: Figure, path: StrPath, *, dpi: float) -> Path:
    """Write a figure in the format of the path's suffix; return the path. Raises `OutputRefused`."""
    path = Path(path)
    with replacing(path) as part:
        figure.savefig(part, format=path.suffix[1:], dpi=dpi)
    return path


def _readable_on(color: NDArray[np.float64]) -> str:
    """Return black or white, whichever has more contrast (WCAG's relative luminance)."""
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return "#000000" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "#ffffff"
