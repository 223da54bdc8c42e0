"""Small Qt parts that the panels share."""

from __future__ import annotations

import html
import re

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QPushButton, QWidget


def narrow_combo() -> QComboBox:
    """Return a combo box that a long name cannot widen."""
    combo = QComboBox()
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(12)
    return combo


def chooser_grid(widget: QWidget, name: str, choice: QComboBox, button: QPushButton, about: QLabel) -> QGridLayout:
    """Lay out what is chosen: its name, the choice, a button for more, and below what is known of it."""
    grid = QGridLayout(widget)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setVerticalSpacing(2)
    grid.setColumnStretch(1, 1)
    grid.setColumnMinimumWidth(0, 54)
    button.setFixedWidth(60)
    grid.addWidget(QLabel(name), 0, 0)
    grid.addWidget(choice, 0, 1)
    grid.addWidget(button, 0, 2)
    grid.addWidget(about, 1, 1, 1, 2)
    return grid


def line(text: str = "") -> QLabel:
    """Return a label that wraps, and whose text can be selected; its text is HTML."""
    label = QLabel(text, wordWrap=True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
    return label


def plain(text: str, *, width: int = 30) -> str:
    """Return a text from a file or a folder as HTML that shows it as it is, and that never widens the panel.

    Longer runs than `width` characters may break; Qt breaks lines at spaces and slashes by itself.
    """
    return html.escape(re.sub(rf"[^\s/\\]{{{width}}}(?=[^\s/\\])", lambda run: f"{run[0]}\u200b", text))


def counted(count: int, noun: str) -> str:
    """Return e.g. ``"1 cell"`` or ``"3 cells"``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def link(text: str, target: str = "#") -> str:
    """Return a link for a label, in a blue that is read on dark and on light."""
    return f"<a href='{target}' style='color:#4d94e8'>{text}</a>"
