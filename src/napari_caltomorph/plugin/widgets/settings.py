"""What the panels remember between sessions, and the file dialogs, which open in the folder that was used last.

What a user may want to look up or change is on the plugin's page in napari's Preferences. The last inputs of
*Open cohort*, *Train ensemble*, *Compare*, *Evaluate ensemble*, *Validate* and *Monitor* are no preferences; each panel
has a file of its own for them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSettings
from qtpy.QtWidgets import QFileDialog, QLineEdit, QWidget

from napari_caltomorph.plugin.napari_versions import plugin_preferences
from napari_caltomorph.storage import home

COHORT_FILES = "Cohorts (*.zip *.csv *.tsv *.xlsx *.parquet *.json)"


def preferences() -> Any:
    """Return the settings of *Predict patient*; assigning to a field saves it."""
    return plugin_preferences()


def last_cohort() -> QSettings:
    """Return ``place``, ``taxonomy``, ``encoder``, ``features`` and ``encode_options`` (JSON) of the last cohort."""
    return _settings("open_cohort")


def last_training() -> QSettings:
    """Return ``model``, ``options`` and ``cohort_options`` (JSON) of the last training; `setValue` saves one."""
    return _settings("train")


def last_comparison() -> QSettings:
    """Return ``comparison``, ``options`` and ``cohort_options`` (JSON) and ``out`` of the last comparison."""
    return _settings("compare")


def last_evaluation() -> QSettings:
    """Return ``options`` and ``cohort_options`` (JSON) of the last evaluation; `setValue` saves one."""
    return _settings("evaluate")


def last_validation() -> QSettings:
    """Return ``options`` and ``cohort_options`` (JSON) and ``out`` of the last validation; `setValue` saves one."""
    return _settings("validate")


def last_monitoring() -> QSettings:
    """Return ``folder``, that of the predictions that were monitored last; `setValue` saves one."""
    return _settings("monitor")


def choose_file(parent: QWidget, title: str, kinds: str, start: QLineEdit | None = None) -> Path | None:
    """Return an existing file that the user chooses, from the path in `start` on; None when it is cancelled."""
    path, _ = QFileDialog.getOpenFileName(parent, title, _start(start), kinds)
    return Path(path) if path else None


def choose_new_file(parent: QWidget, title: str, name: str, kinds: str) -> Path | None:
    """Return a file to write, called `name` unless the user changes it; None when the dialog is cancelled."""
    path, _ = QFileDialog.getSaveFileName(parent, title, str(Path(preferences().folder) / name), kinds)
    return Path(path) if path else None


def choose_folder(parent: QWidget, title: str, start: QLineEdit | None = None) -> Path | None:
    """Return a folder that the user chooses, from the path in `start` on; None when the dialog is cancelled."""
    path = QFileDialog.getExistingDirectory(parent, title, _start(start))
    return Path(path) if path else None


def _start(edit: QLineEdit | None) -> str:
    return str((edit and edit.text().strip()) or preferences().folder)


def when_chosen(then: Callable[[Path], object], choose: Callable[..., Path | None], *about: Any) -> Callable[..., None]:
    """Return a slot that calls `then` with the path from ``choose(*about)``, unless the dialog is cancelled."""

    def slot(*_: object) -> None:
        if path := choose(*about):
            then(path)

    return slot


def _settings(panel: str) -> QSettings:
    return QSettings(str(home("panels") / f"{panel}.ini"), QSettings.Format.IniFormat)
