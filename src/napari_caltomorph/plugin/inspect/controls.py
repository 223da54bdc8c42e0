"""The controls above the tabs of *Inspect cells*: which cells are shown and how, and actions on the selected cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from qtpy.QtCore import QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QSlider,
    QSpinBox,
    QToolButton,
    QWidget,
    QWidgetAction,
)

from napari_caltomorph.errors import counted
from napari_caltomorph.plugin.session.cell_columns import (
    BY_CLASS,
    BY_LABEL,
    BY_TYPE,
    CERTAINTY,
    GROUPED,
    IN_VIEW,
    CellFilter,
)
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import column_of, line, link, narrow_combo, row_of
from napari_caltomorph.plugin.widgets.settings import preferences

_SORTS = {
    "attention": "attention",
    "quality": "sharpness",
    "label": "label",
    "alone_class": "class of the cell",
    GROUPED: "type, least sure first",
    "cell": "name",
}
_ALONE = "alone_p_"
_WIDEST = 240
# A narrower cell could not be seen: the slider's left end stands for all cells in view.
_NARROWEST = 16


@dataclass(frozen=True)
class CellAction:
    """An action on cells, with a key and in the menu *Cells*; letters are left to the labels of *Differential*."""

    title: str
    key: str  # as Qt spells it
    napari_key: str
    do: Callable[[Inspection], None]
    in_lists: bool = True  # whether the key works in table and plots too; tables have arrow keys of their own


def _step(rows: int, cells: int) -> Callable[[Inspection], None]:
    return lambda inspection: inspection.cells.step(rows * inspection.gallery.columns + cells)


ACTIONS = (
    CellAction("Next cell", "Right", "Right", _step(0, 1), in_lists=False),
    CellAction("Previous cell", "Left", "Left", _step(0, -1), in_lists=False),
    CellAction("Cell below", "Down", "Down", _step(1, 0), in_lists=False),
    CellAction("Cell above", "Up", "Up", _step(-1, 0), in_lists=False),
    CellAction("Mark, or unmark", "Return", "Enter", lambda it: it.cells.mark()),
    CellAction("Leave out, or include again", "Delete", "Delete", lambda it: it.cells.leave_out()),
    CellAction("Undo", "Ctrl+Z", "Control-Z", lambda it: it.cells.undo()),
    CellAction("Redo", "Ctrl+Shift+Z", "Control-Shift-Z", lambda it: it.cells.redo()),
)
KEEP_CENTRED = CellAction("Leave out all but one centred leukocyte", "", "", lambda it: it.leave_out_uncentred())


class CellControls(InspectionView):
    """Sort, filter, colour and size; `action_chosen` carries the `CellAction` that was chosen from the menu.

    `describe_requested`: to describe what each image shows, or to stop that.
    """

    action_chosen = Signal(object)
    describe_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.title = line()
        self.sort = narrow_combo()
        self.sort.activated.connect(self._on_sort)
        self.direction = QToolButton(toolTip="Reverse the order", clicked=self._on_direction)
        self.search = QLineEdit(placeholderText="search names", clearButtonEnabled=True)
        self.search.setMinimumWidth(self.search.fontMetrics().horizontalAdvance("search names") + 34)
        self.filter = FilterButton()
        self.filter.changed.connect(self._on_filter)
        # One filter when typing pauses, not one a letter.
        self._typed = QTimer(self, singleShot=True, interval=150)
        self._typed.timeout.connect(self._on_filter)
        self.search.textChanged.connect(lambda _: self._typed.start())
        self.colors = QComboBox()
        for text, column in (("class", BY_CLASS), ("label", BY_LABEL), ("type", BY_TYPE)):
            self.colors.addItem(text, column)
        self.colors.setToolTip(
            "Colour frames and dots by the class that the model predicts for the cell alone, by the cell's label, "
            "or by the type that a differential assigns to it"
        )
        self.colors.activated.connect(lambda _: self.inspected.color_by(self.colors.currentData()))
        self.heat = QCheckBox("Heat", toolTip="Tint the cells that received more attention than an average cell")
        self.heat.toggled.connect(lambda on: self.inspected.gallery.show_heat(on))
        self.width = QSlider(Qt.Orientation.Horizontal, maximum=_WIDEST)
        self.width.setToolTip("How wide a cell is on the screen; at the left end, all cells are in view")
        self.width.valueChanged.connect(self._on_width)
        self._counts = line()
        self._counts.linkActivated.connect(self._select_edited)
        self.menu = QToolButton(text="Cells ", popupMode=QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu.setMenu(self._actions())
        self.width.setMinimumWidth(90)
        column_of(
            self,
            row_of(self.title, QLabel("Size"), self.width, stretch=(self.title,)),
            row_of(QLabel("Sort"), self.sort, self.direction, self.filter, stretch=(self.sort,)),
            row_of(QLabel("Colour"), self.colors, self.heat, self.search, stretch=(self.search,)),
            row_of(self._counts, self.menu, stretch=(self._counts,)),
            spacing=3,
        )

    def on_inspection(self) -> None:
        if self.inspection is None:
            return
        gallery = self.inspection.gallery
        self.heat.setEnabled(self.inspection.bag.has_attention and gallery.is_available)
        self.width.setEnabled(gallery.is_available)
        with QSignalBlocker(self.heat), QSignalBlocker(self.width), QSignalBlocker(self.legend):
            self.legend.setChecked(gallery.legend)
            self.heat.setChecked(gallery.heat)
            self.width.setValue(gallery.cell_width)
        self.on_order()
        self.on_colors()

    def on_columns(self) -> None:
        cells = self.inspected.cells
        shows_classes = self.inspected.shows_classes
        classes = self.inspected.prediction.taxonomy.classes if shows_classes else ()
        with QSignalBlocker(self.sort):
            self.sort.clear()
            more = [name for name in cells.columns if name not in (*_SORTS, "rank") and not name.startswith(_ALONE)]
            known = [name for name in _SORTS if name in cells.columns and (shows_classes or name != BY_CLASS)]
            for name in (*known, *more):
                self.sort.addItem(_SORTS.get(name, name.replace("_", " ")), name)
            for one in classes:
                self.sort.addItem(f"response: {one.name}", f"{_ALONE}{one.slug}")
            self.sort.setCurrentIndex(self.sort.findData(cells.sort.column))
        self.filter.set_choices((one.name for one in classes), sorted(set(cells.labels)))
        self.describe.setEnabled(self.inspected.smear is not None)
        self.only_one.setEnabled(IN_VIEW in cells.columns)

    def on_order(self) -> None:
        cells = self.inspected.cells
        self.sort.setCurrentIndex(self.sort.findData(cells.sort.column))
        self.direction.setText("↓" if cells.sort.descending else "↑")
        self.filter.show_filter(cells.filter)
        if not self._typed.isActive() and self.search.text() != cells.filter.search:
            with QSignalBlocker(self.search):
                self.search.setText(cells.filter.search)
        self._count()

    def on_colors(self) -> None:
        self.colors.model().item(self.colors.findData(BY_CLASS)).setEnabled(self.inspected.shows_classes)
        self.on_columns()
        self.colors.setCurrentIndex(self.colors.findData(self.inspected.coloring))

    def _count(self) -> None:
        cells = self.inspected.cells
        hidden = len(cells) - len(cells.order)
        words = [f"{len(cells.order):,} of {len(cells):,}" if hidden else counted(len(cells), "cell")]
        words += [f"{len(cells.selected):,} selected"] if cells.selected else []
        words += [link(f"{len(cells.marked):,} marked", "marked")] if cells.marked else []
        words += [link(f"{len(cells.left_out):,} left out", "left_out")] if cells.left_out else []
        self._counts.setText(", ".join(words))

    on_selection = on_edits = _count

    def _select_edited(self, which: str) -> None:
        cells = self.inspected.cells
        cells.select(cells.marked if which == "marked" else cells.left_out, reveal=True)

    def _on_sort(self) -> None:
        name, cells = self.sort.currentData(), self.inspected.cells
        cells.sort_by(name, descending=cells.columns[name].dtype.kind in "fiu" and name not in (CERTAINTY, GROUPED))

    def _on_direction(self) -> None:
        cells = self.inspected.cells
        cells.sort_by(cells.sort.column, descending=not cells.sort.descending)
        self.on_order()

    def _on_filter(self) -> None:
        self._typed.stop()
        if self.inspection is not None:
            self.inspection.cells.set_filter(self.filter.chosen(self.search.text().strip()))
            self._count()

    def _on_width(self, width: int) -> None:
        self.inspected.gallery.show_cell_width(0 if width < _NARROWEST else width)

    def _on_legend(self, on: bool) -> None:
        preferences().legend = on
        self.inspected.gallery.show_legend(on)

    def _actions(self) -> QMenu:
        menu = QMenu(self)
        for one in ACTIONS:
            action = menu.addAction(one.title, partial(self.action_chosen.emit, one))
            # As text only: the keys belong to the picture and to the views that list cells.
            action.setText(f"{one.title}\t{QKeySequence(one.key).toString(QKeySequence.SequenceFormat.NativeText)}")
        menu.addSeparator()
        self.legend = menu.addAction("Legend in the picture")
        self.legend.setCheckable(True)
        self.legend.toggled.connect(self._on_legend)
        self.describe = menu.addAction("Describe cells", self.describe_requested.emit)
        self.only_one = menu.addAction(KEEP_CENTRED.title, partial(self.action_chosen.emit, KEEP_CENTRED))
        return menu


class FilterButton(QToolButton):
    """A small form behind a button; `changed` is emitted when the user changes the filter in it."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.alone_class, self.label = narrow_combo(), narrow_combo()
        self.top = QSpinBox(maximum=1_000_000, specialValueText="all", singleStep=10)
        self.top.setToolTip("Show only the first so many cells, as they are sorted")
        self.quality = QSlider(Qt.Orientation.Horizontal, maximum=100)
        self.quality.setToolTip("Hide less sharp cells; cells of unknown sharpness are shown")
        reset = QPushButton("Show all", clicked=self._on_reset)
        form = QWidget()
        rows = QFormLayout(form)
        rows.addRow("Cell alone", self.alone_class)
        rows.addRow("Label", self.label)
        rows.addRow("Sharpness", self.quality)
        rows.addRow("First", self.top)
        rows.addRow(reset)
        inside = QWidgetAction(self)
        inside.setDefaultWidget(form)
        menu = QMenu(self)
        menu.addAction(inside)
        self.setMenu(menu)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._fields = (self.alone_class, self.label, self.top, self.quality)
        combos, numbers = (self.alone_class, self.label), (self.top, self.quality)
        for signal in (*(one.currentIndexChanged for one in combos), *(one.valueChanged for one in numbers)):
            signal.connect(self._on_changed)
        self._count()

    def chosen(self, search: str) -> CellFilter:
        """Return what is chosen, with the text that is searched for."""
        return CellFilter(
            search=search,
            alone_class=self.alone_class.currentData(),
            label=self.label.currentData(),
            quality=self.quality.value() / 100,
            top=self.top.value() or None,
        )

    def set_choices(self, classes: Iterable[str], labels: Iterable[str]) -> None:
        """Offer these classes and labels; what is chosen remains chosen if it is among them."""
        for combo, names in ((self.alone_class, classes), (self.label, labels)):
            kept = combo.currentData()
            with QSignalBlocker(combo):
                combo.clear()
                combo.addItem("any", None)
                for name in names:
                    combo.addItem(name or "no label", name)
                combo.setCurrentIndex(max(0, combo.findData(kept)))

    def show_filter(self, what: CellFilter) -> None:
        """Show a filter, without a signal."""
        blockers = [QSignalBlocker(widget) for widget in self._fields]
        self.alone_class.setCurrentIndex(max(0, self.alone_class.findData(what.alone_class)))
        self.label.setCurrentIndex(max(0, self.label.findData(what.label)))
        self.top.setValue(what.top or 0)
        self.quality.setValue(round(100 * what.quality))
        for blocker in blockers:
            blocker.unblock()
        self._count()

    def _on_reset(self) -> None:
        self.show_filter(CellFilter())
        self.changed.emit()

    def _on_changed(self) -> None:
        self._count()
        self.changed.emit()

    def _count(self) -> None:
        chosen = self.chosen("")
        active = sum(value not in (None, 0) for value in (chosen.alone_class, chosen.label, chosen.quality, chosen.top))
        self.setText(f"Filter ({active}) " if active else "Filter ")
