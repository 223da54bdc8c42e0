"""The figures of *Evaluate ensemble* as rows: in which tab each is, what follows the threshold, what can be clicked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.evaluation.confusion import Confusion
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.drawing import PAPER
from napari_caltomorph.report.evaluation_figures import FIGURES, EvaluationFigure, figures_of
from napari_caltomorph.report.patient_map import patient_map
from napari_caltomorph.storage import replacing

KINDS = ("pdf", "svg", "png")


@dataclass(frozen=True)
class Page:
    """One panel of one of the report's figures.

    Attributes
    ----------
    tab, title : str
        A tab with several pages lets the user choose among their titles.
    figure : EvaluationFigure
    panel : int
        Which panel of the figure.
    has_threshold : bool
        Whether it shows the operating point.
    matrix : callable, optional
        Evaluation -> the matrix whose rows and columns are the y and x of the axes: a click lists a cell's patients.
    points : callable, optional
        Evaluation -> (P, 2) where the patients' dots are: a click lists those under the pointer.
    note : callable, optional
        Evaluation -> a note on how this page was made, shown before the caption.
    least_height : int
        Pixels for an inch of paper. Below it lines of text run into each other, and the page scrolls instead.
    """

    tab: str
    title: str
    figure: EvaluationFigure
    panel: int = 0
    has_threshold: bool = False
    matrix: Callable[[Evaluation], Confusion] | None = None
    points: Callable[[Evaluation], NDArray[np.floating[Any]]] | None = None
    note: Callable[[Evaluation], str] | None = None
    least_height: int = 48

    @property
    def hint(self) -> str:
        """How to read it, and what a click does."""
        if self.matrix is not None:
            return "Rows: true, columns: predicted. Click a cell."
        return "Click a dot to see which patient it is." if self.points is not None else ""

    def caption(self, evaluation: Evaluation) -> str:
        """Return how it was made and what it shows."""
        return ("" if self.note is None else f"{self.note(evaluation)} ") + self.figure.caption

    def size(self, evaluation: Evaluation) -> tuple[float, float]:
        """Return width and height on paper, in inches."""
        (wide, high), (down, across) = self.figure.size(evaluation), self.figure.grid
        return wide / across, high / down

    def draw(self, axes: Axes, evaluation: Evaluation, style: PlotStyle, threshold: float) -> None:
        """Draw it."""
        draw: Any = self.figure.panels[self.panel]
        draw(axes, evaluation, style, **({"threshold": threshold} if self.has_threshold else {}))

    def save(self, path: Path, evaluation: Evaluation, threshold: float) -> None:
        """Write it as PDF, SVG or PNG, drawn as on paper whatever napari's theme; the ending of the name decides.

        Raises
        ------
        OutputRefused
            It cannot be written, or the name ends in something else.
        """
        kind = path.suffix.lower().lstrip(".")
        if kind not in KINDS:
            raise OutputRefused(f"{path} has no known ending: let the name end in .pdf, .svg or .png.")
        figure = Figure(figsize=self.size(evaluation), layout="constrained")
        FigureCanvasAgg(figure)
        self.draw(figure.subplots(), evaluation, PAPER, threshold)
        with replacing(path) as part:
            figure.savefig(part, format=kind, dpi=200)


def _hemoglobin(evaluation: Evaluation) -> NDArray[np.float64]:
    columns = ("measured_hemoglobin_g_dl", "hemoglobin_g_dl")
    return np.stack([evaluation.patients[c].to_numpy(dtype=float, na_value=np.nan) for c in columns], axis=1)


PAGES = (
    Page("Confusion", "Classes", FIGURES["confusion"], matrix=lambda e: e.confusion, least_height=55),
    Page(
        "Confusion",
        "Detailed classes",
        FIGURES["confusion_detailed"],
        matrix=lambda e: e.detailed_confusion,
        least_height=76,
    ),
    Page("Confusion", "Within the first two classes", FIGURES["top2"]),
    Page("Confusion", "By how much the first class led", FIGURES["top2"], 1),
    Page("ROC", "Malignant or not", FIGURES["roc"], has_threshold=True),
    Page("ROC", "Each class against the rest", FIGURES["roc"], 1, least_height=84),
    Page("Calibration", "Predicted class", FIGURES["reliability"]),
    Page("Calibration", "Malignancy", FIGURES["reliability"], 1),
    Page("FDR", "Against all others", FIGURES["fdr"], has_threshold=True, least_height=72),
    Page(
        "FDR",
        "Against others without healthy donors",
        FIGURES["fdr_without_healthy"],
        has_threshold=True,
        least_height=72,
    ),
    Page("Hb", "Hemoglobin", FIGURES["hemoglobin"], points=_hemoglobin),
    Page(
        "Map",
        "Map of patients",
        FIGURES["map"],
        points=lambda e: patient_map(e).evaluated,
        note=lambda e: patient_map(e).in_words,
    ),
)
"""Those of every evaluation, in the order in which they are shown."""

AGAINST = "Against"
TABS = (*dict.fromkeys(page.tab for page in PAGES), AGAINST)


def pages_of(evaluation: Evaluation) -> tuple[Page, ...]:
    """Return `PAGES`, and one for each panel that shows predictions against a covariate."""
    further = [figure for figure in figures_of(evaluation) if figure.name not in FIGURES]
    return (
        *PAGES,
        *(
            Page(AGAINST, f"{one.title}, {panel + 1} of {len(one.panels)}", one, panel, least_height=72)
            for one in further
            for panel in range(len(one.panels))
        ),
    )
