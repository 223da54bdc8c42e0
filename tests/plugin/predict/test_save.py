"""*Report ...* in *Predict patient*, in a real window."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog
from tests.plugin.conftest import OpenPanel

from napari_caltomorph.plugin.predict.panel import PredictPanel


def wait(qtbot: QtBot, panel: PredictPanel) -> None:
    qtbot.waitUntil(lambda: not panel.run.is_busy, timeout=120_000)


@pytest.fixture
def predicted(open_panel: OpenPanel, qtbot: QtBot, export: Path) -> PredictPanel:
    _, panel = open_panel()
    panel.smears.open(export)
    qtbot.mouseClick(panel.run.button, Qt.MouseButton.LeftButton)
    wait(qtbot, panel)
    return panel


def test_a_click_asks_for_a_place_writes_the_report_and_shows_it(
    qtbot: QtBot, predicted: PredictPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = tmp_path / "reports" / "patient_7.html", []
    # The system's dialog and the browser are not ours.
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    qtbot.mouseClick(predicted.saving.report, Qt.MouseButton.LeftButton)
    wait(qtbot, predicted)
    assert opened == [str(path)]
    assert predicted.run.text == f"Report: {path}"
    html = path.read_text("utf-8")
    assert predicted.inspection is not None
    (name, probability), *_ = predicted.inspection.result.top(1)
    assert f"{name} {probability:.2f}" in html
    assert html.count("data:image/jpeg") >= 20


def test_cells_that_are_left_out_are_in_the_report_and_without_an_answer_there_is_none(
    qtbot: QtBot, predicted: PredictPanel, tmp_path: Path
) -> None:
    from napari_caltomorph.explanation.changed_bags import what_if

    shown = predicted.inspection
    assert shown is not None
    shown.cells.leave_out([0, 1])
    predicted.saving.save_report(tmp_path / "early.html")
    assert "no result yet" in predicted.run.text
    assert not (tmp_path / "early.html").exists()
    shown.set_result(what_if(shown.ensemble(), shown.prediction, shown.features(), [0, 1]))
    predicted.saving.save_report(tmp_path / "report.html")
    wait(qtbot, predicted)
    assert "2 cells were left out by hand" in (tmp_path / "report.html").read_text("utf-8")


def test_a_report_is_written_where_model_and_images_are_gone(
    qtbot: QtBot, open_panel: OpenPanel, predicted: PredictPanel, export: Path, tmp_path: Path, home: Path
) -> None:
    assert predicted.inspection is not None
    other = predicted.inspection.prediction.model_copy(update={"model_fingerprint": "0" * 64})
    other.save(tmp_path / "prediction.json")
    shutil.rmtree(export)
    predicted.open_prediction(tmp_path / "prediction.json")
    wait(qtbot, predicted)
    predicted.saving.save_report(tmp_path / "report.html")
    wait(qtbot, predicted)
    html = (tmp_path / "report.html").read_text("utf-8")
    assert "No thumbnails" in html
    assert "is not on this machine" in html


def test_a_place_that_cannot_be_written_is_said(qtbot: QtBot, predicted: PredictPanel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    predicted.saving.save_report(tmp_path / "file" / "report.html")
    wait(qtbot, predicted)
    assert "could not be written" in predicted.run.text
