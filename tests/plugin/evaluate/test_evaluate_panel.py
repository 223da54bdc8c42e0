"""The *Evaluate ensemble* panel, clicked in a real window."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QObject, QUrl, Slot
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QPushButton
from tests.plugin.conftest import OpenWidget
from tests.plugin.evaluate.conftest import RESAMPLES, Trained
from tests.plugin.gui import click, click_tab, dock_of, double_click, is_in_sight, run_task, visible_tabs, wait

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.jobs import ModelEvaluation
from napari_caltomorph.plugin.evaluate.figure import PAGES, TABS
from napari_caltomorph.plugin.evaluate.panel import EvaluatePanel
from napari_caltomorph.plugin.evaluate.setup import EvaluateSetup
from napari_caltomorph.plugin.plot_style import plot_style_of
from napari_caltomorph.plugin.widgets.dock_panel import open_panel
from napari_caltomorph.plugin.widgets.tasks import Task
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort

OpenEvaluate = Callable[[], tuple[Viewer, EvaluatePanel]]


@pytest.fixture
def open_evaluate(open_widget: OpenWidget) -> OpenEvaluate:
    return partial(open_widget, "Evaluate ensemble")


@pytest.fixture
def panel(open_evaluate: OpenEvaluate) -> EvaluatePanel:
    return open_evaluate()[1]


def choose(setup: EvaluateSetup, trained: Trained, **options: object) -> None:
    setup.models.choose(str(trained.model))
    setup.chooser.place.setText(str(trained.features))
    setup.chooser.min_cells.setValue(1)
    setup.chooser.more.set(trained.patients.model_dump())
    setup.features.setText(str(trained.features))
    setup.options.set(resamples=RESAMPLES, **options)


def show(panel: EvaluatePanel, trained: Trained, evaluated: ModelEvaluation) -> None:
    """Show an evaluation as if it had just been made."""
    choose(panel.setup, trained)
    panel._on_evaluated(replace(evaluated, request=panel.setup.request()))


def test_the_test_split_is_evaluated_and_every_tab_has_its_figure(
    qtbot: QtBot, open_evaluate: OpenEvaluate, trained: Trained, evaluation: Evaluation
) -> None:
    viewer, panel = open_evaluate()
    assert not panel.result.isVisible()
    choose(panel.setup, trained)
    stages: list[str] = []
    panel.run.progressed.connect(lambda progress: stages.append(progress.stage))
    click(qtbot, panel.run.button)
    assert panel.run.button.text() == "Cancel"
    wait(qtbot, panel.run)
    assert panel.result.evaluated is not None, panel.run.text
    outcome = panel.result.evaluated.evaluation
    np.testing.assert_allclose(outcome.probabilities, evaluation.probabilities, atol=1e-6)
    assert "Evaluating" in stages
    assert f"{len(evaluation)} patients" in panel.result.text
    assert not panel.section.is_open
    assert not panel.stale.isVisible()
    numbers = panel.result.numbers.toPlainText()
    assert f"{evaluation.headline['accuracy'].value:.3f}" in numbers
    assert '("Lab")' in numbers  # the flag of the note, called as the form calls it
    text = plot_style_of(viewer.theme).text
    for number in visible_tabs(panel.result.tabs)[1:]:
        tab = panel.result.figures[number - 1]
        assert not tab.canvas.figure.axes  # drawn when it comes to the front
        assert not tab.chart.text.strip("<br> ")
        click_tab(qtbot, panel.result.tabs, number)
        pages = [page for page in PAGES if page.tab == TABS[number - 1]]
        for place in range(len(pages)):
            tab.choice.setCurrentIndex(place)
            qtbot.wait(60)
            assert tab.page is pages[place]
            assert tab.canvas.isVisible() == (tab.page.plot is None)
            if tab.page.plot is None:
                assert to_hex(tab.canvas.figure.axes[0].xaxis.label.get_color()) == to_hex(text)
            else:
                assert "color:" in tab.chart.text  # the legend


def test_training_patients_are_refused_and_evaluated_out_of_fold_on_a_click(
    qtbot: QtBot, panel: EvaluatePanel, trained: Trained
) -> None:
    choose(panel.setup, trained, split="all")
    run_task(qtbot, panel.run)
    assert panel.result.evaluated is None
    assert "was trained on 20 of the 40 patients" in panel.run.text
    assert '"Out of fold"' in panel.run.text
    assert panel.offer.isVisible()
    panel.offer.linkActivated.emit("#")
    wait(qtbot, panel.run)
    assert panel.result.evaluated is not None, panel.run.text
    assert panel.result.evaluated.evaluation.patients["fold"].notna().all()
    assert "out of fold, by single members" in panel.result.text
    assert not panel.offer.isVisible()
    assert panel.setup.options.options().out_of_fold


def test_patients_without_features_are_encoded_first_and_open_with_a_prediction(
    qtbot: QtBot, open_evaluate: OpenEvaluate, tmp_path: Path
) -> None:
    viewer, panel = open_evaluate()
    drawn, features = tmp_path / "drawn", tmp_path / "features"
    synthesize_cohort(drawn, SynthOptions(patients=16, cells=4, seed=2))
    panel.setup.models.choose("demo")
    panel.setup.chooser.place.setText(str(drawn))
    panel.setup.chooser.min_cells.setValue(1)
    panel.setup.options.set(split="all", resamples=0)
    run_task(qtbot, panel.run)
    assert "choose a folder for them" in panel.run.text
    panel.setup.features.setText(str(features))
    panel.setup.options.set(audit=True)
    values: set[str] = set()
    panel.run.progressed.connect(lambda progress: values.add(progress.stage))
    run_task(qtbot, panel.run)
    assert panel.result.evaluated is not None, panel.run.text
    assert "Encoding" in values
    assert len(list(features.glob("*.h5"))) == 16
    assert panel.result.evaluated.audit is not None
    assert panel.result.evaluated.audit.findings[0] in panel.result.numbers.toPlainText()
    panel.result.threshold.number.setValue(1.0)
    qtbot.wait(60)
    for _ in range(2):
        patient = double_click(qtbot, panel.result.patients.table, 0)
        predict = open_panel(viewer, "Predict patient")
        qtbot.waitUntil(lambda: not predict.run.is_busy, timeout=120_000)  # noqa: B023
        assert predict.results.prediction is not None, predict.run.text
        assert predict.results.prediction.patient_id == patient
        assert [layer.name for layer in viewer.layers].count(patient) == 1
    cells = panel.result.patients.cells
    qtbot.waitUntil(lambda: not cells.picture.pixmap().isNull(), timeout=60_000)
    assert f"{patient}: the cells with the most attention" in cells.text
    panel.result.follow("false_alarms")
    assert cells.isHidden()
    predict.unbind()


def test_a_patient_without_images_cannot_be_opened(
    qtbot: QtBot, panel: EvaluatePanel, trained: Trained, evaluated: ModelEvaluation
) -> None:
    show(panel, trained, evaluated)
    panel.result.threshold.number.setValue(1.0)
    qtbot.wait(120)
    double_click(qtbot, panel.result.patients.table, 0)
    assert "no images" in panel.run.text
    qtbot.waitUntil(lambda: "not at hand" in panel.result.patients.cells.text)


class Browser(QObject):
    """Gets what would be opened."""

    opened: QUrl | None = None

    @Slot(QUrl)
    def open(self, url: QUrl) -> None:
        self.opened = url


def test_figures_and_the_report_are_saved_at_the_threshold_in_sight(
    qtbot: QtBot, panel: EvaluatePanel, trained: Trained, evaluated: ModelEvaluation, tmp_path: Path
) -> None:
    show(panel, trained, evaluated)
    panel.save_figure(tmp_path / "none.pdf")
    assert "Choose a tab with a figure" in panel.run.text
    panel.result.show_tab("FDR")
    panel.result.threshold.number.setValue(0.25)
    for name, start in (("one.pdf", b"%PDF"), ("one.svg", b"<?xml"), ("one.png", b"\x89PNG")):
        panel.save_figure(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    panel.save_figure(tmp_path / "one.doc")
    assert "end in .pdf, .svg or .png" in panel.run.text
    browser = Browser()
    QDesktopServices.setUrlHandler("file", browser, "open")
    folder = tmp_path / "report"
    panel.save_report(folder)
    wait(qtbot, panel.run)
    QDesktopServices.unsetUrlHandler("file")
    assert panel.run.text == f"Saved in {folder}"
    assert browser.opened is not None
    assert browser.opened.toLocalFile() == str(folder / "report.html")
    saved = Evaluation.load(folder)
    assert saved.provenance.threshold.value == 0.25
    assert "set by hand" in saved.provenance.threshold.rule
    assert (folder / "figures" / "roc.pdf").is_file()
    html = (folder / "report.html").read_text("utf-8")
    assert "Research use only" in html
    assert "--threshold 0.25" in html


def test_the_copied_command_is_what_the_panel_would_evaluate(panel: EvaluatePanel, trained: Trained) -> None:
    from napari_caltomorph.cli.evaluate import app

    choose(panel.setup, trained, split="train", out_of_fold=True, lab="other", healthy=("a", "b"))
    panel.setup.options.set(audit=True)
    panel.copy.linkActivated.emit("#")
    words = shlex.split(QApplication.clipboard().text())
    assert words[:2] == ["caltomorph", "evaluate"]
    _, bound, _ = app.parse_args(words[2:])
    assert bound.args == (trained.features,)
    values = bound.kwargs
    assert values["model"] == str(trained.model)
    assert values["features"] == trained.features
    assert values["options"].audit
    assert values["options"] == panel.setup.options.options()
    assert values["patients"] == trained.patients.model_copy(update={"names_only": False})


def test_a_cancelled_evaluation_shows_nothing_and_closing_stops_one(
    qtbot: QtBot, panel: EvaluatePanel, trained: Trained
) -> None:
    choose(panel.setup, trained)
    click(qtbot, panel.run.button)
    run_task(qtbot, panel.run)
    assert panel.result.evaluated is None
    assert "Cancelled" in panel.run.text
    assert panel.setup.isEnabled()
    click(qtbot, panel.run.button)
    dock = dock_of(panel)
    dock.close()
    wait(qtbot, panel.run)
    dock.show()
    qtbot.waitUntil(panel.isVisible)
    assert panel.result.evaluated is None
    assert panel.run.text.startswith("Stopped, because the panel was closed.")
    click(qtbot, panel.run.button)
    (cross,) = dock.findChildren(QPushButton, "QTitleBarCloseButton")
    gone: list[object] = []
    panel.destroyed.connect(gone.append)
    click(qtbot, cross)
    qtbot.waitUntil(lambda: bool(gone), timeout=60_000)
    Task.await_workers(60_000)


def test_numbers_of_an_earlier_choice_are_marked(
    panel: EvaluatePanel, trained: Trained, evaluated: ModelEvaluation
) -> None:
    show(panel, trained, evaluated)
    assert not panel.stale.isVisible()
    panel.setup.options.set(split="train")
    assert "Evaluate again" in panel.stale.text()
    assert panel.stale.isVisible()
    panel.setup.options.set(split="test")
    assert not panel.stale.isVisible()
    panel.setup.models.choose("demo")
    assert panel.stale.isVisible()


def test_what_is_missing_is_named_in_one_sentence(
    qtbot: QtBot, panel: EvaluatePanel, trained: Trained, tmp_path: Path
) -> None:
    def values() -> str:
        click(qtbot, panel.run.button)
        wait(qtbot, panel.run)
        return panel.run.text

    assert "Choose a cohort first" in values()
    choose(panel.setup, trained)
    panel.setup.options.more.set({"threshold": 7})
    assert values().startswith("Threshold:")
    choose(panel.setup, trained, threshold=None)
    panel.setup.models.choose(str(tmp_path / "none"))
    assert str(tmp_path / "none") in values()
    choose(panel.setup, trained)
    panel.setup.chooser.place.setText(str(tmp_path / "nowhere"))
    assert "nowhere" in values()
    assert panel.section.is_open


def test_what_was_chosen_last_is_there_again(qtbot: QtBot, trained: Trained) -> None:
    setup = EvaluateSetup()
    qtbot.addWidget(setup)
    choose(setup, trained, split="train", out_of_fold=True, bins=7, audit=True)
    setup.remember()
    again = EvaluateSetup()
    qtbot.addWidget(again)
    assert again.request() == setup.request()


def test_writing_the_threshold_into_the_model_is_chosen_each_time(qtbot: QtBot) -> None:
    setup = EvaluateSetup()
    qtbot.addWidget(setup)
    setup.options.set(choose_by="fdr=0.1", store_threshold=True)
    setup.options.remember()
    again = EvaluateSetup()
    qtbot.addWidget(again)
    assert again.options.options().choose_by == "fdr=0.1"
    assert not again.options.options().store_threshold


def test_everything_is_in_sight_on_a_small_screen_in_both_themes(
    qtbot: QtBot, open_evaluate: OpenEvaluate, trained: Trained, evaluated: ModelEvaluation
) -> None:
    viewer, panel = open_evaluate()

    for fold in (panel.setup.chooser.section, panel.setup.options.section):
        click(qtbot, fold.button)
        qtbot.wait(20)
        assert is_in_sight(panel.run.button)
        click(qtbot, fold.button)
    show(panel, trained, evaluated)
    for theme in ("light", "dark"):
        viewer.theme = theme
        for number in visible_tabs(panel.result.tabs):
            click_tab(qtbot, panel.result.tabs, number)
            assert panel.minimumSizeHint().width() <= 360
            assert is_in_sight(panel.run.button)
            assert is_in_sight(panel.report_button)
            assert panel.result.tabs.tabBar().width() <= panel.result.width()
            if number:
                tab = panel.result.figures[number - 1]
                shown = tab.canvas if tab.page.plot is None else tab.chart
                corner = shown.grab().toImage().pixelColor(2, shown.height() // 2)
                assert corner.name() == to_hex(plot_style_of(theme).background)
