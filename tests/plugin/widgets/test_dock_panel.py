"""What all panels have in common."""

from __future__ import annotations

import pytest
from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QApplication, QWidget
from tests.plugin.conftest import OpenWidget

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.encoding import torch_loading
from napari_caltomorph.plugin.cohort.panel import CohortPanel
from napari_caltomorph.plugin.evaluate.panel import EvaluatePanel
from napari_caltomorph.plugin.patients.panel import PatientsPanel
from napari_caltomorph.plugin.predict.panel import PredictPanel
from napari_caltomorph.plugin.train.panel import TrainPanel
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel


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


def test_panels_opened_from_the_menu_are_tabs(open_widget: OpenWidget, qtbot: QtBot) -> None:
    viewer, panel = open_widget("Open cohort")
    height = panel.height()
    for name in ("Train ensemble", "Predict patients"):
        dock, other = viewer.window.add_plugin_dock_widget("napari-caltomorph", name)
        qtbot.waitUntil(lambda dock=dock: len(dock.parentWidget().tabifiedDockWidgets(dock)) > 0)
        qtbot.waitUntil(lambda other=other: other.isVisible() and other.height() > height - 60)
        other.unbind()


def test_a_panel_that_is_shown_starts_to_import_torch(
    open_widget: OpenWidget, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_loading, "_loading", None)
    open_widget("Open cohort")
    qtbot.waitUntil(lambda: torch_loading._loading is not None and torch_loading._loading.done())
