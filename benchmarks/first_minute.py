"""How long the first things that a person does take: a command's first sign, and the first click in a window.

    xvfb-run -a -s '-screen 0 1280x720x24' python benchmarks/first_minute.py

Each command and each window is a process of its own. Times are by the clock, in brackets of the processor. A freeze is
the longest time in which the window processes no event. Prints a Markdown table; docs/benchmarks.md has one.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

CELLS = 200

WINDOW = """
import sys, time
import numpy as np
from napari_caltomorph.plugin.demo_window import open_viewer, process_events
from qtpy.QtCore import QTimer
from napari_caltomorph.smear import read_smear

smear, wait = sys.argv[1], float(sys.argv[2])
freezes, last = [0.0], [time.perf_counter()]

def tick():
    now = time.perf_counter()
    freezes.append(now - last[0])
    last[0] = now

def say(what, start, busy):
    print(f"{what}|{time.perf_counter() - start:.2f} s ({time.process_time() - busy:.2f})", flush=True)

def timed(what, act, until=lambda: True):
    last[0], freezes[:] = time.perf_counter(), [0.0]
    start, busy = last[0], time.process_time()
    act()
    process_events(0.001, until=until)
    say(what, start, busy)

def frozen(what):
    tick()
    print(f"{what}|{max(freezes):.2f} s", flush=True)

viewer, panel = open_viewer()
timer = QTimer(interval=5, timeout=tick)
timer.start()
timed(f"nothing for {wait:g} s", lambda: process_events(wait))
frozen("- longest freeze meanwhile")
if wait:
    array = np.stack([image for image in map(read_smear(smear).on_canvas, range(200))])
    timed("napari alone opens the same cells as an array", lambda: viewer.add_image(array, rgb=True))
    viewer.layers.clear()
timed("open a smear", lambda: panel.smears.open(smear))
if wait:
    process_events(1)
    viewer.layers.clear()
    timed("open a smear again", lambda: panel.smears.open(smear))
    process_events(1)
timed("first prediction", panel.predict, lambda: not panel.run.is_busy)
frozen("- longest freeze meanwhile")
process_events(1)
timed("second prediction", panel.predict, lambda: not panel.run.is_busy)
viewer.close()
"""


def run(*arguments: str) -> tuple[float, float, float]:
    """Run Python on a terminal; return seconds to its first sign, to its end, and of the processor."""
    terminal, end = pty.openpty()
    children = psutil.Process().cpu_times()
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=end, stderr=end)
    os.close(end)
    first = 0.0
    while True:
        try:
            text = os.read(terminal, 1024)
        except OSError:  # its other end is closed
            break
        first = first or time.perf_counter() - start
        if not text:
            break
    process.wait()
    whole, after = time.perf_counter() - start, psutil.Process().cpu_times()
    os.close(terminal)
    spent = after.children_user + after.children_system - children.children_user - children.children_system
    return first, whole, spent


def main() -> None:
    from speed import machine

    from napari_caltomorph.synthetic import synthesize_patient, write_smear

    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["CALTOMORPH_HOME"] = f"{scratch}/home"
        smear = Path(scratch) / "smear"
        write_smear(synthesize_patient("aml", cells=CELLS, seed=4), smear)
        commands = {
            "predict --help": ["predict", "--help"],
            "doctor": ["doctor"],
            f"predict, {CELLS} cells": ["predict", str(smear), "--model", "demo", "--out", f"{scratch}/out"],
            "demo --no-window": ["demo", "--out", f"{scratch}/demo", "--no-window"],
        }
        for name, words in commands.items():
            first, whole, spent = run("-m", "napari_caltomorph.cli", *words)
            rows.append((f"`caltomorph {name}`", f"{first:.2f} s, {whole:.2f} s ({spent:.2f})"))
        for wait in ("4", "0"):
            os.environ["CALTOMORPH_HOME"] = f"{scratch}/window{wait}"
            shown = subprocess.check_output([sys.executable, "-c", WINDOW, str(smear), wait], text=True)
            rows += [(what, value) for what, _, value in (line.partition("|") for line in shown.splitlines()) if value]
    print(f"\n{machine()}\n\n| step | |\n|---|---|")
    print("\n".join(f"| {what} | {value} |" for what, value in rows))


if __name__ == "__main__":
    main()
