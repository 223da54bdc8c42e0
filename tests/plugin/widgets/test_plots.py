"""Plots drawn by Qt: what the mouse selects, and what is seen of the cells, in the pixels that are drawn."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QHelpEvent, QPolygonF, QWheelEvent
from qtpy.QtWidgets import QApplication, QToolTip
from tests.plugin.gui import click, drag
from tests.report.factories import DARK, make_prediction

from napari_caltomorph.plugin.session.cell_columns import CellFilter
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.cell_plot import CellPlot
from napari_caltomorph.plugin.widgets.parts import tip
from napari_caltomorph.plugin.widgets.plots import Chart
from napari_caltomorph.report import attention_swarm, loss_plot


@pytest.fixture
def view(qtbot: QtBot) -> CellPlot:
    plot = CellPlot()
    qtbot.addWidget(plot)
    plot.resize(360, 260)
    plot.show()
    return plot


def show(view: CellPlot, cells: int) -> Inspection:
    inspection = Inspection(make_prediction(cells))
    view.show_cells(inspection, attention_swarm(inspection.prediction, DARK), DARK)
    inspection.cells.selection_changed.connect(view.show_selection)  # as the view does that it is in
    QApplication.processEvents()
    return inspection


def test_a_lasso_selects_exactly_the_cells_inside(qtbot: QtBot, view: CellPlot) -> None:
    """Inside by Qt's own rule of odd crossings, in pixels; lassos cross themselves."""
    inspection, rng = show(view, 400), np.random.default_rng(2)
    exact = [view._box.mapViewToScene(QPointF(*place)) for place in view.places.tolist()]
    for _ in range(5):
        corners = [QPoint(*corner) for corner in rng.integers((0, 0), (340, 250), size=(9, 2)).tolist()]
        drag(qtbot, view.viewport(), corners)
        lasso = QPolygonF([QPointF(corner) for corner in corners])
        inside = {i for i, at in enumerate(exact) if lasso.containsPoint(at, Qt.FillRule.OddEvenFill)}
        assert inspection.cells.selected == inside
        assert len(inside) > 5
        assert len(view.selected) == len(inside)
    assert view._lasso.path().isEmpty()


def test_a_click_selects_the_nearest_shown_cell_and_shift_adds(qtbot: QtBot, view: CellPlot) -> None:
    inspection = show(view, 30)
    right, first, second = (int(i) for i in np.argsort(view.places[:, 0])[[-1, 0, 1]])
    click(qtbot, view.viewport(), view.pixel_of(view.places[right]) + QPoint(4, 3))
    assert inspection.cells.selected == {right}
    assert view.ringed == pytest.approx(view.places[[right]])
    shift = Qt.KeyboardModifier.ShiftModifier
    qtbot.keyPress(view, Qt.Key.Key_Shift)
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, shift, view.pixel_of(view.places[first]))
    assert {right, first} == set(inspection.cells.selected)
    before = inspection.cells.selected
    click(qtbot, view.viewport(), QPoint(view.width() // 2, 3))  # far from all
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.RightButton, pos=view.pixel_of(view.places[second]))
    assert inspection.cells.selected == before
    at = view.pixel_of(view.places[second])
    QApplication.sendEvent(view.viewport(), QHelpEvent(QEvent.Type.ToolTip, at, view.viewport().mapToGlobal(at)))
    assert tip(f"#{inspection.prediction.ranks[second]} {inspection.prediction.cells[second]}") == QToolTip.text()


def test_cells_are_seen_in_their_colour_faint_when_filtered_and_hollow_when_left_out(view: CellPlot) -> None:
    inspection = show(view, 12)
    ranked = inspection.prediction.order
    inspection.cells.leave_out([int(ranked[0])])
    inspection.cells.set_filter(CellFilter(top=6))
    view.show_state()

    def seen(cell: int) -> np.ndarray:
        color = view.viewport().grab().toImage().pixelColor(view.pixel_of(view.places[cell]))
        return np.array([color.red(), color.green(), color.blue()])

    def named(color: str) -> np.ndarray:
        return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])

    background = named(DARK.background)
    out, shown, hidden = (int(ranked[rank]) for rank in (0, 3, 11))
    assert np.abs(seen(out) - background).max() < 60
    assert np.abs(seen(shown) - named(inspection.colors[shown])).max() < 10
    assert 0 < np.abs(seen(hidden) - background).max() < 40


def test_the_wheel_is_left_to_the_area_around_and_changes_no_plot(view: CellPlot) -> None:
    show(view, 12)
    before, at = view.pixel_of(view.places[0]), QPointF(50, 50)
    turn = (QPoint(0, -120), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase)
    wheel = QWheelEvent(at, QPointF(view.viewport().mapToGlobal(at.toPoint())), QPoint(), *turn, False)
    QApplication.sendEvent(view.viewport(), wheel)
    assert not wheel.isAccepted()
    assert view.pixel_of(view.places[0]) == before


def test_a_chart_has_its_title_and_legend_in_words_or_a_sentence_in_its_place(qtbot: QtBot) -> None:
    chart = Chart()
    qtbot.addWidget(chart)
    chart.show()
    chart.show_plot(loss_plot([]), DARK)
    assert "No loss" in chart.text
    assert not chart.view.isVisible()
    diverged = SimpleNamespace(train_loss=[np.nan], validation_loss=[np.inf], best_epoch=1)
    assert loss_plot([diverged]).sentence
    folds = [SimpleNamespace(train_loss=[5, np.nan, 3], validation_loss=[6, 4, 5], best_epoch=2)] * 3
    chart.show_plot(loss_plot(folds), DARK)
    assert "fold" in chart.text
    assert "dashed" in chart.text
    assert chart.view.isVisible()
    lines = [item for item in chart.view._box.addedItems if hasattr(item, "yData")]
    assert [list(line.yData) for line in lines[:2]] == [[5, 3], [6, 4, 5]]
    assert len(lines) == 6
