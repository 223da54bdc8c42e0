"""The link below a form that puts the same task, as a line for the terminal, on the clipboard."""

from __future__ import annotations

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QLabel

from napari_caltomorph.plugin.widgets.parts import link

_LINK = link("Copy as command")


class CopyLink(QLabel):
    """Says *copied* for a moment; its `linkActivated` asks for the line."""

    def __init__(self) -> None:
        super().__init__(_LINK, wordWrap=True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self._copied = QTimer(self, singleShot=True, interval=3000)
        self._copied.timeout.connect(lambda: self.setText(_LINK))

    def copy(self, command: str) -> None:
        """Put a line on the clipboard, and say so."""
        QApplication.clipboard().setText(command)
        self.setText(f"{_LINK} (copied)")
        self._copied.start()
