"""Doors that do what none may do, to see that it would be noticed."""

from __future__ import annotations

import os
import pickle
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from napari_caltomorph.errors import CaltomorphError

MEGABYTES = 300


def _connect(path: Path) -> None:
    with socket.socket() as one, suppress(OSError):
        one.connect(("127.0.0.1", 9))


def _compute(path: Path) -> None:
    while True:
        pass


def _refuse(path: Path) -> None:
    raise CaltomorphError(f"{path} is no good; export it again.")


DOORS: dict[str, Callable[[Path], object]] = {
    "reads": Path.read_bytes,
    "refuses": _refuse,
    "raises": lambda path: [][0],
    "runs": lambda path: os.system("true"),
    "unpickles": lambda path: pickle.loads(pickle.dumps(Path)),  # noqa: S301 (made here)
    "writes": lambda path: (path.parents[1] / "outside").write_text(""),
    "removes": lambda path: (path.parents[1] / "outside").unlink(),
    "connects": _connect,
    "dies": lambda path: os.kill(os.getpid(), signal.SIGSEGV),
    "computes": _compute,
    "remembers": lambda path: len(b"x" * (MEGABYTES * 10**6)),
}
