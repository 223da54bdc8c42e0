"""The figures of an evaluation, one row a figure: name, caption, panels; and how they are drawn and saved."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.evaluation.covariates import CovariateAssociation
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.report.class_figures import (
    draw_confusion,
    draw_coverage,
    draw_delta,
    draw_detailed_confusion,
    draw_top2,
)
from napari_caltomorph.report.drawing import PAPER, PlotStyle, has_sentence, new_figure, one_by_one, save_figure
from napari_caltomorph.report.measured_figures import draw_against, draw_errors_by, draw_hemoglobin_scatter
from napari_caltomorph.report.patient_map import draw_map, patient_map
from napari_caltomorph.report.probability_figures import (
    draw_class_rocs,
    draw_fdr,
    draw_fdr_without_healthy,
    draw_malignancy_reliability,
    draw_reliability,
    draw_roc,
)
from napari_caltomorph.storage import StrPath

Draw = Callable[[Axes, Evaluation, PlotStyle], object]

_ACROSS = 3
_SENTENCE_HEIGHT = 0.8
_MOST_CLASSES = 8


@dataclass(frozen=True)
class EvaluationFigure:
    """One figure."""

    name: str  # Of the files
    title: str
    caption: str
    panels: tuple[Draw, ...]  # Each draws an evaluation into its own axes; three are in a row
    size: Callable[[Evaluation], tuple[float, float]]  # Width and height in inches

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of its panels."""
        across = min(_ACROSS, len(self.panels))
        return math.ceil(len(self.panels) / across), across

    def of(self, evaluation: Evaluation, style: PlotStyle = PAPER) -> Figure:
        """Return the drawn figure."""
        figure = new_figure(*self.size(evaluation))
        places = figure.subplots(*self.grid, squeeze=False).ravel()
        for axes, draw in zip(places, self.panels, strict=False):
            draw(axes, evaluation, style)
        for axes in places[len(self.panels) :]:
            axes.remove()
        if all(has_sentence(axes) for axes in figure.axes):
            figure.set_figheight(_SENTENCE_HEIGHT)
        return figure


def _matrix(rows: Callable[[Evaluation], int], row: float) -> Callable[[Evaluation], tuple[float, float]]:
    def size(evaluation: Evaluation) -> tuple[float, float]:
        return 2.6 + 0.62 * len(evaluation.taxonomy.classes), 1.6 + row * max(3, rows(evaluation))

    return size


def _fixed(width: float, height: float) -> Callable[[Evaluation], tuple[float, float]]:
    return lambda _: (width, height)


FIGURES = {
    figure.name: figure
    for figure in (
        EvaluationFigure(
            "confusion",
            "Confusion",
            "Patients by true class (rows; how many in brackets) and predicted class (columns), with shares of the "
            "row. Framed: right answers. Below the line: several right answers, and classes unknown to the model.",
            (draw_confusion,),
            _matrix(lambda e: len(e.confusion.rows), 0.42),
        ),
        EvaluationFigure(
            "confusion_detailed",
            "Confusion by detailed class",
            "The same with one row for each detailed class of the cohort.",
            (draw_detailed_confusion,),
            _matrix(lambda e: len(e.detailed_confusion.rows), 0.3),
        ),
        EvaluationFigure(
            "roc",
            "ROC",
            "Malignancy, the sum of the malignant classes' probabilities, with the operating point; and each class "
            "against the rest. In brackets: 95 % intervals.",
            (draw_roc, draw_class_rocs),
            _fixed(9.2, 3.9),
        ),
        EvaluationFigure(
            "reliability",
            "Calibration",
            "Share of patients for whom a prediction is right, by its probability; lines: Wilson's 95 % intervals, "
            "bars: patients in a bin. Next to the ECE: the ECE of a perfectly calibrated model on as many patients, "
            "which is far from 0 on few patients.",
            (draw_reliability, draw_malignancy_reliability),
            _fixed(7.6, 4.1),
        ),
        EvaluationFigure(
            "fdr",
            "Sensitivity and false discovery rate",
            "Sensitivity of each malignant class against the share of false positives among all positives, over all "
            "thresholds. Marks and dotted line: the operating point. Dashed line: the rate if all patients were "
            "punctured, which is the share that is not malignant. Both rates depend on which other patients are tested "
            "and on how many; they differ between clinics.",
            (draw_fdr,),
            _fixed(6.6, 3.9),
        ),
        EvaluationFigure(
            "fdr_without_healthy",
            "The same without healthy donors",
            "As if no healthy donor were tested: their bone marrow is not punctured.",
            (draw_fdr_without_healthy,),
            _fixed(6.6, 3.9),
        ),
        EvaluationFigure(
            "hemoglobin",
            "Hemoglobin",
            "One dot a patient. Classes differ in hemoglobin, so that even the class alone correlates with it; "
            "the correlation within classes excludes this.",
            (draw_hemoglobin_scatter,),
            _fixed(6.4, 4.4),
        ),
        EvaluationFigure(
            "top2",
            "The second class",
            "How often the true class is the first or among the first two, by class; and where it is second, "
            "the difference between the two highest probabilities.",
            (draw_top2, draw_delta),
            _fixed(8.8, 3.4),
        ),
        EvaluationFigure(
            "coverage",
            "Coverage against error",
            "Share of wrong classes among the patients who are predicted, where those with the smallest lead of the "
            "first class are withheld first (band: Wilson's 95 % intervals, each of one limit). Dots: limits of the "
            "lead (min_lead of a policy). Patients of classes that the model does not know count as wrong. A limit "
            "that is chosen on these patients is optimistic for them.",
            (draw_coverage,),
            _fixed(5.2, 3.6),
        ),
        EvaluationFigure(
            "map",
            "Map of patients",
            "Neighbours: patients with similar embeddings in one member. Distances between groups mean little. "
            "Crosses: the member was trained on these patients, which separate better than others do.",
            (draw_map,),
            _fixed(6.8, 4.6),
        ),
    )
}


def figures_of(evaluation: Evaluation) -> tuple[EvaluationFigure, ...]:
    """Return `FIGURES`, and one figure for each covariate of the evaluation."""
    return (
        *FIGURES.values(),
        *(_against(number, one, evaluation) for number, one in enumerate(evaluation.covariate_associations, 1)),
    )


def _against(number: int, one: CovariateAssociation, evaluation: Evaluation) -> EvaluationFigure:
    sizes = {slug: correlation.patients for slug, correlation in one.correlations.items()}
    shown = sorted(sizes, key=lambda slug: -sizes[slug])[:_MOST_CLASSES]
    panels: list[Draw] = [lambda axes, e, style: draw_errors_by(axes, e, one.column, style)]
    panels += [_draw_class_against(one.column, slug) for slug in evaluation.taxonomy.slugs if slug in shown]
    across, down = min(_ACROSS, len(panels)), math.ceil(len(panels) / _ACROSS)
    left_out = f" The {_MOST_CLASSES} largest classes are shown." if len(sizes) > len(shown) else ""
    return EvaluationFigure(
        name=f"against_{number}",
        title=f"Against {one.column}",
        caption=f"Share of wrong predictions by quarters of the patients (lines: Wilson's 95 % intervals), then the "
        f"probability of each class for its patients, by {one.column}. Crosses: predicted as another class.{left_out}",
        panels=tuple(panels),
        size=_fixed(4.1 * across, 3.1 * down),
    )


def _draw_class_against(column: str, slug: str) -> Draw:
    return lambda axes, evaluation, style: draw_against(axes, evaluation, column, slug, style)


def save_figures(
    evaluation: Evaluation, folder: StrPath, style: PlotStyle = PAPER, *, progress: OnProgress = ignore
) -> list[Path]:
    """Write every figure as PNG and PDF, and the map's coordinates; return the paths. Raises `OutputRefused`."""
    folder, written = Path(folder), []
    for one in one_by_one(figures_of(evaluation), lambda one: one.title, progress):
        figure = one.of(evaluation, style)
        for kind in ("png", "pdf"):
            written.append(save_figure(figure, folder / f"{one.name}.{kind}", dpi=200))
    return [*written, patient_map(evaluation).save(folder)]
