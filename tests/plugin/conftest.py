"""A real napari window with the panel in it, and a small synthetic smear to predict."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import napari.settings
import numpy as np
import pytest
from napari.layers import Points
from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from tests.plugin.gui import run_task

from napari_caltomorph.diagnosis import Prediction, PredictOptions, Predictor
from napari_caltomorph.encoding.torch_loading import load_torch
from napari_caltomorph.plugin.napari_versions import kept_preferences
from napari_caltomorph.plugin.predict.panel import PredictPanel
from napari_caltomorph.plugin.widgets.tasks import Task
from napari_caltomorph.smear import Smear, read_smear
from napari_caltomorph.synthetic import synthesize_patient, write_smear

# torch's threads and the window's wait for each other; see tests/cli/conftest.py.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Other tests of the same run may import torch after a window was drawn.
load_torch()

CELLS = 40
RANKED, SQUARES = "patient_7 ranked cells", "patient_7 predictions"
OpenPanel = Callable[[], tuple[Viewer, PredictPanel]]
OpenWidget = Callable[[str], tuple[Viewer, Any]]
Predicted = tuple[Smear, Prediction, Predictor]


@pytest.fixture(scope="session")
def drawn_smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An acute leukemia of 40 cells, drawn once."""
    folder = tmp_path_factory.mktemp("drawn") / "patient_7"
    write_smear(synthesize_patient("aml", cells=CELLS, seed=7), folder)
    return folder


@pytest.fixture(scope="session")
def predicted(drawn_smear: Path, tmp_path_factory: pytest.TempPathFactory) -> Predicted:
    """The drawn smear, its prediction, and the predictor, which keeps the features in memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CALTOMORPH_HOME", str(tmp_path_factory.mktemp("home")))
        predictor = Predictor(PredictOptions(model="demo"))
        smear, prediction = predictor.predict(read_smear(drawn_smear))
    return smear, prediction, predictor


@pytest.fixture
def export(drawn_smear: Path, tmp_path: Path) -> Path:
    """A copy of `drawn_smear` that a test may change."""
    return Path(shutil.copytree(drawn_smear, tmp_path / "patient_7"))


def read_preferences(folder: Path) -> None:
    """Read the preferences from a folder, as a new process does."""
    kept_preferences.cache_clear()
    if hasattr(napari.settings, "get_plugin_settings"):  # not in napari 0.8, where they are in the folder `home`
        napari.settings._clear_plugin_settings_cache()
        napari.settings.get_plugin_settings(path_dir=folder)


@pytest.fixture(autouse=True)
def own_preferences(tmp_path: Path) -> Iterator[None]:
    """Preferences of this test alone."""
    read_preferences(tmp_path / "preferences")
    yield
    kept_preferences.cache_clear()


@pytest.fixture
def open_widget(make_napari_viewer: Callable[..., Viewer], qtbot: QtBot) -> Iterator[OpenWidget]:
    """``open_widget("Train ensemble")``: a shown window of 1280 x 720, and one of our panels in a narrow dock of it."""
    # Closing a window collects garbage several times: what lives already need not be searched again.
    gc.collect()
    gc.freeze()
    panels = []

    def opened(name: str) -> tuple[Viewer, Any]:
        viewer = make_napari_viewer(show=True, strict_qt=True)
        viewer.window.resize(1280, 720)
        dock, panel = viewer.window.add_plugin_dock_widget("napari-caltomorph", name)
        viewer.window._qt_window.resizeDocks([dock], [360], Qt.Orientation.Horizontal)
        panels.append(panel)
        qtbot.waitUntil(panel.isVisible)
        return viewer, panel

    yield opened
    for panel in panels:
        panel.unbind()
    Task.await_workers(60_000)
    qtbot.wait(50)


@pytest.fixture
def open_panel(open_widget: OpenWidget) -> OpenPanel:
    """``open_panel()``: the *Predict patient* panel in a window."""
    return partial(open_widget, "Predict patient")


def written_ranks(squares: Points) -> list[str]:
    """Return the texts below the cells of the gallery."""
    return [text for text in np.atleast_1d(squares.text.values) if text] if squares.text.visible else []


def predict(qtbot: QtBot, panel: PredictPanel) -> Prediction:
    """Click *Predict patient*, and return the result."""
    message = run_task(qtbot, panel.run)
    assert panel.results.prediction is not None, message
    return panel.results.prediction
