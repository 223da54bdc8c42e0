"""The *Open cohort* panel, clicked in a real window."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import pandas as pd
import pytest
from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QLineEdit
from tests.plugin.conftest import OpenWidget
from tests.plugin.gui import click, click_tab, dock_of, double_click, is_in_sight, run_task, shown_rows, wait

from napari_caltomorph.cohort import Cohort, CohortOptions, read_cohort
from napari_caltomorph.plugin.cohort.encoding import CohortEncoding
from napari_caltomorph.plugin.cohort.panel import CohortPanel, CohortView
from napari_caltomorph.plugin.plot_style import plot_style_of
from napari_caltomorph.plugin.widgets.cohort_chooser import CohortChooser
from napari_caltomorph.plugin.widgets.tasks import Task
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort
from napari_caltomorph.taxonomy import SHIPPED_LABEL_MAPS

PATIENTS, CELLS = 16, 5
OpenCohortPanel = Callable[[], tuple[Viewer, CohortPanel]]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohorts") / "drawn"
    synthesize_cohort(folder, SynthOptions(patients=PATIENTS, cells=CELLS, seed=1))
    return folder


@pytest.fixture(scope="module")
def cohort(drawn: Path) -> Cohort:
    return read_cohort(drawn, CohortOptions(min_cells=CELLS))


@pytest.fixture
def own(drawn: Path, tmp_path: Path) -> Path:
    """A copy of `drawn` that a test may spoil."""
    return Path(shutil.copytree(drawn, tmp_path / "own"))


@pytest.fixture
def open_cohort_panel(open_widget: OpenWidget) -> OpenCohortPanel:
    return partial(open_widget, "Open cohort")


@pytest.fixture
def panel(open_cohort_panel: OpenCohortPanel) -> CohortPanel:
    return open_cohort_panel()[1]


def read(qtbot: QtBot, panel: CohortPanel, place: Path, least: int = CELLS) -> None:
    panel.chooser.place.setText(str(place))
    panel.chooser.min_cells.setValue(least)
    run_task(qtbot, panel.run)


def encode(qtbot: QtBot, panel: CohortPanel, folder: Path) -> None:
    panel.section.set_open(True)
    qtbot.wait(20)
    panel.encoding.encoder.setCurrentText("demo-vit")
    panel.encoding.features.setText(str(folder))
    run_task(qtbot, panel.encoding.run)


def test_a_directory_is_read_shown_and_saved(qtbot: QtBot, panel: CohortPanel, drawn: Path, tmp_path: Path) -> None:
    assert not panel.view.isVisible()
    read(qtbot, panel, drawn)
    assert panel.cohort is not None, panel.run.text
    assert "drawn: 16 of 16 patients" in panel.view.text
    table = pd.read_csv(drawn / "patients.csv").set_index("patient_id")
    click_tab(qtbot, panel.view.tabs, 2)
    assert panel.view.patients.isVisible()
    rows = shown_rows(panel.view.patients)
    assert [row[:2] for row in rows] == [[one, table.loc[one, "coarse_class"]] for one in sorted(table.index)]
    assert {row[4] for row in rows} == {str(CELLS)}
    panel.save(tmp_path / "cohort.json")
    assert len(read_cohort(tmp_path / "cohort.json")) == PATIENTS


def test_double_clicking_a_patient_opens_its_cells(
    qtbot: QtBot, open_cohort_panel: OpenCohortPanel, drawn: Path
) -> None:
    viewer, panel = open_cohort_panel()
    read(qtbot, panel, drawn)
    click_tab(qtbot, panel.view.tabs, 2)
    table = panel.view.patients
    table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    double_click(qtbot, table, 0)
    (layer,) = viewer.layers
    assert layer.name == "synthetic_016"
    assert layer.data.shape == (CELLS, 144, 144, 3)
    double_click(qtbot, table, 1)
    assert {layer.name: layer.visible for layer in viewer.layers} == {"synthetic_016": False, "synthetic_015": True}
    double_click(qtbot, table, 0)
    assert {layer.name: layer.visible for layer in viewer.layers} == {"synthetic_016": True, "synthetic_015": False}


def test_a_patient_whose_folder_is_missing_is_named(
    qtbot: QtBot, open_cohort_panel: OpenCohortPanel, own: Path
) -> None:
    viewer, panel = open_cohort_panel()
    read(qtbot, panel, own)
    click_tab(qtbot, panel.view.tabs, 2)
    shutil.rmtree(next(own.glob("*/synthetic_001")))
    double_click(qtbot, panel.view.patients, 0)
    assert "synthetic_001" in panel.run.text
    assert not viewer.layers


def test_patients_that_are_left_out_are_listed_with_the_reason(qtbot: QtBot, panel: CohortPanel, own: Path) -> None:
    for cell in sorted(next(own.glob("*/synthetic_003")).glob("*.TIF"))[1:]:
        cell.unlink()
    panel.chooser.more.set({"min_patients": 1})
    read(qtbot, panel, own)
    click_tab(qtbot, panel.view.tabs, 3)
    ((patient, reason, rule, _),) = shown_rows(panel.view.left_out)
    assert (patient, rule) == ("synthetic_003", "few cells")
    assert reason
    assert panel.view.tabs.tabText(3) == "Left out (1)"
    assert "15 of 16 patients" in panel.view.text
    read(qtbot, panel, own, least=500)
    assert "no patient is left of 16: 16 few cells" in panel.run.text


def test_a_folder_without_a_cohort_is_refused_in_one_sentence(
    qtbot: QtBot, panel: CohortPanel, drawn: Path, tmp_path: Path
) -> None:
    read(qtbot, panel, tmp_path)
    assert "is no known cohort" in panel.run.text
    panel.chooser.place.clear()
    click(qtbot, panel.run.button)
    assert "Choose a cohort" in panel.run.text
    mine = tmp_path / "mine.json"
    mine.write_text("no taxonomy")
    panel.chooser.choose_taxonomy(str(mine))
    read(qtbot, panel, drawn)
    assert "mine.json" in panel.run.text


def test_every_option_of_a_cohort_can_be_chosen(qtbot: QtBot, panel: CohortPanel, drawn: Path) -> None:
    assert panel.chooser.options() == CohortOptions()
    click(qtbot, panel.chooser.section.button)
    qtbot.wait(20)
    more = panel.chooser.more
    click(qtbot, more.widget("where"))  # its "+"
    qtbot.keyClicks(more.widget("where").parentWidget().findChild(QLineEdit), "sex=female")
    click(qtbot, more.widget("keep_unclear"), QPoint(8, 8))
    more.set({"folds": 2, "min_patients": 1})
    assert panel.chooser.section.button.text() == "▾ More options (4 changed)"
    read(qtbot, panel, drawn)
    assert panel.cohort is not None, panel.run.text
    chosen = {"where": ("sex=female",), "keep_unclear": True, "folds": 2, "min_patients": 1, "min_cells": CELLS}
    assert panel.cohort.options == CohortOptions(**chosen)
    assert len(panel.cohort) == int((pd.read_csv(drawn / "patients.csv")["sex"] == "female").sum())
    assert not panel.chooser.section.is_open
    assert panel.view.isVisible()


def test_an_option_that_is_not_valid_is_named_and_nothing_is_read(
    qtbot: QtBot, panel: CohortPanel, drawn: Path
) -> None:
    panel.chooser.more.widget("test_fraction").setText("20")
    read(qtbot, panel, drawn)
    assert panel.run.text.startswith("Test fraction: ")
    assert "20 % is 0.2" in panel.run.text
    assert panel.cohort is None


def test_all_patients_are_encoded_and_again_skips_them(
    qtbot: QtBot, panel: CohortPanel, drawn: Path, tmp_path: Path
) -> None:
    read(qtbot, panel, drawn)
    encoding = panel.encoding
    for section in (panel.section, encoding.section):
        click(qtbot, section.button)
        qtbot.wait(20)
    assert encoding.section.form.widget("batch_size").isVisible()
    assert not panel.view.isVisible()
    encoding.section.form.set({"batch_size": 100, "write_as": "stamp"})
    click(qtbot, encoding.section.button)
    assert panel.view.isVisible()
    for message in ("16 patients encoded, 0 were done", "0 patients encoded, 16 were done"):
        encode(qtbot, panel, tmp_path / "features")
        assert message in panel.encoding.run.text
    assert not panel.view.failed.isVisible()
    assert len(list((tmp_path / "features" / "stamp").glob("*.h5"))) == 16
    assert CohortEncoding().options() == encoding.options()  # the next session begins with this choice
    with h5py.File(tmp_path / "features" / "synthetic_001.h5") as file:
        assert file["features"].shape == (CELLS, 128)


def test_patients_that_could_not_be_encoded_are_listed_with_the_reason(
    qtbot: QtBot, panel: CohortPanel, own: Path, tmp_path: Path
) -> None:
    for patient in sorted(own.glob("*/synthetic_*"), key=lambda folder: folder.name)[4:]:
        shutil.rmtree(patient)
    panel.chooser.more.set({"min_patients": 1})
    read(qtbot, panel, own)
    shutil.rmtree(next(own.glob("*/synthetic_004")))
    encode(qtbot, panel, tmp_path / "features")
    assert panel.encoding.run.text.startswith("3 patients encoded, 0 were done already, 1 failed")
    assert panel.view.failed.isVisible()
    ((patient, reason),) = shown_rows(panel.view.failed)
    assert patient == "synthetic_004"
    assert reason
    read(qtbot, panel, own)
    assert not panel.view.failed.isVisible()


def test_missing_weights_point_to_the_link(qtbot: QtBot, panel: CohortPanel, drawn: Path, tmp_path: Path) -> None:
    read(qtbot, panel, drawn)
    click(qtbot, panel.section.button)
    panel.encoding.encoder.setCurrentText("dinobloom-b")
    panel.encoding.features.setText(str(tmp_path / "features"))
    click(qtbot, panel.encoding.run.button)
    assert not panel.encoding.run.is_busy
    assert panel.encoding.run.text == (
        'The weights of dinobloom-b are not on this machine: click "Get the encoder\'s weights" above.'
    )
    assert panel.encoding._weights.isVisible()
    panel.encoding.encoder.setCurrentText("demo-vit")
    assert not panel.encoding._weights.isVisible()


def test_closing_the_dock_stops_reading_and_opening_it_again_works(
    qtbot: QtBot, panel: CohortPanel, drawn: Path
) -> None:
    panel.chooser.place.setText(str(drawn))
    panel.chooser.min_cells.setValue(CELLS)
    click(qtbot, panel.run.button)
    dock_of(panel).close()
    wait(qtbot, panel.run)
    assert panel.cohort is None
    assert panel.run.text.startswith("Stopped, because the panel was closed.")
    dock_of(panel).show()
    qtbot.waitUntil(panel.isVisible)
    read(qtbot, panel, drawn)
    assert panel.cohort is not None


def test_closing_the_dock_stops_encoding_and_keeps_finished_patients(
    qtbot: QtBot, panel: CohortPanel, drawn: Path, tmp_path: Path
) -> None:
    read(qtbot, panel, drawn)
    panel.encoding.encoder.setCurrentText("demo-vit")
    panel.encoding.features.setText(str(tmp_path / "features"))
    click(qtbot, panel.encoding.run.button)
    qtbot.waitUntil(lambda: any((tmp_path / "features").glob("*.h5")), timeout=60_000)
    dock_of(panel).close()
    wait(qtbot, panel.encoding.run)
    done = len(list((tmp_path / "features").glob("*.h5")))
    assert 0 < done < PATIENTS
    assert panel.encoding.run.text.startswith("Stopped, because the panel was closed.")
    dock_of(panel).show()
    qtbot.waitUntil(panel.isVisible)
    encode(qtbot, panel, tmp_path / "features")
    assert f"{PATIENTS - done} patients encoded, {done} were done" in panel.encoding.run.text


def test_after_cancelling_finished_patients_are_kept(
    qtbot: QtBot, panel: CohortPanel, drawn: Path, tmp_path: Path
) -> None:
    read(qtbot, panel, drawn)
    panel.encoding.encoder.setCurrentText("demo-vit")
    panel.encoding.features.setText(str(tmp_path / "features"))
    click(qtbot, panel.encoding.run.button)
    run_task(qtbot, panel.encoding.run)
    assert "are kept" in panel.encoding.run.text


def test_closing_the_window_during_reading_raises_no_error(
    qtbot: QtBot, open_cohort_panel: OpenCohortPanel, drawn: Path
) -> None:
    viewer, panel = open_cohort_panel()
    panel.chooser.place.setText(str(drawn))
    click(qtbot, panel.run.button)
    viewer.close()
    Task.await_workers(60_000)
    qtbot.wait(100)
    assert panel.cohort is None


def test_the_theme_is_followed_also_one_that_came_while_the_dock_was_closed(
    qtbot: QtBot, open_cohort_panel: OpenCohortPanel, drawn: Path
) -> None:
    viewer, panel = open_cohort_panel()
    viewer.theme = "dark"
    read(qtbot, panel, drawn)

    def drawn_in() -> set[str]:
        canvases = (panel.view._classes, panel.view._cells, panel.view._flow)
        return {axes.title.get_color() for canvas in canvases for axes in canvas.figure.axes}

    assert drawn_in() == {plot_style_of("dark").text}
    viewer.theme = "light"
    assert drawn_in() == {plot_style_of("light").text}
    dock_of(panel).close()
    viewer.theme = "dark"
    assert drawn_in() == {plot_style_of("light").text}
    dock_of(panel).show()
    qtbot.waitUntil(panel.isVisible)
    assert drawn_in() == {plot_style_of("dark").text}


def test_what_was_used_last_is_there_again(qtbot: QtBot, tmp_path: Path) -> None:
    def inputs() -> tuple[CohortChooser, CohortEncoding]:
        chooser, encoding = CohortChooser(), CohortEncoding()
        qtbot.addWidget(chooser)
        qtbot.addWidget(encoding)
        return chooser, encoding

    chooser, encoding = inputs()
    assert chooser.place.text() == ""
    chooser.place.setText(str(tmp_path))
    chooser.choose_taxonomy(str(tmp_path / "mine.json"))
    chooser.remember()
    own = tmp_path / "own.pth"
    own.write_bytes(b"weights")
    encoding.encoder.setCurrentText("dinobloom-b")
    assert "weights" in encoding._weights.text()
    qtbot.keyClicks(encoding.section.form.widget("weights"), str(own))
    assert encoding._weights.text() == ""
    encoding.encoder.setCurrentText("demo-vit")
    encoding.features.setText(str(tmp_path / "features, mine"))
    encoding.remember()
    chooser, encoding = inputs()
    assert chooser.place.text() == str(tmp_path)
    assert chooser.taxonomy.currentText() == "mine.json"
    assert chooser.options().taxonomy == str(tmp_path / "mine.json")
    assert encoding.features.text() == str(tmp_path / "features, mine")
    assert encoding.encoder.currentText() == "demo-vit"
    assert encoding.options().weights == own
    assert [chooser.taxonomy.itemText(i) for i in range(3)] == list(SHIPPED_LABEL_MAPS)


def test_everything_is_in_sight_on_a_small_screen(qtbot: QtBot, panel: CohortPanel, drawn: Path) -> None:
    read(qtbot, panel, drawn)
    for _ in range(2):
        qtbot.wait(50)
        assert all(map(is_in_sight, (panel.run.button, panel.section.button, panel.chooser.section.button)))
        click(qtbot, panel.chooser.section.button)
    click(qtbot, panel.section.button)
    qtbot.wait(50)
    assert all(map(is_in_sight, (panel.encoding.run.button, panel.view, panel.chooser.check_cells)))
    panel.view.show_failed({"p1": "why"})
    bar = panel.view.tabs.tabBar()
    qtbot.wait(50)
    assert sum(bar.tabRect(i).width() for i in range(bar.count())) <= bar.width()


def test_long_notes_are_shown_after_a_click(qtbot: QtBot, cohort: Cohort) -> None:
    view = CohortView()
    qtbot.addWidget(view)
    view.show_cohort(cohort, PlotStyle())
    assert sum(map(len, cohort.notes)) > 110
    assert f"{len(cohort.notes)} notes" in view.text
    view._about.linkActivated.emit("#")
    assert view.text.count("&#8226;") == len(cohort.notes)
