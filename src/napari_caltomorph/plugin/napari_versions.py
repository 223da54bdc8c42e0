"""What differs between the versions of napari that the panels work with, 0.8 and 0.9: all of it is here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import napari
import numpy as np
from napari.layers import Layer
from npe2 import PluginManager
from psygnal import EventedModel
from pydantic import create_model
from qtpy.QtCore import QSettings

from napari_caltomorph.storage import home

_PLUGIN = "napari-caltomorph"


def camera_of(viewer: napari.viewer.Viewer) -> Any:
    """Return the camera of the picture."""
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def canvas_size(viewer: napari.viewer.Viewer) -> tuple[int, int]:
    """Return height and width of the picture in pixels."""
    if hasattr(viewer, "canvas"):
        height, width = viewer.canvas.size
    else:
        height, width = getattr(viewer, "__wrapped__", viewer)._canvas_size  # what plugins get is a proxy
    return height, width


def scale_bar_of(viewer: napari.viewer.Viewer) -> Any:
    """Return the scale bar of the picture."""
    return (viewer.canvas.overlays if hasattr(viewer, "canvas") else viewer).scale_bar


def fit_to(viewer: napari.viewer.Viewer, layers: Sequence[Layer]) -> None:
    """Bring some of the layers into view; napari 0.8 can only do that with all."""
    if hasattr(viewer, "canvas"):
        viewer.reset_view(layers=layers)
        return
    low = np.min([one.extent.world[0, -2:] for one in layers], axis=0)
    high = np.max([one.extent.world[1, -2:] for one in layers], axis=0)
    viewer.camera.center = (0.0, *(low + high) / 2)
    viewer.camera.zoom = 0.95 * np.min(np.array(canvas_size(viewer)) / np.maximum(high - low, 1e-9))


def plugin_preferences() -> Any:
    """Return the settings that the manifest names; assigning to one saves it, and `events` reports it."""
    if hasattr(napari.settings, "get_plugin_settings"):
        return napari.settings.get_plugin_settings(_PLUGIN).predict
    return kept_preferences()


@cache
def kept_preferences() -> Any:
    """Return the same settings from a file of ours: napari 0.8 keeps none for plugins, and has no page for them."""
    rows = PluginManager.instance().get_manifest(_PLUGIN).contributions.configurations["predict"].properties
    stored = QSettings(str(home("panels") / "predict.ini"), QSettings.Format.IniFormat)
    fields: dict[str, Any] = {name: (row.python_type, row.default) for name, row in rows.items()}
    model = create_model("Preferences", __base__=EventedModel, **fields)
    preferences = model(**{name: stored.value(name) for name in rows if stored.contains(name)})
    preferences.events.connect(lambda change: stored.setValue(change.signal.name, change.args[0]))
    return preferences
