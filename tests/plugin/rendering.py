"""What a person sees as a fault of a panel's layout: text that is cut, widgets or labels over each other, flat plots.

`faults_of(panel)` lists them in words, for the size and theme in which the panel is shown now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.text import Text
from qtpy.QtCore import QRect, QRectF, Qt
from qtpy.QtGui import QFontMetrics, QTextDocument
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractScrollArea,
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDockWidget,
    QGraphicsTextItem,
    QGraphicsView,
    QHeaderView,
    QLabel,
    QLayout,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QScrollArea,
    QStyle,
    QStyleOptionButton,
    QStyleOptionComboBox,
    QTabBar,
    QTextEdit,
    QToolButton,
    QWidget,
)

LEAST_PLOT = 140
# Rounding of a scaled screen, and the space that letters have around them.
_SLACK = 2
_BLANK = 60


def faults_of(panel: QWidget) -> list[str]:
    """Return what is wrong in a panel that is shown, its dock included."""
    checks = (_cut_texts, _overlaps, _flat_plots, _plot_texts, _unused_room, _sideways)
    return [*_outside_window(panel), *(f"{_path(w)}: {fault}" for w in _shown(panel) for c in checks for fault in c(w))]


def _shown(panel: QWidget) -> list[QWidget]:
    return [
        one for one in (panel, *panel.findChildren(QWidget)) if one.isVisible() and not one.visibleRegion().isEmpty()
    ]


def _outside_window(panel: QWidget) -> Iterator[str]:
    dock = panel.parentWidget()
    if isinstance(dock, QDockWidget) and not dock.isFloating() and not dock.window().rect().contains(dock.geometry()):
        yield f"the dock {dock.windowTitle()} leaves the window"


def _cut_texts(widget: QWidget) -> Iterator[str]:
    for kind, check in _TEXTS.items():
        if isinstance(widget, kind):
            yield from check(widget)
            return


def _too_narrow(text: str, widget: QWidget, room: float) -> Iterator[str]:
    needed = max((QFontMetrics(widget.font()).horizontalAdvance(one) for one in text.split("\n")), default=0)
    if needed > room + _SLACK:
        yield f"{text!r} needs {needed} px and has {room:.0f}"


def _label(label: QLabel) -> Iterator[str]:
    if not label.text():
        return
    document = QTextDocument(documentMargin=0)
    document.setDefaultFont(label.font())
    is_rich = label.textFormat() == Qt.TextFormat.RichText or "<" in label.text()
    (document.setHtml if is_rich else document.setPlainText)(label.text())
    room = label.contentsRect().size()
    if label.wordWrap():
        document.setTextWidth(room.width())
    needed = document.size()
    width, height = round(document.idealWidth()), round(needed.height())
    if width > room.width() + _SLACK or height > room.height() + 2 * _SLACK:
        shown = document.toPlainText()[:60]
        yield f"{shown!r} needs {width} x {height} and has {room.width()} x {room.height()}"


def _button(button: QAbstractButton) -> Iterator[str]:
    option = QStyleOptionButton()
    option.initFrom(button)
    style = button.style()
    if isinstance(button, QCheckBox | QRadioButton):
        part = QStyle.SubElement.SE_CheckBoxContents
        yield from _too_narrow(button.text(), button, style.subElementRect(part, option, button).width())
    elif isinstance(button, QPushButton):
        arrow = 0 if button.menu() is None else style.pixelMetric(QStyle.PixelMetric.PM_MenuButtonIndicator)
        yield from _too_narrow(button.text().replace("&", ""), button, button.width() - 2 - arrow)
    elif isinstance(button, QToolButton):
        yield from _too_narrow(button.text(), button, button.width() - 2)


def _combo(combo: QComboBox) -> Iterator[str]:
    option = QStyleOptionComboBox()
    option.initFrom(combo)
    option.editable = combo.isEditable()
    field = combo.style().subControlRect(
        QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, combo
    )
    if not combo.isEditable():
        yield from _too_narrow(combo.currentText(), combo, field.width())


def _line_edit(edit: QLineEdit) -> Iterator[str]:
    """What the user types may be longer; what the panel writes there may not."""
    inside = edit.width() - 4 - (16 if edit.isClearButtonEnabled() else 0)
    is_number = isinstance(edit.parentWidget(), QAbstractSpinBox)
    yield from _too_narrow(edit.text() if is_number else "" if edit.text() else edit.placeholderText(), edit, inside)


def _tab_bar(bar: QTabBar) -> Iterator[str]:
    for tab in range(bar.count()):
        if not bar.isTabVisible(tab):
            continue
        rect = bar.tabRect(tab)
        yield from _too_narrow(bar.tabText(tab), bar, rect.width())
        if bar.shape() == QTabBar.Shape.RoundedNorth and rect.right() > bar.width():
            yield f"the tab {bar.tabText(tab)!r} is outside the bar"


def _header(header: QHeaderView) -> Iterator[str]:
    if header.orientation() == Qt.Orientation.Horizontal and header.model() is not None:
        for section in range(header.count()):
            if not header.isSectionHidden(section):
                text = str(header.model().headerData(section, Qt.Orientation.Horizontal) or "")
                yield from _too_narrow(text, header, header.sectionSize(section))


_TEXTS: dict[type[QWidget], Callable[..., Iterator[str]]] = {
    QLabel: _label,
    QAbstractButton: _button,
    QComboBox: _combo,
    QLineEdit: _line_edit,
    QTabBar: _tab_bar,
    QHeaderView: _header,
}


def _overlaps(parent: QWidget) -> Iterator[str]:
    """Find parts of a layout that leave their parent, have less than they need, or are over each other."""
    if parent.layout() is None or parent.objectName().startswith("qt_scrollarea"):
        return
    parts = [one for one in _parts(parent.layout()) if one.isVisible()]
    inside = parent.rect().adjusted(-1, -1, 1, 1)
    for one in parts:
        if not inside.contains(one.geometry()):
            yield f"{_name(one)} leaves it"
        least = one.minimumSizeHint().height()
        if one.height() < min(least, one.maximumHeight()) - 2 * _SLACK:
            yield f"{_name(one)} has {one.height()} px of height and needs {least}"
    for one, other in combinations(parts, 2):
        both = one.geometry() & other.geometry()
        if both.width() > 1 and both.height() > 1:
            yield f"{_name(one)} and {_name(other)} overlap"


def _parts(layout: QLayout) -> Iterator[QWidget]:
    for place in range(layout.count()):
        item = layout.itemAt(place)
        if item.widget() is not None:
            yield item.widget()
        elif item.layout() is not None:
            yield from _parts(item.layout())


def _flat_plots(widget: QWidget) -> Iterator[str]:
    """A plot of a fixed height has one that fits its rows."""
    is_plot = isinstance(widget, FigureCanvasQTAgg | QGraphicsView)
    if is_plot and widget.minimumHeight() < widget.maximumHeight() and widget.height() < LEAST_PLOT:
        yield f"the plot is {widget.height()} px high"


def _plot_texts(widget: QWidget) -> Iterator[str]:
    if isinstance(widget, FigureCanvasQTAgg):
        yield from _text_faults(_drawn_texts(widget), QRectF(0, 0, *widget.figure.bbox.size))
    elif isinstance(widget, QGraphicsView):
        items = [one for one in widget.scene().items() if isinstance(one, QGraphicsTextItem) and one.isVisible()]
        # Around its letters, a text has a margin that may be outside.
        edges = [one.document().documentMargin() + _SLACK for one in items]
        inner = [one.sceneBoundingRect().adjusted(e, e, -e, -e) for one, e in zip(items, edges, strict=True)]
        places = [widget.mapFromScene(one).boundingRect() for one in inner]
        texts = [(one.toPlainText(), QRectF(at)) for one, at in zip(items, places, strict=True) if one.toPlainText()]
        yield from _text_faults(texts, QRectF(widget.viewport().rect()))


def _drawn_texts(canvas: FigureCanvasQTAgg) -> list[tuple[str, QRectF]]:
    """Return the texts of a figure that are drawn straight, with their places in pixels of the figure."""
    canvas.draw()
    axes_of = canvas.figure.axes
    tick_labels = {
        label for axes in axes_of for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels(which="both")
    }
    drawn = {
        label
        for axes in axes_of
        for axis in (axes.xaxis, axes.yaxis)
        if axes.axison and axis.get_visible()
        for tick in axis._update_ticks()  # those inside the limits
        for label in (tick.label1, tick.label2)
    }
    renderer = canvas.get_renderer()
    texts = []
    for text in canvas.figure.findobj(Text):
        is_shown = text.get_visible() and text.get_text().strip() and (text in drawn or text not in tick_labels)
        if is_shown and text.get_rotation() % 90 == 0:
            box = text.get_window_extent(renderer)
            texts.append((text.get_text(), QRectF(box.x0, box.y0, box.width, box.height)))
    return texts


def _text_faults(texts: list[tuple[str, QRectF]], canvas: QRectF) -> Iterator[str]:
    for text, place in texts:
        if not canvas.adjusted(-_SLACK, -_SLACK, _SLACK, _SLACK).contains(place):
            yield f"{text!r} leaves its canvas"
    for (text, place), (other, at) in combinations(texts, 2):
        both = place & at
        if both.width() > _SLACK and both.height() > _SLACK:
            yield f"{text!r} and {other!r} overlap"


def _unused_room(area: QWidget) -> Iterator[str]:
    """Find a part that scrolls although there is empty room in the columns around it."""
    if not isinstance(area, QScrollArea) or not area.verticalScrollBar().maximum():
        return
    parent = area.parentWidget()
    while parent is not None and not isinstance(parent, QAbstractScrollArea | QDockWidget):
        blank = _blank(parent.layout()) if parent.layout() is not None else 0
        if blank > _BLANK:
            yield f"it scrolls, and {blank} px of {_name(parent)} are empty"
        parent = parent.parentWidget()


def _blank(layout: QLayout) -> int:
    blank = 0
    for place in range(layout.count()):
        item = layout.itemAt(place)
        widget = item.widget()
        is_empty = item.spacerItem() is not None or (type(widget) is QWidget and not widget.children())
        if is_empty and (widget is None or widget.isVisible()):
            blank += QRect(item.geometry()).height()
    return blank


def _sideways(widget: QWidget) -> Iterator[str]:
    """Find texts and forms that are wider than their area; tables may be, where nothing else helps."""
    if isinstance(widget, QScrollArea) and widget.widget() is not None:
        over = widget.widget().width() - widget.viewport().width()
        if over > 0 and widget.horizontalScrollBarPolicy() == Qt.ScrollBarPolicy.ScrollBarAlwaysOff:
            yield f"{over} px of its content are cut at the right"
    if isinstance(widget, QTextEdit) and widget.document().idealWidth() > widget.viewport().width() + _SLACK:
        yield f"its text needs {widget.document().idealWidth():.0f} px and has {widget.viewport().width()}"


def _name(widget: QWidget) -> str:
    text = getattr(widget, "text", None)
    words = text() if callable(text) else ""
    return f"{type(widget).__name__}({words[:24]!r})" if words else type(widget).__name__


def _path(widget: QWidget) -> str:
    names = [_name(widget)]
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        if type(parent).__module__.startswith("napari_caltomorph"):
            names.append(type(parent).__name__)
        parent = parent.parentWidget()
    return " < ".join(names[:3])
