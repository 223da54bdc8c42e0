"""napari's own tools, used at random on the layers of a result, between what our panels do: the picture stays true."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from itertools import chain

import numpy as np
import pytest
from napari._app_model import get_app_model
from napari.layers import Image
from napari.utils.notifications import NotificationSeverity, notification_manager
from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication
from tests.plugin.conftest import CELLS, Predicted

from napari_caltomorph.errors import ExplanationRefused
from napari_caltomorph.plugin.gallery.gallery import Gallery
from napari_caltomorph.plugin.gallery.layers import ranked_order, show_smear
from napari_caltomorph.plugin.gallery.pictures import read_pictures
from napari_caltomorph.plugin.session.cell_columns import CellFilter
from napari_caltomorph.plugin.session.inspection import Inspection, Overlay

STEPS = 45
BUTTONS = ("delete_button", "addition_button", "select_button", "panzoom_button", "transform_button")
KEYS = ("Backspace", "Delete", "Home", "A", "H", "V", *"123456")
COMMANDS = ("duplicate", "toggle_visibility", "toggle_lock", "bounding_box", "split_rgb")


class Window:
    """A result in a viewer, and what a user may do to it."""

    def __init__(self, viewer: Viewer, qtbot: QtBot, predicted: Predicted, seed: int) -> None:
        self.viewer, self.qtbot, self.random = viewer, qtbot, random.Random(seed)
        self.smear, prediction, _ = predicted
        self.pictures = read_pictures(self.smear, ranked_order(self.smear, prediction))
        self.inspection = Inspection(prediction, self.smear)
        show_smear(viewer, self.smear)
        self.gallery = Gallery(viewer, self.inspection, self.pictures)

    @property
    def canvas(self):
        return self.viewer.window._qt_viewer.canvas.native

    def some(self) -> list[int]:
        return self.random.sample(range(CELLS), self.random.choice((0, 1, 1, 2, 9)))

    def layer(self):
        """One of the layers of the result, which is made active."""
        ours = [one for one in (self.gallery.points, self.gallery.image) if one in self.viewer.layers]
        layer = self.random.choice(ours or list(self.viewer.layers))
        self.viewer.layers.selection.active = layer
        return layer

    def click_a_tool(self) -> None:
        controls = self.viewer.window._qt_viewer.controls.widgets[self.layer()]
        for name in self.random.sample(BUTTONS, 2):
            if (button := getattr(controls, name, None)) is not None:
                self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def press_a_key(self) -> None:
        self.layer()
        chord, count = self.random.choice(("A", "C", "V", "Z")), len(self.gallery.points.data)
        for key, modifier in ((self.random.choice(KEYS), "NoModifier"), (chord, "ControlModifier")):
            self.qtbot.keyClick(self.canvas, getattr(Qt.Key, f"Key_{key}"), Qt.KeyboardModifier[modifier])
        assert len(self.gallery.points.data) == count

    def drag(self) -> None:
        places = [
            QPoint(self.random.randrange(self.canvas.width()), self.random.randrange(self.canvas.height()))
            for _ in range(3)
        ]
        modifier = self.random.choice((Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier))
        self.qtbot.mousePress(self.canvas, Qt.MouseButton.LeftButton, modifier, pos=places[0])
        for place in places[1:]:
            self.qtbot.mouseMove(self.canvas, place)
        self.qtbot.mouseRelease(self.canvas, Qt.MouseButton.LeftButton, modifier, pos=places[-1])

    def command(self) -> None:
        layer = self.layer()
        name = self.random.choice(COMMANDS if isinstance(layer, Image) and layer.rgb else COMMANDS[:-1])
        get_app_model().commands.execute_command(f"napari.layer.{name}").result()

    def reorder_or_rename(self) -> None:
        layer = self.layer()
        layer.name = f"{layer.name[:9]} renamed"
        self.viewer.layers.move(self.viewer.layers.index(layer), self.random.randrange(len(self.viewer.layers)))

    def hide(self) -> None:
        layer = self.layer()
        layer.visible = not layer.visible

    def delete(self) -> None:
        if self.random.random() < 0.5:
            self.viewer.layers.remove(self.layer())

    def script(self) -> None:
        """Edit the points by a script, which no lock prevents."""
        points = self.gallery.points
        points.selected_data = {self.random.randrange(len(points.data))}
        edit = self.random.choice((points.remove_selected, lambda: points.add([1, 1]), None, None, None))
        if edit is None:
            points.data = points.data[self.random.choice((0, 0, 1)) :]
        else:
            edit()

    def display(self) -> None:
        self.viewer.dims.ndisplay = 5 - self.viewer.dims.ndisplay
        QApplication.processEvents()
        self.viewer.dims.ndisplay = 2

    def select(self) -> None:
        cells = self.inspection.cells
        act = self.random.choice((cells.select, cells.mark, cells.leave_out, lambda some: cells.label("blast", some)))
        act(self.some())

    def edit(self) -> None:
        cells = self.inspection.cells
        self.random.choice((cells.undo, cells.redo, lambda: cells.step(1), lambda: cells.step(-4)))()

    def arrange(self) -> None:
        cells, gallery = self.inspection.cells, self.inspection.gallery
        column = self.random.choice(("attention", "cell", "label", "alone_class"))
        wanted = self.random.choice((CellFilter(), CellFilter(top=7), CellFilter(label="blast")))
        acts: tuple[Callable[[], object], ...] = (
            lambda: cells.sort_by(column, descending=True),
            lambda: cells.set_filter(wanted),
            lambda: gallery.show_cell_width(self.random.choice((0, 60, 200))),
            lambda: gallery.show_heat(not gallery.heat),
            lambda: gallery.show_legend(not gallery.legend),
            lambda: self.inspection.color_by(self.random.choice(("alone_class", "label"))),
            gallery.show,
        )
        self.random.choice(acts)()

    def one_at_a_time(self) -> None:
        self.gallery.show_as_stack(not self.gallery.has_stack)
        self.viewer.dims.set_current_step(0, self.random.randrange(CELLS))

    def overlay(self) -> None:
        self.inspection.gallery.add_overlay(Overlay(self.random.randrange(CELLS), "heat", np.ones((4, 4))))

    def step(self) -> str:
        napari = (self.click_a_tool, self.press_a_key, self.drag, self.command, self.reorder_or_rename, self.hide)
        rare = (self.delete, self.script, self.display)
        ours = (self.select, self.select, self.edit, self.arrange, self.arrange, self.one_at_a_time, self.overlay)
        act = self.random.choice((*napari, *napari, *rare, *ours, *ours))
        act()
        QApplication.processEvents()
        # Layers of a result go when events end.
        self.qtbot.waitUntil(lambda: not self.gallery._together._soon.isActive())
        return act.__name__

    def check(self) -> None:
        gallery, inspection, layers = self.gallery, self.inspection, self.viewer.layers
        image, points, cells = gallery.image, gallery.points, inspection.cells
        if not gallery.is_shown:
            assert not {image, points, *gallery._overlays.layers} & set(layers)
            assert not inspection.gallery.is_available
            gallery.close()
            self.gallery = Gallery(self.viewer, inspection, self.pictures)
            return
        ranks = inspection.bag.ranks - 1
        assert len(points.data) == CELLS
        assert set(np.flatnonzero(points.shown)) == set(ranks[cells.order])
        assert points.selected_data == set(ranks[list(cells.selected)])
        assert np.allclose(image.data_to_world((5, 9)), points.data_to_world((5, 9)))
        faded = points.face_color[:, 3] > 0.6
        assert set(np.flatnonzero(faded)) == set(ranks[list(cells.left_out)])
        for position, cell in enumerate(cells.order):
            assert np.allclose(points.data[ranks[cell]], gallery.grid.centers()[position])
        for cell in cells.order[:1]:
            top, left = gallery.grid.corner(0)
            shown = np.asarray(image.data)[top : top + 144, left : left + 144, :3]
            assert np.array_equal(shown, self.pictures.kept[ranks[cell]])
        assert gallery.has_stack or gallery.stack is None


@pytest.mark.parametrize("seed", [0])
def test_random_clicks_of_naparis_tools_leave_the_picture_true(
    make_napari_viewer: Callable[..., Viewer], qtbot: QtBot, predicted: Predicted, seed: int
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(600, 450)
    window = Window(viewer, qtbot, predicted, seed)
    notices: list[str] = []
    notification_manager.notification_ready.connect(
        lambda notice: notices.append(notice.message) if notice.severity > NotificationSeverity.INFO else None
    )
    done = []
    for _ in range(STEPS):
        try:
            done.append(window.step())
        except ExplanationRefused:
            continue
        window.check()
        assert not notices, done
        for copy in list(chain(viewer.layers))[6:]:
            viewer.layers.remove(copy)
    window.gallery.close()


def test_the_cells_stay_flat_and_other_layers_are_not_kept_from_3d(make_napari_viewer, qtbot, predicted):
    viewer = make_napari_viewer()
    viewer.dims.ndisplay = 3
    window = Window(viewer, qtbot, predicted, seed=0)
    assert viewer.dims.ndisplay == 2
    buttons = viewer.window._qt_viewer.viewerButtons
    seen = []
    notification_manager.notification_ready.connect(seen.append)
    qtbot.mouseClick(buttons.ndisplayButton, Qt.MouseButton.LeftButton)
    assert (viewer.dims.ndisplay, buttons.ndisplayButton.isChecked()) == (2, False)
    assert "3D" in seen[-1].message
    viewer.dims.roll()
    assert viewer.dims.order == tuple(range(viewer.dims.ndim))
    assert window.gallery.is_shown
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not window.gallery.is_shown)
    qtbot.mouseClick(buttons.ndisplayButton, Qt.MouseButton.LeftButton)
    assert viewer.dims.ndisplay == 3


def test_layers_of_a_result_go_together_when_no_panel_shows_it_and_while_napari_removes_others(
    make_napari_viewer, qtbot, predicted
):
    viewer = make_napari_viewer()
    window = Window(viewer, qtbot, predicted, seed=0)
    layers = window.gallery.image, window.gallery.points
    window.gallery.close()  # the panel shows another smear, or is deleted
    window.gallery = None
    gc.collect()
    viewer.layers.remove(layers[1])
    qtbot.waitUntil(lambda: layers[0] not in viewer.layers)
    window = Window(viewer, qtbot, predicted, seed=0)
    viewer.layers.events.removed.connect(lambda event: QApplication.processEvents())
    viewer.layers.select_all()
    viewer.layers.remove_selected()
    qtbot.waitUntil(lambda: not window.gallery.is_shown)
    assert not list(viewer.layers)
