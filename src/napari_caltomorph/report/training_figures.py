"""Figures of a training: each member's losses, while it runs and after, and what it says of its own fold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from napari_caltomorph.diagnosis import ModelDescription
from napari_caltomorph.diagnosis.model_card import TRAINING_CURVES
from napari_caltomorph.report.drawing import mixed, readable_on
from napari_caltomorph.report.figures import PAPER, Look
from napari_caltomorph.storage import replacing
from napari_caltomorph.taxonomy import Taxonomy

# Hues of Okabe and Ito (2008), told apart by people of any colour vision; as light as both backgrounds allow.
_FOLD_COLORS = ("#3b8fd9", "#e69f00", "#1fb58f", "#d97fb0", "#e5683a", "#8e7cc3", "#b8a500")
# Below so many classes a cell of the matrix has room for its share beside its count.
_ROOMY = 5


class Losses(Protocol):
    """Losses of one member, one number an epoch; NaN where it is not known, and the tuples may be of two lengths."""

    @property
    def train_loss(self) -> Sequence[float]: ...
    @property
    def validation_loss(self) -> Sequence[float]: ...
    @property
    def best_epoch(self) -> int:
        """Counted from 1; 0 where there is none yet."""


def draw_loss_curves(axes: Axes, folds: Sequence[Losses], look: Look = PAPER) -> None:
    """Draw each member's loss after each epoch: training solid, validation dashed, a dot where it was best."""
    look.prepare(axes)
    if not any(len(fold.train_loss) for fold in folds):
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no epoch is finished yet", ha="center", va="center", fontsize=8, color=look.text)
        return
    for number, fold in enumerate(folds):
        color = _FOLD_COLORS[number % len(_FOLD_COLORS)]
        _draw_losses(axes, fold.train_loss, color, "-")
        _draw_losses(axes, fold.validation_loss, color, "--")
        if 0 < fold.best_epoch <= len(fold.validation_loss):
            best = fold.validation_loss[fold.best_epoch - 1]
            axes.scatter([fold.best_epoch], [best], s=26, color=color, edgecolor=look.background, zorder=4)
    axes.spines[["left", "bottom"]].set_visible(True)
    axes.spines[["left", "bottom"]].set_color(look.faint)
    axes.yaxis.grid(True, color=look.faint, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    epochs = max(len(fold.train_loss) for fold in folds)
    axes.set_xlim(0.5, max(epochs, 5) + 0.5)
    axes.set_xlabel("epoch")
    has_validation = any(len(fold.validation_loss) for fold in folds)
    axes.set_title("loss; dashed: validation, dot: best" if has_validation else "loss in training", fontsize=8)
    _name_folds(axes, len(folds), look)


def draw_out_of_fold_confusion(axes: Axes, taxonomy: Taxonomy, counts: NDArray[np.integer], look: Look = PAPER) -> None:
    """Draw numbers of patients, true class by predicted class; the deeper a cell, the larger its share of the row.

    Parameters
    ----------
    axes : Axes
    taxonomy : Taxonomy
        C classes.
    counts : (C, C) int
        Rows are true classes, as `out_of_fold_confusion` gives them.
    look : Look
    """
    look.prepare(axes)
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]  # (C, C)
    empty = mixed(look.background, look.faint, 0.35)
    colors = np.array([mixed(look.background, color, 1.0) for color in taxonomy.colors])  # (C, 3)
    image = empty + shares[..., None] * (colors[:, None] - empty)  # (C, C, 3)
    axes.imshow(image, aspect="auto", interpolation="nearest")
    places = range(len(counts))
    for row in places:
        for column in np.flatnonzero(counts[row]).tolist():
            share = f"\n{shares[row, column]:.0%}" if len(counts) < _ROOMY else ""
            axes.text(
                column,
                row,
                f"{counts[row, column]}{share}",
                ha="center",
                va="center",
                fontsize=8,
                color=readable_on(image[row, column]),
                weight="bold" if row == column else "normal",
            )
    axes.set_xticks(np.arange(len(counts)) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(counts)) - 0.5, minor=True)
    axes.grid(which="minor", color=look.background, linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    names = taxonomy.names
    axes.set_yticks(places, [f"{name} ({n})" for name, n in zip(names, totals, strict=True)], parse_math=False)
    is_long = len(names) > 2 or max(map(len, names)) > 9
    axes.set_xticks(places, names, rotation=90 if is_long else 0, parse_math=False)
    # At the right edge: the names of the rows leave the matrix less room than the title takes.
    axes.set_title("patients: true (row), predicted (column)", loc="right", fontsize=8, color=look.text)


def save_training_curves(description: ModelDescription, folder: str | Path) -> Path | None:
    """Write the figure that the model card shows into the model's folder; return it, or None where nothing is known.

    Raises
    ------
    OutputRefused
        It cannot be written.
    """
    folds = [fold for fold in description.training.folds if fold.train_loss]
    if not folds:
        return None
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    draw_loss_curves(figure.subplots(), folds)
    path = Path(folder) / TRAINING_CURVES
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=110)
    return path


def _draw_losses(axes: Axes, losses: Sequence[float], color: str, style: str) -> None:
    """Draw what is known; over epochs that are not known, the line goes straight on."""
    values = np.asarray(losses, dtype=float)
    known = np.flatnonzero(np.isfinite(values))
    if len(known):
        marker = "." if len(known) == 1 else ""
        axes.plot(known + 1, values[known], color=color, linestyle=style, linewidth=1.3, marker=marker)


def _name_folds(axes: Axes, folds: int, look: Look) -> None:
    if folds < 2:
        return
    handles = [Line2D([], [], color=_FOLD_COLORS[k % len(_FOLD_COLORS)], label=f"{k + 1}") for k in range(folds)]
    legend = axes.legend(
        handles=handles,
        title="fold",
        title_fontsize=8,
        fontsize=8,
        labelcolor=look.text,
        frameon=False,
        handlelength=1.2,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0,
    )
    legend.get_title().set_color(look.text)
