"""Ask for a file or a folder, beginning where the user was last."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_caltomorph.plugin.widgets.settings import preferences


def ask_file(parent: QWidget, title: str, kinds: str) -> Path | None:
    """Return a file to open; None when the user thinks better of it."""
    path, _ = QFileDialog.getOpenFileName(parent, title, preferences().folder, kinds)
    return Path(path) if path else None


def ask_new_file(parent: QWidget, title: str, name: str, kinds: str) -> Path | None:
    """Return a file to write, of this name unless the user gives another."""
    path, _ = QFileDialog.getSaveFileName(parent, title, str(Path(preferences().folder) / name), kinds)
    return Path(path) if path else None


def ask_folder(parent: QWidget, title: str) -> Path | None:
    """Return a folder."""
    path = QFileDialog.getExistingDirectory(parent, title, preferences().folder)
    return Path(path) if path else None
