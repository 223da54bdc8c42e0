"""The *Inspect cells* panel: views of one prediction that answer each other.

The panel holds a bar for what is shown and what is done to the selected cells, and below it the tabs of
`inspect_tabs`. All of them follow one `Inspection`, which *Predict patient* makes.
"""

from __future__ import annotations

from functools import partial

import napari
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QBoxLayout, QFrame, QPushButton, QScrollArea, QShortcut, QTabWidget, QVBoxLayout, QWidget

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.plugin.inspect.controls import CellControls
from napari_caltomorph.plugin.inspect.keys import ACTIONS, CellAction
from napari_caltomorph.plugin.inspect.tabs import TABS, TabRow
from napari_caltomorph.plugin.inspect.what_if_run import WhatIfUpdater
from napari_caltomorph.plugin.session.inspection import Inspection, session_of
from napari_caltomorph.plugin.widgets.cell_card import CellCard
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import ERROR, colored, line, plain
from napari_caltomorph.report import Look

_EMPTY = (
    "Which cells made the diagnosis, and what if some were not there? Predict a patient, or open a saved prediction; "
    "then its cells are here."
)
_CARD_SIDE = 96
# Wider than this, compared to its height, the controls stand beside the tabs: the panel is docked below.
_WIDE = 1.6
_ROOM_FOR_CARD = 460


class InspectPanel(DockPanel):
    """Follows what is inspected in its window."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.inspection: Inspection | None = None
        self._tabs: dict[TabRow, InspectionView] = {}
        self.bar = CellControls()
        self.bar.asked.connect(self.do)
        self.what_if = WhatIfUpdater(self)
        self.what_if.said.connect(self._say)
        self.card = CellCard(_CARD_SIDE)
        self.tabs = QTabWidget()
        self._build()

    def tab(self, title: str) -> InspectionView:
        """Bring a tab into sight, and return it."""
        place = next(i for i, row in enumerate(TABS) if row.title == title)
        self.tabs.setCurrentIndex(place)
        return self._made(place)

    def do(self, action: CellAction) -> None:
        """Do what a key or the menu stands for."""
        if self.inspection is None:
            return
        try:
            action.do(self.inspection)
        except CaltomorphError as error:
            self._say(str(error), True)

    @property
    def text(self) -> str:
        """What was said last."""
        return self._said

    def on_bound(self) -> None:
        self._session = session_of(self)  # when it unbinds, the panel may stand in no window any more
        self._session.changed.connect(self._on_session_changed)
        self._on_session_changed()

    def on_unbound(self) -> None:
        """Stop what runs in the tabs, and let go of the viewer and of the prediction."""
        self._session.changed.disconnect(self._on_session_changed)
        for view in (self.bar, *self._tabs.values()):
            view.close_inspection()
        self._let_go()

    def draw(self, look: Look) -> None:
        for tab in self._tabs.values():
            tab.draw(look)

    def resizeEvent(self, event: QEvent) -> None:
        super().resizeEvent(event)
        is_wide = self.width() > _WIDE * self.height()
        way = QBoxLayout.Direction.LeftToRight if is_wide else QBoxLayout.Direction.TopToBottom
        self._body.setDirection(way)
        self._controls.setMaximumWidth(360 if is_wide else 16_777_215)
        self.card.setVisible(not is_wide and self.height() > _ROOM_FOR_CARD)

    def _build(self) -> None:
        self._title, self._state = line(), line()
        opener = QPushButton("Open Predict patient")
        opener.clicked.connect(self._open_predict)
        self._empty = QWidget()
        inside = QVBoxLayout(self._empty)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(line(_EMPTY))
        inside.addWidget(opener)
        inside.addStretch()
        self.tabs.setDocumentMode(True)
        self.tabs.setUsesScrollButtons(True)
        self.tabs.tabBar().setExpanding(False)
        self.tabs.setStyleSheet("QTabBar::tab { padding: 4px 7px; }")
        for row in TABS:
            self.tabs.addTab(_Place(), row.title)
            self.tabs.setTabToolTip(self.tabs.count() - 1, row.tip)
        self.tabs.currentChanged.connect(self._made)
        self._controls = QWidget()
        controls = QVBoxLayout(self._controls)
        controls.setContentsMargins(0, 0, 0, 0)
        controls.setSpacing(3)
        for widget in (self._title, self.bar, self._state, self.card):
            controls.addWidget(widget)
        controls.addStretch()
        self._body = QBoxLayout(QBoxLayout.Direction.TopToBottom)
        self._body.setSpacing(4)
        self._body.addWidget(self._controls, 0, Qt.AlignmentFlag.AlignTop)
        self._body.addWidget(self.tabs, 1)
        self.lay_out(self._empty, self._body, stretch=(self._empty, self._body))
        self.setMinimumSize(360, 180)  # less than its parts want: they make room when they are told the size
        self._say("", False)

    def _on_session_changed(self) -> None:
        self._let_go()
        found = self.inspection = self._session.inspection
        self._title.setText("" if found is None else f"<b>{plain(found.prediction.patient_id)}</b>")
        self._empty.setVisible(found is None)
        self._controls.setVisible(found is not None)
        self.tabs.setVisible(found is not None)
        self._say("", False)
        for view in (self.bar, *self._tabs.values()):
            view.show_inspection(found)
        self.what_if.follow(found)
        if found is None:
            return
        found.cells.selection_changed.connect(self._show_card)
        found.cells.edited.connect(self._show_card)
        if found.gallery is not None:
            for action in ACTIONS:
                found.gallery.bind_key(action.napari_key, partial(self.do, action))
        self._show_card()
        self._made(self.tabs.currentIndex())

    def _let_go(self) -> None:
        self.what_if.follow(None)
        if self.inspection is None:
            return
        cells, gallery = self.inspection.cells, self.inspection.gallery
        cells.selection_changed.disconnect(self._show_card)
        cells.edited.disconnect(self._show_card)
        if gallery is not None:
            for action in ACTIONS:
                gallery.bind_key(action.napari_key, None)
        self.inspection = None

    def _made(self, place: int) -> InspectionView:
        """Return a tab, made when it is first needed: opening the panel stays quick."""
        row = TABS[place]
        if row not in self._tabs:
            tab = self._tabs[row] = row.make()
            tab.draw(self.look)
            tab.show_inspection(self.inspection)
            self.tabs.widget(place).setWidget(tab)
            for widget in tab.key_widgets():
                for action in ACTIONS:
                    if action.in_lists:
                        key = QShortcut(QKeySequence(action.key), widget, context=Qt.ShortcutContext.WidgetShortcut)
                        key.activated.connect(partial(self.do, action))
        return self._tabs[row]

    def _show_card(self) -> None:
        if self.inspection is not None:
            self.card.show_current(self.inspection)

    def _say(self, text: str, is_error: bool) -> None:
        self._said = text
        self._state.setText(colored(plain(text), ERROR) if is_error else plain(text))
        self._state.setVisible(bool(text))

    def _open_predict(self) -> None:
        self._viewer.window.add_plugin_dock_widget("napari-caltomorph", "Predict patient")


class _Place(QScrollArea):
    """Where a tab will stand; one that is higher than its place scrolls."""

    def __init__(self) -> None:
        super().__init__(widgetResizable=True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
