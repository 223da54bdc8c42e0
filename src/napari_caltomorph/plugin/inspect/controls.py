"""What is shown of the inspected cells and how: sort, filter, colours, size; and what is done to the selected."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QSlider,
    QToolButton,
    QVBoxLayout,
)

from napari_caltomorph.plugin.gallery.colors import BY_CLASS, BY_LABEL, BY_TYPE
from napari_caltomorph.plugin.inspect.filter import FilterButton
from napari_caltomorph.plugin.inspect.keys import ACTIONS, CellAction
from napari_caltomorph.plugin.session.selection import CellSelection
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import line, link, narrow_combo

_SORTS = {
    "attention": "attention",
    "quality": "sharpness",
    "label": "label",
    "alone_class": "class of the cell",
    "cell": "name",
}
_OTHERS = ("rank",)
_ALONE = "alone_p_"
_WIDEST = 240


class CellControls(InspectionView):
    """The controls above the tabs; `asked` carries the `CellAction` that was chosen from the menu."""

    asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.sort = narrow_combo()
        self.sort.setMinimumContentsLength(9)
        self.sort.activated.connect(self._on_sort)
        self.way = QToolButton()
        self.way.setToolTip("Turn the order round")
        self.way.clicked.connect(self._on_way)
        self.search = QLineEdit(placeholderText="search names", clearButtonEnabled=True)
        self.filter = FilterButton()
        self.filter.changed.connect(self._on_filter)
        # One filter when typing pauses, not one a letter.
        self._typed = QTimer(self, singleShot=True, interval=150)
        self._typed.timeout.connect(self._on_filter)
        self.search.textChanged.connect(lambda _: self._typed.start())
        self.colors = QComboBox()
        self.colors.addItem("class", BY_CLASS)
        self.colors.addItem("label", BY_LABEL)
        self.colors.addItem("type", BY_TYPE)
        self.colors.setToolTip(
            "Frames and dots are coloured by the class that the model answers with to the cell alone, by its label, "
            "or by the type that a differential counts it as"
        )
        self.colors.activated.connect(self._on_colors)
        self.heat = QCheckBox("Heat")
        self.heat.setToolTip("Tint the cells that were attended to more than an average one")
        self.heat.toggled.connect(self._on_heat)
        self.width = QSlider(Qt.Orientation.Horizontal, maximum=_WIDEST)
        self.width.setToolTip("How wide a cell is on the screen; at the left end, all cells are in view")
        self.width.valueChanged.connect(self._on_width)
        self._counts = line()
        self._counts.linkActivated.connect(self._select_those)
        self.menu = QToolButton(text="Cells ")
        self.menu.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu.setMenu(self._actions())
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        for row in (
            (QLabel("Sort"), self.sort, self.way, self.search, self.filter),
            (QLabel("Colour"), self.colors, self.heat, QLabel("Size"), self.width),
            (self._counts, self.menu),
        ):
            box = QHBoxLayout()
            for widget in row:
                box.addWidget(widget, int(widget in (self.sort, self.search, self.width, self._counts)))
            column.addLayout(box)

    def on_inspection(self) -> None:
        if self.inspection is None:
            return
        self.heat.setEnabled(self.inspection.prediction.has_attention and self.inspection.gallery is not None)
        self.width.setEnabled(self.inspection.gallery is not None)
        for box, value in ((self.heat, False), (self.width, 0)):
            with QSignalBlocker(box):
                box.setChecked(value) if box is self.heat else box.setValue(value)
        self.on_columns()
        self.on_order()
        self.on_colors()

    def on_columns(self) -> None:
        if self.inspection is None:
            return
        cells, taxonomy = self.inspection.cells, self.inspection.prediction.taxonomy
        with QSignalBlocker(self.sort):
            self.sort.clear()
            more = [name for name in cells.columns if name not in (*_SORTS, *_OTHERS) and not name.startswith(_ALONE)]
            for name in (*_SORTS, *more):
                self.sort.addItem(_SORTS.get(name, name.replace("_", " ")), name)
            for one in taxonomy.classes:
                self.sort.addItem(f"response: {one.name}", f"{_ALONE}{one.slug}")
            self.sort.setCurrentIndex(self.sort.findData(cells.sort.column))
        self.filter.offer(taxonomy.names, sorted(set(cells.labels)))

    def on_order(self) -> None:
        if self.inspection is None:
            return
        cells = self.inspection.cells
        self.sort.setCurrentIndex(self.sort.findData(cells.sort.column))
        self.way.setText("↓" if cells.sort.descending else "↑")
        self.filter.show_filter(cells.filter)
        if not self._typed.isActive() and self.search.text() != cells.filter.search:
            with QSignalBlocker(self.search):
                self.search.setText(cells.filter.search)
        self._count()

    def on_selection(self) -> None:
        self._count()

    def on_edits(self) -> None:
        self._count()

    def on_colors(self) -> None:
        if self.inspection is not None:
            self.colors.setCurrentIndex(self.colors.findData(self.inspection.coloring))

    def _count(self) -> None:
        if self.inspection is None:
            return
        cells = self.inspection.cells
        hidden = len(cells) - len(cells.order)
        words = [f"{len(cells.order):,} of {len(cells):,}" if hidden else f"{len(cells):,} cells"]
        words += [f"{len(cells.selected):,} selected"] if cells.selected else []
        words += [link(f"{len(cells.marked):,} marked", "marked")] if cells.marked else []
        words += [link(f"{len(cells.left_out):,} left out", "left_out")] if cells.left_out else []
        self._counts.setText(", ".join(words))

    def _select_those(self, which: str) -> None:
        if self.inspection is not None:
            cells = self.inspection.cells
            cells.select(cells.marked if which == "marked" else cells.left_out, reveal=True)

    def _on_sort(self) -> None:
        if self.inspection is not None:
            name = self.sort.currentData()
            self.inspection.cells.sort_by(name, descending=_is_number(self.inspection.cells, name))

    def _on_way(self) -> None:
        if self.inspection is not None:
            cells = self.inspection.cells
            cells.sort_by(cells.sort.column, descending=not cells.sort.descending)
            self.on_order()

    def _on_filter(self) -> None:
        self._typed.stop()
        if self.inspection is not None:
            self.inspection.cells.set_filter(self.filter.chosen(self.search.text().strip()))
            self._count()

    def _on_colors(self) -> None:
        if self.inspection is not None:
            self.inspection.color_by(self.colors.currentData())

    def _on_heat(self, on: bool) -> None:
        if self.inspection is not None and self.inspection.gallery is not None:
            self.inspection.gallery.show_heat(on)

    def _on_width(self, width: int) -> None:
        if self.inspection is not None and self.inspection.gallery is not None:
            self.inspection.gallery.show_width(0 if width < 16 else width)

    def _actions(self) -> QMenu:
        menu = QMenu(self)
        for one in ACTIONS:
            action = menu.addAction(one.title, partial(self._ask, one))
            # Shown only: the keys belong to the picture and to the views that list cells.
            action.setText(f"{one.title}\t{QKeySequence(one.key).toString(QKeySequence.SequenceFormat.NativeText)}")
        return menu

    def _ask(self, action: CellAction) -> None:
        self.asked.emit(action)


def _is_number(cells: CellSelection, name: str) -> bool:
    return cells.columns[name].dtype.kind in "fiu"
