"""Reads feature files through another process (`h5_process`), which can be ended when a damaged file makes HDF5 loop.

A process is started when it is first needed, answers one request after another, and ends with this one. Several threads
that read at the same time have a process each.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.child_process import start_process
from napari_caltomorph.encoding.h5_process import FeatureOrigin
from napari_caltomorph.errors import FeaturesRefused
from napari_caltomorph.stand_ins import stand_in

PATIENCE_SECONDS = 20.0
"""How long HDF5 may compute without reading another part of the file."""

SUFFIXES = (".h5", ".hdf5", ".H5", ".HDF5")
"""Of feature files; the first one is ours."""

_HUNG = "is damaged: the HDF5 library could not finish reading it; encode the patient again."
_END_REASONS = {-getattr(signal, "SIGALRM", 14): _HUNG, 1: _HUNG}  # of its timer: on POSIX, on Windows
_OTHER_END = (
    "could not be read: the process that read it has crashed. The file is damaged, or memory ran out; close other "
    "programs, or encode the patient again."
)
_POLL_SECONDS = 0.1


def is_feature_file(name: str) -> bool:
    """Whether a name ends like a feature file's."""
    return name.upper().endswith(SUFFIXES)


@dataclass(frozen=True)
class Bag:
    """What a feature file contains."""

    shape: tuple[int, ...]
    origin: FeatureOrigin
    sha256: str | None  # Of the content, as we write it
    cells: tuple[str, ...] | None
    values: NDArray[np.float32] | None  # None where only the description was read
    label: int | None = None  # Number of the patient's class, where the file has one

    @property
    def of_cells(self) -> tuple[int, ...]:
        """Its shape without the 1 in front that some software writes: (N, D), or (N, 1 + K, D) with views."""
        has_one = len(self.shape) == 3 and self.shape[0] == 1 and self.origin.views is None
        return self.shape[1:] if has_one else self.shape


def read_bag(path: Path, *, description_only: bool = False, waiting: Callable[[], object] = lambda: None) -> Bag:
    """Read the bag of features in an HDF5 file of ours, GenBloom, CLAM, TRIDENT (``features``) or STAMP (``feats``).

    `waiting` is called while it is read, ten times a second; raising an error in it stops. Raises `FeaturesRefused`
    where the file is no HDF5 file, is damaged or locked, has no bag, or refers to other files.
    """
    # The process may have been started in another folder.
    request = {"path": str(path.absolute()), "values": not description_only, "patience": PATIENCE_SECONDS}
    process = _idle_or_new(path)
    try:
        answer, values = process.ask(request, waiting)
    except _EndedError:
        raise FeaturesRefused(f"{path} {_END_REASONS.get(process.end(), _OTHER_END)}") from None
    except BaseException:
        process.end()
        raise
    _idle.append(process)
    if reason := answer.get("refused"):
        raise FeaturesRefused(f"{path} {reason}.")
    if reason := answer.get("unreadable"):
        if sentence := stand_in(path, "features"):
            raise FeaturesRefused(sentence)
        raise FeaturesRefused(f"{path} holds no features that can be read ({reason}); encode the patient again.")
    cells = None if answer["cells"] is None else tuple(answer["cells"])
    origin = FeatureOrigin(**answer["origin"])
    return Bag(tuple(answer["shape"]), origin, answer["sha256"], cells, values, answer["label"])


class _EndedError(Exception):
    """The process has ended without an answer."""


def _idle_or_new(path: Path) -> _Process:
    while _idle:
        with contextlib.suppress(IndexError):  # another thread took the last one
            process = _idle.pop()
            if process.is_alive:
                return process
            process.end()
    try:
        return _Process()
    except OSError as error:
        raise FeaturesRefused(
            f"{path} was not read: no process could be started for it ({error.strerror}); close other programs."
        ) from error


class _Process:
    """One process and the pipes to it; a thread waits at the pipe, so that the caller can be interrupted."""

    def __init__(self) -> None:
        self._process = start_process("napari_caltomorph.encoding.h5_process")
        assert isinstance(self._process.stdin, io.BufferedWriter)
        assert isinstance(self._process.stdout, io.BufferedReader)
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._is_ready = False

    def ask(self, request: object, waiting: Callable[[], object]) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
        """Return the answer to a request, and the numbers with it; `_EndedError` where it ended the process."""
        future = self._thread.submit(self._exchange, json.dumps(request).encode() + b"\n")
        while True:
            try:
                return future.result(timeout=_POLL_SECONDS)
            except NotYet:
                waiting()

    def _exchange(self, request: bytes) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
        if not self._is_ready and not self._answers.readline():
            raise _EndedError
        self._is_ready = True
        try:
            self._requests.write(request)
            self._requests.flush()
            answer = json.loads(self._answers.readline())
            if not answer.get("bytes"):
                return answer, None
            values = np.empty(answer["shape"], np.float32)
            if self._answers.readinto(values.data.cast("B")) < values.nbytes:
                raise ValueError("an answer has ended early")
        except (OSError, ValueError) as error:
            raise _EndedError from error
        return answer, values

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> int:
        """End the process, whatever it does, and return its exit code."""
        self._process.kill()
        code = self._process.wait()
        self._thread.shutdown()
        self._answers.close()
        with contextlib.suppress(OSError):  # a request that it did not take
            self._requests.close()
        return code


_idle: list[_Process] = []


@atexit.register
def _end_all() -> None:
    while _idle:
        _idle.pop().end()


# A copy of this process must not read the answers to its questions.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)
