"""``python -m tests.fuzz MINUTES [KIND ...]``: the fuzz tests on other inputs, for as long as one likes.

It prints figures every few minutes, and keeps one input of each different complaint in ``fuzz-found/``.
"""

from __future__ import annotations

import re
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.fuzz.cases import CASES, Case
from tests.fuzz.judge import complaint, opened
from tests.fuzz.sandbox import Sandbox

_ROUND = 200
_FOUND = Path("fuzz-found")


class Tally:
    """What happened to the inputs of one kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.outcomes: Counter[str] = Counter()
        self.complaints: Counter[str] = Counter()
        self.slowest, self.peak = 0.0, 0

    def add(self, case: Case, sandbox: Sandbox) -> None:
        outcome = opened(case, sandbox)
        self.outcomes[outcome.kind] += 1
        self.slowest, self.peak = max(self.slowest, outcome.seconds), max(self.peak, outcome.peak)
        if wrong := complaint(case, outcome, sandbox):
            where = f"{self.kind}-{case.door.replace(' ', '-')}-{_essence(wrong)}"
            if not self.complaints[where]:
                _keep(case, _FOUND / where, wrong)
                _say(f"FOUND {where}: {wrong[-1500:]}")
            self.complaints[where] += 1

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {kind}" for kind, count in self.outcomes.most_common())
        return (
            f"{self.kind}: {self.outcomes.total()} inputs ({counts}); {self.complaints.total()} complaints of "
            f"{len(self.complaints)} kinds; slowest {self.slowest:.1f} s of CPU, most memory {self.peak / 1e6:.0f} MB"
        )


def _essence(wrong: str) -> str:
    """Return what one kind of complaint has in common, as a name of a folder."""
    lines = wrong.strip().splitlines()
    ours = [line for line in lines if "napari_caltomorph" in line or "tests/fuzz" in line][-1:]
    text = "-".join([lines[0].partition(":")[0], *ours, lines[-1].partition(":")[0]] if ours else [wrong[:80]])
    return re.sub(r"[^A-Za-z0-9]+", "-", re.sub(r"\S*(napari_caltomorph|lab)/|\\x..|\\d+", "", text))[:120].strip("-")


def _keep(case: Case, folder: Path, wrong: str) -> None:
    for name, content in case.files.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "complaint.txt").write_text(f"{case.door}: {case.opened}\n{wrong}\n", errors="replace")


def main(minutes: float, kinds: list[str]) -> None:
    tallies = [Tally(kind) for kind in kinds or CASES]
    end, shown = time.monotonic() + 60 * minutes, time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, Sandbox(Path(scratch).resolve()) as sandbox:
        while time.monotonic() < end:
            for tally in tallies:
                _round(tally, sandbox)
            if time.monotonic() - shown > 300:
                shown = time.monotonic()
                _say(*tallies)
    _say(*tallies)
    for tally in tallies:
        for where, count in tally.complaints.most_common():
            _say(f"  {count:6d} {where}")


def _say(*lines: object) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _round(tally: Tally, sandbox: Sandbox) -> None:
    @seed(secrets.randbits(64))
    @settings(
        max_examples=_ROUND,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(CASES[tally.kind])
    def every(case: Case) -> None:
        tally.add(case, sandbox)

    every()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60, sys.argv[2:])
