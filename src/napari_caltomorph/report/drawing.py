"""What several figures need: axes with a grid, a sentence in place of a figure, shades and texts that can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from napari_caltomorph.report.figures import Look

MARKERS = "osD^vPX*<>hp"
"""One a class beside its colour, where many lines or dots share axes."""


_SENTENCE = "sentence"


def prepare_plot(axes: Axes, look: Look) -> None:
    """Prepare axes with two spines and a faint grid."""
    look.prepare(axes)
    axes.spines[["left", "bottom"]].set_visible(True)
    axes.spines[["left", "bottom"]].set_color(look.faint)
    axes.grid(True, color=look.faint, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)


def prepare_shares(axes: Axes, look: Look) -> None:
    """Prepare axes on which both directions are shares from 0 to 1."""
    prepare_plot(axes, look)
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=ticks, yticks=ticks)


def say_instead(axes: Axes, sentence: str, look: Look) -> None:
    """Write why there is no figure where it would be."""
    look.prepare(axes)
    axes.set_axis_off()
    axes.set_gid(_SENTENCE)
    where: dict[str, Any] = {"ha": "center", "va": "center", "transform": axes.transAxes}
    axes.text(0.5, 0.5, sentence, wrap=True, fontsize=8, color=look.text, parse_math=False, **where)


def says_instead(axes: Axes) -> bool:
    """Whether there is a sentence in place of a figure."""
    return bool(axes.get_gid() == _SENTENCE)


def title(axes: Axes, text: str, look: Look) -> None:
    """Write what is shown above the axes, from their left: a long title then ends above the legend, uncut."""
    axes.set_title(text, loc="left", fontsize=8, color=look.text, parse_math=False)


def note(axes: Axes, text: str, look: Look, *, at: tuple[float, float] = (0.98, 0.02)) -> None:
    """Write numbers into a corner of the axes, on a background that keeps them readable."""
    x, y = at
    axes.text(
        x,
        y,
        text,
        transform=axes.transAxes,
        ha="right" if x > 0.5 else "left",
        va="top" if y > 0.5 else "bottom",
        fontsize=8,
        color=look.text,
        parse_math=False,
        bbox={"facecolor": look.background, "edgecolor": "none", "alpha": 0.85, "pad": 2},
        zorder=6,
    )


def legend_beside(axes: Axes, handles: list[Line2D], look: Look, *, heading: str = "") -> Legend:
    """Put a legend to the right of the axes."""
    legend = axes.legend(
        handles=handles,
        title=heading or None,
        title_fontsize=8,
        fontsize=8,
        labelcolor=look.text,
        frameon=False,
        handlelength=1.4,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0,
        alignment="left",
    )
    legend.get_title().set_color(look.text)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return legend


def short(name: str, longest: int = 28) -> str:
    """Return a name that leaves a figure room; taxonomies are the user's."""
    return name if len(name) <= longest else name[: longest - 1].rstrip() + "…"


def mixed(background: str, color: str, share: float) -> NDArray[np.float64]:
    """Return a colour (3,) that lies so far from the background to another."""
    low, high = np.array(to_rgb(background)), np.array(to_rgb(color))
    between: NDArray[np.float64] = low + share * (high - low)
    return between


def readable_on(color: NDArray[np.float64]) -> str:
    """Return black or white, whichever has more contrast (WCAG's relative luminance)."""
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return "#000000" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "#ffffff"
