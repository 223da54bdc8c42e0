"""A model's card, as it is read: its README.md with the figure in it."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QTextBrowser, QVBoxLayout, QWidget


class CardDialog(QDialog):
    """Shows the model card of a model folder."""

    def __init__(self, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Model card: {folder.name}")
        self.resize(900, 640)
        self.text = QTextBrowser(openExternalLinks=True)
        self.text.setSearchPaths([str(folder)])
        try:
            self.text.setMarkdown((folder / "README.md").read_text("utf-8"))
        except OSError as error:
            self.text.setPlainText(f"{folder} has no card that can be read ({error.strerror}).")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addWidget(buttons)
