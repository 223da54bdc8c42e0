"""*Save ...* and *Report ...* of *Predict patient*."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog
from tests.plugin.conftest import Predicted
from tests.plugin.gui import wait

from napari_caltomorph.explanation.changed_bags import what_if
from napari_caltomorph.plugin.predict.save import SaveButtons
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.task_row import TaskRow
from napari_caltomorph.plugin.widgets.tasks import Task
from napari_caltomorph.progress import Progress


@pytest.fixture
def inspection(predicted: Predicted) -> Inspection:
    smear, prediction, predictor = predicted
    return Inspection(prediction, smear, predictor=predictor)


@pytest.fixture
def buttons(qtbot: QtBot, inspection: Inspection) -> Iterator[SaveButtons]:
    buttons = SaveButtons(TaskRow("Predict patient"), lambda: inspection)
    for widget in (buttons, buttons.run):
        qtbot.addWidget(widget)
        widget.show()
    yield buttons
    Task.await_workers(60_000)
    qtbot.wait(20)


def test_a_click_writes_the_report_at_the_chosen_place_and_opens_it(
    qtbot: QtBot, buttons: SaveButtons, inspection: Inspection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = tmp_path / "reports" / "patient_7.html", []
    # The system's dialog and the browser are not ours.
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    figures: list[Progress] = []

    def cancel_at_the_second_figure(progress: Progress) -> None:
        figures.append(progress)
        if (progress.unit, progress.done) == ("figures", 2):
            assert not buttons.run.button.isChecked()  # not in the accent colour: a click cancels
            buttons.run.button.click()

    buttons.run.progressed.connect(cancel_at_the_second_figure)
    qtbot.mouseClick(buttons.report, Qt.MouseButton.LeftButton)
    wait(qtbot, buttons.run)
    assert buttons.run.button.isChecked()
    assert "Drawing attention: 2/4 figures" in [one.in_words for one in figures]
    assert not path.parent.exists()
    assert not opened
    buttons.run.progressed.disconnect()
    qtbot.mouseClick(buttons.report, Qt.MouseButton.LeftButton)
    wait(qtbot, buttons.run)
    assert opened == [str(path)]
    assert buttons.run.text == f"Report: {path}"
    html = path.read_text("utf-8")
    (name, probability), *_ = inspection.result.top(1)
    assert f"{name} {probability:.2f}" in html
    assert html.count("data:image/jpeg") >= 20


def test_cells_that_are_left_out_are_in_the_report_and_without_a_result_there_is_none(
    qtbot: QtBot, buttons: SaveButtons, inspection: Inspection, tmp_path: Path
) -> None:
    inspection.cells.leave_out([0, 1])
    buttons.save_report(tmp_path / "early.html")
    assert "no result yet" in buttons.run.text
    assert not (tmp_path / "early.html").exists()
    inspection.set_result(what_if(inspection.ensemble(), inspection.prediction, inspection.features(), [0, 1]))
    buttons.save_report(tmp_path / "report.html")
    wait(qtbot, buttons.run)
    assert "2 cells were left out by hand" in (tmp_path / "report.html").read_text("utf-8")


def test_a_report_is_written_without_model_and_images(qtbot: QtBot, predicted: Predicted, tmp_path: Path) -> None:
    other = predicted[1].model_copy(update={"model_fingerprint": "0" * 64, "smear_path": str(tmp_path / "missing")})
    inspection = Inspection(other)
    buttons = SaveButtons(TaskRow("Predict patient"), lambda: inspection)
    qtbot.addWidget(buttons)
    qtbot.addWidget(buttons.run)
    buttons.save_report(tmp_path / "report.html")
    wait(qtbot, buttons.run)
    html = (tmp_path / "report.html").read_text("utf-8")
    assert "No thumbnails" in html
    assert "is not on this machine" in html


def test_files_are_saved_in_a_folder_of_the_patient(
    buttons: SaveButtons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The system's own file dialog cannot be clicked; it returns the folder.
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "out"))
    buttons.files.click()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["patient_7"]
    assert (tmp_path / "out" / "patient_7" / "prediction.json").is_file()


def test_a_place_that_cannot_be_written_is_reported(qtbot: QtBot, buttons: SaveButtons, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    buttons.save_report(tmp_path / "file" / "report.html")
    wait(qtbot, buttons.run)
    assert "could not be written" in buttons.run.text
    buttons.run.show_message("")
    buttons.save(tmp_path / "file" / "out")
    assert "could not be written" in buttons.run.text
