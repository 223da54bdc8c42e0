"""What the panel remembers between sessions: the plugin's page in napari's Preferences, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.settings import get_plugin_settings

from napari_caltomorph.diagnose import PredictOptions


def preferences() -> Any:
    """Return the settings of *Predict patient*; assigning to a field saves it."""
    return get_plugin_settings("napari-caltomorph").predict


def predict_options(model: str, device: str) -> PredictOptions:
    """Make the options of a prediction from the panel's choices and the Preferences page."""
    stored = preferences()
    weights = Path(stored.weights) if stored.weights else None
    return PredictOptions(model=model, device=device, precision=stored.precision, weights=weights)
