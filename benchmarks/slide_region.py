"""A region of a slide scan in *Cut cells*: how long until its cells are found, and how long the window is held up.

    xvfb-run -a -s '-screen 0 1280x720x24' python benchmarks/slide_region.py FIELDS [--side 20000]

FIELDS is a folder of JPEG fields of one size (BCCD). They are laid side by side in one tiled TIFF, without compression
that loses anything. Prints seconds; docs/fields.md has one run.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from qtpy.QtWidgets import QApplication

TILE, ACROSS, PIXEL_UM = 512, 8, 0.0826


def tiles(block: NDArray[np.uint8], side: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the tiles of a square picture that repeats a block."""
    for top in range(0, side, TILE):
        for left in range(0, side, TILE):
            rows = np.arange(top, top + TILE) % block.shape[0]
            yield block[rows[:, None], np.arange(left, left + TILE) % block.shape[1]]


def longest_wait(until: Callable[[], bool], seconds: float) -> float:
    """Handle events until something is so, or for some seconds; return the longest time that one round took."""
    end, longest = time.monotonic() + seconds, 0.0
    while time.monotonic() < end and not until():
        start = time.monotonic()
        QApplication.processEvents()
        longest = max(longest, time.monotonic() - start)
        time.sleep(0.005)
    return longest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fields", type=Path)
    parser.add_argument("--side", type=int, default=20_000, help="pixels")
    asked = parser.parse_args()
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(asked.fields.glob("*.jpg"))[: ACROSS**2]]
    rows = [np.concatenate(pictures[i : i + ACROSS], axis=1) for i in range(0, len(pictures) - ACROSS + 1, ACROSS)]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["CALTOMORPH_HOME"] = str(Path(scratch) / "home")
        file = Path(scratch) / "region.tif"
        layout = {"shape": (asked.side, asked.side, 3), "tile": (TILE, TILE), "photometric": "rgb"}
        resolution = {"resolution": (10_000 / PIXEL_UM,) * 2, "resolutionunit": "CENTIMETER"}
        block = np.concatenate(rows)
        tifffile.imwrite(file, tiles(block, asked.side), dtype="uint8", compression="deflate", **layout, **resolution)
        viewer = napari.Viewer()
        _, panel = viewer.window.add_plugin_dock_widget("napari-caltomorph", "Cut cells")
        start = time.monotonic()
        panel.open([file])
        held = longest_wait(lambda: panel.view.field is not None, 1800)
        print(f"cells found and shown after {time.monotonic() - start:.0f} s; the window was held up for {held:.2f} s")
        print(f"{len(panel.view.cells)} cells")
        for zoom in (0.5, 2, 6, 10):
            viewer.scene.camera.zoom = zoom
            print(f"zoom {zoom}: held up for {longest_wait(lambda: False, 2):.2f} s")
        for place in (300, 600, 900):
            viewer.scene.camera.center = (0, place, place)
            print(f"moved to {place} micrometres: held up for {longest_wait(lambda: False, 2):.2f} s")
        panel.unbind()
        viewer.close()


if __name__ == "__main__":
    main()
