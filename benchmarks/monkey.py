"""A monkey for the window: random clicks, drags, wheel and keys on everything in it, and what must hold after each.

Each step has its own random numbers, so step N does the same whatever came before, where the window is the same.
`soak.py` lets it play for an hour, a test for some seconds.
"""

from __future__ import annotations

import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO
from weakref import WeakSet

from napari.layers import Layer
from napari.viewer import Viewer
from qtpy.QtCore import QObject, QPoint, Qt, QThreadPool, QTimer
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialog,
    QDockWidget,
    QFileDialog,
    QHeaderView,
    QLabel,
    QLineEdit,
    QMenu,
    QTabBar,
    QWidget,
)
from window_faults import check, is_of_result

from napari_caltomorph.plugin.widgets.dock_panel import DockPanel

PANELS = "Predict patient", "Inspect cells", "Predict patients", "Cut cells", "Open cohort", "Train ensemble"
PANELS = *PANELS, "Evaluate ensemble", "Validate", "Monitor"
# Of the picture: napari's own and ours. Each is pressed as it is, with Shift or with Ctrl.
KEYS = [
    "Left",
    "Right",
    "Up",
    "Down",
    "Return",
    "Delete",
    "Backspace",
    "Escape",
    "Space",
    "Tab",
    "Home",
    "End",
    "1",
    "2",
    "3",
    "4",
    "5",
    "A",
    "B",
    "L",
    "N",
    "S",
    "P",
    "V",
    "X",
    "Z",
]
KEYS += [
    "Ctrl+Z",
    "Ctrl+Shift+Z",
    "Ctrl+Y",
    "Ctrl+R",
    "Ctrl+E",
    "Ctrl+T",
    "Ctrl+G",
    "Ctrl+A",
    "Ctrl+Shift+T",
    "Ctrl+Up",
    "Ctrl+Down",
]
WORDS = "", "7", "0", "-3", "1e9", "blast", "<b>&#x27;", "/no/such/folder", "Gal", "é ü 細胞", "0.25", "a" * 300
SIZES = (1280, 720), (1100, 700), (900, 600), (1240, 500)
# A click on these leaves the window, or reaches for the network.
_LINK = re.compile(r"href=['\"]((?!http)[^'\"]*)")
_FORBIDDEN = re.compile(r"console|IPython|download|quit|exit|close window|new window|plugin manager", re.IGNORECASE)


class Monkey(QObject):
    """Plays in a window, with files that it may open; `log` are its last actions."""

    def __init__(self, viewer: Viewer, seed: int, files: Sequence[Path], out: Path, file: TextIO | None = None) -> None:
        super().__init__()
        self.viewer, self.seed, self.files, self.out, self._file = viewer, seed, files, out, file
        self.window: QWidget = viewer.window._qt_window
        self.log: deque[str] = deque(maxlen=30)
        self.steps = 0
        self.ours: WeakSet[Layer] = WeakSet()
        self._random = random.Random(seed)
        self._answers = QTimer(self, interval=40, timeout=self._answer)
        viewer.layers.events.inserted.connect(self._on_layer)
        self._answers.start()

    def close(self) -> None:
        """Play no more."""
        self._answers.stop()
        self.viewer.layers.events.inserted.disconnect(self._on_layer)

    def step(self) -> list[str]:
        """Do one thing, and return what does not hold afterwards."""
        self._random = random.Random(f"{self.seed} {self.steps}")
        self.steps += 1
        acts = (self._widget, self._picture, self._key, self._viewer, self._layer)
        (act,) = self._random.choices(acts, weights=(74, 9, 5, 5, 7))
        try:
            act()
        except RuntimeError as error:
            if "has been deleted" not in str(error):
                raise
            self.note("  which closed what it was done to")
        self._settle()
        if self._random.random() < 0.15:
            self.wait(3)
        wrong = check(self.viewer, self.ours)
        if wrong:  # on a busy machine, what follows from an action may take longer
            QTest.qWait(500)
            wrong = check(self.viewer, self.ours)
        return wrong

    def note(self, action: str) -> None:
        self.log.append(f"{self.steps}: {action}")
        if self._file is not None:
            print(self.log[-1], file=self._file, flush=True)

    def wait(self, seconds: float) -> bool:
        """Let what runs in threads end, for so long at most; return whether it has."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._settle()
            if QThreadPool.globalInstance().activeThreadCount() == 0:
                return True
            time.sleep(0.01)
        return False

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Answer file dialogs with one of the files, a new file, or nothing."""
        names = "getOpenFileName", "getOpenFileNames", "getSaveFileName", "getExistingDirectory", "exec", "exec_"
        before = {name: getattr(QFileDialog, name) for name in names if hasattr(QFileDialog, name)}
        files = [path for path in self.files if path.is_file()]
        folders = [path for path in self.files if path.is_dir()]
        answers: dict[str, Callable[..., Any]] = {
            "getOpenFileName": lambda *_, **__: (self._path(files), ""),
            "getOpenFileNames": lambda *_, **__: ([path] if (path := self._path(files)) else [], ""),
            "getExistingDirectory": lambda *_, **__: self._path(folders),
            "getSaveFileName": lambda _, __, name="", *___, **____: (self._path([self.out / Path(name).name]), ""),
            "exec": lambda *_: 0,
            "exec_": lambda *_: 0,
        }
        for name in before:
            setattr(QFileDialog, name, staticmethod(answers[name]))
        try:
            yield
        finally:
            for name, method in before.items():
                setattr(QFileDialog, name, method)

    def _path(self, paths: Sequence[Path]) -> str:
        path = "" if self._random.random() < 0.2 or not paths else str(self._random.choice(paths))
        self.note(f"  answers a file dialog with {path!r}")
        return path

    def _settle(self) -> None:
        QTest.qWait(4)  # unlike `processEvents`, it also deletes what is to be deleted later

    def _on_layer(self, event: Any) -> None:
        if is_of_result(event.value):
            self.ours.add(event.value)

    def _answer(self) -> None:
        """Choose from an open menu or dialog: it has the window for itself until then."""
        self._answers.start()  # anew: what is chosen may open a dialog, and a timer does not fire within itself
        menu, dialog = QApplication.activePopupWidget(), QApplication.activeModalWidget()
        if isinstance(menu, QMenu):
            actions = [one for one in menu.actions() if one.isVisible() and one.isEnabled() and not one.isSeparator()]
            actions = [one for one in actions if not _FORBIDDEN.search(one.text())]
            if self.viewer.dims.ndisplay == 3:
                # napari 0.9.2 fails to draw the thumbnail of a copy of colours in 3D, and can then remove no layer.
                actions = [one for one in actions if "Duplicate" not in one.text()]
            if actions and self._random.random() < 0.8:
                action = self._random.choice(actions)
                self.note(f"  chooses {action.text()!r}")
                self._click(menu, menu.actionGeometry(action).center())
                inside = _widgets(menu)
                if inside and menu.isVisible():
                    self._use(self._random.choice(inside))
            if menu.isVisible() and self._random.random() < 0.6:
                QTest.keyClick(menu, Qt.Key.Key_Escape)
        elif menu is not None:
            self.note(f"  chooses in {name_of(menu)}")
            for _ in range(self._random.randrange(4)):
                QTest.keyClick(menu, self._random.choice((Qt.Key.Key_Down, Qt.Key.Key_Up)))
            QTest.keyClick(menu, self._random.choice((Qt.Key.Key_Return, Qt.Key.Key_Return, Qt.Key.Key_Escape)))
            if menu.isVisible():
                menu.hide()
        elif dialog is not None:
            widgets = _widgets(dialog)
            if widgets and self._random.random() < 0.7:
                self._use(self._random.choice(widgets))
            elif isinstance(dialog, QDialog):
                self.note(f"  closes {name_of(dialog)}")
                dialog.reject()
            else:
                dialog.close()

    def _widget(self) -> None:
        """Use something in one of our panels, mostly, or in napari's."""
        docks = [one for one in self.window.findChildren(QDockWidget) if one.isVisible()]
        ours = [one for one in docks if one.findChild(DockPanel) is not None]
        room = self._random.choice(ours) if ours and self._random.random() < 0.85 else self.window
        widgets = _widgets(room)
        if not widgets:
            self.note(f"finds nothing in {name_of(room)}")
            return
        kinds = sorted({type(one).__name__ for one in widgets})  # or a table's many cells would be all that it uses
        kind = self._random.choice(kinds)
        self._use(self._random.choice([one for one in widgets if type(one).__name__ == kind]))

    def _use(self, widget: QWidget) -> None:
        """Do with a widget what it is made for, or anything."""
        chance = self._random.random()
        what = name_of(widget)
        if isinstance(widget, QLabel):
            self.note(f"follows a link of {what}")
            for target in _LINK.findall(widget.text())[:1]:
                widget.linkActivated.emit(target)
        elif isinstance(widget, QTabBar):
            tab = self._random.randrange(max(1, widget.count()))
            self.note(f"tab {tab} of {what}")
            self._click(widget, widget.tabRect(tab).center())
        elif isinstance(widget, QLineEdit | QAbstractSpinBox):
            word = self._random.choice((*WORDS, *map(str, self.files)))
            self.note(f"pastes {word[:40]!r} into {what}")
            self._click(widget)
            QApplication.clipboard().setText(word)  # QTest types ASCII only
            for keys in ("Ctrl+A", "Ctrl+V"):
                QTest.keySequence(widget, keys)
            QTest.keyClick(widget, self._random.choice((Qt.Key.Key_Return, Qt.Key.Key_Tab, Qt.Key.Key_Up)))
        elif isinstance(widget, QAbstractButton | QHeaderView) or chance < 0.5:
            place = self._place(widget)
            self.note(f"clicks {what} at {place.x()}, {place.y()}")
            if isinstance(widget, QAbstractItemView) and chance < 0.2:
                QTest.mouseDClick(widget.viewport(), Qt.MouseButton.LeftButton, pos=place)
            self._click(widget, place)
        elif chance < 0.7:
            self._wheel(widget)
        elif chance < 0.85 or isinstance(widget, QAbstractItemView | QComboBox):
            self._press(widget)
        else:
            self._drag(widget)

    def _place(self, widget: QWidget) -> QPoint:
        width, height = max(1, widget.width()), max(1, widget.height())
        return QPoint(self._random.randrange(width), self._random.randrange(height))

    def _modifier(self) -> Qt.KeyboardModifier:
        none, shift, ctrl = (getattr(Qt.KeyboardModifier, f"{name}Modifier") for name in ("No", "Shift", "Control"))
        return self._random.choice((none, none, none, shift, ctrl))

    def _click(self, widget: QWidget, place: QPoint | None = None) -> None:
        target = widget.viewport() if isinstance(widget, QAbstractItemView) else widget
        QTest.mouseClick(target, Qt.MouseButton.LeftButton, self._modifier(), place or target.rect().center())

    def _wheel(self, widget: QWidget) -> None:
        self.note(f"turns the wheel over {name_of(widget)}")
        place = self._place(widget)
        around = widget.mapToGlobal(place)
        turn = QPoint(0, self._random.choice((-120, 120)))
        event = QWheelEvent(
            place.toPointF(), around.toPointF(), QPoint(), turn, Qt.MouseButton.NoButton, self._modifier(),
            Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(widget, event)

    def _press(self, widget: QWidget) -> None:
        key = self._random.choice(KEYS)
        self.note(f"presses {key} in {name_of(widget)}")
        widget.setFocus()
        QTest.keySequence(widget, key)

    def _drag(self, widget: QWidget) -> None:
        self.note(f"drags in {name_of(widget)}")
        modifier = self._modifier()
        QTest.mousePress(widget, Qt.MouseButton.LeftButton, modifier, self._place(widget))
        for _ in range(4):
            holder = QWidget.mouseGrabber() or widget
            QTest.mouseMove(holder, self._place(holder))
            QApplication.processEvents()
        # A dock that is dragged holds the mouse, and napari makes its title bar anew: the release must reach the dock.
        # Qt frees a dock twice that is closed while its drag has not ended.
        holder = QWidget.mouseGrabber() or widget
        QTest.mouseRelease(holder, Qt.MouseButton.LeftButton, modifier, self._place(holder))

    def _picture(self) -> None:
        canvas = self.viewer.window._qt_viewer.canvas.native
        place = self._place(canvas)
        act = self._random.choice(("click", "click", "drag", "wheel", "key"))
        if act == "click":
            self.note(f"clicks the picture at {place.x()}, {place.y()}")
            self._click(canvas, place)
        else:
            {"drag": self._drag, "wheel": self._wheel, "key": self._press}[act](canvas)

    def _key(self) -> None:
        """Press a key where the keyboard is."""
        self._press(QApplication.focusWidget() or self.viewer.window._qt_viewer.canvas.native)

    def _viewer(self) -> None:
        """Open or close a panel, or resize the window."""
        docks = [one for one in self.window.findChildren(QDockWidget) if one.findChild(DockPanel) is not None]
        act = self._random.choice(("open", "open", "close", "resize", "float"))
        if act == "open":
            name = self._random.choice(PANELS)
            self.note(f"opens {name}")
            self.viewer.window.add_plugin_dock_widget("napari-caltomorph", name)
        elif act == "resize":
            size = self._random.choice(SIZES)
            self.note(f"resizes the window to {size}")
            self.window.resize(*size)
        elif docks:
            dock = self._random.choice(docks)
            self.note(f"{act}s {dock.windowTitle()}")
            (button,) = self._random.choices([*dock.findChildren(QWidget, "QTitleBarCloseButton"), dock])
            if act == "float":
                dock.setFloating(not dock.isFloating())
            elif button is dock:
                dock.close()
            else:
                self._click(button)

    def _layer(self) -> None:
        """Do something to a layer that napari's list can do, but its drags, which wait for a real mouse."""
        layers = list(self.viewer.layers)
        if not layers:
            return
        layer, place = self._random.choice(layers), self._random.randrange(len(layers))
        acts = "select", "hide", "rename", "move", "menu", "delete", "key"
        (act,) = self._random.choices(acts, weights=(6, 4, 1, 3, 3, 1, 3))
        self.note(f"{act}s the layer {layer.name}")
        qt_list = self.viewer.window._qt_viewer.layers
        index = qt_list.model().index(len(layers) - 1 - layers.index(layer), 0)
        row = qt_list.visualRect(index)
        if act == "rename":
            layer.name = self._random.choice(("renamed", "x <b>", layer.name + "'"))
        elif act == "move":
            self.viewer.layers.move(layers.index(layer), place)
        elif act == "hide":
            layer.visible = not layer.visible
        elif act == "menu":
            self._click(qt_list, row.center())
            QTest.mouseClick(qt_list.viewport(), Qt.MouseButton.RightButton, pos=row.center())
        else:
            self._click(qt_list, row.center())
            if act == "delete":
                QTest.mouseClick(self.viewer.window._qt_viewer.layerButtons.deleteButton, Qt.MouseButton.LeftButton)
            elif act == "key":
                self._press(self.viewer.window._qt_viewer.canvas.native)


_USEFUL = (
    QAbstractButton, QComboBox, QAbstractSlider, QAbstractSpinBox, QLineEdit, QTabBar, QAbstractItemView, QHeaderView,
    QLabel,
)  # fmt: skip


def _widgets(room: QWidget) -> list[QWidget]:
    """Return what can be used in a window or a part of it: known kinds, and ours that have no parts, such as plots."""
    found = []
    for one in room.findChildren(QWidget):
        is_leaf = not one.findChildren(QWidget)
        if not (one.isVisible() and one.isEnabled() and (isinstance(one, _USEFUL) or is_leaf)):
            continue
        if one.visibleRegion().isEmpty() or (isinstance(one, QLabel) and "href" not in one.text()):
            continue
        if isinstance(one.parentWidget(), QAbstractItemView):
            continue  # a view's own parts
        about = f"{one.objectName()} {one.toolTip()} {getattr(one, 'text', str)()}"
        if not _FORBIDDEN.search(about) and "QTitleBar" not in one.objectName():
            found.append(one)
    return found


def name_of(widget: QWidget) -> str:
    """Return which widget it is, as well as can be said."""
    text = getattr(widget, "text", lambda: "")
    about = widget.objectName() or str(text() if callable(text) else "")[:40] or widget.toolTip()[:40]
    parents = []
    parent = widget.parentWidget()
    while parent is not None and len(parents) < 2:
        if not type(parent).__module__.startswith("PyQt"):
            parents.append(type(parent).__name__)
        parent = parent.parentWidget()
    return f"{type(widget).__name__} {about!r} in {' < '.join(parents)}"
