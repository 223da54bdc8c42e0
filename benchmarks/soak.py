"""A soak test of the window: many smears one after the other, then a monkey that uses everything at random.

    xvfb-run -a -s '-screen 0 1280x720x24' python benchmarks/soak.py [--minutes 60] [--seed 0] [--smears 40]

Part A opens, predicts, inspects and closes smears in one window. Part B is random clicks, drags, wheel and keys on our
panels and on napari's tools (`monkey.py`). Nothing may raise, no layer of a result may stay without the others, and
threads, widgets and memory may not grow; the same cycle with plain napari layers is the base line. Smears are
synthetic, everything is in a temporary folder, and nothing is downloaded. A fault is printed with the last actions;
``--smears 0 --seed S --stop-after N`` repeats them. Prints a Markdown summary; the exit code is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import os
import re
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile

from napari_caltomorph.encoding.torch_loading import load_torch

load_torch()

import napari  # noqa: E402
from monkey import Monkey  # noqa: E402
from napari.viewer import Viewer  # noqa: E402
from qtpy.QtCore import Qt  # noqa: E402
from qtpy.QtGui import QDesktopServices  # noqa: E402
from qtpy.QtTest import QTest  # noqa: E402
from qtpy.QtWidgets import QApplication, QComboBox, QDockWidget, QWidget  # noqa: E402
from scipy.stats import linregress  # noqa: E402
from speed import machine  # noqa: E402
from window_faults import Faults, check  # noqa: E402

from napari_caltomorph.diagnosis import PredictOptions, Predictor  # noqa: E402
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel, open_panel  # noqa: E402
from napari_caltomorph.plugin.widgets.task_row import TaskRow  # noqa: E402
from napari_caltomorph.smear import read_smear  # noqa: E402
from napari_caltomorph.synthetic import (  # noqa: E402
    SynthOptions,
    synthesize_cohort,
    synthesize_patient,
    write_smear,
)

KINDS = "aml", "cml", "cll", "mm", "stem_cell_donor"
CELLS = 24, 60, 150, 320
STEPS_A_ROUND = 120
_OURS = re.compile(r"napari_caltomorph\.plugin\.(?!session)")
# No step takes longer, not even on a busy machine.
_HANGS_AFTER = 120


@dataclass(frozen=True)
class Measured:
    """What must not grow."""

    threads: int
    memory_mb: float
    widgets: int
    objects: int
    ours: int  # of the objects, those of our panels, galleries and tasks: in an empty window, constants

    @classmethod
    def now(cls) -> Measured:
        for _ in range(3):
            process_events(0.05)
            gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc: freed memory that it keeps is no leak
        if trim is not None:
            trim(0)
        memory = psutil.Process().memory_info().rss / 1e6
        objects = gc.get_objects()
        ours = sum(_OURS.match(str(type(one).__module__)) is not None for one in objects)
        return cls(threading.active_count(), memory, len(QApplication.allWidgets()), len(objects), ours)


def kinds() -> Counter[str]:
    """Count objects by their type, and Qt's widgets once more."""
    counted = Counter(f"{type(one).__module__}.{type(one).__name__}" for one in gc.get_objects())
    return counted + Counter(f"widget {type(one).__name__}" for one in QApplication.allWidgets())


# Faults of napari 0.9.2 alone, by exception and napari's innermost function: they are reported, and do not count. None
# of our functions may be in the traceback.
OF_NAPARI = {
    ("AttributeError", "_paint_loading"): "its layer list paints a row that is being moved",
    ("IndexError", "_on_axis_changed"): "a stack is deleted while its slider plays",
    ("ValueError", "ensure_axis_in_bounds"): "a slider plays on after its stack was deleted",
    ("ValueError", "_update_thumbnail"): "it shows RGB images in 3D or with other axes",
    ("ValueError", "axis_labels"): "it converts or merges layers that have axis labels",
}
_FRAME = re.compile(r'File "([^"]+)", line \d+, in (\S+)')


# What a window keeps of each smear on purpose (`DifferentialState`): 1 MB are 400 cells with 384 features.
KEPT = Measured(threads=0, memory_mb=1.0, widgets=0, objects=1000, ours=0)
# At random, napari's tools are used too. napari 0.9.2 keeps 8 widgets of each notification, and 18,000 objects each
# time that layers are deleted in its grid mode.
MEASURED_AT_RANDOM = "threads", "ours"


def growth(measured: list[Measured]) -> tuple[Measured, Measured]:
    """Return how much each grows in a cycle, after the first quarter of them, and the standard error of that."""
    late = np.array([astuple(one) for one in measured[len(measured) // 4 :]], dtype=float)
    if len(late) < 3:
        return Measured(0, 0, 0, 0, 0), Measured(0, 0, 0, 0, 0)
    lines = [linregress(np.arange(len(late)), column) for column in late.T]
    # The error of a constant is not a number.
    return Measured(*(one.slope for one in lines)), Measured(*np.nan_to_num([one.stderr for one in lines]).tolist())


def process_events(seconds: float = 0.0, *, until: Callable[[], bool] = lambda: True) -> None:
    """Process events for some time, and until a condition is true; delete what is to be deleted later."""
    start = time.monotonic()
    while (elapsed := time.monotonic() - start) <= seconds or not until():
        QTest.qWait(10)
        if elapsed > _HANGS_AFTER:
            raise TimeoutError("the window was still busy")


def click(widget: QWidget) -> None:
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton)
    process_events()


def choose(combo: QComboBox, place: int) -> None:
    """Choose an entry with the keyboard, as `activated` is emitted for a user only."""
    combo.setFocus()
    QTest.keyClick(combo, Qt.Key.Key_Home)
    for _ in range(place):
        QTest.keyClick(combo, Qt.Key.Key_Down)
    process_events()


def wait(*rows: TaskRow) -> None:
    process_events(0.02, until=lambda: not any(row.is_busy for row in rows))


def inspect_smear(viewer: Viewer, smear: Path) -> None:
    """Open, predict and inspect a smear, and close everything again, with mouse and keyboard."""
    predict = open_panel(viewer, "Predict patient")
    predict.smears.open(smear)
    process_events(0.1)
    click(predict.run.button)
    wait(predict.run)
    inspect = open_panel(viewer, "Inspect cells")
    process_events(0.1)
    if inspect.inspection is None:
        raise RuntimeError(f"{smear.name} was not predicted: {predict.run.text or 'without a message'}")
    cells, controls = inspect.inspection.cells, inspect.controls
    canvas = viewer.window._qt_viewer.canvas.native
    bar = inspect.tabs.tabBar()
    for place in range(inspect.tabs.count()):
        QTest.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect(place).center())
        process_events(0.1)
        choose(controls.sort, place % controls.sort.count())
        canvas.setFocus()
        for key in (Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Return, Qt.Key.Key_B, Qt.Key.Key_Delete):
            QTest.keyClick(canvas, key)
        for row in inspect.tabs.widget(place).findChildren(TaskRow):
            if row.isVisible() and row.button.isEnabled():
                click(row.button)
                wait(row)
    QTest.keyClicks(controls.search, "1")
    process_events(0.3)
    controls.search.clear()
    process_events(0.3, until=lambda: inspect.inspection.is_result_current)
    QTest.keySequence(canvas, "Ctrl+Z")
    cells.select([int(cells.order[-1])])
    for box in (controls.heat, predict.as_stack, predict.as_stack, controls.heat):
        click(box)
        process_events(0.05)
    close_all(viewer)


def plain_layers(viewer: Viewer, smear: Path) -> None:
    """Do the same with layers of napari alone: cells, a picture of them, squares."""
    cells = np.stack([tifffile.imread(path) for path in sorted(smear.glob("*.TIF"))])
    side = int(np.ceil(len(cells) ** 0.5))
    picture = np.zeros((side * 160, side * 160, 3), np.uint8)
    viewer.add_image(cells, rgb=True)
    process_events(0.1)
    shown = viewer.add_image(picture, rgb=True)
    points = viewer.add_points(160.0 * np.argwhere(np.ones((side, side))), symbol="square", size=150)
    for _ in range(6):
        points.data = points.data[::-1]
        points.selected_data = {0}
        shown.data = picture.copy()
        process_events(0.1)
    close_all(viewer)


def close_all(viewer: Viewer) -> None:
    """Delete all layers, and close our panels with the crosses of their docks."""
    viewer.layers.select_all()
    QTest.mouseClick(viewer.window._qt_viewer.layerButtons.deleteButton, Qt.MouseButton.LeftButton)
    process_events(0.05)
    viewer.layers.clear()  # those that are locked
    for dock in viewer.window._qt_window.findChildren(QDockWidget):
        if dock.findChild(DockPanel) is not None:
            viewer.window.remove_dock_widget(dock)
    process_events(0.1)


def make_files(folder: Path, smears: int) -> tuple[list[Path], list[Path]]:
    """Draw smears of different sizes, and files of all kinds that a file dialog may answer with."""
    drawn = []
    for number in range(max(smears, 6)):
        kind, cells = KINDS[number % len(KINDS)], CELLS[number // 2 % len(CELLS)]
        drawn.append(folder / f"smear_{number:02d}")
        write_smear(synthesize_patient(kind, cells=cells, seed=number), drawn[-1])
    os.environ["CALTOMORPH_HOME"] = str(folder / "home")
    saved, cohort, empty, text = (folder / name for name in ("saved", "cohort", "empty", "text.json"))
    Predictor(PredictOptions(model="demo")).predict(read_smear(drawn[0]))[1].save(saved)
    synthesize_cohort(cohort, SynthOptions(patients=24, cells=12, seed=4))
    empty.mkdir()
    text.write_text("{}")
    field = folder / "field.tif"
    cells = [tifffile.imread(path) for path in sorted(drawn[0].glob("*.TIF"))[:24]]
    tifffile.imwrite(field, np.concatenate([np.concatenate(cells[i::4], axis=1) for i in range(4)]), photometric="rgb")
    return drawn, [*drawn[:6], saved, *saved.glob("*"), cohort, *cohort.glob("*.csv"), empty, text, field]


def play(monkey: Monkey, faults: Faults, smears: list[Path], until: Callable[[], bool]) -> list[Measured]:
    """Let the monkey play in rounds; each begins with a prediction and ends with an empty window, which is measured."""
    measured = []
    while not until():
        predict = open_panel(monkey.viewer, "Predict patient")
        predict.smears.open(smears[len(measured) % len(smears)])
        process_events(0.1)
        click(predict.run.button)
        wait(predict.run)
        open_panel(monkey.viewer, "Inspect cells")
        for _ in range(STEPS_A_ROUND):
            if until():
                break
            faulthandler.dump_traceback_later(_HANGS_AFTER, exit=True)
            try:
                wrong = monkey.step()
            except Exception:  # noqa: BLE001  # an error of napari's own code, called without Qt in between
                wrong = [f"exception: {traceback.format_exc()}"]
            report(faults, wrong, monkey)
        for row in monkey.window.findChildren(TaskRow):
            row.cancel()
        try:
            close_all(monkey.viewer)
        except Exception:  # noqa: BLE001  # an error of napari while it added a layer: no layer can be removed any more
            report(faults, [f"exception: {traceback.format_exc()}"], monkey)
            break
        monkey.wait(60)
        monkey.window.resize(1280, 720)
        monkey.viewer.dims.ndisplay = 2
        measured.append(Measured.now())
        report(faults, check(monkey.viewer, monkey.ours), monkey)
        print(f"round {len(measured)}, step {monkey.steps}: {measured[-1]}", flush=True)
        if len(measured) == 3:
            early = kinds()
    if len(measured) > 4:
        grown = kinds() - early
        print(f"\nGrown since round 3: {grown.most_common(25)}")
        print(f"Of these ours: {[(kind, count) for kind, count in grown.most_common() if _OURS.match(kind)]}")
    return measured


def known_of_napari(fault: str) -> str | None:
    """Return which known fault of napari it is, or None."""
    frames = _FRAME.findall(fault)
    of_napari = [function for file, function in frames if "/napari/" in file]
    if not of_napari or any("napari_caltomorph" in file for file, _ in frames):
        return None
    error = fault.strip().splitlines()[-1].partition(":")[0]
    return OF_NAPARI.get((error, of_napari[-1]))


reported: dict[str, int] = {}


def report(faults: Faults, wrong: list[str], monkey: Monkey | None = None) -> None:
    """Print what is new with what was done before, and count it."""
    found = [*faults, *wrong]
    faults.clear()
    for text in found:
        why = known_of_napari(text)
        short = (f"napari's own: {why}: " if why else "") + text.strip().splitlines()[-1][:300]
        reported[short] = reported.get(short, 0) + 1
        if reported[short] == 1:
            print(f"\nFAULT: {text}")
            if monkey is not None:
                print(f"replay: --smears 0 --seed {monkey.seed} --stop-after {monkey.steps}")
                print("  " + "\n  ".join(monkey.log), flush=True)


def summary(seed: int, minutes: float, parts: dict[str, list[Measured]], steps: int) -> bool:
    """Print the summary; return whether all is well."""
    plain, of_plain = growth(parts["plain napari layers"])
    print(f"\n{machine()}; napari {napari.__version__}")
    print(f"\nSeed {seed}, {minutes:.0f} minutes, {steps:,} random steps.\n")
    names = [field.name for field in fields(Measured)]
    print(
        "| part | cycles | "
        + " | ".join(f"{name.replace('_mb', ', MB')}: first, last, growth" for name in names)
        + " |"
    )
    print("|---|---|" + "---|" * len(names))
    too_much: list[str] = []
    for part, measured in parts.items():
        if not measured:
            continue
        grown, error = growth(measured)
        columns = [
            f"{getattr(measured[0], name):,.0f}, {getattr(measured[-1], name):,.0f}, "
            f"{getattr(grown, name):+,.2f} \N{PLUS-MINUS SIGN} {getattr(error, name):,.2f}"
            for name in names
        ]
        print(f"| {part} | {len(measured)} | " + " | ".join(columns) + " |")
        is_random = part.startswith("random")
        for name in MEASURED_AT_RANDOM if is_random else names:
            of_part, base, kept = (getattr(one, name) for one in (grown, plain, KEPT))
            scatter = 2 * np.hypot(getattr(error, name), getattr(of_plain, name))
            if of_part - scatter > max(0, base) + kept:
                too_much.append(f"{name} of {part}")
    print(
        "\nGrowth is a cycle's, after the first quarter, and its standard error. More than napari's own layers, what "
        f"is kept of a smear, and twice the error: **{', '.join(too_much) or 'nothing'}**."
    )
    ours = {text: times for text, times in reported.items() if not text.startswith("napari's own")}
    print(f"\n{sum(ours.values())} faults, {len(ours)} different; {len(reported) - len(ours)} known ones of napari.")
    for text, times in sorted(reported.items(), key=lambda one: -one[1]):
        print(f"- {times} x {text}")
    return not too_much and not ours


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="for the random part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smears", type=int, default=40)
    parser.add_argument("--stop-after", type=int, default=10**9, help="stop the random part after so many steps")
    options = parser.parse_args()
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as scratch:
        isolate(Path(scratch))
        drawn, files = make_files(Path(scratch), options.smears)
        faults, parts = Faults(), {}
        with faults.watching():
            viewer = napari.Viewer(title="soak")
            viewer.window.resize(1280, 720)
            log = Path(tempfile.gettempdir()) / f"caltomorph-soak-{options.seed}.log"
            print(f"all random actions, also after a crash: {log}")
            monkey = Monkey(viewer, options.seed, files, Path(scratch) / "out", log.open("w"))
            with monkey.answering():
                cycles: dict[str, Any] = {"plain napari layers": plain_layers, "smears": inspect_smear}
                for part, cycle in cycles.items():
                    parts[part] = []
                    for smear in drawn[: options.smears]:
                        faulthandler.dump_traceback_later(_HANGS_AFTER, exit=True)
                        try:
                            cycle(viewer, smear)
                            wrong = check(viewer, monkey.ours)
                        except Exception:  # noqa: BLE001  # any error is a fault, and the next smear is tried
                            wrong = [f"exception: {traceback.format_exc()}"]
                            close_all(viewer)
                        report(faults, wrong)
                        parts[part].append(Measured.now())
                        print(f"{part} {len(parts[part])}: {parts[part][-1]}", flush=True)
                end = time.monotonic() + 60 * options.minutes
                until = lambda: time.monotonic() > end or monkey.steps >= options.stop_after  # noqa: E731
                parts["random actions, in rounds"] = play(monkey, faults, drawn[:6], until)
            monkey.close()
            viewer.close()
            process_events(0.5)
            report(faults, [])
        faulthandler.cancel_dump_traceback_later()
    return 0 if summary(options.seed, options.minutes, parts, monkey.steps) else 1


def isolate(scratch: Path) -> None:
    """Use settings of our own and no network, and open no browser."""
    os.environ |= {name: "http://127.0.0.1:9" for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")}
    os.environ["CALTOMORPH_HOME"] = str(scratch / "home")
    napari.settings.get_settings(scratch / "settings.yaml")
    if hasattr(napari.settings, "get_plugin_settings"):  # of napari 0.8, ours are in CALTOMORPH_HOME
        napari.settings.get_plugin_settings(path_dir=scratch / "preferences")
    (scratch / "out").mkdir()
    QDesktopServices.openUrl = staticmethod(lambda *_: True)


if __name__ == "__main__":
    sys.exit(main())
