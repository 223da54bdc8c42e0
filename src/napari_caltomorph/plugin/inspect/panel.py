"""The *Inspect cells* panel: linked views of one prediction.

The panel has controls for which cells are shown and what is done to the selected ones, and below them the tabs. All of
them follow the `Inspection` of the window's session, which *Predict patient* sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import napari
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QBoxLayout, QFrame, QPushButton, QScrollArea, QShortcut, QTabWidget, QWidget

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.fields import DescribedCells
from napari_caltomorph.plugin.inspect.controls import ACTIONS, CellAction, CellControls
from napari_caltomorph.plugin.inspect.differential_tab import DifferentialTab
from napari_caltomorph.plugin.inspect.plot_tab import PlotTab
from napari_caltomorph.plugin.inspect.table_tab import TableTab
from napari_caltomorph.plugin.inspect.trust_tab import TrustTab
from napari_caltomorph.plugin.inspect.what_if import WhatIfTab, WhatIfUpdater
from napari_caltomorph.plugin.inspect.why_tab import WhyTab
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.session.session import Session, session_of
from napari_caltomorph.plugin.widgets.cell_card import CellCard
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel, open_panel
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import ERROR, WARNING, colored, column_of, line, link, plain, tip
from napari_caltomorph.plugin.widgets.tasks import LatestJob
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.drawing import short

_EMPTY = (
    "Which cells determine the diagnosis, and what if some were missing? Predict a patient, or open a saved "
    "prediction, to see its cells here. Or count the cells of a smear by type, without a diagnosis."
)
_CARD_SIDE = 96
# Wider than this, compared to its height, the controls are next to the tabs: the panel is docked below.
_WIDE = 1.6
_ROOM_FOR_CARD = 460
_LONGEST_NAME = 60  # of a patient

_NOT_DIAGNOSED = "Needs a diagnosis: predict the patient first"
_TRUST = "How reliable the prediction is: training cohort, members, similar patients"
_DIFFERENTIAL = "Count cells by type; label cells, and train a probe on them"


@dataclass(frozen=True)
class TabRow:
    """A tab, made when it is first needed."""

    title: str
    tip: str
    make: Callable[[napari.viewer.Viewer, Session], InspectionView]
    needs_diagnosis: bool = True


TABS = (
    TabRow("Plot", "The cells as dots, by attention or by their features", lambda *_: PlotTab()),
    TabRow("Table", "All cells with their numbers, to sort and export", lambda *_: TableTab(), needs_diagnosis=False),
    TabRow("Why", "Which cells support or oppose a class, and how reliable that is", lambda *_: WhyTab()),
    TabRow("Trust", _TRUST, lambda viewer, _: TrustTab(viewer)),
    TabRow("Differential", _DIFFERENTIAL, lambda _, session: DifferentialTab(session.differential), False),
    TabRow("What if", "The prediction without some of the cells", lambda *_: WhatIfTab()),
)


class InspectPanel(DockPanel):
    """Shows what is inspected in its window."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.inspection: Inspection | None = None
        self._tabs: dict[TabRow, InspectionView] = {}
        self.controls = CellControls()
        self.controls.action_chosen.connect(self.do)
        self.controls.describe_requested.connect(self._on_describe)
        self._describing = LatestJob(self)
        self.what_if = WhatIfUpdater(self)
        self.what_if.reported.connect(self._show_message)
        self.card = CellCard(_CARD_SIDE)
        self.tabs = QTabWidget(documentMode=True, usesScrollButtons=True)
        self._build()

    def tab(self, title: str) -> InspectionView:
        """Show a tab, and return it."""
        self.bind()
        place = next(i for i, row in enumerate(TABS) if row.title == title)
        self.tabs.setCurrentIndex(place)
        return self._tab_at(place)

    def do(self, action: CellAction) -> None:
        """Do what a key or the menu requests."""
        if self.inspection is None:
            return
        try:
            action.do(self.inspection)
        except CaltomorphError as error:
            self._show_message(str(error), True)

    @property
    def title(self) -> str:
        """Who is inspected, and whether the picture shows other cells."""
        return str(self.controls.title.text())

    @property
    def text(self) -> str:
        """The message that is shown."""
        return self._message

    def on_bound(self) -> None:
        self._session = session_of(self)  # when it unbinds, the panel may be in no window any more
        self._session.changed.connect(self._on_session_changed)
        self._on_session_changed()

    def on_unbound(self) -> None:
        """Stop what runs in the tabs, and release the viewer and the prediction."""
        self._session.changed.disconnect(self._on_session_changed)
        for view in (self.controls, *self._tabs.values()):
            view.close_inspection()
        self._release()

    def draw(self, style: PlotStyle) -> None:
        for tab in self._tabs.values():
            tab.draw(style)

    def resizeEvent(self, event: QEvent) -> None:
        super().resizeEvent(event)
        is_wide = self.width() > _WIDE * self.height()
        way = QBoxLayout.Direction.LeftToRight if is_wide else QBoxLayout.Direction.TopToBottom
        self._body.setDirection(way)
        self._top.setMaximumWidth(360 if is_wide else 16_777_215)
        self.card.setVisible(not is_wide and self.height() > _ROOM_FOR_CARD)

    def _build(self) -> None:
        self._state = line()
        self.controls.title.linkActivated.connect(self._show_cells)
        opener = QPushButton("Open Predict patient", clicked=lambda: open_panel(self._viewer, "Predict patient"))
        self._empty = QWidget()
        about = "Show the smear that is open in Predict patient without a diagnosis, and count its cells by type"
        counter = QPushButton("Count cell types", toolTip=about, clicked=self._count_cells)
        column_of(self._empty, line(_EMPTY), opener, counter).addStretch()
        self.tabs.tabBar().setExpanding(False)
        self.tabs.setStyleSheet("QTabBar::tab { padding: 4px 7px; }")
        for row in TABS:
            self.tabs.addTab(_TabArea(), row.title)
            self.tabs.setTabToolTip(self.tabs.count() - 1, row.tip)
        self.tabs.currentChanged.connect(self._tab_at)
        self._top, self._views = QWidget(), QWidget()
        column_of(self._top, self.controls)
        # What changes its height is below the tabs, which stay where they are.
        column_of(self._views, self.tabs, self._state, self.card, stretch=(self.tabs,), spacing=3)
        self._body = QBoxLayout(QBoxLayout.Direction.TopToBottom)
        self._body.setSpacing(4)
        self._body.addWidget(self._top, 0, Qt.AlignmentFlag.AlignTop)
        self._body.addWidget(self._views, 1)
        self.lay_out(self._empty, self._body, stretch=(self._empty, self._body))
        self.setMinimumSize(360, 180)  # less than its widgets need: they shrink when they are resized
        self._show_message("", False)

    def _on_session_changed(self) -> None:
        self._release()
        inspection = self.inspection = self._session.inspection
        self._show_title()
        self._empty.setVisible(inspection is None)
        self._top.setVisible(inspection is not None)
        self._views.setVisible(inspection is not None)
        self._show_message("", False)
        self.controls.show_inspection(inspection)
        is_diagnosed = inspection is None or inspection.is_diagnosed
        for place, row in enumerate(TABS):
            if row in self._tabs:
                self._tabs[row].show_inspection(self._shown_in(row))
            can_show = is_diagnosed or not row.needs_diagnosis
            self.tabs.setTabToolTip(place, row.tip if can_show else _NOT_DIAGNOSED)
            self.tabs.setTabEnabled(place, can_show)  # Qt may bring another tab to the front
        self.what_if.follow(inspection if is_diagnosed else None)
        if inspection is None:
            return
        inspection.cells.selection_changed.connect(self._show_card)
        inspection.cells.edited.connect(self._show_card)
        inspection.gallery.sight_changed.connect(self._show_title)
        for action in ACTIONS:
            inspection.gallery.bind_key(action.napari_key, partial(self.do, action))
        self._show_card()
        self._tab_at(self.tabs.currentIndex())

    def _show_title(self) -> None:
        """Name the patient, and say where the picture shows other cells than those of this panel."""
        text = ""
        if (inspection := self.inspection) is not None:
            text = f"<b>{plain(short(inspection.bag.patient_id, _LONGEST_NAME), width=20)}</b>"
            if inspection.gallery.is_available and not inspection.gallery.is_in_sight:
                text += f" {colored('is not in the picture.', WARNING)} {link('Show these cells')}"
        self.controls.title.setText(text)
        self.controls.title.setToolTip("" if inspection is None else tip(inspection.bag.patient_id))

    def _show_cells(self, target: str) -> None:
        if self.inspection is not None:
            self.inspection.gallery.show()

    def _release(self) -> None:
        self.what_if.follow(None)
        self._end_describing()
        if self.inspection is None:
            return
        self.inspection.cells.selection_changed.disconnect(self._show_card)
        self.inspection.cells.edited.disconnect(self._show_card)
        self.inspection.gallery.sight_changed.disconnect(self._show_title)
        for action in ACTIONS:
            self.inspection.gallery.bind_key(action.napari_key, None)
        self.inspection = None

    def _on_describe(self) -> None:
        """Describe the cells; while that runs, stop it."""
        inspection = self.inspection
        if inspection is None:
            return
        if self._describing.is_busy:
            self._end_describing()
            self._show_message("Cancelled. Nothing was changed.", False)
            return
        self.controls.describe.setText("Cancel describing")
        self._describing.start(
            inspection.describe,
            then=partial(self._on_described, inspection),
            failed=self._on_not_described,
            progressed=lambda progress: self._show_message(progress.in_words, False),
        )

    def _on_described(self, inspection: Inspection, described: DescribedCells) -> None:
        self._end_describing()
        inspection.show_described(described)
        self._show_message(f"{described.in_words}; {described.scale}.", False)

    def _on_not_described(self, error: str) -> None:
        self._end_describing()
        self._show_message(error, True)

    def _end_describing(self) -> None:
        self._describing.stop()
        self.controls.describe.setText("Describe cells")

    def _count_cells(self) -> None:
        open_panel(self._viewer, "Predict patient").count_cells()

    def _tab_at(self, place: int) -> InspectionView:
        """Return a tab, made when it is first needed, so that the panel opens quickly."""
        row = TABS[place]
        if row not in self._tabs:
            tab = self._tabs[row] = row.make(self._viewer, self._session)
            tab.draw(self.plot_style)
            tab.show_inspection(self._shown_in(row))
            self.tabs.widget(place).setWidget(tab)
            for widget, action in product(tab.key_widgets(), ACTIONS):
                if action.in_lists:
                    key = QShortcut(QKeySequence(action.key), widget, context=Qt.ShortcutContext.WidgetShortcut)
                    key.activated.connect(partial(self.do, action))
        return self._tabs[row]

    def _shown_in(self, row: TabRow) -> Inspection | None:
        is_unfit = self.inspection is not None and row.needs_diagnosis and not self.inspection.is_diagnosed
        return None if is_unfit else self.inspection

    def _show_card(self) -> None:
        if self.inspection is not None:
            self.card.show_current(self.inspection)

    def _show_message(self, text: str, is_error: bool) -> None:
        self._message = text
        self._state.setText(colored(plain(text), ERROR) if is_error else plain(text))
        self._state.setVisible(bool(text))


class _TabArea(QScrollArea):
    """Contains one tab, and scrolls if the tab is higher."""

    def __init__(self) -> None:
        super().__init__(widgetResizable=True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setViewportMargins(0, 4, 0, 0)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
