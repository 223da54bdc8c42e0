"""The tab *Why*: what it shows is what the library says, and selecting in it selects everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from tests.plugin.conftest import SQUARES
from tests.plugin.gui import is_in_sight

from napari_caltomorph.diagnosis import Policy
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


def bring_forward(tab, row):
    """Click the title of a question."""
    bar = tab.questions.tabBar()
    place = next(i for i in range(bar.count()) if tab.questions.tabToolTip(i) == row.question)
    QTest.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect(place).center())
    assert row.isVisible()


@pytest.fixture
def compute(qtbot):
    """``compute(tab, row)``: bring a question forward, click its button, and wait for the result or the error."""

    def compute(tab, row):
        bring_forward(tab, row)
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

    compute(tab, tab.contribution)
    values = expected(tab)
    np.testing.assert_allclose(cells.columns["contribution"], values, atol=1e-6)
    assert tab.dots.places[:, 1] == pytest.approx(values, abs=1e-6)
    assert f"{(values > 0).sum()} cells support {prediction.predicted_class}" in tab.contribution.summary

    # The strongest cells have their pictures beside their bars; a click on the uppermost one selects its cell.
    supporting, opposing = tab.bars.bars
    assert [one.value for one in supporting] == pytest.approx(np.sort(values)[::-1][:8], abs=1e-6)
    assert all(one.value < 0 for one in opposing)
    names = [prediction.cells[one.cell] for one in (*supporting, *opposing)]
    qtbot.waitUntil(lambda: all(tab.bars.thumbnails.of(name) is not None for name in names), timeout=LONG)
    image = tab.inspection.smear.on_canvas(tab.inspection.smear.cells.index(names[0]))
    shown = tab.bars.thumbnails.of(names[0]).toImage().pixelColor(20, 20)
    assert shown.getRgb()[:3] == pytest.approx(image[65, 65], abs=40)
    at = tab.bars.place_of(int(values.argmax())).center()
    qtbot.mouseClick(tab.bars, Qt.MouseButton.LeftButton, pos=at)
    assert cells.selected == {int(values.argmax())}
    assert tab.dots.ringed == pytest.approx(tab.dots.places[[values.argmax()]])
    cells.select([int(values.argmin())])
    assert tab.bars.ringed == {int(values.argmin())}
    qtbot.keyClick(tab.bars, Qt.Key.Key_Down)
    assert cells.selected == {opposing[1].cell}
    qtbot.keyClick(tab.bars, Qt.Key.Key_Left)
    assert cells.selected == {supporting[1].cell}
    cells.select([])
    qtbot.keyClick(tab.bars, Qt.Key.Key_Space)
    assert cells.selected == {supporting[0].cell}

    qtbot.mouseClick(tab.sort, Qt.MouseButton.LeftButton)
    np.testing.assert_array_equal(cells.order[[0, -1]], [values.argmax(), values.argmin()])

    # Another class is asked about at once; of an older one nothing stays.
    with qtbot.waitSignal(tab.contribution.run.ended, timeout=LONG):
        tab.classes.setCurrentIndex(3)
    qtbot.waitUntil(lambda: bool(tab.contribution.summary))
    np.testing.assert_allclose(cells.columns["contribution"], expected(tab), atol=1e-6)

    # Cells that are left out add nothing, and the tab says that it is out of date until it is asked again.
    cells.leave_out([0, 5])
    assert "compute it again" in tab._note.text()
    compute(tab, tab.contribution)
    assert tab._note.text() == ""
    np.testing.assert_allclose(cells.columns["contribution"], expected(tab, {0, 5}), atol=1e-6)
    assert cells.columns["contribution"][5] == 0


def test_selected_cells_are_left_out_one_at_a_time(tab, compute):
    tab.inspection.cells.select([])
    leave_out = tab.without
    bring_forward(tab, leave_out)
    leave_out.run.button.click()
    assert "Select one or more cells first" in leave_out.run.text
    tab.inspection.cells.select([3, 7, 11])
    tab.inspection.cells.leave_out([0])
    compute(tab, leave_out)
    widths = [one.value for side in tab.changes.bars for one in side]
    assert all(one.value < 0 for one in tab.changes.bars[0])
    cells = [name for i, name in enumerate(tab.inspection.prediction.cells) if i != 0]
    from napari_caltomorph.explanation.changed_bags import leave_one_out

    bag = tab.inspection.features().of_cells(cells)
    change = leave_one_out(tab.inspection.ensemble(), bag, tab.slug, [2, 6, 10]).change
    assert sorted(widths) == pytest.approx(sorted(change), abs=1e-5)
    most = [3, 7, 11][int(np.abs(change).argmax())]
    assert f"Without cell #{tab.inspection.prediction.ranks[most]} " in leave_out.summary


def test_curves_are_drawn_on_demand_and_can_be_cancelled(tab, compute, qtbot):
    bring_forward(tab, tab.curves)
    tab.curves.run.button.click()
    qtbot.waitUntil(lambda: "fewer cells" in tab.curves.run.text, timeout=LONG)
    tab.curves.run.button.click()
    qtbot.waitUntil(lambda: not tab.curves.run.is_busy, timeout=LONG)
    assert not tab.curves.summary
    compute(tab, tab.curves)
    assert [axes.get_title(loc="left").split(":")[0] for axes in tab.figure.figure.axes] == [
        "Deletion",
        "Insertion",
    ]
    assert "Better than nearly all random orders" in tab.curves.summary


def test_attention_over_the_pixels_is_on_the_cell(open_inspection, compute):
    opened = open_inspection()
    viewer, tab = opened.viewer, opened.panel.tab("Why")
    tab.inspection.cells.select([4])
    compute(tab, tab.patches)
    assert is_in_sight(tab.patches._heat)  # the answer is in the panel too, next to the cell as it is
    assert tab.patches._heat.pixmap().toImage() != tab.patches._cell.pixmap().toImage()
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


def test_the_answer_is_above_the_fold_and_a_low_dock_never_scrolls_sideways(tab, compute, qtbot):
    tab.resize(360, 355)  # of the tabs in a window of 1280 x 720
    compute(tab, tab.contribution)
    last = tab.bars.bars[0][-1].cell
    qtbot.waitUntil(  # both: they change while the answer is laid out
        lambda: (
            tab.bars.visibleRegion().boundingRect().height() >= 8 * 22
            and tab.bars.visibleRegion().contains(tab.bars.place_of(last).center())
        )
    )
    area = tab.questions.currentWidget()
    assert area.verticalScrollBar().maximum() > 0
    assert area.horizontalScrollBar().maximum() == 0
    assert tab.width() <= 380


def test_no_class_of_a_withheld_prediction_is_explained(tab, inspection, compute):
    compute(tab, tab.contribution)
    usual = inspection.result
    inspection.set_result(usual.under(Policy(name="Clinic A", version="1", min_cells=100)))
    assert not tab.classes.isVisible()
    assert not tab.contribution.summary
    bar = tab.questions.tabBar()
    assert [bar.tabText(i) for i in range(bar.count()) if bar.isTabEnabled(i)] == ["Encoder"]
    assert "withheld" in tab._note.text()
    inspection.set_result(usual)
    assert tab.classes.isVisible()
    assert not tab._note.isVisible()
    bring_forward(tab, tab.contribution)
