"""A simulated laboratory: a week of synthetic patients, exported while everything goes wrong, and `caltomorph watch`.

A scanner exports patients at random speeds, as folders and as archives. Some exports stop halfway and go on, some never
end, some are there twice, some grow after they were predicted. The drive is lost and returns; `caltomorph watch` is
killed and started again; half of the kills come after a prediction's file and before its line in the ledger, which
random moments never hit. From day 4 on the stain is another one. Then `caltomorph monitor` looks at the predictions. A
second week, with the same faults and one stain, is the control::

    python benchmarks/laboratory.py [--patients 200] [--seconds 200]

Prints Markdown; the exit code is 1 where a check fails. docs/benchmarks.md has one run.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import itertools
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from speed import machine

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.errors import counted
from napari_caltomorph.laboratory import Journal, WatchRecord
from napari_caltomorph.smear import read_smear, smear_fingerprint
from napari_caltomorph.storage import file_sha256
from napari_caltomorph.synthetic import SyntheticPatient, SynthOptions, synthesize_patients, write_smear

SETTLE, EVERY = 3.0, 0.5  # Seconds of the real time, in which a week takes minutes
CELLS, MORE = 30, 6  # A smear, and what comes later where an export grows
KINDS = {"plain": 0.53, "grows": 0.1, "twice": 0.07, "stops": 0.13, "archive": 0.14, "never ends": 0.03}
HAPPENED = KILLS, BETWEEN, LOSSES, LATE = (
    *("kills of the watch", "of these, between a prediction's file and its line in the ledger", "losses of the drive"),
    "pauses as long as after a complete export, since this machine was busy",
)
SHIFT_DAY = 4
NEW_GAIN, NEW_BLUR_UM = (1.25, 1.0, 0.85), 0.04  # The stain from that day on, against the patient's own
FALSE_ALARMS = 0.001  # For each patient
FOUND_WITHIN = 20  # Patients with the new stain: the median of a shift of one standard deviation is 19
REFERENCE = 60
SEED = 700_000

# `caltomorph watch` that ends itself before a line of the ledger, where the file is there whose name is its first
# argument; what it has written until then is put into that file.
WATCH = """
import os, signal, sys
from pathlib import Path
from napari_caltomorph.cli import main
from napari_caltomorph.laboratory import Ledger
from napari_caltomorph.storage import file_sha256
trigger, add = Path(sys.argv.pop(1)), Ledger.add
def add_or_end(ledger, event, export, look=None, **about):
    if event == "predicted" and trigger.exists():
        file = Path(sys.argv[sys.argv.index("--out") + 1]) / about["prediction"]
        trigger.write_text(f"{file} {file_sha256(file)}")
        os.kill(os.getpid(), signal.SIGKILL)
    add(ledger, event, export, look, **about)
Ledger.add = add_or_end
sys.exit(main(sys.argv[1:]))
"""


@dataclass
class Week:
    """A scanner, its drive, a running watch, and what is true."""

    root: Path
    count: int
    seconds: float
    has_shift: bool
    kinds: dict[str, str] = field(default_factory=dict)  # Of the patients, in the order of their exports
    complete: dict[str, list[str]] = field(default_factory=dict)  # Fingerprints that may be predicted, by export
    written: dict[str, str] = field(default_factory=dict)  # SHA-256 of each file that the scanner wrote
    shifted: set[str] = field(default_factory=set)
    happened: Counter[str] = field(default_factory=Counter)
    between: list[tuple[Path, str]] = field(default_factory=list)  # Files of which a kill took the line, with SHA-256

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(1 + self.has_shift)
        names = ("drive", "away", "store", "results", "trigger")
        self.drive, self.away, self.store, self.out, self.trigger = (self.root / name for name in names)
        self.drive.mkdir(parents=True)
        self._watch: subprocess.Popen[bytes] | None = None
        self._lost = 0.0  # Seconds without the drive

    # what is there before

    def draw(self) -> None:
        """Draw all patients, and choose what happens to them."""
        kinds = list(KINDS)
        options = SynthOptions(patients=self.count, cells=CELLS + MORE, seed=SEED)
        for number, patient in enumerate(synthesize_patients(options)):
            name = f"P{number + 1:03}"
            if self.has_shift and 1 + 7 * number // self.count >= SHIFT_DAY:
                patient = _with_other_stain(patient)
                self.shifted.add(name)
            self.kinds[name] = str(self.rng.choice(kinds, p=list(KINDS.values())))
            write_smear(patient, self.store / name)
            (self.store / name / "truth.csv").unlink()

    # what happens

    def run(self) -> None:
        """Let the week pass; all that happens, happens in this loop."""
        begins = [self.seconds * (i + self.rng.random()) / self.count for i in range(self.count)]
        acts = [(begin, self._export(name)) for begin, name in zip(begins, self.kinds, strict=True)]
        acts += [(0.0, self._kills()), (0.0, self._losses())]
        order, began = itertools.count(), time.monotonic()
        due = [(begin, next(order), act) for begin, act in acts]
        heapq.heapify(due)
        self._start()
        try:
            while due:
                at, _, act = heapq.heappop(due)
                time.sleep(max(0.0, at - (time.monotonic() - began)))
                if (pause := next(act, None)) is not None:
                    heapq.heappush(due, (time.monotonic() - began + pause, next(order), act))
            time.sleep(2 * SETTLE)
        finally:
            self._end("terminate")
        last = subprocess.run([*self._command(), "--once"], check=False, capture_output=True, text=True)
        if last.returncode:
            raise SystemExit(f"The last watch ended with {last.returncode}: {last.stdout}{last.stderr}")

    def _command(self) -> list[str]:
        watch = [sys.executable, "-c", WATCH, str(self.trigger), "watch", str(self.drive), "--out", str(self.out)]
        return [*watch, "--model", "demo", "--device", "cpu", "--settle", str(SETTLE), "--every", str(EVERY)]

    def _start(self) -> None:
        with (self.root / "watch.log").open("ab") as log:
            self._watch = subprocess.Popen(self._command(), stdout=log, stderr=log)

    def _end(self, how: str) -> None:
        assert self._watch is not None
        assert self._watch.poll() is None, f"The watch ended by itself; see {self.root / 'watch.log'}."
        getattr(self._watch, how)()
        self._watch.wait()

    def _faults(self) -> Iterator[float]:
        """Yield the pauses before faults, 12 in a week of 200 patients on average."""
        faults, left = max(2, self.count // 16), self.seconds
        while (pause := self.rng.exponential(self.seconds / faults)) < left:
            left -= pause
            yield pause

    def _kills(self) -> Iterator[float]:
        for number, pause in enumerate(self._faults()):
            yield pause
            if number % 2:
                self._end("kill")
            else:
                yield from self._kill_between()
            self._start()
            self.happened[KILLS] += 1

    def _kill_between(self) -> Iterator[float]:
        """Let the watch end itself after the next file of a prediction."""
        assert self._watch is not None
        self.trigger.touch()
        while self._watch.poll() is None:
            yield 0.05
        assert self._watch.returncode == -signal.SIGKILL, f"The watch ended by itself; see {self.root / 'watch.log'}."
        file, sha256 = self.trigger.read_text().rsplit(" ", 1)
        self.between.append((Path(file), sha256))
        self.trigger.unlink()
        self.happened[BETWEEN] += 1

    def _losses(self) -> Iterator[float]:
        """Take the drive away while the scanner waits; half of the times an empty folder is left."""
        for pause in self._faults():
            yield pause
            began, is_empty = time.monotonic(), self.rng.random() < 0.5
            self.drive.rename(self.away)
            if is_empty:
                self.drive.mkdir()
            time.sleep(SETTLE * self.rng.uniform(0.3, 2))
            if is_empty:
                self.drive.rmdir()
            self.away.rename(self.drive)
            self.happened[LOSSES] += 1
            self._lost += time.monotonic() - began

    def _export(self, name: str) -> Iterator[float]:
        kind, cells = self.kinds[name], sorted((self.store / name).iterdir())
        pause = min(self.rng.exponential(0.1), SETTLE / 4)
        if kind == "archive":
            yield from self._export_archive(name, pause)
            return
        half = len(cells) // 2 if kind in ("stops", "never ends") else None
        for number, cell in enumerate(cells[:CELLS]):
            if number == half:
                part = self.drive / name / f"{cell.name}.part"
                self._write(part, cell.read_bytes()[:1000])
                yield 3 * SETTLE
                if kind == "never ends":
                    return
                self.written.pop(self._key(part))
                part.rename(part.with_suffix(""))
            self._write(self.drive / name / cell.name, cell.read_bytes())
            yield from self._wait(name, pause)
        self._complete(name)
        if kind == "twice":
            yield self.rng.uniform(0, 3 * SETTLE)
            for cell in cells[:CELLS]:
                self._write(self.drive / f"{name}_copy" / cell.name, cell.read_bytes())
            self._complete(f"{name}_copy")
        elif kind == "grows":
            while not (self.out / name / "prediction.json").exists():
                yield 0.5
            for cell in cells[CELLS:]:
                self._write(self.drive / name / cell.name, cell.read_bytes())
                yield from self._wait(name, pause)
            self._complete(name)

    def _export_archive(self, name: str, pause: float) -> Iterator[float]:
        content = Path(shutil.make_archive(str(self.store / name), "zip", self.store / name)).read_bytes()
        place, end = self.drive / f"{name}.zip", len(content)
        for cut in range(1, 11):
            self._write(place, content[: end * cut // 10])
            yield 3 * SETTLE if cut == 7 else pause
        self._complete(place.name)

    def _wait(self, export: str, pause: float) -> Iterator[float]:
        """Wait in the middle of an export; where this machine was so slow that it came to rest, it was complete."""
        began, lost = time.monotonic(), self._lost
        yield pause
        if time.monotonic() - began - (self._lost - lost) > 0.8 * SETTLE:
            self._complete(export)
            self.happened[LATE] += 1

    def _complete(self, export: str) -> None:
        self.complete.setdefault(export, []).append(smear_fingerprint(read_smear(self.drive / export)))

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        self.written[self._key(path)] = hashlib.sha256(content).hexdigest()

    def _key(self, path: Path) -> str:
        return path.relative_to(self.drive).as_posix()


def _with_other_stain(patient: SyntheticPatient) -> SyntheticPatient:
    own = patient.stain
    red, green, blue = np.array(own.gain) * NEW_GAIN
    return replace(patient, stain=replace(own, gain=(red, green, blue), blur=own.blur + NEW_BLUR_UM))


Row = tuple[str, str, bool]  # What was checked, what was found, and whether it is right


def checks(week: Week) -> Iterator[Row]:
    """Compare the results of a watch with what the scanner exported."""
    records = Journal(week.out / "watch.jsonl", WatchRecord).read().records
    predicted = [one for one in records if one.event == "predicted"]
    images = {one.smear_fingerprint for one in predicted}
    lost = [name for name, states in week.complete.items() if states[-1] not in images]
    yield "complete exports of which no prediction is there", f"{len(lost)} of {len(week.complete)}", not lost
    yield "contents predicted twice", str(len(predicted) - len(images)), len(predicted) == len(images)
    early = [one for one in predicted if one.smear_fingerprint not in week.complete.get(one.export, [])]
    yield "predictions of an unfinished export", f"{len(early)} of {len(predicted)}", not early
    duplicates = sum(one.event == "duplicate" for one in records)
    copies = sum(name.endswith("_copy") for name in week.complete)
    yield "copies known as such", f"{duplicates} of {copies}", duplicates == copies
    grown, kept = 0, 0
    before: dict[str, WatchRecord] = {}
    for one in predicted:
        if (earlier := before.get(one.export)) is not None:
            grown += 1
            kept += _is_of(week.out / one.earlier, earlier.smear_fingerprint)
        before[one.export] = one
    yield "earlier predictions of exports that grew, kept", f"{kept} of {grown}", kept == grown
    whole = [_is_of(week.out / one.prediction, one.smear_fingerprint) for one in before.values()]
    yield "newest predictions whole", f"{sum(whole)} of {len(whole)}", all(whole)
    extra = len(list(week.out.glob("*/prediction_*.json"))) - grown
    yield "predictions that no line of the ledger names", str(extra), extra == 0
    same = [any(file_sha256(one) == sha for one in file.parent.glob("prediction*.json")) for file, sha in week.between]
    yield "files of which a kill took the line, kept as they were", f"{sum(same)} of {len(same)}", all(same)
    rows = len(pd.read_csv(week.out / "predictions.csv"))
    yield "rows of predictions.csv", f"{rows} of {len(before)}", rows == len(before)
    files = [path for path in week.drive.rglob("*") if path.is_file()]
    found = {path.relative_to(week.drive).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    different = {path for path, _ in found.items() ^ week.written.items()}
    yield "files of the watched folder that are not as exported", f"{len(different)} of {len(found)}", not different
    yield from _drift(week)


def _is_of(file: Path, fingerprint: str) -> bool:
    return file.is_file() and Prediction.load(file).smear_fingerprint == fingerprint


def _drift(week: Week) -> Iterator[Row]:
    """Start `caltomorph monitor`, and count the patients with another stain until its first alarm."""
    page = week.root / "monitor.html"
    monitor = [sys.executable, "-m", "napari_caltomorph.cli", "monitor", str(week.out), "--out", str(page)]
    subprocess.run([*monitor, "--false-alarms", str(FALSE_ALARMS)], check=False, stdout=subprocess.DEVNULL)
    drift = json.loads(page.with_suffix(".json").read_text())
    order = [one["patient_id"] for one in drift["patients"]]
    alarms = {one["patients"][one["alarm"]]: one["name"] for one in drift["charts"] if one["alarm"] is not None}
    what = f"drift: shifted patients until the first alarm (at most {FOUND_WITHIN}), none in the control"
    after = f"{len(order) - REFERENCE} patients after the first {REFERENCE}"
    if len(order) <= REFERENCE + FOUND_WITHIN:
        yield what, "too few patients", True
        return
    first = min(alarms, default=None)
    if first is None:
        yield what, f"no alarm in {after}", not week.has_shift
        return
    until = sum(one in week.shifted for one in order[: first + 1])
    is_ok = week.has_shift and 0 < until <= FOUND_WITHIN
    yield what, f"{until} ({alarms[first]}; alarms in {counted(len(alarms), 'chart')}, {after})", is_ok


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=200, help="what a week takes, at least")
    parser.add_argument("--keep", type=Path, help="folder in which everything is left, to look at it")
    args = parser.parse_args()
    weeks: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, has_shift in (("new stain from day 4", True), ("control", False)):
            week = Week((args.keep or Path(scratch)) / name, args.patients, args.seconds, has_shift)
            week.draw()
            week.run()
            chosen = Counter(week.kinds.values())
            rows = [(f"exports: {kind}", str(chosen[kind]), True) for kind in KINDS]
            rows += [(what, str(week.happened[what]), True) for what in HAPPENED]
            weeks[name] = [*rows, *checks(week)]
    print(f"{machine()}\n\n| | {' | '.join(weeks)} |\n|---|{'---|' * len(weeks)}")
    for row in zip(*weeks.values(), strict=True):
        shown = [found if is_ok else f"**wrong: {found}**" for _, found, is_ok in row]
        print(f"| {row[0][0]} | {' | '.join(shown)} |")
    is_right = all(is_ok for rows in weeks.values() for _, _, is_ok in rows)
    sys.exit(not is_right)


if __name__ == "__main__":
    main()
