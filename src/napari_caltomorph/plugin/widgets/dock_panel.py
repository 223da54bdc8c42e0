"""What all panels share: layout in the dock, the viewer's theme, and an end of their work when the dock closes."""

from __future__ import annotations

from collections.abc import Collection
from inspect import unwrap
from typing import Any

import napari
from npe2 import PluginManager
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QLabel, QLayout, QMainWindow, QSizePolicy, QTabBar, QVBoxLayout, QWidget

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.encoding.torch_loading import start_loading_torch
from napari_caltomorph.plugin.plot_style import plot_style_of
from napari_caltomorph.plugin.widgets.parts import add_items, line
from napari_caltomorph.plugin.widgets.task_row import TaskRow
from napari_caltomorph.plugin.widgets.thumbnails import Thumbnails
from napari_caltomorph.report import PlotStyle

_PLUGIN = "napari-caltomorph"
# Milliseconds after which the window is drawn, and can wait for what its first click needs.
_UNTIL_DRAWN = 300


class DockPanel(QWidget):
    """The base of the panels: bound to the viewer while it is shown, and without running work once it is closed.

    A panel makes frozen options, calls a job in a worker, and shows its result. The worker waits for torch first, which
    a thread imports since the panel was shown (`load_torch`).
    A subclass makes its widgets, passes them to `lay_out`, and ends with ``self.bind()``. It overrides `on_bound`,
    `on_unbound` and `draw` where it has something to do there. Each `TaskRow` in it is stopped on closing.

    Closing a dock only hides it, and the menu shows it again. The cross in its title removes it permanently.
    Closing the window deletes the panel without notice, while a worker may still run. A panel that is hidden behind
    another tab is not closed.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._is_bound = False
        self._is_placed = False
        self._drawn = QTimer(self, singleShot=True, interval=_UNTIL_DRAWN, timeout=start_loading_torch)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(8, 4, 4, 4)
        self.setMinimumWidth(360)
        # Otherwise napari adds a stretch below each panel but the first of a session, which takes most of the dock.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def on_bound(self) -> None:
        """Connect to the viewer and the Preferences."""

    def on_unbound(self) -> None:
        """Disconnect; tasks are stopped already."""

    def draw(self, style: PlotStyle) -> None:
        """Draw figures again, in the colours of a theme."""

    @property
    def plot_style(self) -> PlotStyle:
        return plot_style_of(self._viewer.theme)

    def lay_out(self, *items: QWidget | QLayout, stretch: Collection[object] = (), spacing: int = 4) -> None:
        """Place the items below each other, those of `stretch` as high as possible, and the research-use line last."""
        self._column.setSpacing(spacing)
        add_items(self._column, *items, line(f"<b>{RESEARCH_USE}</b>"), stretch=stretch)

    def bind(self) -> None:
        """Connect, if not connected. Call it before work is started: a window that was asked to close may stay."""
        if not self._is_bound:
            self._is_bound = True
            self.on_bound()
            self._viewer.events.theme.connect(self._on_theme)
            self.draw(self.plot_style)

    def unbind(self) -> None:
        """Stop the work and disconnect, if connected."""
        if self._is_bound:
            self._is_bound = False
            self._drawn.stop()
            for row in self.findChildren(TaskRow):
                row.stop("Stopped, because the panel was closed.")
            for pictures in self.findChildren(Thumbnails):
                pictures.stop()
            self._viewer.events.theme.disconnect(self._on_theme)
            self.on_unbound()

    def showEvent(self, event: QEvent) -> None:
        super().showEvent(event)
        self.bind()
        self._drawn.start()
        for parent in self._closable_parents():
            parent.installEventFilter(self)
        if not self._is_placed and (dock := self._dock()) is not None:
            self._is_placed = True
            _use_plain_title(dock)
            for moved in (dock.topLevelChanged, dock.dockLocationChanged):  # napari makes another title bar
                moved.connect(lambda _: _use_plain_title(dock))
            QTimer.singleShot(0, self.join_panels)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Close and watched in self._closable_parents():
            self.unbind()
        return super().eventFilter(watched, event)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ParentChange and self.parentWidget() is None:
            self.unbind()
            # The cross of a dock takes the panel out of the dock permanently, and does not delete it.
            QTimer.singleShot(0, self._delete_if_homeless)
        return super().event(event)

    def _delete_if_homeless(self) -> None:
        if self.parentWidget() is None:
            self.deleteLater()

    def join_panels(self) -> None:
        """Become a tab beside our other panels; napari puts each new dock below the others, where it has no height.

        A dock that the user has moved to another side before opens there again, and stays there.
        """
        dock = self._dock()
        window = None if dock is None else dock.parentWidget()
        if dock is None or not isinstance(window, QMainWindow) or dock.isFloating() or window.tabifiedDockWidgets(dock):
            return
        others = [one for one in window.findChildren(QDockWidget) if one is not dock]
        others = [one for one in others if not (one.isHidden() or one.isFloating())]
        here = [one for one in others if window.dockWidgetArea(one) == window.dockWidgetArea(dock)]
        beside = [one for one in here if _is_ours(one)]
        if not beside and window.dockWidgetArea(dock) == Qt.DockWidgetArea.RightDockWidgetArea:  # napari's default
            beside = [one for one in others if _is_ours(one)] or here
        if beside:
            window.tabifyDockWidget(beside[0], dock)
            for bar in window.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly):
                bar.setElideMode(Qt.TextElideMode.ElideNone)  # whole titles; arrows scroll to those without room
                bar.setUsesScrollButtons(True)
            dock.raise_()

    def _dock(self) -> QDockWidget | None:
        return next((one for one in self._closable_parents() if isinstance(one, QDockWidget)), None)

    def _closable_parents(self) -> list[QWidget]:
        parents = []
        parent = self.parentWidget()
        while parent is not None:
            if parent.isWindow() or isinstance(parent, QDockWidget):
                parents.append(parent)
            parent = parent.parentWidget()
        return parents

    def _on_theme(self, event: object) -> None:
        self.draw(self.plot_style)


def open_panel(viewer: napari.viewer.Viewer, name: str) -> Any:
    """Bring one of this plugin's panels to the front, opened if it is not open, and return it."""
    docked = viewer.window.dock_widgets
    # napari may hand out proxies, which Qt does not take.
    panel = next((unwrap(docked[key]) for key in docked if key.startswith(f"{name} (")), None)
    if panel is None:
        plugins = PluginManager.instance()
        (make,) = (
            one.get_callable()
            for one in plugins.iter_widgets()
            if (one.plugin_name, one.display_name) == (_PLUGIN, name)
        )
        panel = make(viewer)
        # As napari's menu names it, which then shows and hides this one.
        viewer.window.add_dock_widget(panel, name=f"{name} ({plugins.get_manifest(_PLUGIN).display_name})")
        panel.join_panels()
    dock = panel._dock()
    dock.show()
    dock.raise_()
    panel.bind()  # it may be behind another tab, where Qt has not shown it yet
    return panel


def _is_ours(dock: QDockWidget) -> bool:
    return isinstance(dock.widget(), DockPanel)


def _use_plain_title(dock: QDockWidget) -> None:
    """Show a dock's name without the plugin's; napari finds it again by `dock.name`, which stays."""
    title = dock.windowTitle().partition(" (")[0]
    dock.setWindowTitle(title)
    for label in dock.titleBarWidget().findChildren(QLabel):
        label.setText(title)
