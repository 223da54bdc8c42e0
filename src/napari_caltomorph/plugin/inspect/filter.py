"""Which cells are shown: a small form behind a button."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QFormLayout, QMenu, QPushButton, QSlider, QSpinBox, QToolButton, QWidget, QWidgetAction

from napari_caltomorph.plugin.session.cell_columns import CellFilter
from napari_caltomorph.plugin.widgets.parts import narrow_combo

_ANY = "any"
_NO_LABEL = "no label"


class FilterButton(QToolButton):
    """Unfolds the form; `changed` says that something in it is chosen otherwise."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.alone_class, self.label = narrow_combo(), narrow_combo()
        self.top = QSpinBox(maximum=1_000_000, specialValueText="all")
        self.top.setSingleStep(10)
        self.top.setToolTip("No more than the first so many, as they are sorted")
        self.quality = QSlider(Qt.Orientation.Horizontal, maximum=100)
        self.quality.setToolTip("At least this sharp; cells whose sharpness is not known stay")
        reset = QPushButton("Show all")
        reset.clicked.connect(lambda: self.show_filter(CellFilter(), tell=True))
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
        for signal in (
            self.alone_class.currentIndexChanged,
            self.label.currentIndexChanged,
            self.top.valueChanged,
            self.quality.valueChanged,
        ):
            signal.connect(self._on_changed)
        self._count()

    def chosen(self, search: str) -> CellFilter:
        """Return what is chosen here, and the text that names are searched for."""
        return CellFilter(
            search=search,
            alone_class=self.alone_class.currentData(),
            label=self.label.currentData(),
            quality=self.quality.value() / 100,
            top=self.top.value() or None,
        )

    def offer(self, classes: Iterable[str], labels: Iterable[str]) -> None:
        """Offer these classes and labels to choose from; what is chosen stays, where it is among them."""
        for combo, names in ((self.alone_class, classes), (self.label, labels)):
            kept = combo.currentData()
            with QSignalBlocker(combo):
                combo.clear()
                combo.addItem(_ANY, None)
                for name in names:
                    combo.addItem(name or _NO_LABEL, name)
                combo.setCurrentIndex(max(0, combo.findData(kept)))

    def show_filter(self, what: CellFilter, *, tell: bool = False) -> None:
        """Show a filter that was set."""
        for widget in (self.alone_class, self.label, self.top, self.quality):
            widget.blockSignals(True)
        self.alone_class.setCurrentIndex(max(0, self.alone_class.findData(what.alone_class)))
        self.label.setCurrentIndex(max(0, self.label.findData(what.label)))
        self.top.setValue(what.top or 0)
        self.quality.setValue(round(100 * what.quality))
        for widget in (self.alone_class, self.label, self.top, self.quality):
            widget.blockSignals(False)
        self._count()
        if tell:
            self.changed.emit()

    def _on_changed(self) -> None:
        self._count()
        self.changed.emit()

    def _count(self) -> None:
        chosen = self.chosen("")
        active = sum(value not in (None, 0) for value in (chosen.alone_class, chosen.label, chosen.quality, chosen.top))
        self.setText(f"Filter ({active}) " if active else "Filter ")
