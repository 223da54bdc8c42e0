"""The parts of the tab *Differential*: buttons that label cells, and the counts as bars, table and confusion matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QButtonGroup, QComboBox, QGridLayout, QPushButton, QShortcut, QSizePolicy, QWidget

from napari_caltomorph.differential import CELL_TYPES, Differential, Probe, ProbeDescription, SmearId, cell_type
from napari_caltomorph.errors import counted
from napari_caltomorph.plugin.widgets.canvas import FigureCanvas
from napari_caltomorph.plugin.widgets.parts import WARNING, column_of, line, link, narrow_combo, plain, reveal, row_of
from napari_caltomorph.plugin.widgets.table_view import TableView
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.prediction_figures import draw_differential, draw_probe_confusion
from napari_caltomorph.statistics.interval import percent

CLEAR = "Backspace"
# Three or four buttons a row must fit into a dock of 360 px.
NARROW = "QPushButton { padding: 3px 2px; }"
_STYLE = "QPushButton { text-align: left; font-size: 11px; padding: 3px 2px; }"
_ACROSS = 3
_KEYED = tuple(one for one in CELL_TYPES.values() if one.key)
_UNKEYED = tuple(one for one in CELL_TYPES.values() if not one.key)
_BARS, _TABLE, _CONFUSION = "Bars", "Table", "Confusion"
_NAMES_WIDTH, _SHORT_NAMES_WIDTH, _NUMBERS_WIDTH = 170, 92, 72
_CONFUSED = "Labelled cells, predicted while held out: rows as labelled, columns as predicted."
_ROW, _AXIS = 21, 44
_SLANTED = 92
_HEADS = ["type", "cells", "hand", "predicted", "%", "95 %"]


class LabelButtons(QWidget):
    """One button a type; `label_chosen` carries the name of a type, or an empty text to remove labels."""

    label_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: dict[str, QPushButton] = {}
        grid = QGridLayout()
        grid.setSpacing(2)
        for place, one in enumerate(_KEYED):
            button = self.buttons[one.name] = QPushButton()
            remark = "" if one.is_counted else "; not a leukocyte, so not in any denominator"
            button.setToolTip(f"Label the selected cells: {one.name} (key {one.key.upper()}){remark}")
            button.setStyleSheet(_STYLE + f"QPushButton {{ border-left: 5px solid {one.color}; }}")
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            button.clicked.connect(partial(self._choose, one.name))
            grid.addWidget(button, place // _ACROSS, place % _ACROSS)
        self.other = QComboBox(editable=True, insertPolicy=QComboBox.InsertPolicy.NoInsert, minimumContentsLength=12)
        self.other.lineEdit().setPlaceholderText("another type, or your own")
        self.other.lineEdit().returnPressed.connect(self._choose_other)
        self.other.activated.connect(self._choose_other)
        self.clear = QPushButton("No label", styleSheet=NARROW)
        self.clear.setToolTip("Remove the labels of the selected cells (key Backspace)")
        self.clear.clicked.connect(partial(self._choose, ""))
        column_of(self, grid, row_of(self.other, self.clear, stretch=(self.other,)), spacing=3)
        self.keys: Mapping[str, str] = {one.key.upper(): one.name for one in _KEYED} | {CLEAR: ""}
        for key, name in self.keys.items():
            for button in (*self.buttons.values(), self.clear):
                shortcut = QShortcut(QKeySequence(key), button, context=Qt.ShortcutContext.WidgetShortcut)
                shortcut.activated.connect(partial(self._choose, name))
        self.show_counts([])

    def show_counts(self, labels: Sequence[str]) -> None:
        """Show on the buttons how many cells have each label."""
        counts = Counter(cell_type(label).name for label in labels if label)
        for one in _KEYED:
            count = f"  {counts[one.name]}" if counts[one.name] else ""
            self.buttons[one.name].setText(f"{one.key.upper()} {_short(one.name)}{count}")
        own = sorted(counts.keys() - CELL_TYPES.keys())
        choices = [*(one.name for one in _UNKEYED), *own]
        if [self.other.itemText(i) for i in range(self.other.count())] != choices:
            self.other.clear()
            self.other.addItems(choices)
            self._clear_other()

    def _choose(self, name: str, _: bool = False) -> None:
        self.label_chosen.emit(name)

    def _choose_other(self, _: int = -1) -> None:
        name = self.other.currentText().strip()
        self._clear_other()
        if name:
            self.label_chosen.emit(cell_type(name).name)

    def _clear_other(self) -> None:
        self.other.setCurrentIndex(-1)
        self.other.clearEditText()


def _short(name: str) -> str:
    return name.removesuffix(" neutrophil").removesuffix(" lymphocyte").removesuffix(" cell")


class DifferentialView(QWidget):
    """Shows one of several differentials, chosen by its smear."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[SmearId, Differential] = {}
        self._probe: Probe | None = None
        self._plot_style = PlotStyle()
        self.smears: QComboBox = narrow_combo()
        self.smears.setToolTip("The smears that were counted")
        self.smears.currentIndexChanged.connect(lambda _: self._show())
        self.kinds = {name: QPushButton(name, checkable=True) for name in (_BARS, _TABLE, _CONFUSION)}
        group = QButtonGroup(self)
        for button in self.kinds.values():
            button.setStyleSheet(NARROW)
            group.addButton(button)
        row = row_of(self.smears, *self.kinds.values(), stretch=(self.smears,))
        row.setSpacing(2)
        self.kinds[_BARS].setChecked(True)
        group.buttonClicked.connect(lambda _: self._show())
        self.words, self.warnings = line(), line()
        self.words.linkActivated.connect(lambda _: reveal(self.warnings))
        self.warnings.setStyleSheet(f"color: {WARNING}")
        self.canvas = FigureCanvas(_AXIS)
        self.canvas.mpl_connect("resize_event", lambda _: self._draw())
        self.table = TableView()
        self.table.setSortingEnabled(False)
        self.table.setStyleSheet("font-size: 11px;")
        self.table.verticalHeader().setDefaultSectionSize(_ROW)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        column_of(self, row, self.words, self.canvas, self.table, self.warnings)
        self.setVisible(False)

    @property
    def shown(self) -> Differential | None:
        """The differential that is shown."""
        return self._counts.get(self.smears.currentData())

    @property
    def _confusion(self) -> ProbeDescription | None:
        """What the confusion matrix is drawn of, if it is chosen."""
        return self._probe.description if self._probe is not None and self.kinds[_CONFUSION].isChecked() else None

    def show_counts(self, counts: dict[SmearId, Differential], probe: Probe | None, chosen: SmearId | None) -> None:
        """Show these differentials, the chosen one first."""
        self._counts, self._probe = counts, probe
        with QSignalBlocker(self.smears):
            self.smears.clear()
            for smear in counts:
                self.smears.addItem(smear.patient_id, smear)
            if chosen in counts:
                self.smears.setCurrentIndex(list(counts).index(chosen))
        self.setVisible(bool(counts))
        self._show()

    def draw(self, style: PlotStyle) -> None:
        """Draw in other colours."""
        self._plot_style = style
        self._draw()

    def _show(self) -> None:
        shown = self.shown
        if shown is None:
            return
        is_confusion = self.kinds[_CONFUSION].isChecked()
        self.words.setText(_CONFUSED if is_confusion else _in_words(shown))
        self.warnings.setText("<br>".join(plain(f"! {one}") for one in shown.warnings))
        self.warnings.setVisible(bool(shown.warnings) and not is_confusion)
        is_table = self.kinds[_TABLE].isChecked()
        self.canvas.setVisible(not is_table)
        self.table.setVisible(is_table)
        frame = _as_texts(shown)
        self.table.show_frame(frame, _HEADS)
        self.table.sortByColumn(-1, Qt.SortOrder.AscendingOrder)  # in the usual order of a differential
        self.table.setFixedHeight(_ROW * (len(frame) + 2))
        probe = self._confusion
        rows, below = (len(shown.shown_rows), _AXIS) if probe is None else (len(probe.types), _SLANTED)
        self.canvas.setFixedHeight(rows * _ROW + below)
        self._draw()

    def _draw(self) -> None:
        shown, probe = self.shown, self._confusion
        if shown is None or self.canvas.isHidden():
            return
        if probe is not None:
            axes = self.canvas.axes_inside(_SHORT_NAMES_WIDTH, 4, _SLANTED, 3)
            draw_probe_confusion(axes, probe, self._plot_style)
            names = [_short(name) for name in probe.types]
            for labels in (axes.set_yticklabels, axes.set_xticklabels):  # three digits need the room
                labels(names, parse_math=False)
        else:
            axes = self.canvas.axes_inside(_NAMES_WIDTH, _NUMBERS_WIDTH, _AXIS - 4, 3)
            draw_differential(axes, shown, self._plot_style)


def _as_texts(shown: Differential) -> pd.DataFrame:
    table = shown.table()
    texts = table.filter(like="percent").map("{:.1f}".format)
    between = texts["percent_low"] + "-" + texts["percent_high"]
    names = table[["type", "cells", "by_hand"]].assign(type=table["type"].map(_short))
    columns = [names, texts[["percent_called", "percent"]], between]
    return pd.concat(columns, axis=1).set_axis(_HEADS, axis=1)


def _in_words(shown: Differential) -> str:
    by_hand = f", {len(shown.by_hand):,} by hand" if shown.by_hand else ""
    called = "" if shown.blasts is None else f", predicted {percent(shown.blasts.called, 1)}"
    words = f"{shown.leukocytes:,} leukocytes of {len(shown):,} cells{by_hand}"
    if shown.warnings:  # they are long, and below the counts
        number = counted(len(shown.warnings), "warning")
        words += f" &#183; <b>{link(f'! {number}', color=WARNING)}</b>"
    return f"<b>Blasts {shown.blasts_in_words}</b>{called}<br>{words}"
