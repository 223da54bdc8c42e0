"""The *Predict patients* panel, clicked in a real window."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QFileDialog
from tests.plugin.conftest import OpenWidget
from tests.plugin.gui import click, double_click, is_in_sight, run_task, wait

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.laboratory import add_review
from napari_caltomorph.laboratory.review import read_reviews
from napari_caltomorph.plugin.patients.panel import PatientsPanel
from napari_caltomorph.plugin.patients.table import COLUMNS, PatientsTable
from napari_caltomorph.plugin.predict.panel import PredictPanel
from napari_caltomorph.plugin.widgets.dock_panel import open_panel
from napari_caltomorph.plugin.widgets.settings import preferences
from napari_caltomorph.plugin.widgets.tasks import Task
from napari_caltomorph.synthetic import synthesize_patient, write_smear

NAMES = [column.name for column in COLUMNS]
DISEASES = ("cll", "aml", "stem_cell_donor", "cml")
OpenPatientsPanel = Callable[[], tuple[Viewer, PatientsPanel]]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patients") / "ward"
    for number, disease in enumerate(DISEASES, start=1):
        write_smear(synthesize_patient(disease, cells=5, seed=number), folder / f"p{number}")
    return folder


@pytest.fixture
def ward(drawn: Path, tmp_path: Path) -> Path:
    """Four patients; p3 has no readable image."""
    folder = Path(shutil.copytree(drawn, tmp_path / "ward"))
    for cell in (folder / "p3").glob("*.TIF"):
        cell.write_bytes(b"")
    return folder


@pytest.fixture
def open_patients_panel(open_widget: OpenWidget) -> OpenPatientsPanel:
    def opened() -> tuple[Viewer, PatientsPanel]:
        viewer, panel = open_widget("Predict patients")
        panel.models.choose("demo")
        return viewer, panel

    return opened


@pytest.fixture
def panel(open_patients_panel: OpenPatientsPanel) -> PatientsPanel:
    return open_patients_panel()[1]


def add(qtbot: QtBot, panel: PatientsPanel, place: Path) -> None:
    panel.add(place)
    wait(qtbot, panel.run)


def shown(table: PatientsTable, column: str) -> list[str | None]:
    model, place = table.model(), NAMES.index(column)
    return [model.index(row, place).data() for row in range(model.rowCount())]


def click_header(qtbot: QtBot, table: PatientsTable, column: str) -> None:
    header = table.horizontalHeader()
    place = header.sectionViewportPosition(NAMES.index(column)) + 8
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place, 8))


def open_patient(qtbot: QtBot, table: PatientsTable, patient: str) -> None:
    double_click(qtbot, table, shown(table, "patient").index(patient))


def test_the_table_continues_after_a_failure_and_shows_the_reason(
    qtbot: QtBot, panel: PatientsPanel, ward: Path
) -> None:
    assert not panel.table.isVisible()
    add(qtbot, panel, ward)
    assert panel.text == "4 patients"
    assert shown(panel.table, "class") == ["waiting"] * 4
    run_task(qtbot, panel.run)
    assert shown(panel.table, "patient") == ["p1", "p2", "p3", "p4"]
    assert [state[:6] for state in shown(panel.table, "state")] == ["done", "done", "failed", "done"]
    assert "1 failed" in panel.text
    assert panel.run.text.startswith("3 patients predicted; 1 failed")
    panel.table.selectRow(2)
    assert "none usable" in panel.detail
    assert panel.cells.isHidden()
    panel.table.selectRow(0)
    qtbot.waitUntil(lambda: not panel.cells.picture.pixmap().isNull())
    assert "p1: the cells with the most attention" in panel.cells.text
    for row in panel.table.rows:
        if row.prediction is not None:
            assert row.prediction == Prediction.load(ward.parent / "ward_predicted_demo" / row.patient_id)
    table = pd.read_csv(ward.parent / "ward_predicted_demo" / "predictions.csv")
    assert list(table["patient_id"]) == ["p1", "p2", "p4"]
    assert shown(panel.table, "mal.")[:2] == [f"{value:.2f}" for value in table["malignancy"][:2]]


def test_a_click_on_malignancy_sorts_by_it_and_patients_without_it_are_last(
    qtbot: QtBot, panel: PatientsPanel, ward: Path
) -> None:
    add(qtbot, panel, ward)
    run_task(qtbot, panel.run)
    orders = []
    for _ in range(2):
        click_header(qtbot, panel.table, "mal.")
        values = shown(panel.table, "mal.")
        assert values[-1] is None
        orders.append([float(value) for value in values if value is not None])
    assert sorted(orders, key=lambda order: order[0]) == [sorted(orders[0]), sorted(orders[0], reverse=True)]


def test_a_double_click_opens_the_saved_prediction_in_predict_patient(
    qtbot: QtBot, open_patients_panel: OpenPatientsPanel, ward: Path
) -> None:
    viewer, panel = open_patients_panel()
    add(qtbot, panel, ward)
    open_patient(qtbot, panel.table, "p1")
    assert panel.run.text == "p1 is not predicted yet."
    run_task(qtbot, panel.run)
    open_patient(qtbot, panel.table, "p3")
    assert "none usable" in panel.run.text
    open_patient(qtbot, panel.table, "p2")
    single = open_panel(viewer, "Predict patient")
    wait(qtbot, single.run)
    assert single.results.prediction == Prediction.load(ward.parent / "ward_predicted_demo" / "p2")
    assert "p2 ranked cells" in [layer.name for layer in viewer.layers]
    single.unbind()


def test_patients_are_reviewed_one_after_the_other_by_keyboard(
    qtbot: QtBot, open_patients_panel: OpenPatientsPanel, ward: Path
) -> None:
    viewer, panel = open_patients_panel()
    preferences().reviewer = "Ann"
    with qtbot.waitActive(viewer.window._qt_window):  # shortcuts are those of the active window
        viewer.window._qt_window.activateWindow()
    add(qtbot, panel, ward)
    assert not panel.reviews.isEnabled()
    run_task(qtbot, panel.run)
    results = ward.parent / "ward_predicted_demo"
    assert shown(panel.table, "review") == ["not reviewed", "not reviewed", None, "not reviewed"]
    click_header(qtbot, panel.table, "patient")
    qtbot.keyClick(panel.table, Qt.Key.Key_Down, Qt.KeyboardModifier.AltModifier)
    single = open_panel(viewer, "Predict patient")
    row = single.review
    for number, (patient, others) in enumerate((("p1", 2), ("p2", 1), ("p4", 0))):
        qtbot.waitUntil(lambda patient=patient: is_shown(single, patient), timeout=20_000)
        assert row.next.isVisible() == bool(others)
        assert str(others) in row.next.text() or not others
        qtbot.keyClicks(row.diagnosis.lineEdit(), "A rare one")
        qtbot.keyClick(row.diagnosis.lineEdit(), Qt.Key.Key_Return)
        qtbot.waitUntil(lambda: "A rare one" in row.text)
        assert len(read_reviews(results)[0]) == number + 1
        if others:
            qtbot.keyClick(row.next, Qt.Key.Key_Down, Qt.KeyboardModifier.AltModifier)
    assert {one.patient_id for one in read_reviews(results)[0]} == {"p1", "p2", "p4"}
    # What another person adds elsewhere is in the table when a patient is opened.
    add_review(results, Prediction.load(results / "p1"), "cannot tell", by="Bob")
    add_review(results, Prediction.load(results / "p2"), "other", by="Bob", diagnosis="Another")
    Prediction.load(results / "p4").model_copy(update={"created": "2030-01-01T00:00:00+00:00"}).save(
        results / "p4" / "prediction.json"
    )
    open_panel(viewer, "Predict patients")
    open_patient(qtbot, panel.table, "p1")
    states = ["other diagnosis", "reviewers differ", None, "other diagnosis"]
    qtbot.waitUntil(lambda: shown(panel.table, "review") == states)
    panel.table.selectRow(1)
    assert "Bob on 20" in panel.detail
    model = panel.table.model()
    names = [model.headerData(i, Qt.Orientation.Horizontal) for i in range(model.columnCount())]
    swatch = model.index(1, names.index("class")).data(Qt.ItemDataRole.DecorationRole)
    colors = [
        swatch.pixmap(10, 10, mode).toImage().pixelColor(4, 4) for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected)
    ]
    assert colors[0] == colors[1], "Qt tints the colour of a class where its row is selected"
    wait(qtbot, single.run)
    assert "Bob on 20" in row.text
    run_task(qtbot, panel.run)  # reads what is in the folder now
    assert shown(panel.table, "review")[-1] == "of an earlier prediction"
    click(qtbot, panel.reviews.only)
    assert shown(panel.table, "patient") == ["p4"]
    single.unbind()


def is_shown(panel: PredictPanel, patient: str) -> bool:
    return not panel.run.is_busy and panel.inspection is not None and panel.inspection.bag.patient_id == patient


def test_cancelling_keeps_finished_patients(qtbot: QtBot, panel: PatientsPanel, ward: Path) -> None:
    add(qtbot, panel, ward)
    click(qtbot, panel.run.button)
    qtbot.waitUntil(lambda: panel.table.rows[0].prediction is not None, timeout=120_000)
    click(qtbot, panel.run.button)
    wait(qtbot, panel.run)
    assert "are kept" in panel.run.text
    states = shown(panel.table, "state")
    assert states[0] == "done"
    assert "waiting" in states
    assert not any("..." in str(state) for state in states)
    run_task(qtbot, panel.run)
    assert shown(panel.table, "state")[0] == "was done before"
    assert "of them before" in panel.run.text


def test_all_are_exported_as_the_terminal_writes_them(
    qtbot: QtBot, panel: PatientsPanel, ward: Path, tmp_path: Path
) -> None:
    add(qtbot, panel, ward)
    assert not panel._export.isEnabled()
    run_task(qtbot, panel.run)
    assert panel._export.isEnabled()
    panel.export(tmp_path / "exported")
    results = ward.parent / "ward_predicted_demo"
    names = {str(path.relative_to(results)) for path in results.rglob("*") if path.is_file()}
    assert names == {"predictions.csv", "cells.csv", *(f"p{i}/prediction.json" for i in (1, 2, 4))}
    for name in names:
        assert (tmp_path / "exported" / name).read_bytes() == (results / name).read_bytes()
    for name in ("all.csv", "all.csv", "all.txt"):
        panel.export_file(tmp_path / name, share=True)
        qtbot.waitUntil(lambda: not panel.run.is_busy, timeout=20_000)
        if name == "all.csv" and "exists" not in panel.run.text:
            shown = panel.run.text
        assert panel._export.isEnabled()
    assert "3 patients." in shown
    assert "Stripped:" in shown
    assert "p1" not in (tmp_path / "all.csv").read_text("utf-8")
    assert ".ndjson" in panel.run.text


def test_patients_of_several_places_are_in_one_table(
    qtbot: QtBot, panel: PatientsPanel, ward: Path, tmp_path: Path
) -> None:
    add(qtbot, panel, ward)
    panel.results.setText(str(tmp_path / "mine"))
    other = tmp_path / "other"
    shutil.move(ward / "p4", other / "p5")
    shutil.copytree(ward / "p2", other / "p6")
    add(qtbot, panel, other)
    assert shown(panel.table, "patient") == ["p1", "p2", "p3", "p4", "p5", "p6"]
    assert panel.results.text() == str(tmp_path / "mine")
    shutil.copytree(ward / "p1", tmp_path / "third" / "p1")
    shutil.copytree(ward / "p1", tmp_path / "third" / "p9")
    add(qtbot, panel, tmp_path / "third")
    assert "Two smears are called p1" in panel.run.text
    click(qtbot, panel._clear)
    assert not panel.table.isVisible()


def test_what_is_missing_is_named_in_one_sentence(
    qtbot: QtBot, panel: PatientsPanel, ward: Path, tmp_path: Path
) -> None:
    click(qtbot, panel.run.button)
    assert "no patient yet" in panel.run.text
    add(qtbot, panel, tmp_path / "gone")
    assert "does not exist" in panel.run.text
    add(qtbot, panel, ward)
    panel.results.clear()
    click(qtbot, panel.run.button)
    assert "Choose a folder" in panel.run.text


def test_closing_the_window_during_a_prediction_raises_no_error(
    qtbot: QtBot, open_patients_panel: OpenPatientsPanel, ward: Path
) -> None:
    viewer, panel = open_patients_panel()
    add(qtbot, panel, ward)
    click(qtbot, panel.run.button)
    viewer.close()
    Task.await_workers(60_000)
    qtbot.wait(100)
    assert all(row.prediction is None for row in panel.table.rows)


def test_everything_is_in_sight_on_a_small_screen(qtbot: QtBot, panel: PatientsPanel, ward: Path) -> None:
    add(qtbot, panel, ward)
    run_task(qtbot, panel.run)
    panel.table.selectRow(2)
    qtbot.wait(50)
    assert all(map(is_in_sight, (panel.run.button, panel._opener, panel._export, panel.table)))


def test_a_watched_folder_fills_the_table_until_the_task_is_cancelled(
    qtbot: QtBot, panel: PatientsPanel, ward: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    p4 = ward / "p4"
    p4.rename(ward.parent / "p4")
    files = sorted(ward.rglob("*"))
    panel.results.setText(str(ward / "results"))
    # The system's own file dialog cannot be clicked; it returns the folder.
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(ward))
    click(qtbot, panel.watch_section.button)
    click(qtbot, panel._watch)
    assert "overlap" in panel.run.text  # nothing is written into the watched folder
    panel.results.setText(str(ward.parent / "results"))
    panel.watching.set({"settle": "soon"})
    click(qtbot, panel._watch)
    assert panel.run.text.startswith("Settle (s):")
    panel.watching.set({"settle": 0.2, "every": 0.1, "report": True})
    click(qtbot, panel._watch)
    qtbot.waitUntil(lambda: "2 of 3 done, 1 failed" in plain_text(panel.text), timeout=60_000)
    assert sorted(ward.rglob("*")) == files
    shutil.move(ward.parent / "p4", p4)
    qtbot.waitUntil(lambda: "3 of 4 done" in panel.text, timeout=60_000)
    assert shown(panel.table, "patient")[-1] == "p3"  # it has no malignancy
    values = [float(value) for value in shown(panel.table, "mal.")[:3] if value]
    assert len(values) == 3
    assert values == sorted(values, reverse=True)
    assert panel.run.is_busy
    click(qtbot, panel.run.button)
    wait(qtbot, panel.run)
    assert Prediction.load(ward.parent / "results" / "p4").patient_id == "p4"
    assert (ward.parent / "results" / "p4" / "report.html").is_file()


def plain_text(html: str) -> str:
    return re.sub("<[^>]+>", "", html)
