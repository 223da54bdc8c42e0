"""What changes when cells are left out: the new probabilities as bars, the original's as outlines, and the change."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.report.drawing import short
from napari_caltomorph.report.figures import PAPER, Look, outline


def draw_what_if(axes: Axes, prediction: Prediction, look: Look = PAPER) -> None:
    """Draw classes and malignancy with and without the cells that the user left out.

    Parameters
    ----------
    axes : Axes
    prediction : Prediction
        With `original`, or without where nothing was left out: then there are bars alone.
    look : Look
    """
    look.prepare(axes)
    taxonomy, before = prediction.taxonomy, prediction.original or prediction
    now = np.append(prediction.probabilities, prediction.malignancy)
    then = np.append(before.probabilities, before.malignancy)
    names = [*(short(name) for name in taxonomy.names), "Malignant"]
    colors = [*taxonomy.colors, "#b3261e" if prediction.is_malignant else "#009e73"]
    rows = np.append(np.arange(len(taxonomy.names)), len(taxonomy.names) + 0.5)
    axes.barh(rows, 1, height=0.62, color=look.faint, alpha=0.35)
    axes.barh(rows, now, height=0.62, color=colors)
    axes.set_yticks(rows, names, parse_math=False)
    if prediction.original is not None:
        outline(axes, rows, then, 0.62, look)
    for row, value, change in zip(rows, now, now - then, strict=True):
        written = f"{value:.2f}" if prediction.original is None else f"{value:.2f} {_signed(change)}"
        weight = "bold" if abs(change) >= 0.005 else "normal"
        axes.text(1.03, row, written, va="center", fontsize=8, color=look.text, weight=weight)
    axes.set_xticks([])
    axes.set_xlim(0, 1.02)
    axes.set_ylim(rows[-1] + 0.5, -0.5)


def what_if_in_words(prediction: Prediction) -> list[str]:
    """Return the changes as lines of text: diagnosis, malignancy, hemoglobin; none where nothing was left out."""
    if (before := prediction.original) is None:
        return []
    (was, p), (is_now, q) = before.top(1)[0], prediction.top(1)[0]
    lines = [
        f"Diagnosis: {is_now} {q:.2f}, as before ({p:.2f})"
        if was == is_now
        else f"Diagnosis: {is_now} {q:.2f} instead of {was} {p:.2f}",
        f"Malignant: {before.malignancy:.2f} to {prediction.malignancy:.2f} "
        f"({_signed(prediction.malignancy - before.malignancy)})"
        + ("" if before.is_malignant == prediction.is_malignant else ", on the other side of the threshold"),
    ]
    if prediction.hemoglobin is not None and before.hemoglobin is not None:
        change = prediction.hemoglobin - before.hemoglobin
        lines.append(f"Hemoglobin: {before.hemoglobin:.1f} to {prediction.hemoglobin:.1f} g/dl ({_signed(change, 1)})")
    return lines


def _signed(change: float, digits: int = 2) -> str:
    return f"{change:+.{digits}f}" if round(abs(change), digits) else f"±{0:.{digits}f}"
