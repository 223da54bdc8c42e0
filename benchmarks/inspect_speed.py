"""How quickly *Inspect cells* reacts: a real window, on cells that repeat a few synthetic ones.

    xvfb-run -a -s '-screen 0 1280x720x24' python benchmarks/inspect_speed.py [--cells 500 20000]

A time ends when the window is drawn; in brackets the processor's time, which depends less on other programs. Attention,
responses, labels and features are random numbers: speed does not depend on them. Prints Markdown tables;
docs/benchmarks.md has them.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from napari_caltomorph.encoding.torch_loading import load_torch

load_torch()

from speed import machine, paper_size_ensemble  # noqa: E402

from napari_caltomorph.diagnosis import Ensemble, Prediction, installed_models  # noqa: E402
from napari_caltomorph.encoding import Features  # noqa: E402
from napari_caltomorph.explanation.cell_map import pca  # noqa: E402
from napari_caltomorph.explanation.changed_bags import what_if  # noqa: E402
from napari_caltomorph.plugin.demo_window import open_viewer, process_events  # noqa: E402
from napari_caltomorph.plugin.gallery.gallery import Gallery  # noqa: E402
from napari_caltomorph.plugin.gallery.layers import ranked_order  # noqa: E402
from napari_caltomorph.plugin.gallery.pictures import read_pictures  # noqa: E402
from napari_caltomorph.plugin.session.cell_columns import CellFilter  # noqa: E402
from napari_caltomorph.plugin.session.inspection import Inspection  # noqa: E402
from napari_caltomorph.plugin.session.session import session_of  # noqa: E402
from napari_caltomorph.smear import Grade, Smear, smear_from_array  # noqa: E402
from napari_caltomorph.synthetic import synthesize_patient, write_smear  # noqa: E402

TYPES = ("", "blast", "lymphocyte", "smudge cell")
FRAMES = 200  # Of a lasso.


class Repeated:
    """Many cells made of few, as an array."""

    ndim, dtype = 4, np.dtype(np.uint8)

    def __init__(self, images: NDArray[np.uint8], count: int) -> None:
        self._images = images
        self.shape = (count, *images.shape[1:])

    def __getitem__(self, cell: int) -> NDArray[np.uint8]:
        return self._images[cell % len(self._images)]


def many_cells(folder: Path, count: int) -> tuple[Smear, Prediction, Features]:
    """Return a smear, and a random prediction of it."""
    rng = np.random.default_rng(0)
    if not folder.exists():
        write_smear(synthesize_patient("aml", cells=60, seed=7), folder)
    images = np.stack([tifffile.imread(path) for path in sorted(folder.glob("*.TIF"))])
    smear = smear_from_array(Repeated(images, count), f"{count} cells", 25 / 144)
    grades = tuple(Grade(str(i), blur=float(blur)) for i, blur in enumerate(rng.random(count)))
    ensemble = Ensemble.load(installed_models()["demo"])
    classes = len(ensemble.description.taxonomy.names)
    features = Features(
        "many", rng.normal(size=(count, ensemble.description.encoder.width)).astype(np.float32), smear.cells
    )
    few = ensemble.predict(features.of_cells(features.cells[:10]))
    attention = rng.lognormal(0, 0.5, count)
    prediction = few.model_copy(
        update={
            "cells": smear.cells,
            "labels": tuple(TYPES[i] for i in rng.integers(0, len(TYPES), count)),
            "attention": attention / attention.mean(),
            "alone": rng.dirichlet(np.full(classes, 0.4), size=count),
            "domain": None,
        }
    )
    return dataclasses.replace(smear, grades=grades), prediction, features


Took = tuple[float, float]


def timed(act: Callable[[], object]) -> Took:
    """Return seconds by the clock, and of the processor."""
    start, busy = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - start, time.process_time() - busy


def written(times: Took) -> str:
    return f"{times[0] * 1e3:,.0f} ms ({times[1] * 1e3:,.0f})"


def draw_lasso(view: QWidget) -> None:
    """Draw a growing spiral around the middle of a plot with the left button held; each movement is drawn."""
    turns = np.linspace(0, 8 * np.pi, FRAMES)
    reach = np.linspace(0.1, 0.4, FRAMES)
    x, y = view.width() * (0.5 + reach * np.cos(turns)), view.height() * (0.45 + reach * np.sin(turns))
    corners = [QPoint(round(a), round(b)) for a, b in zip(x, y, strict=True)]
    QTest.mousePress(view, Qt.MouseButton.LeftButton, pos=corners[0])
    for corner in corners:
        QTest.mouseMove(view, corner)
        QApplication.processEvents()


def inspect_many(folder: Path, count: int) -> dict[str, Took]:
    """Do in a window what a user does."""
    smear, prediction, features = many_cells(folder, count)
    pictures = read_pictures(smear, ranked_order(smear, prediction))
    viewer, panel = open_viewer()
    inspect = panel.inspect()
    inspection = Inspection(prediction, smear)
    gallery = Gallery(viewer, inspection, pictures)
    process_events(1)
    times: dict[str, Took] = {}

    def do(what: str, act: Callable[[], object]) -> None:
        def until_drawn() -> None:
            act()
            process_events()
            viewer.window._qt_window.grab()  # everything that is dirty is drawn

        times[what] = timed(until_drawn)

    cells = inspection.cells
    do("show in the panel, with the attention swarm", lambda: session_of(inspect).show(inspection))
    cells.step(1)
    process_events(1)
    do("next cell", lambda: cells.step(1))
    do("select 500 cells", lambda: cells.select(cells.order[:500]))
    dots = inspect.tab("Plot").dots
    view = getattr(dots, "viewport", lambda: dots)()
    took = timed(lambda: draw_lasso(view))
    times["one frame while a lasso is drawn"] = took[0] / FRAMES, took[1] / FRAMES
    do("select with this lasso", lambda: QTest.mouseRelease(view, Qt.MouseButton.LeftButton))
    print(f"{count:,} cells: {FRAMES / took[0]:.0f} frames a second, {len(cells.selected):,} selected", file=sys.stderr)
    do("sort by a class", lambda: cells.sort_by("alone_p_mds", descending=True))
    do("filter by a class", lambda: cells.set_filter(CellFilter(alone_class="MDS")))
    do("show all again", lambda: cells.set_filter(CellFilter()))
    do("mark", cells.mark)
    do("colour by label", lambda: inspection.color_by("label"))
    do("another cell size", lambda: inspection.gallery.show_cell_width(60))
    inspect.tab("Table")
    process_events(1)
    do("sort, with the table in sight", lambda: cells.sort_by("quality", descending=True))
    do("next cell, with the table in sight", lambda: cells.step(1))
    pca(features.values)  # loads scikit-learn
    times["PCA of the features (in a worker)"] = timed(lambda: pca(features.values))
    gallery.close()
    viewer.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[500, 20_000])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["CALTOMORPH_HOME"] = f"{scratch}/home"
        columns = {count: inspect_many(Path(scratch) / "cells", count) for count in options.cells}
        _, prediction, features = many_cells(Path(scratch) / "cells", 500)
        demo = Ensemble.load(installed_models()["demo"])
        wide = Features("many", np.random.default_rng(0).normal(size=(500, 768)).astype(np.float32), features.cells)
        cases = [("demo model", demo, features), ("paper size", paper_size_ensemble(), wide)]
        print(f"\n{machine()}; load {os.getloadavg()[0]:.0f}\n")
        print("| step | " + " | ".join(f"{count:,} cells" for count in columns) + " |")
        print("|---|" + "---|" * len(columns))
        for step in next(iter(columns.values())):
            print(f"| {step} | " + " | ".join(written(times[step]) for times in columns.values()) + " |")
        print("\n| what if, 500 cells, 5 members | time |\n|---|---|")
        for name, ensemble, values in cases:
            of = prediction.model_copy(update={"model_fingerprint": ensemble.description.fingerprint})
            what_if(ensemble, of, values, [0])
            print(f"| {name} | {written(timed(lambda cases=(ensemble, of, values): what_if(*cases, [0, 1, 2])))} |")


if __name__ == "__main__":
    main()
