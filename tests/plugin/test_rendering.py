"""Every panel at the sizes of real screens, dark and light: nothing is cut, over each other, or flat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication
from tests.plugin.conftest import OpenWidget, Predicted
from tests.plugin.gui import dock_of, is_in_sight, wait
from tests.plugin.rendering import faults_of

from napari_caltomorph.cohort import FoundPatient
from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.jobs import PatientResult
from napari_caltomorph.laboratory import add_review
from napari_caltomorph.plugin.inspect.panel import TABS, InspectPanel
from napari_caltomorph.plugin.predict.panel import PredictPanel
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.session.session import session_of
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel, open_panel

PANELS = (
    *("Open cohort", "Train ensemble", "Compare", "Evaluate ensemble", "Validate", "Monitor"),
    *("Predict patients", "Cut cells", "Inspect cells"),
)
_NOT_PRESSED = (Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase)
SMALLEST, SMALL, LARGE = (1100, 700), (1280, 720), (2560, 1440)


def shown_at(viewer: Viewer, panel: DockPanel, qtbot: QtBot, *sizes: tuple[int, int]) -> Iterator[str]:
    """Show a panel at these sizes, and return what is wrong with it there."""
    window = viewer.window._qt_window
    for width, height in sizes:
        window.resize(width, height)
        window.resizeDocks([dock_of(panel)], [360], Qt.Orientation.Horizontal)
        qtbot.wait(30)
        yield from (f"{width} x {height}, {viewer.theme}: {fault}" for fault in faults_of(panel))


def test_empty_panels_are_drawn_without_faults(open_widget: OpenWidget, qtbot: QtBot) -> None:
    viewer, panel = open_widget("Predict patient")
    panels = [panel, *(open_panel(viewer, name) for name in PANELS)]
    faults = []
    for one, theme in zip(panels, ("dark", "light") * 5, strict=False):
        viewer.theme = theme
        dock_of(one).raise_()
        faults += shown_at(viewer, one, qtbot, SMALLEST)
        one.unbind()
    assert faults == []


def test_a_result_is_drawn_without_faults(
    open_widget: OpenWidget, qtbot: QtBot, predicted: Predicted, tmp_path: Path
) -> None:
    viewer, panel = open_widget("Predict patient")
    viewer.theme = "dark"
    smear, prediction, predictor = predicted
    inspection = Inspection(prediction, smear, predictor=predictor)
    session_of(panel).show(inspection)
    panel._take_up()
    qtbot.waitUntil(lambda: panel.results.prediction is not None and not panel.run.is_busy)
    faults = [*shown_at(viewer, panel, qtbot, SMALLEST, LARGE, SMALL)]
    the_result_needs_no_scrolling(panel)
    faults += faults_of_review(viewer, panel, qtbot, tmp_path)
    viewer.theme = "light"
    faults += faults_of_patients(viewer, prediction, qtbot, tmp_path)
    inspect = panel.inspect()
    faults += faults_of_tabs(viewer, inspect, qtbot)
    inspection.cells.set_left_out(inspection.cells.order[:3])
    qtbot.waitUntil(lambda: inspection.is_result_current)
    faults += shown_at(viewer, inspect, qtbot, SMALL)
    the_tabs_stay_in_their_place(inspect, qtbot)
    inspect.unbind()
    assert faults == []


def the_result_needs_no_scrolling(panel: PredictPanel) -> None:
    for part in (panel.results._headline, panel.results.bars):
        assert is_in_sight(part)
        assert part.visibleRegion().boundingRect().size() == part.size()
    turned = QWheelEvent(QPointF(), QPointF(), QPoint(), QPoint(0, -240), *_NOT_PRESSED, False)
    QApplication.sendEvent(panel.results.bars, turned)
    assert not turned.isAccepted(), "a chart keeps the wheel, which should scroll the panel"


def faults_of_review(viewer: Viewer, panel: PredictPanel, qtbot: QtBot, folder: Path) -> Iterator[str]:
    """A review is typed, of a result that two others have reviewed: all of the result is still in sight."""
    state, row, prediction = session_of(panel).reviews, panel.review, panel.inspection.result
    prediction.save(folder / "prediction.json")
    add_review(folder, prediction, "cannot tell", by="Charlotte Dupont")
    add_review(
        folder, prediction, "other", by="A. Meyer", diagnosis="A rare one", labels={prediction.cells[0]: "blast"}
    )
    state.set_folder(prediction, folder)
    state.set_waiting(128)
    row.on_result()
    qtbot.waitUntil(lambda: "A. Meyer" in row.text)
    row.cannot_tell.click()
    yield from shown_at(viewer, panel, qtbot, SMALLEST, SMALL)
    assert is_in_sight(row.button)
    the_result_needs_no_scrolling(panel)
    row.show_error(f"{folder / 'reviews.jsonl'} could not be written (Permission denied); choose another folder.")
    yield from shown_at(viewer, panel, qtbot, SMALL)
    the_result_needs_no_scrolling(panel)


def faults_of_patients(viewer: Viewer, prediction: Prediction, qtbot: QtBot, folder: Path) -> Iterator[str]:
    patients = open_panel(viewer, "Predict patients")
    name = prediction.patient_id
    patients.table.show_patients({name: FoundPatient(folder), "another": FoundPatient(folder)})
    patients.table.set_result(PatientResult(name, folder, prediction, folder / "prediction.json"))
    patients.reviews.follow(session_of(patients).reviews, folder)
    patients._arrange()
    patients.table.selectRow(0)
    assert "A. Meyer" in patients.detail
    for is_watch in (False, True):
        patients.watch_section.set_open(is_watch)
        yield from shown_at(viewer, patients, qtbot, SMALLEST)
    patients.unbind()


def faults_of_tabs(viewer: Viewer, inspect: InspectPanel, qtbot: QtBot) -> Iterator[str]:
    for row in TABS:
        tab = inspect.tab(row.title)
        if row.title == "Why":
            tab.contribution.run.button.click()
            wait(qtbot, tab.contribution.run)
        yield from (f"{row.title}, {fault}" for fault in shown_at(viewer, inspect, qtbot, SMALLEST, LARGE))


def the_tabs_stay_in_their_place(inspect: InspectPanel, qtbot: QtBot) -> None:
    before = inspect.tabs.mapTo(inspect, QPoint(0, 0))
    inspect._show_message("A message that is so long that it needs more than one line of a dock that is narrow.", True)
    qtbot.wait(20)
    assert inspect.tabs.mapTo(inspect, QPoint(0, 0)) == before
    assert inspect.card.isVisible()
