"""The window that ``caltomorph demo`` opens: a smear with its prediction, as a user would see it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_caltomorph.diagnosis.prediction import FILE_NAME, Prediction
from napari_caltomorph.differential import read_labels
from napari_caltomorph.encoding.options import EncodeOptions
from napari_caltomorph.plugin.session.session import session_of
from napari_caltomorph.plugin.widgets.dock_panel import open_panel
from napari_caltomorph.smear import read_smear
from napari_caltomorph.storage import replacing

_SIZE = (1280, 720)
_DOCK_WIDTH = 380


def show_demo(prediction_folder: Path, screenshot: Path | None, keep_open: bool) -> None:
    """Open napari with a saved prediction, its layers and the panel; save a picture of it, or wait for the user."""
    viewer, panel = open_viewer("napari-caltomorph demo (synthetic)")
    panel.smears.open(Prediction.load(prediction_folder).smear_path or prediction_folder)
    panel.open_prediction(prediction_folder / FILE_NAME)
    process_events(until=lambda: not panel.run.is_busy)
    process_events(0.5)
    if screenshot is not None:
        with replacing(screenshot) as part:
            Image.fromarray(viewer.window.screenshot(canvas_only=False, flash=False)).save(part, "PNG")
    if keep_open:
        napari.run()
    else:
        viewer.close()


def show_differential(probe: str, labels: str, compute: str, *smear: str) -> None:
    """Open napari with the cells of a smear by type, and wait for the user; see `cli.window.show_differential`."""
    _, panel = open_viewer("napari-caltomorph")
    options = EncodeOptions.model_validate_json(compute)
    panel.smears.show_smear(read_smear(smear))
    session_of(panel).differential.add_labels(read_labels(labels))
    panel.count_cells(probe, options)
    napari.run()


def open_viewer(title: str = "napari", widget: str = "Predict patient") -> tuple[napari.Viewer, Any]:
    """Open napari with one of our panels, in the window size that it is designed for."""
    viewer = napari.Viewer(title=title)
    panel = open_panel(viewer, widget)
    window = panel.window()
    window.resize(*_SIZE)
    window.resizeDocks([panel.parentWidget()], [_DOCK_WIDTH], Qt.Orientation.Horizontal)
    return viewer, panel


def process_events(seconds: float = 0.0, *, until: Callable[[], bool] = lambda: True) -> None:
    """Process events for some time, and until a condition is true (at most two minutes)."""
    start = time.monotonic()
    while (elapsed := time.monotonic() - start) < seconds or not until():
        QApplication.processEvents()
        time.sleep(0.01)
        if elapsed > 120:
            raise TimeoutError("the window was still busy after two minutes")
