"""What the panel shows stays true, whatever is done to the viewer: other patients, other models, deleted layers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel
from tests.plugin.conftest import CELLS, RANKED, SQUARES, OpenPanel, predict
from tests.plugin.gui import click, click_tab, dock_of, misread, visible_tabs, wait

from napari_caltomorph.diagnosis import installed_models
from napari_caltomorph.encoding import ENCODERS
from napari_caltomorph.plugin.predict.panel import PredictPanel
from napari_caltomorph.plugin.session.inspection import Overlay
from napari_caltomorph.plugin.widgets.parts import plain
from napari_caltomorph.plugin.widgets.settings import preferences
from napari_caltomorph.plugin.widgets.smear_chooser import LeftOutDialog

STACK = "patient_7 cells by rank"


def shown(viewer) -> set[str]:
    return {layer.name for layer in viewer.layers if layer.visible}


def words(panel: PredictPanel) -> str:
    return " ".join(label.text() for label in panel.results.findChildren(QLabel))


def test_of_two_patients_only_the_chosen_one_is_shown_and_its_result_from_the_top(
    open_panel: OpenPanel, qtbot: QtBot, export: Path, tmp_path: Path
) -> None:
    viewer, panel = open_panel()
    panel.smears.open(export)
    assert "no diagnosis" in panel._empty.text()  # what to do now, and no longer how to open a smear
    predict(qtbot, panel)
    assert "<b>patient_7</b>" in words(panel)
    assert not panel.mismatch.isVisible()
    inspect = panel.inspect()
    assert inspect.title == "<b>patient_7</b>"
    dock_of(panel).raise_()
    panel.smears.open(shutil.copytree(export, tmp_path / "second"))
    assert shown(viewer) == {"second"}
    assert viewer.dims.current_step[0] == 0
    # The same cells under another name: only once they are looked at is it known that nothing differs.
    assert "result of patient_7; another smear is chosen" in panel.mismatch.text()
    assert "not in the picture" in inspect.title
    inspect.controls.title.linkActivated.emit("#")
    assert shown(viewer) == {RANKED, SQUARES}
    assert inspect.title == "<b>patient_7</b>"
    panel.choose_cell(0)
    qtbot.waitUntil(lambda: panel._scroll.verticalScrollBar().value() > 0)
    predict(qtbot, panel)
    assert panel._scroll.verticalScrollBar().value() == 0
    assert shown(viewer) == {"second ranked cells", "second predictions"}
    assert "<b>second</b>" in words(panel)
    assert not panel.mismatch.isVisible()


def test_two_exports_of_one_name_keep_their_own_layers(
    open_panel: OpenPanel, qtbot: QtBot, export: Path, tmp_path: Path
) -> None:
    viewer, panel = open_panel()
    for folder in (export, shutil.copytree(export, tmp_path / "other" / "patient_7")):
        panel.smears.open(folder)
        predict(qtbot, panel)
    assert RANKED in viewer.layers
    assert f"{RANKED} [1]" in viewer.layers
    assert shown(viewer) == {f"{RANKED} [1]", f"{SQUARES} [1]"}


def test_a_smear_that_is_opened_elsewhere_is_chosen(open_panel: OpenPanel, export: Path) -> None:
    viewer, panel = open_panel()
    viewer.open_sample("napari-caltomorph", "healthy")
    viewer.open(export, plugin="napari-caltomorph")
    assert panel.smears.layer.name == "patient_7"
    viewer.layers["patient_7"].name = "renamed"
    assert panel.smears._choice.currentText() == "renamed"


def test_a_result_is_marked_when_another_model_or_other_cells_are_chosen(
    open_panel: OpenPanel, qtbot: QtBot, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(next(export.glob("*.TIF")), export / "Gal-000900.RGB.TIF")
    _, panel = open_panel()
    panel.smears.open(export)
    predict(qtbot, panel)
    folder = Path(shutil.copytree(installed_models()["demo"], tmp_path / "other"))
    text = json.loads((folder / "model.json").read_text())
    text["members"].pop()
    (folder / "model.json").write_text(json.dumps(text))
    panel.models.choose(str(folder))
    assert "another model is chosen" in panel.mismatch.text()
    panel.models.choose("demo")
    assert not panel.mismatch.isVisible()

    def tick_the_repeat(dialog: LeftOutDialog) -> bool:
        cell = dialog.model.index(0, 0)
        return dialog.model.setData(cell, Qt.CheckState.Checked, Qt.ItemDataRole.CheckStateRole)

    # A dialog that waits for the user cannot be clicked from here.
    monkeypatch.setattr(LeftOutDialog, "exec", tick_the_repeat)
    panel.smears._show_left_out()
    assert "another choice of cells is chosen" in panel.mismatch.text()
    panel.models.percent.setValue(2)
    assert "another choice of cells and another prevalence is chosen" in panel.mismatch.text()
    prediction = predict(qtbot, panel)
    assert len(prediction.cells) == CELLS + 1
    assert prediction.prevalence.stated == 0.02
    assert "at the stated prevalence, 2 % malignant" in words(panel)
    assert "only the shares differ" in words(panel)
    assert not panel.mismatch.isVisible()


def test_layers_deleted_by_hand_are_not_missed(open_panel: OpenPanel, qtbot: QtBot, export: Path) -> None:
    viewer, panel = open_panel()
    panel.smears.open(export)
    predict(qtbot, panel)
    panel.as_stack.setChecked(True)
    viewer.layers.remove(STACK)
    qtbot.waitUntil(lambda: not panel.as_stack.isChecked())
    assert shown(viewer) == {RANKED, SQUARES}
    panel.as_stack.setChecked(True)
    panel.inspection.gallery.add_overlay(Overlay(3, "heat", np.zeros((4, 4))))
    viewer.layers.remove(SQUARES)
    panel.as_stack.setChecked(False)
    qtbot.waitUntil(lambda: not panel.as_stack.isEnabled())
    assert not {STACK, RANKED, "heat"} & {layer.name for layer in viewer.layers}
    panel.choose_cell(2)
    predict(qtbot, panel)
    assert panel.as_stack.isEnabled()
    viewer.layers[SQUARES].data = viewer.layers[SQUARES].data[:-1]  # by a script: which square is whose?
    qtbot.waitUntil(lambda: not panel.as_stack.isEnabled())
    assert RANKED not in viewer.layers
    predict(qtbot, panel)
    callbacks = len(viewer.mouse_drag_callbacks)
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not panel.as_stack.isEnabled())
    assert len(viewer.mouse_drag_callbacks) == callbacks - 1  # the viewer keeps no cells of it
    panel.choose_cell(3)
    assert "#4</b>" in panel.results.card_text


def test_names_are_shown_as_they_are(open_panel: OpenPanel, qtbot: QtBot, export: Path) -> None:
    name = "O'Neil & <b>sons"
    odd = export.rename(export.parent / name)
    next(odd.glob("*.TIF")).rename(odd / "O'Neil & <b>sons.tif")
    _, panel = open_panel()
    panel.smears.open(odd)
    prediction = predict(qtbot, panel)
    assert prediction.patient_id == name
    panel.choose_cell(int(prediction.ranks[prediction.cells.index(f"{name}.tif")]) - 1)
    inspect = panel.inspect()
    for number in visible_tabs(inspect.tabs):
        click_tab(qtbot, inspect.tabs, number)
        assert misread(panel, name) + misread(inspect, name) == []
    panel.saving.save_report(odd / "report.html")
    wait(qtbot, panel.run)
    assert str(odd) in panel.run.text
    assert misread(panel, name) + misread(inspect, name) == []
    panel.smears.open(odd / "<b>gone")
    assert "<b>gone" in panel.run.text
    assert misread(panel, name) + misread(inspect, name) == []
    panel.models.changed.emit()  # the sentence is about an earlier choice
    assert panel.run.text == ""


def test_long_names_may_break_and_short_ones_do_not() -> None:
    assert plain("x" * 70) == "\u200b".join(["x" * 30, "x" * 30, "x" * 10])
    assert plain("/a/path/of/many/short/names/which/qt/breaks") == "/a/path/of/many/short/names/which/qt/breaks"


def test_missing_weights_point_to_the_link(open_panel: OpenPanel, qtbot: QtBot, export: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(installed_models()["demo"], tmp_path / "on_dinobloom"))
    text = json.loads((folder / "model.json").read_text())
    text["encoder"] |= {"name": "dinobloom-b", "width": ENCODERS["dinobloom-b"].width}
    (folder / "model.json").write_text(json.dumps(text))
    _, panel = open_panel()
    panel.smears.open(export)
    panel.models.choose(str(folder))
    click(qtbot, panel.run.button)
    assert not panel.run.is_busy
    assert panel.run.text == (
        'The weights of dinobloom-b are not on this machine: click "Get the encoder\'s weights" above.'
    )
    # A link would not help where the file that was named is not there.
    preferences().weights = str(tmp_path / "none.pth")
    assert "none.pth" in panel.models._weights.text()
    click(qtbot, panel.run.button)
    assert "none.pth does not exist" in panel.run.text


def test_an_export_that_was_moved_is_reported(open_panel: OpenPanel, qtbot: QtBot, export: Path) -> None:
    _, panel = open_panel()
    panel.smears.open(export)
    predict(qtbot, panel)
    export.rename(export.with_name("moved"))
    predict(qtbot, panel)
    assert f"{export} is missing" in panel.run.text
    panel.choose_cell(0)


def test_what_is_changed_in_the_preferences_is_chosen(open_panel: OpenPanel, tmp_path: Path) -> None:
    folder = shutil.copytree(installed_models()["demo"], tmp_path / "mine")
    _, panel = open_panel()
    preferences().device = "cpu"
    preferences().model = str(folder)
    assert panel.models.device.currentText() == "cpu"
    assert panel.models.options().model == str(folder)
