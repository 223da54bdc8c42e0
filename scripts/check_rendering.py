"""Look for cut texts, overlaps and flat plots in every picture of `make_screenshots.py`, at the sizes of real screens.

QT_SCALE_FACTOR=1.5 xvfb-run -a -s '-screen 0 2560x1440x24' python scripts/check_rendering.py [PICTURES]

Each picture is also kept in the folder PICTURES at each size in the light theme, to be looked at. It takes minutes;
the same checks of fewer states are tests (`tests/plugin/test_rendering.py`). The exit status is 1 if there are faults.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import make_screenshots
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.plugin.rendering import faults_of

from napari_caltomorph.plugin.demo_window import process_events
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel

SIZES = ((1100, 700), (1280, 720), (1600, 1000), (2560, 1440))
THEMES = ("dark", "light")
faults: dict[str, list[str]] = {}
"""Fault -> the pictures, sizes and themes in which it is seen."""


def check(what: Viewer | QWidget, path: Path) -> None:
    """Check the panels in sight at each size and theme, and leave the window as it was."""
    process_events(0.6)
    if isinstance(what, QWidget):
        note(what, path.stem)
        return
    window, theme = what.window._qt_window, what.theme
    before = window.size()
    for size in SIZES:
        window.resize(*size)
        panels = [one for one in window.findChildren(DockPanel) if not one.visibleRegion().isEmpty()]
        window.resizeDocks([one.parentWidget() for one in panels], [360] * len(panels), Qt.Orientation.Horizontal)
        for what.theme in THEMES:
            process_events(0.2)
            for panel in panels:
                note(panel, f"{path.stem} {size[0]} x {size[1]} {what.theme}")
        what.window.screenshot(str(path.with_stem(f"{path.stem}_{size[0]}")), canvas_only=False, flash=False)
    what.theme = theme
    window.resize(before)
    process_events(0.2)


def note(panel: QWidget, where: str) -> None:
    for fault in faults_of(panel):
        if fault not in faults:
            print(f"{where}: {fault}", flush=True)
        faults.setdefault(fault, []).append(where)


if __name__ == "__main__":
    make_screenshots.save = check
    with tempfile.TemporaryDirectory() as pictures:
        make_screenshots.main(Path(sys.argv[1] if len(sys.argv) > 1 else pictures))
    print(f"{len(faults)} faults")
    sys.exit(bool(faults))
