"""What the panel remembers between sessions: the plugin's page in napari's Preferences, and nowhere else."""

from __future__ import annotations

from typing import Any

from napari.settings import get_plugin_settings


def preferences() -> Any:
    """Return the settings of *Predict patient*; assigning to a field saves it."""
    return get_plugin_settings("napari-caltomorph").predict
