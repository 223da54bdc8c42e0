"""Small Qt parts that the panels share."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLabel


def narrow_combo() -> QComboBox:
    """Return a combo box that a long name cannot widen."""
    combo = QComboBox()
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(12)
    return combo


def line(text: str = "") -> QLabel:
    """Return a label that wraps, and whose text can be selected."""
    label = QLabel(text, wordWrap=True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
    return label


def link(text: str, target: str = "#") -> str:
    """Return a link for a label, in a blue that is read on dark and on light."""
    return f"<a href='{target}' style='color:#4d94e8'>{text}</a>"
