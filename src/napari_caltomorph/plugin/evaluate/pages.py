"""The figures of *Evaluate ensemble* as rows: in which tab each is, what follows the threshold, what can be clicked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.evaluation.confusion import Confusion
from napari_caltomorph.report import Look
from napari_caltomorph.report.evaluation_figures import FIGURES, EvaluationFigure, figures_of
from napari_caltomorph.report.patient_map import patient_map


@dataclass(frozen=True)
class Page:
    """One panel of one of the report's figures.

    Attributes
    ----------
    tab, title : str
        A tab with several pages lets the user choose among their titles.
    figure : EvaluationFigure
        Whose panel it is.
    panel : int
        Which one.
    has_threshold : bool
        Whether it shows the operating point.
    matrix : callable, optional
        Evaluation -> the matrix whose rows and columns are the y and x of the axes: a click lists a cell's patients.
    points : callable, optional
        Evaluation -> (P, 2) where the patients' dots are: a click lists those below the pointer.
    says : callable, optional
        Evaluation -> how this one was made, beside the caption.
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
    says: Callable[[Evaluation], str] | None = None
    least_height: int = 48

    @property
    def hint(self) -> str:
        """How it is read, and what a click does."""
        if self.matrix is not None:
            return "Rows: true, columns: predicted. Click a cell."
        return "Click a dot to see which patient it is." if self.points is not None else ""

    def caption(self, evaluation: Evaluation) -> str:
        """Return what is to be known of it."""
        said = "" if self.says is None else f"{self.says(evaluation)} "
        return said + self.figure.caption

    def size(self, evaluation: Evaluation) -> tuple[float, float]:
        """Return inches, wide and high, on paper."""
        (wide, high), (down, across) = self.figure.size(evaluation), self.figure.grid
        return wide / across, high / down

    def draw(self, axes: Axes, evaluation: Evaluation, look: Look, threshold: float) -> None:
        """Draw it."""
        draw: Any = self.figure.panels[self.panel]
        draw(axes, evaluation, look, **({"threshold": threshold} if self.has_threshold else {}))


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
        points=lambda e: patient_map(e).judged,
        says=lambda e: patient_map(e).in_words,
    ),
)
"""Those of every evaluation, in the order in which they are shown."""

AGAINST = "Against"
TABS = (*dict.fromkeys(page.tab for page in PAGES), AGAINST)


def pages_of(evaluation: Evaluation) -> tuple[Page, ...]:
    """Return `PAGES`, and one for each panel in which predictions are shown against a number."""
    further = [figure for figure in figures_of(evaluation) if figure.name not in FIGURES]
    return (
        *PAGES,
        *(
            Page(AGAINST, f"{one.title}, {panel + 1} of {len(one.panels)}", one, panel, least_height=72)
            for one in further
            for panel in range(len(one.panels))
        ),
    )
