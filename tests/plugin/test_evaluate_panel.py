"""The *Evaluate ensemble* panel, clicked in a real window."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from napari.viewer import Viewer
from napari_caltomorph.plugin.evaluate.options_form import in_panel_words
from napari_caltomorph.plugin.evaluate.patients import describe
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QObject, QPoint, Qt, QUrl, Slot
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QDockWidget, QPushButton, QWidget
from tests.plugin.conftest import OpenWidget
from tests.training.small import tiny, write_cohort

from napari_caltomorph.cohort import CohortOptions, read_cohort
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.evaluation import EvaluateOptions, Evaluation, evaluate
from napari_caltomorph.jobs import ModelEvaluation, read_patients
from napari_caltomorph.plugin.evaluate.figure import FigureTab
from napari_caltomorph.plugin.evaluate.pages import PAGES, TABS
from napari_caltomorph.plugin.evaluate.panel import EvaluatePanel
from napari_caltomorph.plugin.widgets.parts import look_of
from napari_caltomorph.plugin.widgets.worker import Task
from napari_caltomorph.report.evaluation_figures import FIGURES
from napari_caltomorph.report.patient_map import patient_map
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort

FOLDS, RESAMPLES = 2, 10
OpenEvaluate = Callable[[], tuple[Viewer, EvaluatePanel]]


class Trained(NamedTuple):
    """A model folder, the features that it was trained on and others, and how the cohort was read."""

    model: Path
    features: Path
    patients: CohortOptions


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two members, trained on half of 40 patients of three classes."""
    from napari_caltomorph.training import train

    folder = tmp_path_factory.mktemp("evaluate")
    data = write_cohort(folder / "cohort", {"aml": 14, "cll": 12, "stem_cell_donor": 14})
    table = str(data / "patients.csv")
    patients = CohortOptions(table=table, min_cells=1, test_fraction=0.5, folds=FOLDS, names_only=True)
    train(read_cohort(data / "features", patients), data / "features", tiny(hemoglobin=True), out=folder / "model")
    return Trained(folder / "model", data / "features", patients)


@pytest.fixture
def open_evaluate(open_widget: OpenWidget) -> OpenEvaluate:
    return partial(open_widget, "Evaluate ensemble")


@pytest.fixture
def panel(open_evaluate: OpenEvaluate) -> EvaluatePanel:
    return open_evaluate()[1]


@pytest.fixture(scope="module")
def evaluation(trained: Trained) -> Evaluation:
    """What the panel must show of the test split."""
    cohort = read_cohort(trained.features, trained.patients)
    options = EvaluateOptions(resamples=RESAMPLES)
    made = evaluate(Ensemble.load(trained.model), cohort, trained.features, options)
    patient_map(made)
    return made


def click(qtbot: QtBot, widget: QWidget) -> None:
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def choose(panel: EvaluatePanel, trained: Trained, **options: object) -> None:
    setup = panel.setup
    setup.models.choose(str(trained.model))
    setup.chooser.place.setText(str(trained.features))
    setup.chooser.min_cells.setValue(1)
    setup.chooser.more.set(trained.patients.model_dump())
    setup.features.setText(str(trained.features))
    setup.options.set(resamples=RESAMPLES, **options)


def wait(qtbot: QtBot, panel: EvaluatePanel) -> None:
    qtbot.waitUntil(lambda: not panel.run.is_busy, timeout=180_000)


def show(panel: EvaluatePanel, trained: Trained, evaluation: Evaluation) -> None:
    """Show an evaluation as if it had just been made."""
    choose(panel, trained)
    request = panel.setup.request()
    cohort = read_patients(request.cohort, request.patients)
    panel._on_judged(ModelEvaluation(request, evaluation, cohort, Ensemble.load(trained.model)))


def click_tab(qtbot: QtBot, panel: EvaluatePanel, number: int) -> None:
    bar = panel.result.tabs.tabBar()
    qtbot.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect(number).center())
    qtbot.wait(60)


def tabs_in_sight(panel: EvaluatePanel) -> list[int]:
    return [number for number in range(panel.result.tabs.count()) if panel.result.tabs.isTabVisible(number)]


def click_figure(qtbot: QtBot, tab: FigureTab, x: float, y: float) -> None:
    """Click where the first axes have a point."""
    tab.canvas.draw()
    pixel_x, pixel_y = tab.canvas.figure.axes[0].transData.transform((x, y)) / tab.canvas.device_pixel_ratio
    place = QPoint(round(pixel_x), round(tab.canvas.height() - pixel_y))
    qtbot.mouseClick(tab.canvas, Qt.MouseButton.LeftButton, pos=place)


def double_click(qtbot: QtBot, panel: EvaluatePanel, row: int) -> str:
    table = panel.result.patients.table
    place = table.visualRect(table.model().index(row, 0)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    qtbot.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    return str(table.model().index(row, 0).data())


def dock_of(panel: QWidget) -> QDockWidget:
    parent = panel.parentWidget()
    while not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def test_the_test_split_is_judged_and_every_tab_has_its_figure(
    qtbot: QtBot, open_evaluate: OpenEvaluate, trained: Trained, evaluation: Evaluation
) -> None:
    viewer, panel = open_evaluate()
    assert not panel.result.isVisible()
    choose(panel, trained)
    said: list[str] = []
    panel.run.progressed.connect(lambda progress: said.append(progress.stage))
    click(qtbot, panel.run.button)
    assert panel.run.button.text() == "Cancel"
    wait(qtbot, panel)
    assert panel.result.judged is not None, panel.run.text
    found = panel.result.judged.evaluation
    np.testing.assert_allclose(found.probabilities, evaluation.probabilities, atol=1e-6)
    assert "Evaluating" in said
    assert f"{len(evaluation)} patients" in panel.result.text
    assert not panel.fold.is_open
    assert not panel.stale.isVisible()
    numbers = panel.result.numbers.toPlainText()
    assert f"{evaluation.headline['accuracy'].value:.3f}" in numbers
    assert 'Whether the smears come from the laboratory of the training is unknown ("Lab")' in numbers
    text = look_of(viewer.theme).text
    for number in tabs_in_sight(panel)[1:]:
        tab = panel.result.figures[number - 1]
        assert not tab.canvas.figure.axes  # drawn when it comes to the front
        click_tab(qtbot, panel, number)
        pages = [page for page in PAGES if page.tab == TABS[number - 1]]
        for place in range(len(pages)):
            tab.choice.setCurrentIndex(place)
            qtbot.wait(60)
            axes = tab.canvas.figure.axes[0]
            assert to_hex(axes.xaxis.label.get_color()) == to_hex(text)
            assert tab.page is pages[place]


def test_training_patients_are_refused_and_judged_out_of_fold_on_a_click(
    qtbot: QtBot, panel: EvaluatePanel, trained: Trained
) -> None:
    choose(panel, trained, split="all")
    click(qtbot, panel.run.button)
    wait(qtbot, panel)
    assert panel.result.judged is None
    assert "was trained on 20 of the 40 patients" in panel.run.text
    assert '"Out of fold"' in panel.run.text
    assert panel.offer.isVisible()
    panel.offer.linkActivated.emit("#")
    wait(qtbot, panel)
    assert panel.result.judged is not None, panel.run.text
    assert panel.result.judged.evaluation.patients["fold"].notna().all()
    assert "out of fold, by single members" in panel.result.text
    assert not panel.offer.isVisible()
    assert panel.setup.options.options().out_of_fold


def test_who_has_no_features_is_encoded_first_and_opens_with_a_prediction(
    qtbot: QtBot, open_evaluate: OpenEvaluate, tmp_path: Path
) -> None:
    viewer, panel = open_evaluate()
    drawn, features = tmp_path / "drawn", tmp_path / "features"
    synthesize_cohort(drawn, SynthOptions(patients=16, cells=4, seed=2))
    panel.setup.models.choose("demo")
    panel.setup.chooser.place.setText(str(drawn))
    panel.setup.chooser.min_cells.setValue(1)
    panel.setup.options.set(split="all", resamples=0)
    click(qtbot, panel.run.button)
    wait(qtbot, panel)
    assert "choose a folder for them" in panel.run.text
    panel.setup.features.setText(str(features))
    panel.setup.options.set(audit=True)
    said: set[str] = set()
    panel.run.progressed.connect(lambda progress: said.add(progress.stage))
    click(qtbot, panel.run.button)
    wait(qtbot, panel)
    assert panel.result.judged is not None, panel.run.text
    assert "Encoding" in said
    assert len(list(features.glob("*.h5"))) == 16
    assert panel.result.judged.audit is not None
    assert panel.result.judged.audit.findings[0] in panel.result.numbers.toPlainText()
    panel.result.threshold.number.setValue(1.0)
    qtbot.wait(60)
    for _ in range(2):
        patient = double_click(qtbot, panel, 0)
        _, predict = viewer.window.add_plugin_dock_widget("napari-caltomorph", "Predict patient")
        qtbot.waitUntil(lambda: not predict.run.is_busy, timeout=120_000)  # noqa: B023
        assert predict.results.prediction is not None, predict.run.text
        assert predict.results.prediction.patient_id == patient
        assert [layer.name for layer in viewer.layers].count(patient) == 1
    predict.unbind()


def test_the_threshold_moves_numbers_operating_point_and_list(
    qtbot: QtBot, panel: EvaluatePanel, trained: Trained, evaluation: Evaluation
) -> None:
    show(panel, trained, evaluation)
    result = panel.result
    start = evaluation.provenance.threshold.value
    assert result.threshold.value == start
    assert not result.threshold.reset.isEnabled()
    click_tab(qtbot, panel, 1 + TABS.index("ROC"))
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
    result.patients.asked.emit("false_alarms")
    assert sorted(result.patients.patients) == sorted(evaluation.at(0.0).false_alarms)
    result.patients.asked.emit("wrong")
    assert sorted(result.patients.patients) == sorted(evaluation.wrong)
    click_tab(qtbot, panel, 0)
    assert "threshold 0" in result.numbers.toPlainText()
    click(qtbot, result.threshold.reset)
    assert result.threshold.value == start
    assert result.moved_to is None


def test_clicking_a_cell_or_a_dot_lists_its_patients(
    qtbot: QtBot, panel: EvaluatePanel, trained: Trained, evaluation: Evaluation
) -> None:
    show(panel, trained, evaluation)
    result = panel.result
    for page in (page for page in PAGES if page.matrix is not None):
        click_tab(qtbot, panel, 1 + TABS.index(page.tab))
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
        click_tab(qtbot, panel, 1 + TABS.index(page.tab))
        tab = result.figures[TABS.index(page.tab)]
        places = page.points(evaluation)
        click_figure(qtbot, tab, *places[3])
        assert evaluation.patients["patient_id"][3] in result.patients.patients
        ringed = tab._marks[0].get_offsets()
        assert any(np.allclose(one, places[3], atol=1e-5) for one in ringed)
    result.threshold.slider.setValue(1000)
    qtbot.wait(120)
    assert sorted(result.patients.patients) == sorted(evaluation.at(1.0).missed)
    assert not tab._marks or not len(tab._marks[0].get_offsets())


def test_a_patient_without_images_cannot_be_opened_and_that_is_said(
    qtbot: QtBot, panel: EvaluatePanel, trained: Trained, evaluation: Evaluation
) -> None:
    show(panel, trained, evaluation)
    panel.result.threshold.number.setValue(1.0)
    qtbot.wait(120)
    double_click(qtbot, panel, 0)
    assert "no images" in panel.run.text


class Browser(QObject):
    """Gets what would be opened."""

    opened: QUrl | None = None

    @Slot(QUrl)
    def open(self, url: QUrl) -> None:
        self.opened = url


def test_figures_and_the_report_are_saved_at_the_threshold_in_sight(
    qtbot: QtBot, panel: EvaluatePanel, trained: Trained, evaluation: Evaluation, tmp_path: Path
) -> None:
    show(panel, trained, evaluation)
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
    wait(qtbot, panel)
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


def test_the_copied_command_is_what_the_panel_would_evaluate(
    panel: EvaluatePanel, trained: Trained, evaluation: Evaluation
) -> None:
    from napari_caltomorph.cli.evaluate import app

    choose(panel, trained, split="train", out_of_fold=True, lab="other", healthy=("a", "b"))
    panel.setup.options.set(audit=True)
    panel.copy.linkActivated.emit("#")
    words = shlex.split(QApplication.clipboard().text())
    assert words[:2] == ["caltomorph", "evaluate"]
    _, bound, _ = app.parse_args(words[2:])
    assert bound.args == (trained.features,)
    said = bound.kwargs
    assert said["model"] == str(trained.model)
    assert said["features"] == trained.features
    assert said["options"].audit
    assert said["options"] == panel.setup.options.options()
    assert said["patients"] == trained.patients.model_copy(update={"names_only": False})


def test_a_cancelled_evaluation_shows_nothing_and_closing_stops_one(
    qtbot: QtBot, panel: EvaluatePanel, trained: Trained
) -> None:
    choose(panel, trained)
    click(qtbot, panel.run.button)
    click(qtbot, panel.run.button)
    wait(qtbot, panel)
    assert panel.result.judged is None
    assert "Cancelled" in panel.run.text
    assert panel.setup.isEnabled()
    click(qtbot, panel.run.button)
    dock = dock_of(panel)
    dock.close()
    wait(qtbot, panel)
    dock.show()
    qtbot.waitUntil(panel.isVisible)
    assert panel.result.judged is None
    assert panel.run.text == "Stopped, because the panel was closed."
    click(qtbot, panel.run.button)
    (cross,) = dock.findChildren(QPushButton, "QTitleBarCloseButton")
    gone: list[object] = []
    panel.destroyed.connect(gone.append)
    click(qtbot, cross)
    qtbot.waitUntil(lambda: bool(gone), timeout=60_000)
    Task.await_workers(60_000)


def test_numbers_of_what_was_chosen_before_say_so(
    panel: EvaluatePanel, trained: Trained, evaluation: Evaluation
) -> None:
    show(panel, trained, evaluation)
    assert not panel.stale.isVisible()
    panel.setup.options.set(split="train")
    assert "Evaluate again" in panel.stale.text()
    assert panel.stale.isVisible()
    panel.setup.options.set(split="test")
    assert not panel.stale.isVisible()
    panel.setup.models.choose("demo")
    assert panel.stale.isVisible()


def test_what_is_missing_is_said_in_one_sentence(
    qtbot: QtBot, panel: EvaluatePanel, trained: Trained, tmp_path: Path
) -> None:
    def said() -> str:
        click(qtbot, panel.run.button)
        wait(qtbot, panel)
        return panel.run.text

    assert "Choose a cohort first" in said()
    choose(panel, trained)
    panel.setup.options.more.set({"threshold": 7})
    assert said().startswith("Threshold:")
    choose(panel, trained, threshold=None)
    panel.setup.models.choose(str(tmp_path / "none"))
    assert str(tmp_path / "none") in said()
    choose(panel, trained)
    panel.setup.chooser.place.setText(str(tmp_path / "nowhere"))
    assert "nowhere" in said()
    assert panel.fold.is_open


def test_what_was_chosen_last_is_there_again(open_evaluate: OpenEvaluate, trained: Trained) -> None:
    _, panel = open_evaluate()
    choose(panel, trained, split="train", out_of_fold=True, bins=7)
    panel.setup.options.set(audit=True)
    panel.setup.remember()
    _, again = open_evaluate()
    assert again.setup.request() == panel.setup.request()


def test_everything_is_in_sight_on_a_small_screen_in_both_themes(
    qtbot: QtBot, open_evaluate: OpenEvaluate, trained: Trained, evaluation: Evaluation
) -> None:
    viewer, panel = open_evaluate()
    window = viewer.window._qt_window

    def is_in_sight(widget: QWidget) -> bool:
        corner = widget.mapTo(window, widget.rect().bottomRight())
        return widget.isVisible() and corner.x() <= window.width() and corner.y() <= window.height()

    for fold in (panel.setup.chooser.fold, panel.setup.options.fold):
        click(qtbot, fold.button)
        qtbot.wait(20)
        assert is_in_sight(panel.run.button)
        click(qtbot, fold.button)
    show(panel, trained, evaluation)
    for theme in ("light", "dark"):
        viewer.theme = theme
        for number in tabs_in_sight(panel):
            click_tab(qtbot, panel, number)
            assert (window.width(), window.height()) <= (1280, 720)
            assert panel.minimumSizeHint().width() <= 360
            assert is_in_sight(panel.run.button)
            assert is_in_sight(panel.report_button)
            assert panel.result.tabs.tabBar().width() <= panel.result.width()
            if number:
                figure = panel.result.figures[number - 1].canvas.figure
                assert to_hex(figure.get_facecolor()) == to_hex(look_of(theme).background)


def test_patients_without_labels_are_predicted_and_listed(
    qtbot: QtBot, panel: EvaluatePanel, trained: Trained, evaluation: Evaluation
) -> None:
    patients = evaluation.patients.assign(truth=None, detailed=None, raw_label=None)
    show(panel, trained, replace(evaluation, patients=patients, embeddings=None))
    assert not panel.result.threshold.isEnabled()
    assert panel.result.patients.patients == list(patients["patient_id"])
    assert "no labels" in panel.result.numbers.toPlainText()
    for number in tabs_in_sight(panel)[1:]:
        click_tab(qtbot, panel, number)
        assert panel.result.figures[number - 1].canvas.figure.axes


def test_numbers_that_predictions_are_set_against_have_a_tab(
    qtbot: QtBot, panel: EvaluatePanel, trained: Trained, evaluation: Evaluation
) -> None:
    show(panel, trained, evaluation)
    assert len(tabs_in_sight(panel)) == len(TABS)
    options = evaluation.options.model_copy(update={"against": ("blasts",)})
    blasts = pd.DataFrame({"blasts": np.linspace(0, 1, len(evaluation))})
    show(panel, trained, replace(evaluation, options=options, covariates=blasts))
    assert len(tabs_in_sight(panel)) == len(TABS) + 1
    tab = panel.result.show_tab("Against")
    assert tab.choice.count() > 1
    for place in range(tab.choice.count()):
        tab.choice.setCurrentIndex(place)
        qtbot.wait(60)
        assert tab.canvas.figure.axes


def test_patients_are_described_by_what_is_true_and_what_is_said(evaluation: Evaluation) -> None:
    described = describe(evaluation)
    table = evaluation.table().set_index("patient_id")
    assert list(described["true"]) == list(table["true_class"])
    assert list(described["predicted"]) == list(table["predicted_class"])
    np.testing.assert_allclose(described["malig."].astype(float), table["malignancy"], atol=5e-4)


def test_each_panel_of_each_figure_of_the_report_has_a_page() -> None:
    panels = [(name, number) for name, figure in FIGURES.items() for number in range(len(figure.panels))]
    assert sorted((page.figure.name, page.panel) for page in PAGES) == sorted(panels)


def test_flags_are_called_as_the_form_calls_them() -> None:
    assert in_panel_words("choose another --split, or --out-of-fold.") == 'choose another "Split", or "Out of fold".'
    assert in_panel_words("name that file with --weights") == "name that file with --weights"


def test_opening_the_panel_loads_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, napari_caltomorph.plugin.evaluate.panel; sys.exit('torch' in sys.modules or 'umap' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
