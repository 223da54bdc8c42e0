"""The result of *Evaluate ensemble*: figures, threshold and patients follow each other. No napari window is needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint
from tests.plugin.gui import click, click_tab, visible_tabs

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.jobs import ModelEvaluation
from napari_caltomorph.plugin.evaluate.figure import PAGES, TABS, FigureTab
from napari_caltomorph.plugin.evaluate.result import EvaluateResult
from napari_caltomorph.plugin.evaluate.threshold import describe
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.evaluation_figures import FIGURES


@pytest.fixture
def result(qtbot: QtBot, evaluated: ModelEvaluation) -> EvaluateResult:
    view = EvaluateResult()
    qtbot.addWidget(view)
    view.resize(345, 560)
    view.show_evaluated(evaluated, PlotStyle())
    view.show()
    return view


def click_figure(qtbot: QtBot, tab: FigureTab, x: float, y: float) -> None:
    """Click where the first axes have a point."""
    tab.canvas.draw()
    pixel_x, pixel_y = tab.canvas.figure.axes[0].transData.transform((x, y)) / tab.canvas.device_pixel_ratio
    click(qtbot, tab.canvas, QPoint(round(pixel_x), round(tab.canvas.height() - pixel_y)))


def test_the_threshold_moves_numbers_operating_point_and_list(
    qtbot: QtBot, result: EvaluateResult, evaluation: Evaluation
) -> None:
    start = evaluation.provenance.threshold.value
    assert result.threshold.value == start
    assert not result.threshold.reset.isEnabled()
    click_tab(qtbot, result.tabs, 1 + TABS.index("ROC"))
    malignant = np.sort(evaluation.screened.malignancy[evaluation.screened.is_malignant])
    middle = round(float(malignant[len(malignant) // 2]) + 0.0005, 3)
    for value in (middle, 1.0, 0.0):
        result.threshold.slider.setValue(round(1000 * value))
        qtbot.wait(120)
        point = evaluation.at(value)
        assert sorted(result.patients.patients) == sorted(point.missed)
        assert f"missed {len(point.missed)} of {len(malignant)}" in result.patients.text
        assert f"{point.sensitivity.value:.3f}".rstrip("0").rstrip(".") in result.threshold.text
        assert result.threshold.number.value() == value
        dots = result.figures[TABS.index("ROC")].canvas.figure.axes[0].collections[0].get_offsets()
        np.testing.assert_allclose(dots[0], (1 - point.specificity.value, point.sensitivity.value))
    assert not result.figures[TABS.index("FDR")].canvas.figure.axes  # only what is in front is drawn
    result.patients.link_clicked.emit("false_alarms")
    assert sorted(result.patients.patients) == sorted(evaluation.at(0.0).false_alarms)
    result.patients.link_clicked.emit("wrong")
    assert sorted(result.patients.patients) == sorted(evaluation.wrong)
    click_tab(qtbot, result.tabs, 0)
    assert "threshold 0" in result.numbers.toPlainText()
    click(qtbot, result.threshold.reset)
    assert result.threshold.value == start
    assert result.moved_to is None


def test_clicking_a_cell_or_a_dot_lists_its_patients(
    qtbot: QtBot, result: EvaluateResult, evaluation: Evaluation
) -> None:
    for page in (page for page in PAGES if page.matrix is not None):
        click_tab(qtbot, result.tabs, 1 + TABS.index(page.tab))
        tab = result.figures[TABS.index(page.tab)]
        tab.choice.setCurrentText(page.title)
        qtbot.wait(60)
        confusion = page.matrix(evaluation)
        row, column = map(int, np.argwhere(confusion.counts)[-1])
        click_figure(qtbot, tab, column, row)
        assert sorted(result.patients.patients) == sorted(confusion.patients(row, column))
        assert confusion.rows[row].name in result.patients.text
        assert len(tab._marks) == 1
    for page in (page for page in PAGES if page.points is not None):
        click_tab(qtbot, result.tabs, 1 + TABS.index(page.tab))
        tab = result.figures[TABS.index(page.tab)]
        places = page.points(evaluation)
        view = tab.chart.view
        click(qtbot, view.viewport(), view.pixel_of(places[3]))
        assert evaluation.patients["patient_id"][3] in result.patients.patients
        assert any(np.allclose(one, places[3], atol=1e-5) for one in view.ringed)
        assert str(len(evaluation)) in tab.chart.text or "bias" in tab.chart.text
    result.threshold.slider.setValue(1000)
    qtbot.wait(120)
    assert sorted(result.patients.patients) == sorted(evaluation.at(1.0).missed)
    assert not len(view.ringed)


def test_patients_without_labels_are_predicted_and_listed(
    qtbot: QtBot, result: EvaluateResult, evaluated: ModelEvaluation
) -> None:
    evaluation = evaluated.evaluation
    patients = evaluation.patients.assign(truth=None, detailed=None, raw_label=None)
    result.show_evaluated(
        replace(evaluated, evaluation=replace(evaluation, patients=patients, embeddings=None)), PlotStyle()
    )
    assert not result.threshold.isEnabled()
    assert result.patients.patients == list(patients["patient_id"])
    assert "no labels" in result.numbers.toPlainText()
    for number in visible_tabs(result.tabs)[1:]:
        click_tab(qtbot, result.tabs, number)
        tab = result.figures[number - 1]
        assert tab.canvas.figure.axes or "color:" in tab.chart.text or "No map" in tab.chart.text


def test_numbers_that_predictions_are_set_against_have_a_tab(
    qtbot: QtBot, result: EvaluateResult, evaluated: ModelEvaluation
) -> None:
    evaluation = evaluated.evaluation
    assert len(visible_tabs(result.tabs)) == len(TABS)
    options = evaluation.options.model_copy(update={"against": ("blasts",)})
    blasts = pd.DataFrame({"blasts": np.linspace(0, 1, len(evaluation))})
    result.show_evaluated(
        replace(evaluated, evaluation=replace(evaluation, options=options, covariates=blasts)), PlotStyle()
    )
    assert len(visible_tabs(result.tabs)) == len(TABS) + 1
    tab = result.show_tab("Against")
    assert tab.choice.count() > 1
    for place in range(tab.choice.count()):
        tab.choice.setCurrentIndex(place)
        qtbot.wait(60)
        assert tab.canvas.figure.axes


def test_patients_are_described_by_true_and_predicted_class(evaluation: Evaluation) -> None:
    described = describe(evaluation)
    table = evaluation.table().set_index("patient_id")
    assert list(described["true"]) == list(table["true_class"])
    assert list(described["predicted"]) == list(table["predicted_class"])
    np.testing.assert_allclose(described["malig."].astype(float), table["malignancy"], atol=5e-4)


def test_each_panel_of_each_figure_of_the_report_has_a_page() -> None:
    panels = [(name, number) for name, figure in FIGURES.items() for number in range(len(figure.panels))]
    assert sorted((page.figure.name, page.panel) for page in PAGES) == sorted(panels)
