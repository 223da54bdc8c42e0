"""What the panels remember between sessions.

What a person may want to look up or change stands on the plugin's page in napari's Preferences. What *Open cohort*,
*Train ensemble* and *Evaluate ensemble* were used with last is no preference, and stands in files of their own.
"""

from __future__ import annotations

from typing import Any

from napari.settings import get_plugin_settings
from qtpy.QtCore import QSettings

from napari_caltomorph.storage import home


def preferences() -> Any:
    """Return the settings of *Predict patient*; assigning to a field saves it."""
    return get_plugin_settings("napari-caltomorph").predict


def last_cohort() -> QSettings:
    """Return ``place``, ``taxonomy``, ``encoder`` and ``features`` of the last cohort; `setValue` saves one."""
    return QSettings(str(home("panels") / "open_cohort.ini"), QSettings.Format.IniFormat)


def last_training() -> QSettings:
    """Return ``model``, ``options`` and ``cohort_options`` (JSON) of the last training; `setValue` saves one."""
    return QSettings(str(home("panels") / "train.ini"), QSettings.Format.IniFormat)


def last_evaluation() -> QSettings:
    """Return ``options``, ``cohort_options``, ``audit`` (JSON) of the last evaluation; `setValue` saves one."""
    return QSettings(str(home("panels") / "evaluate.ini"), QSettings.Format.IniFormat)
