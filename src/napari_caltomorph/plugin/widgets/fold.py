"""A part of a panel that is folded away until it is asked for."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QPushButton, QScrollArea, QVBoxLayout, QWidget


class Fold(QWidget):
    """A line that unfolds its content on a click; long content scrolls. `toggled` says whether it is open."""

    toggled = Signal(bool)

    def __init__(self, title: str, content: QWidget) -> None:
        super().__init__()
        self.button = QPushButton(checkable=True)
        self.button.setStyleSheet("QPushButton, QPushButton:checked { text-align: left; background: transparent; }")
        self.button.toggled.connect(self._on_toggled)
        self._area = QScrollArea(widgetResizable=True, visible=False)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._area.setWidget(content)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.button)
        column.addWidget(self._area, 1)
        self.set_title(title)

    @property
    def is_open(self) -> bool:
        """Whether the content is in sight."""
        return bool(self.button.isChecked())

    def set_title(self, title: str) -> None:
        """Show a title beside the arrow."""
        self._title = title
        self.button.setText(f"{'▾' if self.is_open else '▸'} {title}")

    def fold(self) -> None:
        """Put the content out of sight."""
        self.button.setChecked(False)

    def _on_toggled(self, is_open: bool) -> None:
        self.set_title(self._title)
        self._area.setVisible(is_open)
        self.toggled.emit(is_open)
