"""One predicted smear, explored in its window: the layers, the picture and the panel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.colors import to_hex
from napari.layers import Image, Points
from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QPushButton
from tests.plugin.conftest import CELLS, RANKED, SQUARES, OpenPanel, predict, written_ranks
from tests.plugin.gui import click, dock_of, wait

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.plugin.napari_versions import camera_of, scale_bar_of
from napari_caltomorph.plugin.plot_style import plot_style_of
from napari_caltomorph.plugin.predict.panel import PredictPanel


def test_a_predicted_smear_is_explored(open_panel: OpenPanel, qtbot: QtBot, export: Path) -> None:
    """One window for all checks: opening it and predicting takes most of the time."""
    viewer, panel = open_panel()
    viewer.theme = "dark"
    panel.smears.open(export)
    prediction = predict(qtbot, panel)
    assert prediction.predicted_class == "Acute leukemia"
    the_layers_are_ranked(viewer)
    the_panel_fits_a_small_screen(viewer, panel)
    the_rows_of_the_result_explain_themselves(panel, qtbot)
    a_cell_in_view_is_selected_without_moving_the_picture(viewer, panel, qtbot)
    a_click_in_the_picture_selects_a_cell(viewer, panel, prediction, qtbot)
    ranks_are_written_below_the_cells_in_view(viewer, qtbot)
    a_theme_recolours_ranks_and_figures(viewer, panel, qtbot)
    cells_are_scrolled_one_at_a_time(viewer, panel, prediction)
    a_panel_that_was_closed_shows_the_result_again(viewer, panel, prediction, qtbot)


def the_layers_are_ranked(viewer: Viewer) -> None:
    assert [layer.name for layer in viewer.layers] == ["patient_7", RANKED, SQUARES]
    assert isinstance(viewer.layers[RANKED], Image)
    squares = viewer.layers[SQUARES]
    assert isinstance(squares, Points)
    assert len(squares.data) == CELLS
    assert list(squares.features["rank"]) == list(range(1, CELLS + 1))
    assert np.all(np.diff(squares.features["attention"]) <= 0)
    assert scale_bar_of(viewer).visible
    assert not viewer.layers["patient_7"].visible


def the_panel_fits_a_small_screen(viewer: Viewer, panel: PredictPanel) -> None:
    window = viewer.window._qt_window
    assert window.width() <= 1280
    assert window.height() <= 720
    bottom = panel.run.button.mapTo(window, panel.run.button.rect().bottomRight())
    assert bottom.x() <= window.width()
    assert bottom.y() <= window.height()


def the_rows_of_the_result_explain_themselves(panel: PredictPanel, qtbot: QtBot) -> None:
    bars = panel.results.bars
    tips = []
    for y in (40, bars.height() - 75, bars.height() - 25):
        qtbot.mouseMove(bars, QPoint(20, y))
        qtbot.wait(20)
        tips.append(bars.toolTip())
    assert [tip.split(":")[0].split(",")[0].split(" of ")[0] for tip in tips] == [
        "Bar",
        "Sum",
        "Estimated from the cells",
    ]
    assert panel.results.swarm.toolTip()
    assert panel.models.device.toolTip()


def a_cell_in_view_is_selected_without_moving_the_picture(viewer: Viewer, panel: PredictPanel, qtbot: QtBot) -> None:
    qtbot.wait(100)
    before = camera_of(viewer).center
    panel.choose_cell(0)
    assert camera_of(viewer).center == before
    camera_of(viewer).zoom = 200 / 25
    qtbot.wait(100)
    panel.choose_cell(1)
    assert camera_of(viewer).center != before
    viewer.reset_view()


def a_click_in_the_picture_selects_a_cell(
    viewer: Viewer, panel: PredictPanel, prediction: Prediction, qtbot: QtBot
) -> None:
    squares = viewer.layers[SQUARES]
    camera_of(viewer).center = (0.0, *squares.data_to_world(squares.data[2]))
    qtbot.wait(100)
    canvas = viewer.window._qt_viewer.canvas.native
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=QPoint(canvas.width() // 2, canvas.height() // 2))
    assert squares.selected_data == {2}
    assert prediction.cells[prediction.order[2]] in panel.results.card_text.replace("\u200b", "")


def ranks_are_written_below_the_cells_in_view(viewer: Viewer, qtbot: QtBot) -> None:
    squares = viewer.layers[SQUARES]
    qtbot.waitUntil(lambda: not written_ranks(squares), timeout=5_000)
    camera_of(viewer).center = (0.0, *squares.data_to_world(squares.data[0]))
    camera_of(viewer).zoom = 200 / 25
    qtbot.waitUntil(lambda: bool(written_ranks(squares)), timeout=5_000)
    texts = list(squares.text.values)
    assert texts[0].startswith("#1 ")
    assert texts[-1] == ""


def a_theme_recolours_ranks_and_figures(viewer: Viewer, panel: PredictPanel, qtbot: QtBot) -> None:
    panel.choose_cell(0)
    dark = panel.results.bars.figure.get_facecolor()
    viewer.theme = "light"
    assert to_hex(viewer.layers[SQUARES].text.color.constant) == plot_style_of("light").text
    assert panel.results.bars.figure.get_facecolor() != dark
    assert len(panel.results.swarm.ringed) == 1


def cells_are_scrolled_one_at_a_time(viewer: Viewer, panel: PredictPanel, prediction: Prediction) -> None:
    panel.choose_cell(7)
    panel.as_stack.setChecked(True)
    assert viewer.dims.current_step[0] == 7
    stack = viewer.layers["patient_7 cells by rank"]
    assert stack.data.shape == (CELLS, 144, 144, 3)
    viewer.dims.set_point(0, 5)
    assert prediction.cells[prediction.order[5]] in panel.results.card_text.replace("\u200b", "")
    panel.as_stack.setChecked(False)
    assert stack not in viewer.layers
    assert viewer.layers[RANKED].visible


def a_panel_that_was_closed_shows_the_result_again(
    viewer: Viewer, panel: PredictPanel, prediction: Prediction, qtbot: QtBot
) -> None:
    panel.choose_cell(3)
    callbacks = len(viewer.mouse_drag_callbacks)
    (cross,) = dock_of(panel).findChildren(QPushButton, "QTitleBarCloseButton")
    click(qtbot, cross)
    _, again = viewer.window.add_plugin_dock_widget("napari-caltomorph", "Predict patient")
    qtbot.waitUntil(lambda: again.results.prediction is not None)
    wait(qtbot, again.run)
    assert again.results.prediction.cells == prediction.cells
    assert [layer.name for layer in viewer.layers] == ["patient_7", RANKED, SQUARES]
    assert set(viewer.layers[SQUARES].selected_data) == {3}
    assert again.inspection.gallery.is_available
    assert len(viewer.mouse_drag_callbacks) == callbacks  # the earlier gallery is gone
    viewer.layers[SQUARES].selected_data = {5}
    assert prediction.cells[prediction.order[5]] in again.results.card_text.replace("\u200b", "")
    again.unbind()
