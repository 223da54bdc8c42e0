"""*Inspect cells*, clicked in a real window: what is done in one view is seen in all, and what if is answered."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from tests.plugin.conftest import CELLS, RANKED, SQUARES, OpenPanel, OpenWidget, Predicted, predict
from tests.plugin.gui import click, drag, wait
from tests.plugin.inspect.conftest import OpenInspection, ShowView

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.differential import cell_type
from napari_caltomorph.plugin.gallery.gallery import Gallery
from napari_caltomorph.plugin.inspect.controls import ACTIONS
from napari_caltomorph.plugin.inspect.plot_tab import ATTENTION, PCA
from napari_caltomorph.plugin.inspect.what_if import WhatIfTab, WhatIfUpdater
from napari_caltomorph.plugin.napari_versions import camera_of
from napari_caltomorph.plugin.session.cell_columns import CellFilter
from napari_caltomorph.plugin.session.inspection import Inspection, Overlay
from napari_caltomorph.plugin.session.session import session_of


def squares_of(gallery: Gallery, inspection: Inspection) -> set[int]:
    """The selected points as cells."""
    ranked = inspection.prediction.order
    return {int(ranked[point]) for point in gallery.points.selected_data}


def test_a_row_of_the_table_selects_in_the_picture_and_in_the_plot(
    open_inspection: OpenInspection, qtbot: QtBot
) -> None:
    panel, inspection, gallery, _ = open_inspection()
    table = panel.tab("Table").table
    pictures = panel.tab("Table").thumbnails
    qtbot.waitUntil(lambda: table.model().index(0, 0).data(Qt.ItemDataRole.DecorationRole) is not None)
    last = inspection.prediction.cells[inspection.cells.order[-1]]
    assert last not in pictures._kept  # only what is in sight is decoded
    row = table.visualRect(table.model().index(3, 1)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=row)
    cell = int(inspection.prediction.order[3])
    assert squares_of(gallery, inspection) == {cell}
    assert "<b>#4</b>" in panel.card.text
    dots = panel.tab("Plot").dots
    assert np.allclose(dots.ringed, dots.places[[cell]])
    assert np.allclose(dots.selected, dots.places[[cell]])
    qtbot.keyClick(panel.tab("Table").table, Qt.Key.Key_Down)
    assert inspection.cells.current == int(inspection.prediction.order[4])


def test_a_click_and_a_lasso_in_the_plot_select_in_the_table_and_in_the_picture(
    open_inspection: OpenInspection, qtbot: QtBot
) -> None:
    panel, inspection, gallery, _ = open_inspection()
    tab = panel.tab("Plot")
    tab.view.setCurrentText(PCA)
    qtbot.waitUntil(tab.dots.isVisible, timeout=60_000)
    qtbot.wait(100)
    places = tab.dots.places
    click(qtbot, tab.dots.viewport(), tab.dots.pixel_of(places[7]))
    (chosen,) = inspection.cells.selected
    assert np.allclose(places[chosen], places[7], atol=np.ptp(places) / 20)
    qtbot.keyClick(tab.dots, Qt.Key.Key_Return)
    assert inspection.cells.marked == {chosen}
    assert tab.dots.toolTip()
    (left, low), (right, high), middle = places.min(axis=0), places.max(axis=0), float(np.median(places[:, 0]))
    margin = 0.03 * (right - left), 0.03 * (high - low)
    left, low, high = left - margin[0], low - margin[1], high + margin[1]
    corners = [(left, low), (middle, low), (middle, high), (left, high)]
    drag(qtbot, tab.dots.viewport(), [tab.dots.pixel_of(np.array(corner)) for corner in corners])
    expected = set(np.flatnonzero(places[:, 0] < middle).tolist())
    assert len(expected ^ inspection.cells.selected) <= 1
    assert squares_of(gallery, inspection) == inspection.cells.selected
    table = panel.tab("Table").table
    assert len(table.selectionModel().selectedRows()) == len(inspection.cells.selected)
    panel.tab("Plot").view.setCurrentText(ATTENTION)
    assert len(tab.dots.selected) == len(inspection.cells.selected)


def test_sorting_and_filtering_move_the_cells_in_picture_and_table(
    open_inspection: OpenInspection, qtbot: QtBot, tmp_path: Path
) -> None:
    panel, inspection, gallery, _ = open_inspection()
    bar = panel.controls
    name = "alone_p_acute_leukemia"
    bar.sort.setCurrentIndex(bar.sort.findData(name))
    bar.sort.activated.emit(bar.sort.currentIndex())
    responses = inspection.cells.columns[name]
    order = inspection.cells.order
    assert np.all(np.diff(responses[order]) <= 0)
    first = gallery.points.data[inspection.prediction.ranks[order[0]] - 1]
    assert gallery.cell_at(tuple(gallery.points.data_to_world(first))) == order[0]
    assert np.array_equal(gallery.image.data[:144, :144, :3], inspection.smear.image(_index(inspection, int(order[0]))))
    qtbot.mouseClick(bar.direction, Qt.MouseButton.LeftButton)
    assert np.array_equal(inspection.cells.order[:3], order[::-1][:3])
    bar.filter.top.setValue(5)
    assert gallery.points.shown.sum() == 5
    tab = panel.tab("Table")
    assert tab.model.rowCount() == 5
    assert "5 of 40" in bar._counts.text()
    tab.export(tmp_path / "cells.csv")
    assert list(pd.read_csv(tmp_path / "cells.csv")["cell"]) == [
        inspection.prediction.cells[i] for i in inspection.cells.order
    ]
    qtbot.keyClicks(bar.search, "no such cell")
    qtbot.waitUntil(lambda: len(inspection.cells.order) == 0, timeout=5_000)
    bar.search.clear()
    qtbot.waitUntil(lambda: len(inspection.cells.order) == 5, timeout=5_000)
    inspection.cells.select([int(order[0])], reveal=True)
    assert len(inspection.cells.order) == CELLS
    assert bar.filter.top.value() == 0
    assert not gallery.points.editable  # napari lets edit points that were given new data
    gallery.points.editable = True
    assert not gallery.points.editable


def test_keys_step_mark_leave_out_and_undo(open_inspection: OpenInspection, qtbot: QtBot) -> None:
    panel, inspection, gallery, _ = open_inspection()
    cells, ranked = inspection.cells, inspection.prediction.order
    canvas = gallery.viewer.window._qt_viewer.canvas.native
    canvas.setFocus()
    cells.select([int(ranked[0])])
    for key, rank in (
        (Qt.Key.Key_Right, 2),
        (Qt.Key.Key_Down, 2 + gallery.grid.columns),
        (Qt.Key.Key_Left, 1 + gallery.grid.columns),
    ):
        qtbot.keyClick(canvas, key)
        assert inspection.prediction.ranks[cells.current] == rank
    qtbot.keyClick(canvas, Qt.Key.Key_Return)
    assert cells.marked == {cells.current}
    qtbot.keyClick(canvas, Qt.Key.Key_Delete)
    assert cells.left_out == {cells.current}
    assert len(gallery.points.data) == CELLS
    qtbot.waitUntil(lambda: inspection.is_result_current, timeout=60_000)
    qtbot.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not cells.left_out
    qtbot.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert cells.left_out
    table = panel.tab("Table").table
    table.setFocus()
    qtbot.keyClick(table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not cells.left_out
    gallery.close()
    current = cells.current
    qtbot.keyClick(canvas, Qt.Key.Key_Right)
    assert cells.current == current


def test_what_was_done_is_painted_on_the_squares_and_an_overlay_stays_on_its_cell(
    open_inspection: OpenInspection,
) -> None:
    panel, inspection, gallery, _ = open_inspection()
    cells, ranked = inspection.cells, inspection.prediction.order
    points = gallery.points
    colors = np.array(inspection.prediction.taxonomy.colors)[inspection.prediction.alone_class]
    assert [to_hex(color) for color in points.border_color] == list(colors[ranked])
    cells.mark([int(ranked[2])])
    assert np.flatnonzero(points.border_width > points.border_width.min()).tolist() == [2]
    panel.controls.heat.setChecked(True)
    heat = points.face_color[:, 3]
    assert heat.argmax() == 0
    assert not heat[inspection.prediction.attention[ranked] < 1].any()
    cells.leave_out([int(ranked[5])])
    assert points.face_color[5, 3] > heat.max()
    cells.label("blast", [int(ranked[1])])
    panel.controls.colors.setCurrentIndex(1)
    panel.controls.colors.activated.emit(1)
    assert to_hex(points.border_color[1]) == cell_type("blast").color
    assert "blast 1" in panel.tab("Plot")._legend.text().replace("&nbsp;", " ")
    inspection.gallery.add_overlay(Overlay(int(ranked[3]), "heat", np.ones((16, 16))))
    overlay = gallery.viewer.layers["heat"]
    for column in ("attention", "cell"):
        cells.sort_by(column, descending=False)
        middle = overlay.data_to_world((7.5, 7.5))
        assert gallery.cell_at(tuple(middle)) == ranked[3]
    cells.set_filter(CellFilter(label="blast"))
    assert not overlay.visible
    assert points.shown.tolist() == [rank == 1 for rank in range(CELLS)]
    assert np.array_equal(points.size > 0, points.shown)


def test_shift_and_a_drag_select_a_rectangle_of_cells(open_inspection: OpenInspection, qtbot: QtBot) -> None:
    _, inspection, gallery, _ = open_inspection()
    qtbot.wait(200)
    before = camera_of(gallery.viewer).center
    corners = [gallery.points.data[0] - 60, gallery.points.data[gallery.grid.columns + 1] + 60]
    middle = gallery.cells_between(*(tuple(gallery.points.data_to_world(corner)) for corner in corners))
    ranks = inspection.prediction.ranks[middle] - 1
    assert set(ranks.tolist()) == {0, 1, gallery.grid.columns, gallery.grid.columns + 1}
    canvas = gallery.viewer.window._qt_viewer.canvas.native
    shift = Qt.KeyboardModifier.ShiftModifier
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, shift, pos=QPoint(5, 5))
    for step in (0.3, 0.6, 0.98):
        qtbot.mouseMove(canvas, QPoint(int(canvas.width() * step), int(canvas.height() * step)))
        qtbot.wait(30)
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, shift, pos=QPoint(canvas.width() - 5, canvas.height() - 5))
    assert camera_of(gallery.viewer).center == before
    assert camera_of(gallery.viewer).mouse_pan


def test_removing_marked_cells_equals_a_direct_prediction_without_them(
    show_view: ShowView, inspection: Inspection, qtbot: QtBot, predicted: Predicted
) -> None:
    smear, prediction, predictor = predicted
    tab, cells = WhatIfTab(), inspection.cells
    show_view(tab, inspection)
    WhatIfUpdater(tab).follow(inspection)
    assert not tab.without.isEnabled()
    out = [int(cell) for cell in prediction.order[:4]]
    cells.mark(out)
    qtbot.mouseClick(tab.without, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: inspection.is_result_current, timeout=60_000)
    _, direct = predictor.predict(smear.choosing(set_aside=[prediction.cells[i] for i in out]))
    assert inspection.result.cells == direct.cells
    np.testing.assert_allclose(inspection.result.probabilities, direct.probabilities, rtol=0, atol=1e-6)
    assert inspection.result.hemoglobin == pytest.approx(direct.hemoglobin, abs=1e-6)
    assert "4 cells left out" in tab.words.text()
    qtbot.mouseClick(tab.only, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: inspection.is_result_current, timeout=60_000)
    assert set(inspection.result.cells) == {prediction.cells[i] for i in out}
    qtbot.mouseClick(tab.back, Qt.MouseButton.LeftButton)
    assert inspection.result is prediction


def test_without_images_there_is_all_but_the_picture(open_inspection: OpenInspection, qtbot: QtBot) -> None:
    panel, inspection, *_ = open_inspection(images=False)
    assert panel.tab("Table").model.rowCount() == CELLS
    assert len(panel.tab("Plot").dots.places) == CELLS
    inspection.cells.select([3])
    assert "attention" in panel.card.text
    assert not panel.controls.width.isEnabled()


def test_missing_images_and_features_are_noted_in_one_sentence(
    open_widget: OpenWidget, qtbot: QtBot, predicted: Predicted, home: Path
) -> None:
    _, panel = open_widget("Inspect cells")
    assert panel._empty.isVisible()
    inspection = Inspection(predicted[1])
    session_of(panel).show(inspection)
    tab = panel.tab("Plot")
    tab.view.setCurrentText(PCA)
    qtbot.waitUntil(lambda: "cache" in tab.state.text(), timeout=60_000)
    inspection.cells.leave_out([0])
    qtbot.waitUntil(lambda: "cache" in panel.text, timeout=60_000)
    assert not inspection.is_result_current
    inspection.cells.undo()
    assert inspection.is_result_current
    assert not panel.text


def test_what_was_left_out_is_saved_and_taken_up_again(
    open_panel: OpenPanel, qtbot: QtBot, export: Path, tmp_path: Path
) -> None:
    viewer, panel = open_panel()
    panel.smears.open(export)
    before = predict(qtbot, panel)
    inspect = panel.inspect()
    cells = panel.inspection.cells
    cells.leave_out(before.order[:3])
    panel.saving.save(tmp_path / "too early")
    assert "no result yet" in panel.run.text
    assert not (tmp_path / "too early").exists()
    qtbot.waitUntil(lambda: panel.inspection.is_result_current, timeout=60_000)
    panel.saving.save(tmp_path / "out")
    saved = Prediction.load(tmp_path / "out")
    assert len(saved.cells) == CELLS - 3
    assert saved.original == before
    assert len(pd.read_csv(tmp_path / "out" / "cells.csv")) == CELLS - 3
    assert not panel.mismatch.isVisible()
    viewer.layers.clear()
    panel.open_prediction(tmp_path / "out" / "prediction.json")
    wait(qtbot, panel.run)
    assert panel.results.prediction == saved
    assert len(viewer.layers[SQUARES].data) == CELLS
    assert RANKED in viewer.layers
    assert panel.inspection.cells.left_out == set(before.order[:3].tolist())
    assert inspect.inspection is panel.inspection
    panel.inspection.cells.set_left_out(())
    qtbot.waitUntil(lambda: panel.inspection.is_result_current, timeout=60_000)
    assert panel.results.prediction == before
    shutil.rmtree(export)


def test_one_cell_is_inspected_like_many(open_inspection: OpenInspection, qtbot: QtBot, predicted: Predicted) -> None:
    smear, prediction, predictor = predicted
    one = smear.choosing(set_aside=prediction.cells[1:])
    panel, inspection, *_ = open_inspection(smear=one, prediction=predictor.predict(one)[1])
    for title in ("Plot", "Table", "What if"):
        panel.tab(title)
    tab = panel.tab("Plot")
    tab.view.setCurrentText(PCA)
    qtbot.waitUntil(lambda: len(tab.dots.places) == 1 and tab.dots.isVisible(), timeout=60_000)
    inspection.cells.step(1)
    panel.do(next(action for action in ACTIONS if action.key == "Delete"))
    assert "at least one cell" in panel.text


def _index(inspection: Inspection, cell: int) -> int:
    return inspection.smear.cells.index(inspection.prediction.cells[cell])
