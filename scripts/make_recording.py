"""Make the short recording of README.md: a smear is opened, predicted, questioned and reported in a real window.

xvfb-run -a -s '-screen 0 1280x720x24' python scripts/make_recording.py docs/images/recording.webp

Frames are pictures of the whole screen, so that menus are in them, with a drawn pointer and a caption below. The steps
wait for the window, not for the clock, so each recording has the same frames.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import napari
import numpy as np
from make_screenshots import print_pages
from matplotlib.font_manager import findfont
from napari.layers import Points
from napari.viewer import Viewer
from PIL import Image, ImageDraw, ImageFont
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtGui import QDesktopServices, QImage
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QFileDialog, QMenu, QWidget

from napari_caltomorph.encoding.torch_loading import load_torch
from napari_caltomorph.plugin.demo_window import open_viewer, process_events
from napari_caltomorph.plugin.session.session import session_of
from napari_caltomorph.plugin.widgets.dock_panel import open_panel
from napari_caltomorph.plugin.widgets.task_row import TaskRow
from napari_caltomorph.synthetic import synthesize_patient, write_smear

SIZE = (1280, 720)
NO_KEY = Qt.KeyboardModifier.NoModifier
_STRIP = 52
_MOVE_MS, _MOVES = 45, 9
_POINTER = ((0, 0), (0, 22), (5, 17), (9, 26), (13, 24), (9, 16), (16, 16))


class Recording:
    """Frames of the screen; one in which nothing changes makes the one before it longer."""

    def __init__(self) -> None:
        self.frames: list[Image.Image] = []
        self.durations: list[int] = []
        self.caption = ""
        self.pointer = (640, 640)
        self._font = ImageFont.truetype(findfont("DejaVu Sans"), 22)
        self._screen = Image.new("RGB", SIZE)

    def show(self, milliseconds: int, caption: str | None = None) -> None:
        """Record what is on the screen now, for so long."""
        self.caption = self.caption if caption is None else caption
        process_events(0.4)
        self._screen = _grab()
        self._add(milliseconds)

    def click(self, widget: QWidget, place: QPoint | None = None, *, choose: str = "", modifier: Any = NO_KEY) -> None:
        """Move the pointer to a widget and click it there; from a menu that opens, `choose` an entry."""
        place = place or widget.rect().center()
        self._move(widget.mapToGlobal(place))
        if choose:
            QTimer.singleShot(400, lambda: self._choose(choose))
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton, modifier, place)

    def press(self, widget: QWidget, key: Qt.Key) -> None:
        widget.setFocus()
        QTest.keyClick(widget, key)

    def show_page(self, page: Image.Image, milliseconds: int, caption: str) -> None:
        """Record a page of paper over the window."""
        page = page.copy()
        page.thumbnail((SIZE[0], 2 * SIZE[1]))
        over = Image.blend(self._screen, Image.new("RGB", SIZE), 0.6)
        page = page.crop((0, 0, page.width, SIZE[1] - 20))
        over.paste(page, ((SIZE[0] - page.width) // 2, 20))
        self._screen, self.caption = over, caption
        self._add(milliseconds)

    def save(self, path: Path) -> None:
        first, *others = self.frames
        first.save(path, save_all=True, append_images=others, duration=self.durations, loop=0, quality=62, method=4)
        print(
            f"{path}: {len(self.frames)} frames, {sum(self.durations) / 1000:.0f} s, {path.stat().st_size / 1e6:.1f} MB"
        )

    def _choose(self, text: str) -> None:
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        self.show(300)
        action = next(one for one in menu.actions() if text in one.text())
        self._move(menu.mapToGlobal(menu.actionGeometry(action).center()))
        menu.setActiveAction(action)
        self.show(500)
        QTest.mouseClick(menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(action).center())

    def _move(self, target: QPoint) -> None:
        start, end = np.array(self.pointer), np.array((target.x(), target.y()))
        for part in np.linspace(0, 1, _MOVES + 1)[1:]:
            eased = part * part * (3 - 2 * part)
            self.pointer = tuple(np.round(start + eased * (end - start)).astype(int).tolist())
            self._add(_MOVE_MS)
        self._add(180)
        self._add(120, pressed=True)

    def _add(self, milliseconds: int, *, pressed: bool = False) -> None:
        frame = Image.new("RGB", (SIZE[0], SIZE[1] + _STRIP), "#14161a")
        frame.paste(self._screen)
        draw = ImageDraw.Draw(frame)
        draw.text((SIZE[0] / 2, SIZE[1] + _STRIP / 2), self.caption, "white", self._font, anchor="mm")
        x, y = self.pointer
        if pressed:
            draw.ellipse((x - 16, y - 16, x + 16, y + 16), outline="#ffd24a", width=4)
        draw.polygon([(x + dx, y + dy) for dx, dy in _POINTER], fill="white", outline="black")
        if self.frames and self.frames[-1].tobytes() == frame.tobytes():
            self.durations[-1] += milliseconds
        else:
            self.frames.append(frame)
            self.durations.append(milliseconds)


def _grab() -> Image.Image:
    """Return the screen, with menus."""
    screen = QApplication.primaryScreen().grabWindow(0).toImage().convertToFormat(QImage.Format.Format_RGB888)
    pixels = np.frombuffer(screen.constBits().asarray(screen.sizeInBytes()), np.uint8)
    rows = pixels.reshape(screen.height(), screen.bytesPerLine())[:, : 3 * screen.width()]
    return Image.fromarray(rows.reshape(screen.height(), screen.width(), 3)).crop((0, 0, *SIZE))


def main(out: Path) -> None:
    load_torch()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["CALTOMORPH_HOME"] = str(folder / "home")
        napari.settings.get_plugin_settings(path_dir=folder / "preferences")  # not those of who runs this
        smear = folder / "patient_024"
        write_smear(synthesize_patient("aml", cells=120, seed=24), smear)
        report = folder / "patient_024_report.html"
        QFileDialog.getExistingDirectory = staticmethod(lambda *_: str(smear))
        QFileDialog.getSaveFileName = staticmethod(lambda *_: (str(report), ""))
        QDesktopServices.openUrl = staticmethod(lambda *_: True)
        recording = Recording()
        record(recording, report)
        recording.save(out)


def record(recording: Recording, report: Path) -> None:
    """Do what a user does."""
    viewer, predict = open_viewer("napari")
    viewer.theme = "dark"
    viewer.window._qt_window.move(0, 0)
    predict.models.choose("demo")
    canvas = viewer.window._qt_viewer.canvas.native
    recording.show(1500, "From a blood smear to disease classes, and to the cells behind them")

    recording.caption = "Open the folder of one patient"
    recording.click(_button(predict.smears, "Open"), choose="Folder")
    process_events(until=lambda: "usable" in predict.smears.text or "left out" in predict.smears.text)
    recording.show(1200)

    recording.caption = "Predict: five models vote on eight disease classes"
    _run(recording, predict.run)
    recording.show(2300, "120 cells, ranked by how much each mattered")

    recording.caption = "Ask why"
    recording.click(_button(predict, "Inspect"))
    process_events(0.5)
    inspect = open_panel(viewer, "Inspect cells")
    _show_tab(recording, inspect, "Why")
    why = inspect.tab("Why")
    _run(recording, why.contribution.run)
    recording.show(2500, "Which cells support the class, and which oppose it")

    recording.caption = "What if the cells that support it most were missing?"
    recording.click(why.sort)
    recording.show(600)
    cells = inspect.inspection.cells
    for place, modifier in ((0, NO_KEY), (11, Qt.KeyboardModifier.ShiftModifier)):
        recording.click(canvas, _place_of(viewer, canvas, int(cells.order[place])), modifier=modifier)
        recording.show(400)
    recording.press(canvas, Qt.Key.Key_Delete)
    _show_tab(recording, inspect, "What if")
    process_events(until=lambda: inspect.inspection.is_result_current)
    recording.show(2500, "Left out: the model predicts again without them")

    recording.caption = "Report"
    predict = open_panel(viewer, "Predict patient")
    recording.show(600)
    recording.click(_button(predict, "Report"))
    process_events(until=lambda: not predict.run.is_busy)
    recording.show(600)
    pages = print_pages(report, report.parent)
    for page in pages[:1]:
        recording.show_page(Image.open(page).convert("RGB"), 2800, "A report to print. Research use only.")
    viewer.close()


def _button(parent: QWidget, text: str) -> QAbstractButton:
    """Return the visible button whose text begins so."""
    buttons = parent.findChildren(QAbstractButton)
    return next(one for one in buttons if one.isVisible() and one.text().startswith(text))


def _show_tab(recording: Recording, inspect: Any, title: str) -> None:
    bar = inspect.tabs.tabBar()
    place = next(i for i in range(bar.count()) if bar.tabText(i) == title)
    recording.click(bar, bar.tabRect(place).center())
    recording.show(500)


def _run(recording: Recording, row: TaskRow) -> None:
    """Click the button of a task, and wait until it has ended."""
    recording.click(row.button)
    process_events(until=lambda: not row.is_busy)


def _place_of(viewer: Viewer, canvas: QWidget, cell: int) -> QPoint:
    """Return where a cell is on the canvas."""
    points = next(one for one in viewer.layers if isinstance(one, Points))
    bag = session_of(canvas).inspection.bag
    world = points.data_to_world(points.data[bag.ranks[cell] - 1])
    camera = viewer.scene.camera
    offset = (np.array(world[-2:]) - np.array(camera.center[-2:])) * camera.zoom / canvas.devicePixelRatioF()
    return QPoint(round(canvas.width() / 2 + offset[1]), round(canvas.height() / 2 + offset[0]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
