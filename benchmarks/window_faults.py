"""What must hold in a window whatever a user does, and what went wrong in it."""

from __future__ import annotations

import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import numpy as np
from napari.layers import Image, Layer, Points
from napari.utils.notifications import NotificationSeverity, notification_manager
from napari.viewer import Viewer
from qtpy.QtCore import qInstallMessageHandler

from napari_caltomorph.plugin.gallery.layers import PREDICTION_KEY, SMEAR_KEY, ranked_order
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.session.session import session_of

_OF_QT_THAT_IS_FINE = re.compile(r"propagateSizeHints|doesn't have .* font|This plugin|Mouse event|XKB|OpenType", re.I)
_NAMES = "{0} ranked cells", "{0} predictions", "{0} cells", "{0} cell types", "{0} cells by rank"


def is_of_result(layer: Layer) -> bool:
    """Whether a layer that is being added shows a result, and is no copy that the user made of such a layer."""
    bag = layer.metadata.get(PREDICTION_KEY)
    name = re.sub(r" \[\d+\]$", "", layer.name)
    is_split = isinstance(layer, Image) and not layer.rgb  # napari splits colours into layers of the same name
    return bag is not None and not is_split and name in {one.format(bag.patient_id) for one in _NAMES}


class Faults(list[str]):
    """Everything that went wrong: exceptions of all threads, notifications of errors, warnings of Qt."""

    @contextmanager
    def watching(self) -> Iterator[Faults]:
        """Collect them from now on; one that was reported twice is collected once."""
        hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
        sys.excepthook = lambda *about: self._add("exception", "".join(traceback.format_exception(*about)))
        threading.excepthook = lambda args: self._add(
            f"exception in {args.thread}", "".join(traceback.format_exception(args.exc_value))
        )
        sys.unraisablehook = lambda args: self._add(
            "unraisable", f"{args.object!r}\n" + "".join(traceback.format_exception(args.exc_value))
        )
        notification_manager.notification_ready.connect(self._on_notification)
        before = qInstallMessageHandler(self._on_qt)
        try:
            yield self
        finally:
            qInstallMessageHandler(before)
            notification_manager.notification_ready.disconnect(self._on_notification)
            sys.excepthook, threading.excepthook, sys.unraisablehook = hooks

    def _add(self, kind: str, text: str) -> None:
        self.append(f"{kind}: {text}")

    def _on_notification(self, notification: Any) -> None:
        if notification.severity >= NotificationSeverity.ERROR:
            error = getattr(notification, "exception", None)
            about = "" if error is None else "\n" + "".join(traceback.format_exception(error))
            self._add("notification", f"{notification.message}{about}")

    def _on_qt(self, kind: object, context: object, message: str) -> None:
        if not _OF_QT_THAT_IS_FINE.search(message):
            self._add("Qt", message)


def check(viewer: Viewer, ours: WeakSet[Layer]) -> list[str]:
    """Return what does not hold in a window: `ours` are the layers that results were shown with."""
    wrong = []
    layers = [layer for layer in viewer.layers if layer in ours]
    bags = {id(layer.metadata[PREDICTION_KEY]): layer.metadata[PREDICTION_KEY] for layer in layers}
    for bag in bags.values():
        of_bag = [layer for layer in layers if layer.metadata[PREDICTION_KEY] is bag]
        kinds = {type(layer) for layer in of_bag}
        if kinds != {Image, Points}:
            wrong.append(f"orphan: of {bag.patient_id} only {[layer.name for layer in of_bag]} are there")
        wrong += [
            f"{len(layer.data)} squares for {len(bag.cells)} cells in {layer.name}"
            for layer in of_bag
            if isinstance(layer, Points) and len(layer.data) != len(bag.cells)
        ]
    overlays = [layer.name for layer in viewer.layers if layer.name.startswith("encoder attention")]
    if overlays and not bags:
        wrong.append(f"orphan: {overlays} without a result")
    inspection = session_of(viewer.window._qt_window).inspection
    for squares in layers:
        if isinstance(squares, Points) and inspection is not None and not wrong:
            pictures = [one for one in layers if isinstance(one, Image) and one.ndim == 2]
            picture = next((one for one in pictures if _bag(one) is _bag(squares)), None)
            if picture is not None and _bag(squares) is inspection.bag:
                wrong += _squares_are_on_their_cells(inspection, picture, squares)
    return wrong


def _bag(layer: Layer) -> object:
    return layer.metadata[PREDICTION_KEY]


def _squares_are_on_their_cells(inspection: Inspection, picture: Image, squares: Points) -> list[str]:
    """Compare what is below some squares with the images of their cells; selected and shaded ones with the state."""
    bag, cells, smear = inspection.bag, inspection.cells, squares.metadata[SMEAR_KEY]
    wrong = []
    selected = {int(bag.order[point]) for point in squares.selected_data}
    if selected != set(cells.selected):
        wrong.append(f"selected squares {sorted(selected)[:5]}, selected cells {sorted(cells.selected)[:5]}")
    shown = {
        int(bag.order[point]) for point in np.flatnonzero(np.asarray(squares.shown) & (np.ravel(squares.size) > 0))
    }
    if shown != set(cells.order.tolist()):
        wrong.append(f"{len(shown)} squares are shown, {len(cells.order)} cells")
    if len(cells.left_out) and len(cells.left_out) < len(cells):
        faces = np.asarray(squares.face_color)[bag.ranks - 1]
        out = np.isin(np.arange(len(cells)), list(cells.left_out))
        if faces[out, 3].min() <= 0.5 or faces[~out, 3].max() > 0.5:
            wrong.append("the shading of left-out cells is on other cells")
    pixels = picture.data[0] if picture.multiscale else picture.data
    in_smear = ranked_order(smear, bag)
    for cell in cells.order[:: max(1, len(cells.order) // 3)]:
        rank = int(bag.ranks[cell]) - 1
        row, column = np.round(squares.data[rank]).astype(int)
        here = np.asarray(pixels[row - 4 : row + 4, column - 4 : column + 4, :3])
        image = smear.image(int(in_smear[rank]))
        top, left = image.shape[0] // 2, image.shape[1] // 2
        around = image[max(0, top - 9) : top + 9, max(0, left - 9) : left + 9]
        if here.shape != (8, 8, 3) or not _contains(around, here):
            wrong.append(f"the square of {bag.cells[cell]} is not on its cell: {here.shape} {around.shape}")
    return wrong


def _contains(large: np.ndarray, small: np.ndarray) -> bool:
    windows = np.lib.stride_tricks.sliding_window_view(large, small.shape)
    return bool((windows == small).all(axis=(-3, -2, -1)).any())
