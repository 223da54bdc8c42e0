"""The tab *Differential* in a real window: keys label, a probe counts, a person's word stands, undo takes it back."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QTabWidget
from tests.differential.factories import features, labelled

from napari_caltomorph.differential import CellLabels, SmearId, read_labels, save_labels, train_probe
from napari_caltomorph.plugin.inspect.differential_tab import DifferentialTab
from napari_caltomorph.plugin.session.cell_columns import BY_LABEL, BY_TYPE
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.session.session import DifferentialState

LONG = 120_000


@pytest.fixture
def tab(show_view, inspection):
    """The tab with the leukemia of 40 cells."""
    tab = DifferentialTab(DifferentialState())
    show_view(tab, inspection)
    return tab


@pytest.fixture
def opened(open_inspection, qtbot):
    """``panel, tab``: the same in *Inspect cells*."""
    panel = open_inspection().panel
    tab = panel.tab("Differential")
    qtbot.waitUntil(tab.isVisible)
    return panel, tab


@pytest.fixture
def press(opened, qtbot):
    """``press(key)``: a key pressed over the picture."""
    canvas = opened[0]._viewer.window._qt_viewer.canvas.native
    canvas.setFocus()
    return lambda key: qtbot.keyClick(canvas, key)


def label_some(tab) -> None:
    """Label the first 32 cells with buttons."""
    for name, cells in (("blast", range(20)), ("lymphocyte", range(20, 32))):
        tab.inspection.cells.select(cells)
        tab.keys.buttons[name].click()


def train(tab, qtbot) -> None:
    with qtbot.waitSignal(tab.task.ended, timeout=LONG):
        qtbot.mouseClick(tab.task.button, Qt.MouseButton.LeftButton)


def wait_for_count(tab, qtbot, until) -> None:
    qtbot.waitUntil(lambda: not tab._pause.isActive() and until(), timeout=LONG)


def test_a_letter_labels_the_cell_and_goes_on_to_the_next(opened, press):
    _, tab = opened
    cells = tab.inspection.cells
    first, second = (int(cell) for cell in cells.order[:2])
    cells.select([first])
    press(Qt.Key.Key_K)
    assert cells.labels[first] == "blast"
    assert cells.selected == {second}
    assert tab.inspection.coloring == BY_LABEL
    assert "K blast  1" in tab.keys.buttons["blast"].text()
    press(Qt.Key.Key_N)
    assert tab.state.labels.counts == {"segmented neutrophil": 1, "blast": 1}
    cells.undo()
    assert tab.state.labels.counts == {"blast": 1}
    cells.select([first])
    press(Qt.Key.Key_Backspace)
    assert len(tab.state.labels) == 0


def test_letters_label_nothing_while_the_tab_is_out_of_sight_or_nothing_is_selected(opened, press, qtbot):
    panel, tab = opened
    press(Qt.Key.Key_K)
    assert "Select cells first" in tab.task.text
    tab.inspection.cells.select([3])
    panel.findChild(QTabWidget).setCurrentIndex(0)
    qtbot.waitUntil(lambda: not tab.isVisible())
    press(Qt.Key.Key_K)
    assert not any(tab.inspection.cells.labels)


def test_too_few_labels_are_refused_with_the_number_needed(tab, qtbot):
    train(tab, qtbot)
    assert "No cell of these smears is labelled" in tab.task.text
    tab.inspection.cells.select(range(8))
    tab.keys.buttons["blast"].click()
    train(tab, qtbot)
    assert "only 8 blast are labelled" in tab.task.text


def test_a_probe_counts_and_a_correction_counts_at_once(tab, qtbot, tmp_path, monkeypatch):
    inspection = tab.inspection
    label_some(tab)
    train(tab, qtbot)
    assert tab.task.text == ""
    shown = tab.view.shown
    assert (len(shown), len(shown.by_hand)) == (40, 32)
    assert inspection.coloring == BY_TYPE
    called = dict(zip(shown.cells, shown.cell_types, strict=True))
    assert [called[cell] for cell in inspection.prediction.cells] == list(inspection.cells.columns[BY_TYPE])
    assert shown.blasts.in_words in tab.view.words.text()
    assert "held-out cells of one patient" in tab.about.text()

    last = len(inspection.prediction.cells) - 1
    inspection.cells.select([last])
    tab.keys.buttons["plasma cell"].click()
    wait_for_count(tab, qtbot, lambda: len(tab.view.shown.by_hand) == 33)
    assert tab.view.shown.share_of("plasma cell").cells == 1
    assert inspection.cells.columns[BY_TYPE][last] == "plasma cell"
    inspection.cells.undo()
    wait_for_count(tab, qtbot, lambda: len(tab.view.shown.by_hand) == 32)
    inspection.cells.select(range(32, 40))
    tab.buttons["Confirm types"].click()
    wait_for_count(tab, qtbot, lambda: len(tab.view.shown.by_hand) == 40)
    assert tab.view.shown.blasts.classifier[0] == tab.view.shown.blasts.classifier[1]

    for kind in tab.view.kinds.values():
        kind.click()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "counts"))
    tab.buttons["Export"].click()
    assert len(pd.read_csv(tmp_path / "counts" / "cell_types.csv")) == 40


def test_labels_and_probe_are_saved_come_back_and_count_another_smear(tab, drawn_smear, qtbot, tmp_path, monkeypatch):
    label_some(tab)
    train(tab, qtbot)
    for name, file in (("Save labels", "labels.csv"), ("Save probe", "probe.safetensors")):
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, file=file: (str(tmp_path / file), ""))
        tab.buttons[name].click()
    assert read_labels(tmp_path / "labels.csv") == tab.state.labels

    cells = tab.inspection.cells
    before = cells.labels
    cells.label("", range(40))
    assert len(tab.state.labels) == 0
    for name, file in (("Load labels", "labels.csv"), ("Load probe", "probe.safetensors")):
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, file=file: (str(tmp_path / file), ""))
        tab.buttons[name].click()
    assert cells.labels == before
    wait_for_count(tab, qtbot, lambda: tab.view.shown is not None and len(tab.view.shown.by_hand) == 32)

    other = tmp_path / "elsewhere"
    other.mkdir()
    for file in sorted(drawn_smear.glob("*.TIF"))[:6]:
        shutil.copy(file, other)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(other))
    with qtbot.waitSignal(tab.task.ended, timeout=LONG):
        tab.buttons["Count others"].click()
    assert (tab.view.shown.patient_id, len(tab.view.shown)) == ("elsewhere", 6)
    assert tab.view.smears.count() == 2


def test_bad_files_are_one_sentence_and_labels_of_another_smear_wait_for_it(tab, qtbot, tmp_path, monkeypatch):
    (tmp_path / "no.csv").write_text("a,b\n1,2\n")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "no.csv"), ""))
    tab.buttons["Load labels"].click()
    assert "has no column 'patient_id'" in tab.task.text
    tab.buttons["Load probe"].click()
    assert "probe" in tab.task.text
    trained = features(encoder="dinobloom-b")
    train_probe([trained], labelled(trained)).save(tmp_path / "other.safetensors")
    tab.load_probe(tmp_path / "other.safetensors")
    qtbot.waitUntil(lambda: "weights download dinobloom-b" in tab.task.text, timeout=LONG)
    save_labels(CellLabels().labelled(SmearId("other", "ff"), {"c1": "blast"}), tmp_path / "labels.csv")
    tab.load_labels(tmp_path / "labels.csv")
    assert not any(tab.inspection.cells.labels)
    assert "1 cell of other smears" in tab.words.text()


def test_without_images_cells_are_labelled_and_missing_features_are_reported(show_view, predicted, qtbot):
    tab = DifferentialTab(DifferentialState())
    show_view(tab, Inspection(predicted[1]))
    label_some(tab)
    assert tab.state.labels.counts == {"blast": 20, "lymphocyte": 12}
    train(tab, qtbot)  # the features were kept in another home
    assert "features" in tab.task.text
    assert tab.view.shown is None
