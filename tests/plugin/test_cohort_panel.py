"""The *Open cohort* panel, clicked in a real window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import pytest
from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_caltomorph.cohort import read_cohort
from napari_caltomorph.plugin.cohort_panel import CohortPanel
from napari_caltomorph.plugin.worker import Task
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohorts") / "drawn"
    synthesize_cohort(folder, SynthOptions(patients=16, cells=5, seed=1))
    return folder


@pytest.fixture
def panel(make_napari_viewer: Callable[..., Viewer], qtbot: QtBot) -> Iterator[CohortPanel]:
    viewer = make_napari_viewer(show=True, strict_qt=True)
    _, panel = viewer.window.add_plugin_dock_widget("napari-caltomorph", "Open cohort")
    qtbot.waitUntil(panel.isVisible)
    yield panel
    panel.run.cancel()
    panel.encoding.cancel()
    Task.await_workers(60_000)
    qtbot.wait(50)


def read(qtbot: QtBot, panel: CohortPanel, place: Path, least: int = 5) -> None:
    panel.place.setText(str(place))
    panel.min_cells.setValue(least)
    qtbot.mouseClick(panel.run.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not panel.run.is_busy, timeout=60_000)


def test_a_directory_is_read_shown_and_saved(qtbot: QtBot, panel: CohortPanel, drawn: Path, tmp_path: Path) -> None:
    read(qtbot, panel, drawn)
    assert panel.cohort is not None, panel.run.text
    assert len(panel.cohort) == 16
    assert panel.patients.model().rowCount() == 16
    assert panel.tabs.isVisible()
    panel.save(tmp_path / "cohort.json")
    assert len(read_cohort(tmp_path / "cohort.json")) == 16


def test_double_clicking_a_patient_opens_its_cells(qtbot: QtBot, panel: CohortPanel, drawn: Path) -> None:
    read(qtbot, panel, drawn)
    panel.patients.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    first = panel.patients.model().index(0, 0)
    panel.patients.doubleClicked.emit(first)
    (layer,) = panel._viewer.layers
    assert layer.name == first.data() == "synthetic_016"
    assert layer.data.shape == (5, 144, 144, 3)


def test_who_is_left_out_is_listed(qtbot: QtBot, panel: CohortPanel, drawn: Path) -> None:
    read(qtbot, panel, drawn, least=500)
    assert panel.cohort is None
    assert "nobody is left (16 few cells)" in panel.run.text


def test_what_is_no_cohort_is_said_in_one_sentence(qtbot: QtBot, panel: CohortPanel, tmp_path: Path) -> None:
    read(qtbot, panel, tmp_path)
    assert "holds no cohort" in panel.run.text
    panel.place.clear()
    qtbot.mouseClick(panel.run.button, Qt.MouseButton.LeftButton)
    assert "Choose a directory" in panel.run.text


def test_all_patients_are_encoded_and_again_skips_them(
    qtbot: QtBot, panel: CohortPanel, drawn: Path, tmp_path: Path
) -> None:
    read(qtbot, panel, drawn)
    panel.encoder.setCurrentText("demo-vit")
    panel.features.setText(str(tmp_path / "features"))
    for said in ("16 patients encoded, 0 were done", "0 patients encoded, 16 were done"):
        qtbot.mouseClick(panel.encoding.button, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: not panel.encoding.is_busy, timeout=120_000)
        assert said in panel.encoding.text
    with h5py.File(tmp_path / "features" / "synthetic_001.h5") as file:
        assert file["features"].shape == (5, 128)
