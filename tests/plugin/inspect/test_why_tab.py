"""The tab *Why*: what it shows is what the library says, and selecting in it selects everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QScrollArea
from tests.plugin.conftest import SQUARES

from napari_caltomorph.plugin.inspect.explanation_row import LAYER
from napari_caltomorph.plugin.inspect.why_tab import WhyTab
from napari_caltomorph.plugin.session.inspection import Inspection

LONG = 120_000


@pytest.fixture
def tab(show_view, inspection):
    """The tab with a predicted smear."""
    tab = WhyTab()
    show_view(tab, inspection)
    return tab


@pytest.fixture
def compute(qtbot):
    """``compute(row)``: click its button, and wait for the result or the error."""

    def compute(row):
        with qtbot.waitSignal(row.run.ended, timeout=LONG):
            qtbot.mouseClick(row.run.button, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: not row.run.is_busy)

    return compute


def expected(tab, without=frozenset()):
    from napari_caltomorph.explanation.contribution import contributions

    cells = tab.inspection.prediction.cells
    kept = [cell for i, cell in enumerate(cells) if i not in without]
    bag = tab.inspection.features().of_cells(kept)
    result = contributions(tab.inspection.ensemble(), bag, tab.slug)
    by_cell = dict(zip(kept, result.values, strict=True))
    return np.array([by_cell.get(cell, 0) for cell in cells])


def test_a_hidden_tab_stops_when_another_prediction_is_inspected(tab, predicted, qtbot):
    smear, prediction, predictor = predicted
    other = Inspection(prediction, smear, predictor=predictor)
    with qtbot.waitSignal(tab.contribution.run.ended, timeout=LONG):
        qtbot.mouseClick(tab.contribution.run.button, Qt.MouseButton.LeftButton)
        tab.hide()
        tab.show_inspection(other)
    assert "contribution" not in other.cells.columns


def test_contributions_are_computed_shown_and_linked(tab, compute, qtbot):
    cells, prediction = tab.inspection.cells, tab.inspection.prediction
    assert tab.slug == prediction.taxonomy.slugs[int(prediction.probabilities.argmax())]
    assert not tab.dots.isVisible()

    compute(tab.contribution)
    values = expected(tab)
    np.testing.assert_allclose(cells.columns["contribution"], values, atol=1e-6)
    assert tab.dots.places[:, 1] == pytest.approx(values, abs=1e-6)
    assert f"{(values > 0).sum()} cells support {prediction.predicted_class}" in tab.contribution.summary

    # A click on the uppermost bar selects its cell.
    axes = tab.contribution.canvas.figure.axes[0]
    tab.contribution.canvas.draw()
    x, y = axes.transData.transform((values.max() / 2, 0)) / tab.contribution.canvas.device_pixel_ratio
    at = QPoint(round(x), round(tab.contribution.canvas.height() - y))
    qtbot.mouseClick(tab.contribution.canvas, Qt.MouseButton.LeftButton, pos=at)
    assert cells.selected == {int(values.argmax())}
    assert tab.dots.ringed == pytest.approx(tab.dots.places[[values.argmax()]])
    cells.select([int(values.argmin())])
    edged = [bar for bar in axes.patches if bar.get_edgecolor()[3] > 0]
    assert [bar.get_width() for bar in edged] == pytest.approx([values.min()])

    qtbot.mouseClick(tab.sort, Qt.MouseButton.LeftButton)
    np.testing.assert_array_equal(cells.order[[0, -1]], [values.argmax(), values.argmin()])

    # Another class is asked about at once; of an older one nothing stays.
    with qtbot.waitSignal(tab.contribution.run.ended, timeout=LONG):
        tab.classes.setCurrentIndex(3)
    qtbot.waitUntil(lambda: bool(tab.contribution.summary))
    np.testing.assert_allclose(cells.columns["contribution"], expected(tab), atol=1e-6)

    # Cells that are left out add nothing, and the tab says that it is out of date until it is asked again.
    cells.leave_out([0, 5])
    assert "compute it again" in tab._outdated.text()
    compute(tab.contribution)
    assert tab._outdated.text() == ""
    np.testing.assert_allclose(cells.columns["contribution"], expected(tab, {0, 5}), atol=1e-6)
    assert cells.columns["contribution"][5] == 0


def test_selected_cells_are_left_out_one_at_a_time(tab, compute):
    tab.inspection.cells.select([])
    leave_out = tab.without
    leave_out.run.button.click()
    assert "Select one or more cells first" in leave_out.run.text
    tab.inspection.cells.select([3, 7, 11])
    tab.inspection.cells.leave_out([0])
    compute(leave_out)
    widths = [bar.get_width() for bar in leave_out.canvas.figure.axes[0].patches]
    cells = [name for i, name in enumerate(tab.inspection.prediction.cells) if i != 0]
    from napari_caltomorph.explanation.changed_bags import leave_one_out

    bag = tab.inspection.features().of_cells(cells)
    change = leave_one_out(tab.inspection.ensemble(), bag, tab.slug, [2, 6, 10]).change
    assert sorted(widths) == pytest.approx(sorted(change), abs=1e-5)
    most = [3, 7, 11][int(np.abs(change).argmax())]
    assert f"Without cell #{tab.inspection.prediction.ranks[most]} " in leave_out.summary


def test_curves_are_drawn_on_demand_and_can_be_cancelled(tab, compute, qtbot):
    tab.curves.run.button.click()
    qtbot.waitUntil(lambda: "fewer cells" in tab.curves.run.text, timeout=LONG)
    tab.curves.run.button.click()
    qtbot.waitUntil(lambda: not tab.curves.run.is_busy, timeout=LONG)
    assert not tab.curves.summary
    compute(tab.curves)
    assert [axes.get_title(loc="left").split(":")[0] for axes in tab.curves.canvas.figure.axes] == [
        "Deletion",
        "Insertion",
    ]
    assert "Better than nearly all random orders" in tab.curves.summary


def test_attention_over_the_pixels_is_on_the_cell(open_inspection, compute):
    opened = open_inspection()
    viewer, tab = opened.viewer, opened.panel.tab("Why")
    tab.inspection.cells.select([4])
    compute(tab.patches)
    layer = viewer.layers[LAYER]
    assert isinstance(layer, Image)
    assert layer.data.shape == tab.inspection.smear.canvas
    points = viewer.layers[SQUARES]
    centre = points.data_to_world(points.data[int(tab.inspection.prediction.ranks[4]) - 1])[-2:]
    middle = layer.data_to_world((np.array(layer.data.shape) - 1) / 2)[-2:]
    assert middle == pytest.approx(centre, abs=float(points.scale[-1]))
    assert f"#{tab.inspection.prediction.ranks[4]}" in tab.patches.summary
    tab.inspection.cells.select([])
    assert not tab.patches.run.button.isEnabled()


def test_a_narrow_low_dock_scrolls_and_never_sideways(tab, compute, qtbot):
    tab.resize(360, 300)
    compute(tab.contribution)
    area = tab.findChild(QScrollArea)
    assert area.verticalScrollBar().maximum() > 0
    assert area.horizontalScrollBar().maximum() == 0
    assert tab.width() <= 380
