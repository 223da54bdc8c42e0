"""The *Train ensemble* panel, clicked in a real window."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication, QLineEdit, QMessageBox, QPushButton
from tests.plugin.conftest import OpenWidget
from tests.plugin.gui import click, dock_of, is_in_sight, run_task, wait
from tests.training.factories import save_features, write_cohort

from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.diagnosis import find_model, read_description
from napari_caltomorph.diagnosis.model_card import TRAINING_CURVES
from napari_caltomorph.plugin.plot_style import plot_style_of
from napari_caltomorph.plugin.train.panel import TrainPanel
from napari_caltomorph.plugin.train.setup import TrainOptionsForm, TrainSetup
from napari_caltomorph.plugin.train.view import Curves, TrainingControl
from napari_caltomorph.plugin.widgets.dock_panel import open_panel
from napari_caltomorph.plugin.widgets.settings import last_training
from napari_caltomorph.plugin.widgets.tasks import Task
from napari_caltomorph.progress import Cancelled, Progress
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort
from napari_caltomorph.training import DECIDING, FinishEarly, TrainOptions, TrainProgress, training_folder

FOLDS = 2
TINY = {"depth": 1, "width": 16, "heads": 2, "mlp_width": 16, "classifier_width": 8, "warmup_epochs": 1}
# Long enough that a hand can come in between.
LONG = 2000
OpenTrainPanel = Callable[[], tuple[Viewer, TrainPanel]]


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 patients of two classes: features of a few cells each, and their table."""
    return write_cohort(tmp_path_factory.mktemp("cohorts") / "bags", {"aml": 12, "stem_cell_donor": 12})


@pytest.fixture
def open_train_panel(open_widget: OpenWidget) -> OpenTrainPanel:
    return partial(open_widget, "Train ensemble")


@pytest.fixture
def setup(qtbot: QtBot) -> TrainSetup:
    """The inputs alone, without a napari window."""
    form = TrainSetup()
    qtbot.addWidget(form)
    form.show()
    return form


@pytest.fixture
def panel(open_train_panel: OpenTrainPanel) -> TrainPanel:
    return open_train_panel()[1]


def write(qtbot: QtBot, edit: QLineEdit, text: str) -> None:
    edit.selectAll()
    qtbot.keyClicks(edit, text)


def read(qtbot: QtBot, setup: TrainSetup, bags: Path, **options: Any) -> None:
    chooser = setup.cohort.chooser
    chooser.place.setText(str(bags / "features"))
    chooser.min_cells.setValue(1)
    table = {"table": str(bags / "patients.csv"), "test_fraction": 0, "folds": FOLDS}
    chooser.more.set(table | options)
    run_task(qtbot, setup.cohort.run)
    assert setup.cohort.cohort is not None, setup.cohort.run.text


def choose_tiny(setup: TrainSetup, epochs: int = 3, **options: Any) -> None:
    setup.options.set(**(TINY | {"epochs": epochs} | options))


def start(qtbot: QtBot, panel: TrainPanel, least_epochs: int = 1) -> None:
    """Click the button, and wait until some epochs are done."""
    click(qtbot, panel.run.button)
    qtbot.waitUntil(lambda: epochs_of(panel) >= least_epochs or not panel.run.is_busy, timeout=120_000)
    assert panel.run.is_busy, panel.run.text


def epochs_of(panel: TrainPanel) -> int:
    return sum(len(curves.train_loss) for curves in panel.training.curves)


def answer(button: QMessageBox.StandardButton, act: Callable[[], Any]) -> list[str]:
    """Do something, and click a button of each question that it asks; return the questions."""
    questions: list[str] = []

    def press() -> None:
        box = QApplication.activeModalWidget()
        if isinstance(box, QMessageBox):
            questions.append(box.text())
            box.button(button).click()

    timer = QTimer(interval=50)
    timer.timeout.connect(press)
    timer.start()
    act()
    timer.stop()
    return questions


def in_event_loop(act: Callable[[], Any]) -> None:
    """Do something as napari does it: what it asks in a loop of its own must not delete what is about to close."""
    loop = QEventLoop()

    def once() -> None:
        act()
        loop.quit()

    QTimer.singleShot(0, once)
    loop.exec()


def test_a_cohort_becomes_a_model_that_opens_in_predict_patient(
    qtbot: QtBot, open_train_panel: OpenTrainPanel, bags: Path
) -> None:
    viewer, panel = open_train_panel()
    read(qtbot, panel.setup, bags)
    qtbot.waitUntil(lambda: "24 of 24 patients ready" in panel.setup.text, timeout=30_000)
    assert not panel.setup.encoding.encoder.isVisible()  # the features at hand have their own
    write(qtbot, panel.setup.model.edit, "mine")
    choose_tiny(panel.setup)
    click(qtbot, panel.run.button)
    assert not panel.setup.isEnabled()
    assert panel.training.isVisible()
    wait(qtbot, panel.run)
    assert panel.result.trained is not None, panel.run.text
    assert panel.result.isVisible()
    folder = find_model("mine")
    description = read_description(folder)
    assert len(description.members) == FOLDS
    assert (folder / TRAINING_CURVES).is_file()
    assert "single members, not the ensemble" in panel.result.text
    assert str(description.training.out_of_fold.pooled["balanced_accuracy"]) in panel.result.text
    assert panel.result.trained.confusion.sum() == 24
    (axes,) = panel.result.confusion.figure.axes
    assert sum(int(text.get_text().split("\n")[0]) for text in axes.texts) == 24
    assert axes.title.get_color() == plot_style_of(viewer.theme).text
    click(qtbot, panel.result.card)
    card = panel.result.dialog
    assert card is not None
    assert "Research use only" in card.text.toPlainText()
    card.close()
    click(qtbot, panel.result.predict)
    predict = open_panel(viewer, "Predict patient")
    qtbot.waitUntil(predict.isVisible)
    assert predict.models.description == description
    predict.unbind()


def test_patients_without_features_are_encoded_first(qtbot: QtBot, panel: TrainPanel, tmp_path: Path) -> None:
    drawn, features = tmp_path / "drawn", tmp_path / "features"
    synthesize_cohort(drawn, SynthOptions(patients=16, cells=4, seed=2))
    setup = panel.setup
    setup.cohort.chooser.place.setText(str(drawn))
    setup.cohort.chooser.min_cells.setValue(1)
    setup.cohort.chooser.more.set({"folds": FOLDS, "min_patients": 1})
    run_task(qtbot, setup.cohort.run)
    setup.encoding.encoder.setCurrentText("demo-vit")
    setup.encoding.features.setText(str(features))
    qtbot.waitUntil(lambda: setup.text.startswith("0 of "), timeout=30_000)
    choose_tiny(panel.setup, epochs=1)
    values: set[str] = set()
    panel.run.progressed.connect(lambda progress: values.add(progress.stage))
    run_task(qtbot, panel.run)
    assert panel.result.trained is not None, panel.run.text
    assert {"Encoding", "Training"} <= values
    assert len(list(features.glob("*.h5"))) == 16
    assert panel.result.trained.description.encoder.name == "demo-vit"
    assert panel.result.trained.folder.name == "drawn"  # the cohort's name was suggested


def test_a_paused_training_waits_and_one_that_is_stopped_and_kept_is_a_model(
    qtbot: QtBot, panel: TrainPanel, bags: Path
) -> None:
    read(qtbot, panel.setup, bags)
    choose_tiny(panel.setup, epochs=LONG)
    start(qtbot, panel, least_epochs=2)
    click(qtbot, panel.training.pause)
    assert panel.training.pause.text() == "Resume"
    qtbot.wait(300)  # the step that it is at ends
    waiting = epochs_of(panel)
    qtbot.wait(500)
    assert epochs_of(panel) == waiting
    click(qtbot, panel.training.pause)
    qtbot.waitUntil(lambda: epochs_of(panel) > waiting, timeout=30_000)
    click(qtbot, panel.training.pause)
    keep = panel.training
    assert (keep.keep_finished.isEnabled(), keep.keep_all.isEnabled()) == (False, True)
    assert "1 of 2" in keep.keep_all.text()
    keep.keep_all.trigger()  # also of one that waits
    wait(qtbot, panel.run)
    assert panel.result.trained is not None, panel.run.text
    training = panel.result.trained.description.training
    assert [fold.stopped_by for fold in training.folds] == ["hand"]
    for text in (panel.result.notes.text(), panel.result.text):
        assert "1 of 1 (member 1 after" in text or "1 unfinished" in text


def test_a_cancelled_training_is_resumed_in_a_panel_that_is_opened_later(
    qtbot: QtBot, open_train_panel: OpenTrainPanel, bags: Path
) -> None:
    _, panel = open_train_panel()
    read(qtbot, panel.setup, bags)
    choose_tiny(panel.setup, epochs=20)
    assert panel.run.button.text() == "Train ensemble"
    start(qtbot, panel, least_epochs=5)
    run_task(qtbot, panel.run)
    assert "Finished epochs are kept" in panel.run.text
    assert panel.run.button.text() == "Resume training"
    done = epochs_of(panel)
    assert training_folder(panel.setup.model.folder()).is_dir()
    _, later = open_train_panel()
    assert later.run.button.text() == "Resume training"
    assert "A training of this model was stopped" in later.setup.model.text
    read(qtbot, later.setup, bags)
    run_task(qtbot, later.run)
    assert later.result.trained is not None, later.run.text
    training = later.result.trained.description.training
    assert [fold.epochs for fold in training.folds] == [20, 20]
    first = later.training.curves[0]
    assert done > 4
    np.testing.assert_array_equal(first.train_loss[:4], training.folds[0].train_loss[:4])  # of the first panel
    assert not training_folder(later.result.trained.folder).exists()
    assert later.run.button.text() == "Train ensemble"


def test_a_stopped_training_is_not_resumed_with_other_options_and_can_be_discarded(
    qtbot: QtBot, panel: TrainPanel, bags: Path
) -> None:
    read(qtbot, panel.setup, bags)
    choose_tiny(panel.setup, epochs=LONG)
    start(qtbot, panel)
    run_task(qtbot, panel.run)
    panel.setup.options.more.set({"depth": 2})
    run_task(qtbot, panel.run)
    assert '("Depth" 1 then, 2 now)' in panel.run.text
    assert panel.section.is_open
    work = training_folder(panel.setup.model.folder())
    discard = panel.setup.model._note.linkActivated
    assert answer(QMessageBox.StandardButton.No, lambda: discard.emit("#"))
    assert work.is_dir()
    assert answer(QMessageBox.StandardButton.Yes, lambda: discard.emit("#"))
    assert not work.exists()
    assert panel.run.button.text() == "Train ensemble"


def test_the_copied_command_is_what_the_panel_would_train(
    qtbot: QtBot, panel: TrainPanel, bags: Path, tmp_path: Path
) -> None:
    from napari_caltomorph.cli.train import app

    read(qtbot, panel.setup, bags)
    choose_tiny(panel.setup, epochs=7, dropout=0.25)
    panel.setup.options.hemoglobin.setChecked(True)
    panel.setup.options.set(recipe="paper")
    out = tmp_path / "a folder" / "model"
    panel.setup.model.edit.setText(str(out))
    panel.copy.linkActivated.emit("#")
    line = QApplication.clipboard().text()
    words = shlex.split(line)
    assert words[:2] == ["caltomorph", "train"]
    _, bound, _ = app.parse_args(words[2:])
    assert bound.args == (bags / "features",)
    values = bound.kwargs
    assert values["out"] == out
    assert values["options"].model_dump() == panel.setup.options.options().model_dump()
    assert values["options"].recipe == "paper"
    assert values["patients"] == CohortOptions(
        min_cells=1, table=str(bags / "patients.csv"), test_fraction=0, folds=FOLDS
    )
    assert "resume" not in values or not values["resume"]


def test_the_copied_command_encodes_patients_without_features(qtbot: QtBot, setup: TrainSetup, tmp_path: Path) -> None:
    from napari_caltomorph.cli.encode import app

    drawn = tmp_path / "drawn"
    synthesize_cohort(drawn, SynthOptions(patients=16, cells=2, seed=2))
    setup.cohort.chooser.place.setText(str(drawn))
    setup.cohort.chooser.min_cells.setValue(2)
    run_task(qtbot, setup.cohort.run)
    setup.encoding.encoder.setCurrentText("demo-vit")
    setup.encoding.features.setText(str(tmp_path / "features"))
    qtbot.waitUntil(lambda: setup.text.startswith("0 of "), timeout=30_000)
    encode, train = setup.command().split(" && ")
    assert shlex.split(train)[:3] == ["caltomorph", "train", str(drawn)]
    _, bound, _ = app.parse_args(shlex.split(encode)[2:])
    assert bound.kwargs["options"].encoder == "demo-vit"
    assert bound.kwargs["features"] == tmp_path / "features"


@pytest.mark.parametrize("how", ["dock", "cross", "window"])
def test_closing_asks_first_and_keeps_finished_epochs(
    qtbot: QtBot, open_train_panel: OpenTrainPanel, bags: Path, how: str
) -> None:
    viewer, panel = open_train_panel()
    read(qtbot, panel.setup, bags)
    choose_tiny(panel.setup, epochs=LONG)
    start(qtbot, panel)
    dock = dock_of(panel)
    model = panel.setup.model.folder()
    (cross,) = dock.findChildren(QPushButton, "QTitleBarCloseButton")
    close = {"dock": dock.close, "cross": lambda: click(qtbot, cross), "window": viewer.window._qt_window.close}[how]
    (question,) = answer(QMessageBox.StandardButton.No, close)
    assert "A training runs" in question
    before = epochs_of(panel)
    qtbot.waitUntil(lambda: epochs_of(panel) > before, timeout=30_000)
    assert panel.isVisible()
    if how == "window":
        close = partial(in_event_loop, viewer.close)  # and napari's own leave-taking with it
    assert len(answer(QMessageBox.StandardButton.Yes, close)) == 1
    Task.await_workers(60_000)
    qtbot.wait(100)
    assert training_folder(model).is_dir()
    assert not model.exists()
    if how == "dock":
        dock.show()
        qtbot.waitUntil(panel.isVisible)
        assert panel.run.text.startswith("Stopped, because the panel was closed. Finished epochs are kept")
        assert panel.run.button.text() == "Resume training"


def test_closing_without_a_training_asks_nothing(qtbot: QtBot, panel: TrainPanel) -> None:
    assert answer(QMessageBox.StandardButton.No, dock_of(panel).close) == []
    assert not panel.isVisible()


def test_missing_and_invalid_inputs_are_named_in_one_sentence(
    qtbot: QtBot, panel: TrainPanel, bags: Path, tmp_path: Path
) -> None:
    def values() -> str:
        click(qtbot, panel.run.button)
        assert not panel.run.is_busy
        return panel.run.text

    assert values() == "Read a cohort first."
    click(qtbot, panel.setup.cohort.run.button)
    assert "Choose a cohort first" in panel.setup.cohort.run.text
    read(qtbot, panel.setup, bags)
    for name, sentence in (
        ("", "Give the model a name"),
        ("demo", "'demo' is the shipped model's name"),
        (".hidden", "'.hidden' cannot be a model's name"),
        (str(tmp_path), f"{tmp_path} exists already"),
    ):
        panel.setup.model.edit.setText(name)
        assert sentence in values()
    panel.setup.model.edit.setText("mine")
    dropout = panel.setup.options.widget("dropout")
    assert isinstance(dropout, QLineEdit)
    dropout.setText("much")
    assert values().startswith("Dropout: a share is a number")
    dropout.setText("0.1")
    panel.setup.options.more.set({"width": 100, "heads": 8})
    assert "8 heads do not divide a width of 100" in values()
    choose_tiny(panel.setup)
    panel.setup.cohort.chooser.min_cells.setValue(2)
    assert "read it again" in values()


def test_an_unsuitable_cohort_is_reported_and_the_setup_is_shown_again(
    qtbot: QtBot, panel: TrainPanel, tmp_path: Path
) -> None:
    bags = write_cohort(tmp_path / "plain", {"aml": 6, "stem_cell_donor": 6}, with_hemoglobin=False)
    read(qtbot, panel.setup, bags)
    choose_tiny(panel.setup)
    panel.setup.options.hemoglobin.setChecked(True)
    run_task(qtbot, panel.run)
    assert "hemoglobin" in panel.run.text.lower()
    assert panel.section.is_open
    assert panel.setup.isEnabled()
    panel.setup.options.hemoglobin.setChecked(False)
    save_features(bags, "aml-000", np.zeros((3, 5)))
    run_task(qtbot, panel.run)
    assert "wide" in panel.run.text
    (bags / "features" / "aml-000.h5").unlink()
    run_task(qtbot, panel.run)
    assert '"Skip missing"' in panel.run.text  # the option's label here, and not the terminal's flag


def test_patients_that_are_left_out_are_listed(qtbot: QtBot, setup: TrainSetup, bags: Path) -> None:
    read(qtbot, setup, bags)
    assert "left out" not in setup.cohort.text
    setup.cohort.chooser.min_cells.setValue(5)
    run_task(qtbot, setup.cohort.run)
    assert "left out" in setup.cohort.text
    setup.cohort._about.linkActivated.emit("#")
    dialog, cohort = setup.cohort.dialog, setup.cohort.cohort
    assert dialog is not None
    assert cohort is not None
    qtbot.waitUntil(dialog.isVisible)
    assert dialog.table.model().rowCount() == len(cohort.left_out) > 0
    dialog.close()


def test_a_recipe_brings_its_numbers_and_what_was_changed_stays(qtbot: QtBot) -> None:
    options = TrainOptionsForm(last_training())
    qtbot.addWidget(options)
    assert options.options().changed == {}
    options.more.set({"dropout": 0.3})
    assert options.section.button.text() == "▸ More options (1 changed)"
    options.set(recipe="paper")
    chosen = options.options()
    assert chosen.changed == {"recipe": "paper", "dropout": 0.3}
    assert chosen.learning_rate == 5e-5
    assert options.section.button.text() == "▸ More options (1 changed)"
    options.set(recipe="robust")
    assert options.options().changed == {"dropout": 0.3}


def test_rate_and_steps_follow_aggregator_and_epochs_as_in_the_terminal(qtbot: QtBot) -> None:
    options = TrainOptionsForm(last_training())
    qtbot.addWidget(options)
    options.set(aggregator="mean")
    assert options.options() == TrainOptions(aggregator="mean")
    assert options.options().changed == {"aggregator": "mean"}
    assert options.section.button.text() == "▸ More options (1 changed)"
    options.set(epochs=60)
    assert options.options() == TrainOptions(aggregator="mean", epochs=60)
    options.set(learning_rate=0.002)
    options.set(aggregator="transformer", epochs=150)
    assert options.options() == TrainOptions(learning_rate=0.002)


@pytest.mark.parametrize("last", [{"aggregator": "mean", "learning_rate": 3e-5}, {"epochs": 60, "least_steps": 150}])
def test_options_equal_to_those_of_another_choice_are_there_again(qtbot: QtBot, last: dict[str, Any]) -> None:
    options = TrainOptionsForm(last_training())
    qtbot.addWidget(options)
    options.set(**{name: value for name, value in last.items() if name in DECIDING})
    options.set(**last)
    options.remember()
    again = TrainOptionsForm(last_training())
    qtbot.addWidget(again)
    assert again.options() == TrainOptions(**last)


def test_what_was_chosen_last_is_there_again(qtbot: QtBot, setup: TrainSetup, bags: Path) -> None:
    read(qtbot, setup, bags)
    choose_tiny(setup, epochs=9)
    setup.model.edit.setText("mine")
    setup.request()
    again = TrainSetup()
    qtbot.addWidget(again)
    assert again.model.edit.text() == "mine"
    assert again.options.options() == setup.options.options()
    assert again.cohort.chooser.options() == setup.cohort.chooser.options()
    assert again.cohort.chooser.place.text() == str(bags / "features")


def test_everything_is_in_sight_on_a_small_screen(qtbot: QtBot, panel: TrainPanel, bags: Path) -> None:
    for is_read in (False, True):
        if is_read:
            read(qtbot, panel.setup, bags)
        qtbot.wait(50)
        assert panel.setup.minimumSizeHint().width() <= 340
        assert is_in_sight(panel.run.button)
        for section in (panel.setup.cohort.chooser.section, panel.setup.options.section):
            click(qtbot, section.button)
            qtbot.wait(20)
            assert is_in_sight(section.button)
            assert is_in_sight(panel.run.button)
            click(qtbot, section.button)


def test_pause_keep_and_cancel_reach_the_thread_of_the_training() -> None:
    control = TrainingControl()
    received: list[Progress] = []
    report = control.applied_to(received.append)
    control.keep(keep_unfinished=False)
    report(Progress("Loading features", 1, 2))  # nothing is trained yet
    with pytest.raises(FinishEarly):
        report(TrainProgress("Training", 1, 2))

    paused = TrainingControl()
    is_cancelled = threading.Event()

    def progress(one: Progress) -> None:
        if is_cancelled.is_set():
            raise Cancelled

    paused.pause()
    ended: list[bool] = []

    def work() -> None:
        with pytest.raises(Cancelled):
            paused.applied_to(progress)(TrainProgress("Training", 1, 2))
        ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.3)
    assert not ended
    is_cancelled.set()
    thread.join(60)
    assert ended


def test_curves_have_each_epoch_once_and_gaps_for_those_not_reported() -> None:
    curves = Curves()
    for epoch, loss in ((0, None), (1, 3.0), (1, 3.0), (4, 2.0)):
        curves.add(TrainProgress("Training", 0, 9, epoch=epoch, train_loss=loss))
    np.testing.assert_array_equal(curves.train_loss, [3.0, np.nan, np.nan, 2.0])
    assert curves.validation_loss == []
