"""Small Qt parts that the panels share: labels, links, rows, a collapsible section, and napari's theme as colours."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, QPoint, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLayout,
    QLineEdit,
    QMenu,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_caltomorph.plugin.widgets.settings import choose_folder, when_chosen
from napari_caltomorph.storage import path_of

WARNING = "#e0a100"
ERROR = "#e5534b"
BUTTON_WIDTH = 60
_LEAST_AREA, _BORDER = 160, 2  # in pixels; napari's style has a border around areas
NAMES_WIDTH = 69  # Of the names before inputs, so that all inputs of a panel begin in one column

_PREFERENCES = ("precision", "field_of_view")
_TITLES = {
    "weights": "Encoder weights",
    "label": "Labels",
    "pixel_size": "Pixel size (\u00b5m)",
    "settle": "Settle (s)",
    "every": "Every (s)",
    "from_red_cells": "Scale by red cells",
    "width_um": "Image width (\u00b5m)",
}
_SPELLED = {"id": "ID", "max": "max.", "min": "min.", "mlp": "MLP", "um": "(\u00b5m)"}
_FLAG = re.compile(
    r"`[^`]*`|in the terminal.*"
    r"|(?<![\w-])--(?P<flag>[a-z]+(?:-[a-z]+)*)(?: \(in napari: (?P<other>[\w ]+)\))?"
)


def colored(text: str, color: str) -> str:
    return f"<span style='color:{color}'>{text}</span>" if text else ""


def pixmap(image: NDArray[np.uint8], side: int | None = None) -> QPixmap:
    """(H, W, 3) RGB or (H, W, 4) RGBA, uint8, as a Qt pixmap, scaled into a square of `side` pixels if given."""
    image = np.ascontiguousarray(image)
    height, width, colors = image.shape
    kind = QImage.Format.Format_RGB888 if colors == 3 else QImage.Format.Format_RGBA8888
    # QImage does not copy the buffer; the pixmap made from it does.
    picture = QPixmap.fromImage(QImage(image.data, width, height, colors * width, kind))
    if side is None:
        return picture
    return picture.scaled(side, side, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation)


def line(text: str = "") -> QLabel:
    """Return a label that wraps, and whose text can be selected; its text is HTML, also where it has no tag."""
    label = QLabel(text, wordWrap=True, textInteractionFlags=Qt.TextInteractionFlag.TextBrowserInteraction)
    # Left to itself, Qt shows "&#x27;" of a text without tags as it is.
    label.setTextFormat(Qt.TextFormat.RichText)
    return label


def plain(text: str, *, width: int = 30) -> str:
    """Return a text from a file or a folder as HTML that shows it as it is, and that never widens the panel.

    Longer runs than `width` characters may break; Qt breaks lines at spaces and slashes by itself.
    """
    return html.escape(re.sub(rf"[^\s/\\]{{{width}}}(?=[^\s/\\])", lambda run: f"{run[0]}\u200b", text))


def title_of(option: str) -> str:
    """Return the label of an option: ``"hemoglobin_unit"`` is called ``"Hemoglobin unit"``."""
    if option in _TITLES:
        return _TITLES[option]
    words = " ".join(_SPELLED.get(word, word) for word in option.split("_"))
    return words[0].upper() + words[1:]


def in_window_words(sentence: str) -> str:
    """Return a sentence for the window: a flag such as ``--out-of-fold`` is called ``"Out of fold"``, as its input is.

    Commands in backticks and what is said of the terminal stay. An input of another name is in parentheses behind its
    flag: ``--label (in napari: Labels)`` becomes ``"Labels"``.
    """

    def label(match: re.Match[str]) -> str:
        if match["flag"] is None:
            return match[0]
        option = match["flag"].replace("-", "_")
        title, other = title_of(option), match["other"]
        is_preference = option in _PREFERENCES or other == "Preferences"
        return f'"{title}" in Preferences' if is_preference else f'"{other or title}"'

    return _FLAG.sub(label, sentence)


def as_error(text: str) -> str:
    """Return the message of an error as red HTML, in the words of the window."""
    return colored(plain(in_window_words(text)), ERROR)


def tip(text: str) -> str:
    """Return a tool tip that shows a text as it is: Qt interprets those that look like HTML, such as ``a<b>c``."""
    return f"<qt>{'<br>'.join(map(plain, text.splitlines()))}</qt>" if text else ""


def link(text: str, target: str = "#", *, color: str = "#4d94e8") -> str:
    """Return a link for a label, in a blue that is read on dark and on light."""
    return f"<a href='{target}' style='color:{color}'>{text}</a>"


def column_of(
    owner: QWidget, *items: QWidget | QLayout, stretch: Collection[object] = (), spacing: int = 4
) -> QVBoxLayout:
    """Lay out the items of a part of a panel below each other, without margins; those of `stretch` share the room."""
    column = QVBoxLayout(owner)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(spacing)
    add_items(column, *items, stretch=stretch)
    return column


def add_items(column: QVBoxLayout, *items: QWidget | QLayout, stretch: Collection[object] = ()) -> None:
    """Add widgets and layouts to a column; those of `stretch` share the room that is left."""
    for item in items:
        if isinstance(item, QLayout):
            column.addLayout(item, int(item in stretch))
        else:
            column.addWidget(item, int(item in stretch))


def row_of(*widgets: QWidget, stretch: Collection[QWidget] = ()) -> QHBoxLayout:
    """Return widgets side by side; those of `stretch` share the room that is left, else it is empty at the right."""
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget, int(widget in stretch))
    if not stretch:
        row.addStretch()
    return row


def narrow_combo(combo: QComboBox | None = None) -> QComboBox:
    """Return a combo box, a new one if none is given, that a long name cannot widen."""
    combo = QComboBox() if combo is None else combo
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(12)
    return combo


def path_in(edit: QLineEdit) -> Path | None:
    """Return the path that was typed, absolute; None for an empty line."""
    text = edit.text().strip()
    return path_of(text).expanduser().absolute() if text else None


def folder_row(edit: QLineEdit, title: str) -> QHBoxLayout:
    """Return a row of a line for a folder and a button that lets the user choose one."""

    choose = when_chosen(lambda path: edit.setText(str(path)), choose_folder, edit, title, edit)
    browse = QPushButton("Browse", clicked=choose)
    browse.setFixedWidth(BUTTON_WIDTH)
    return row_of(edit, browse, stretch=(edit,))


def named_folder(name: str, edit: QLineEdit) -> QWidget:
    """Return that row behind its name, in the column of the panel's other inputs."""
    widget = QWidget()
    row = folder_row(edit, name)
    row.insertWidget(0, QLabel(name, minimumWidth=NAMES_WIDTH))
    row.setContentsMargins(0, 0, 0, 0)
    widget.setLayout(row)
    return widget


def menu_button(title: str, actions: Mapping[str, Callable[..., None]]) -> QPushButton:
    """Return a button that opens a menu: name -> what it does."""
    button = QPushButton(title)
    menu = QMenu(button)
    for name, action in actions.items():
        menu.addAction(name, action)
    button.setMenu(menu)
    return button


def chooser_grid(widget: QWidget, name: str, choice: QWidget, button: QPushButton, about: QLabel) -> QGridLayout:
    """Lay out a name, the input of the choice, a button, and below them what is known of the choice."""
    grid = QGridLayout(widget)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setVerticalSpacing(2)
    grid.setColumnStretch(1, 1)
    grid.setColumnMinimumWidth(0, NAMES_WIDTH)
    button.setFixedWidth(BUTTON_WIDTH)
    grid.addWidget(QLabel(name), 0, 0)
    grid.addWidget(choice, 0, 1)
    grid.addWidget(button, 0, 2)
    grid.addWidget(about, 1, 0, 1, 3)
    return grid


class CollapsibleSection(QWidget):
    """A title line that shows or hides its content on a click. `toggled`: whether it is open."""

    toggled = Signal(bool)

    def __init__(self, title: str, content: QWidget) -> None:
        super().__init__()
        self.button = QPushButton(checkable=True)
        self.button.setStyleSheet("QPushButton, QPushButton:checked { text-align: left; background: transparent; }")
        self.button.toggled.connect(self._on_toggled)
        self._content = content
        column_of(self, self.button, content, stretch=(content,), spacing=2)
        content.hide()
        self._opened = QTimer(self, singleShot=True, interval=0, timeout=self._begin_at_top)
        self.set_title(title)

    @property
    def is_open(self) -> bool:
        return bool(self.button.isChecked())

    def set_title(self, title: str) -> None:
        self._title = title
        self.button.setText(f"{'▾' if self.is_open else '▸'} {title}")

    def set_open(self, is_open: bool) -> None:
        self.button.setChecked(is_open)

    def _on_toggled(self, is_open: bool) -> None:
        self.set_title(self._title)
        self._content.setVisible(is_open)
        if is_open:
            self._opened.start()  # after the layout has run
        self.toggled.emit(is_open)

    def _begin_at_top(self) -> None:
        """Scroll an area that is lower than its content, so that what was opened is seen."""
        if (area := _area_of(self)) is not None and self.is_open:
            area.verticalScrollBar().setValue(self.mapTo(area.widget(), QPoint()).y())


class FittedArea(QScrollArea):
    """As high as its content where there is room, and otherwise scrolling; without a frame."""

    def __init__(self, content: QWidget) -> None:
        super().__init__(widgetResizable=True, frameShape=QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setWidget(content)

    def sizeHint(self) -> QSize:
        content = self.widget()
        height = content.heightForWidth(self.width()) if content.hasHeightForWidth() else -1
        hint = content.sizeHint().expandedTo(content.minimumSizeHint())
        return QSize(hint.width(), max(height, hint.height()) + _BORDER)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint().boundedTo(QSize(super().minimumSizeHint().width(), _LEAST_AREA))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Show, QEvent.Type.StyleChange):
            self.updateGeometry()
        return super().eventFilter(watched, event)


def scroll_area(content: QWidget | None = None) -> QScrollArea:
    """Return an area without a frame that scrolls its content up and down only."""
    area = QScrollArea(widgetResizable=True, frameShape=QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    if content is not None:
        area.setWidget(content)
    return area


def reveal(widget: QWidget) -> None:
    """Scroll the area that a widget is in, so that it is seen."""
    if (area := _area_of(widget)) is not None:
        area.ensureWidgetVisible(widget)


def _area_of(widget: QWidget) -> QScrollArea | None:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QScrollArea):
        parent = parent.parentWidget()
    return parent


class CopyLink(QLabel):
    """A link for the terminal command of the same job; `linkActivated` requests it, `copy` puts it on the clipboard."""

    def __init__(self) -> None:
        self._text = link("Copy as command")
        super().__init__(
            self._text,
            wordWrap=True,
            alignment=Qt.AlignmentFlag.AlignRight,
            textInteractionFlags=Qt.TextInteractionFlag.TextBrowserInteraction,
        )
        self._copied = QTimer(self, singleShot=True, interval=3000, timeout=lambda: self.setText(self._text))

    def copy(self, command: str) -> None:
        """Put a command on the clipboard, and show for a moment that it was copied."""
        QApplication.clipboard().setText(command)
        self.setText(f"{self._text} (copied)")
        self._copied.start()
