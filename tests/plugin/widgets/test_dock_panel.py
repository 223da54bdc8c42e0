"""What all panels have in common."""

from __future__ import annotations

import pytest
from napari._app_model import get_app_model
from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QApplication, QDockWidget, QLabel, QWidget
from tests.plugin.conftest import OpenWidget
from tests.plugin.gui import dock_of

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.encoding import torch_loading
from napari_caltomorph.plugin.cohort.panel import CohortPanel
from napari_caltomorph.plugin.evaluate.panel import EvaluatePanel
from napari_caltomorph.plugin.patients.panel import PatientsPanel
from napari_caltomorph.plugin.predict.panel import PredictPanel
from napari_caltomorph.plugin.train.panel import TrainPanel
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel, open_panel


class WindowsOpened(QObject):
    """Collects the widgets that are shown as windows of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Show and isinstance(watched, QWidget) and watched.isWindow():
            self.names.append(type(watched).__name__)
        return False


@pytest.mark.parametrize("kind", [CohortPanel, EvaluatePanel, PatientsPanel, PredictPanel, TrainPanel])
def test_no_part_of_a_panel_flashes_as_a_window_of_its_own(
    qtbot: QtBot, make_napari_viewer, kind: type[DockPanel]
) -> None:
    viewer: Viewer = make_napari_viewer()
    opened = WindowsOpened()
    QApplication.instance().installEventFilter(opened)
    panel = kind(viewer)
    QApplication.instance().removeEventFilter(opened)
    qtbot.addWidget(panel)
    panel.unbind()
    assert opened.names == []


def test_each_panel_fills_its_dock_and_ends_with_the_research_use_line(open_widget: OpenWidget) -> None:
    for name in ("Open cohort", "Train ensemble"):  # napari treats the first panel of a session differently
        _, panel = open_widget(name)
        last = panel.layout().itemAt(panel.layout().count() - 1).widget()
        assert last is not None, "napari has added a stretch below the panel"
        assert RESEARCH_USE in last.text()
        assert last.geometry().bottom() >= panel.height() - 20


def test_panels_from_every_door_are_tabs_with_plain_titles(open_widget: OpenWidget, qtbot: QtBot) -> None:
    viewer, panel = open_widget("Open cohort")
    window = viewer.window._qt_window
    other = viewer.window.add_dock_widget(QLabel("of another plugin"), name="Other")

    def click_menu(command: str) -> None:
        get_app_model().commands.execute_command(f"napari-caltomorph.{command}").result()
        qtbot.wait(20)

    def is_beside(dock: QDockWidget) -> bool:
        return dock.isVisible() and dock_of(panel) in window.tabifiedDockWidgets(dock)

    click_menu("train")
    (train,) = (one for one in window.findChildren(QDockWidget) if one.windowTitle() == "Train ensemble")
    qtbot.waitUntil(lambda: is_beside(train))
    assert open_panel(viewer, "Train ensemble") is train.widget()  # one panel, whatever the door
    predict = open_panel(viewer, "Predict patient")
    qtbot.wait(20)
    assert is_beside(dock_of(predict))
    click_menu("predict")
    assert dock_of(predict).isHidden()
    click_menu("predict")
    assert dock_of(predict).isVisible()
    assert other.isVisible()

    titles = [one.windowTitle() for one in window.tabifiedDockWidgets(dock_of(panel))]
    assert titles == ["Train ensemble", "Predict patient"]
    for is_floating in (True, False):
        train.setFloating(is_floating)
        qtbot.wait(20)
        assert train.title.title.text() == train.windowTitle() == "Train ensemble"
    window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, train)
    qtbot.wait(20)
    viewer.window.remove_dock_widget(train)
    assert "Train ensemble (cAItomorph)" not in viewer.window.dock_widgets
    again = open_panel(viewer, "Train ensemble")  # where the user had moved it
    qtbot.wait(20)
    assert window.dockWidgetArea(dock_of(again)) == Qt.DockWidgetArea.BottomDockWidgetArea
    for one in (predict, again):
        one.unbind()


def test_a_panel_that_is_shown_starts_to_import_torch(
    open_widget: OpenWidget, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_loading, "_loading", None)
    open_widget("Open cohort")
    qtbot.waitUntil(lambda: torch_loading._loading is not None and torch_loading._loading.done())
