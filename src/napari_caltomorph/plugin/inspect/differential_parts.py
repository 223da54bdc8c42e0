"""The buttons and keys that label the selected cells, each with how many cells have its label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QShortcut,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_caltomorph.differential import CELL_TYPES, CellType, cell_type

CLEAR = "Backspace"
# Three or four buttons a row must fit into a dock of 360 px.
NARROW = "QPushButton { padding: 3px 2px; }"
_STYLE = "QPushButton { text-align: left; font-size: 11px; padding: 3px 2px; }"
_ACROSS = 3
_KEYED = tuple(one for one in CELL_TYPES.values() if one.key)
_UNKEYED = tuple(one for one in CELL_TYPES.values() if not one.key)


class LabelKeys(QWidget):
    """A button a type; `asked` carries the name of a type, or nothing to take labels away.

    `keys` says which key of the keyboard stands for what, for whoever binds them elsewhere too.
    """

    asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: dict[str, QPushButton] = {}
        grid = QGridLayout()
        grid.setSpacing(2)
        for place, one in enumerate(_KEYED):
            button = self.buttons[one.name] = QPushButton()
            button.setToolTip(f"Label the selected cells: {one.name} (key {one.key.upper()}){_remark(one)}")
            button.setStyleSheet(_STYLE + f"QPushButton {{ border-left: 5px solid {one.color}; }}")
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            button.clicked.connect(partial(self._ask, one.name))
            grid.addWidget(button, place // _ACROSS, place % _ACROSS)
        self.other = QComboBox(editable=True)
        self.other.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.other.lineEdit().setPlaceholderText("another type, or your own")
        self.other.lineEdit().returnPressed.connect(self._ask_other)
        self.other.activated.connect(self._ask_other)
        self.other.setMinimumContentsLength(12)
        self.clear = QPushButton("No label")
        self.clear.setStyleSheet(NARROW)
        self.clear.setToolTip("Take the labels of the selected cells away (key Backspace)")
        self.clear.clicked.connect(partial(self._ask, ""))
        row = QHBoxLayout()
        row.addWidget(self.other, 1)
        row.addWidget(self.clear)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addLayout(grid)
        column.addLayout(row)
        self.keys: Mapping[str, str] = {one.key.upper(): one.name for one in _KEYED} | {CLEAR: ""}
        for key, name in self.keys.items():
            for button in (*self.buttons.values(), self.clear):
                shortcut = QShortcut(QKeySequence(key), button, context=Qt.ShortcutContext.WidgetShortcut)
                shortcut.activated.connect(partial(self._ask, name))
        self.show_counts([])

    def show_counts(self, labels: Sequence[str]) -> None:
        """Write on the buttons how many cells have each label."""
        counts = Counter(cell_type(label).name for label in labels if label)
        for one in _KEYED:
            count = f"  {counts[one.name]}" if counts[one.name] else ""
            self.buttons[one.name].setText(f"{one.key.upper()} {_short(one.name)}{count}")
        own = sorted(counts.keys() - CELL_TYPES.keys())
        offered = [*(one.name for one in _UNKEYED), *own]
        if [self.other.itemText(i) for i in range(self.other.count())] != offered:
            self.other.clear()
            self.other.addItems(offered)
            self.other.setCurrentIndex(-1)
            self.other.clearEditText()

    def _ask(self, name: str, _: bool = False) -> None:
        self.asked.emit(name)

    def _ask_other(self, _: int = -1) -> None:
        name = self.other.currentText().strip()
        self.other.setCurrentIndex(-1)
        self.other.clearEditText()
        if name:
            self.asked.emit(cell_type(name).name)


def _short(name: str) -> str:
    return name.removesuffix(" neutrophil").removesuffix(" lymphocyte").removesuffix(" cell")


def _remark(one: CellType) -> str:
    return "" if one.is_counted else "; no leukocyte, so in no denominator"
