"""The *Inspect cells* panel: views of one prediction that answer each other.

The panel holds a bar for what is shown and what is done to the selected cells, and below it the tabs of
`inspect_tabs`. All of them follow one `Inspected`, which *Predict patient* makes.
"""

from __future__ import annotations

import napari
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QTabWidget, QVBoxLayout, QWidget

from napari_caltomorph.plugin.dock_panel import DockPanel
from napari_caltomorph.plugin.inspect_tab import InspectTab
from napari_caltomorph.plugin.inspect_tabs import TABS, TabRow
from napari_caltomorph.plugin.inspected import Inspected, inspection_of
from napari_caltomorph.plugin.parts import line, plain
from napari_caltomorph.plugin.theme import look_of

_EMPTY = (
    "Which cells made the diagnosis, and what if some were not there? Predict a patient, or open a saved prediction; "
    "then its cells are here."
)


class InspectPanel(DockPanel):
    """Follows what is inspected in its window.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Given by napari.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.inspected: Inspected | None = None
        self._tabs: dict[TabRow, InspectTab] = {}
        self._title = line()
        self._empty = QWidget()
        self.tabs = QTabWidget()
        self._build()

    def tab(self, title: str) -> InspectTab:
        """Bring a tab into sight, and return it."""
        place = next(i for i, row in enumerate(TABS) if row.title == title)
        self.tabs.setCurrentIndex(place)
        return self._made(place)

    def on_bound(self) -> None:
        inspection_of(self).changed.connect(self._on_inspection)
        self._viewer.events.theme.connect(self._on_theme)
        self._on_inspection()

    def on_unbound(self) -> None:
        """Stop what runs in the tabs, and let go of the viewer and of the prediction."""
        inspection_of(self).changed.disconnect(self._on_inspection)
        self._viewer.events.theme.disconnect(self._on_theme)
        for tab in self._tabs.values():
            tab.close_inspected()
        self.inspected = None

    def _build(self) -> None:
        opener = QPushButton("Open Predict patient")
        opener.clicked.connect(self._open_predict)
        inside = QVBoxLayout(self._empty)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(line(_EMPTY))
        inside.addWidget(opener)
        inside.addStretch()
        self.tabs.setDocumentMode(True)
        self.tabs.setUsesScrollButtons(True)
        self.tabs.tabBar().setExpanding(False)
        for row in TABS:
            self.tabs.addTab(_Place(), row.title)
            self.tabs.setTabToolTip(self.tabs.count() - 1, row.tip)
        self.tabs.currentChanged.connect(self._made)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 4, 4)
        column.setSpacing(4)
        for widget in (self._title, self._empty, self.tabs):
            column.addWidget(widget, 0 if widget is self._title else 1)
        column.addWidget(line("<b>Research use only. Not for diagnosis.</b>"), 0, Qt.AlignmentFlag.AlignBottom)
        self.setMinimumWidth(360)

    def _on_inspection(self) -> None:
        self.inspected = inspection_of(self).inspected
        found = self.inspected
        self._title.setText("" if found is None else f"<b>{plain(found.prediction.patient_id)}</b>")
        self._title.setVisible(found is not None)
        self._empty.setVisible(found is None)
        self.tabs.setVisible(found is not None)
        for tab in self._tabs.values():
            tab.show_inspected(found)
        if found is not None:
            self._made(self.tabs.currentIndex())

    def _made(self, place: int) -> InspectTab:
        """Return a tab, made when it is first needed: opening the panel stays quick."""
        row = TABS[place]
        if row not in self._tabs:
            tab = self._tabs[row] = row.make()
            tab.draw(look_of(self._viewer.theme))
            tab.show_inspected(self.inspected)
            self.tabs.widget(place).layout().addWidget(tab)
        return self._tabs[row]

    def _open_predict(self) -> None:
        self._viewer.window.add_plugin_dock_widget("napari-caltomorph", "Predict patient")

    def _on_theme(self, event: object = None) -> None:
        for tab in self._tabs.values():
            tab.draw(look_of(self._viewer.theme))


class _Place(QWidget):
    """Where a tab will stand."""

    def __init__(self) -> None:
        super().__init__()
        inside = QVBoxLayout(self)
        inside.setContentsMargins(0, 0, 0, 0)
