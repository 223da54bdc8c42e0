"""Figures of an evaluation as files, drawn as on paper whatever napari's theme."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_caltomorph.diagnosis.prediction_files import folder_name
from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.plugin.evaluate.pages import Page
from napari_caltomorph.report.figures import PAPER
from napari_caltomorph.storage import replacing

KINDS = ("pdf", "svg", "png")


def save_page(page: Page, evaluation: Evaluation, threshold: float, path: Path) -> None:
    """Write one page as PDF, SVG or PNG, as the ending of its name says.

    Raises
    ------
    OutputRefused
        It cannot be written, or ends in something else.
    """
    kind = path.suffix.lower().lstrip(".")
    if kind not in KINDS:
        raise OutputRefused(f"{path} does not say what to write: let its name end in .pdf, .svg or .png.")
    figure = Figure(figsize=page.size(evaluation), layout="constrained")
    FigureCanvasAgg(figure)
    page.draw(figure.subplots(), evaluation, PAPER, threshold)
    with replacing(path) as part:
        figure.savefig(part, format=kind, dpi=200)


def folder_for(evaluation: Evaluation, parent: Path) -> Path:
    """Return a folder that is not there yet, named by model and cohort."""
    known = evaluation.provenance
    name = folder_name(f"{known.model_name} on {known.cohort_name}")
    free = (parent / (name if number == 1 else f"{name} {number}") for number in range(1, 10_000))
    return next(path for path in free if not path.exists())
