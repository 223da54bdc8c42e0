"""The process that reads feature files for `h5_reader`, because a damaged one can make the HDF5 library loop for ever.

Nothing in Python ends such a loop, not even Ctrl-C; so the process has a timer that ends it. Each line of standard
input is a request in JSON; the answer is a line of JSON and, if wanted, the numbers of the bag.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import math
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.errors import first_line, printable

# GenBloom, CLAM and TRIDENT; STAMP.
_DATASETS = ("features", "feats")
# Where software names its encoder: ours and older TRIDENT, STAMP, newer TRIDENT.
_ENCODER_PLACES: tuple[tuple[bool, str], ...] = ((False, "encoder"), (False, "extractor"), (True, "encoder"))
# Features hardly compress. Larger bags that take so many times less on disk are made to fill the memory.
_SMALL_BYTES, _RATIO = 2**28, 50
# HDF5 reads some parts twice. A file that is read so many times more is a circle.
_READ_AGAIN, _SMALL_FILE = 8, 2**24
# A piece of a file, which also a slow network drive delivers within the time limit.
_PIECE_BYTES = 2**20
_AGAIN = "encode the patient again"


@dataclass(frozen=True)
class FeatureOrigin:
    """How features were made; None where a file from elsewhere does not say."""

    # Which network, and the sum of its weights
    encoder: str | None = None
    weights_sha256: str | None = None
    preprocessing: str | None = None
    precision: str | None = None
    smear_fingerprint: str | None = None  # `Smear.fingerprint`
    quality_rules: str | None = None  # Version of the rules that chose the cells
    field_of_view_um: float | None = None  # Width of a cell's image, in micrometres
    assumed_export: str | None = None  # The export whose width that is; None where the files or the user state it
    views: str | None = None  # How many there are of each cell besides the cell as it is, and how they differ
    library_version: str | None = None  # Of napari-caltomorph

    def matches(self, other: FeatureOrigin) -> bool:
        """Whether both were made in the same way; what says how wide images are, and the version, may differ."""
        mine, others = asdict(self), asdict(other)
        return all(mine[key] == others[key] for key in mine if key not in ("assumed_export", "library_version"))

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What was assumed of the images, as sentences without their full stops; shown with every result."""
        if self.assumed_export is None or self.field_of_view_um is None:
            return ()
        return (
            f"Images assumed to be {self.field_of_view_um:.3g} µm wide, as {self.assumed_export} exports them; "
            "--field-of-view (in napari: Preferences) states another width",
        )


UNKNOWN = FeatureOrigin()

MADE_ALIKE = ("encoder", "weights_sha256", "preprocessing", "precision", "views")
"""What is the same of features that go together; the cells and the field of view are each patient's own."""


class _Refused(Exception):
    """Why a file has no bag that can be read."""


def main() -> None:
    """Answer requests until standard input ends, i.e. until the process that asks has ended."""
    answers = sys.stdout.buffer
    answers.write(b"ready\n")
    answers.flush()
    for line in sys.stdin.buffer:
        _answer(json.loads(line), answers)
        answers.flush()


def _answer(request: dict[str, Any], answers: BinaryIO) -> None:
    wait_again = partial(_end_in, request["patience"])
    wait_again()
    values: NDArray[np.float32] | None = None
    try:
        answer, values = _read(request["path"], request["values"], wait_again)
    except _Refused as error:
        answer = {"refused": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes the HDF5 library report
        answer = {"unreadable": first_line(error)}
    _end_in(0)
    answer["bytes"] = 0 if values is None else values.nbytes
    answers.write(json.dumps(answer).encode() + b"\n")
    if values is not None and values.size:
        answers.write(values.data.cast("B"))


def _end_in(seconds: float) -> None:
    """End this process after so many seconds, also while the HDF5 library computes; never with 0."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
    elif seconds:
        faulthandler.dump_traceback_later(seconds, exit=True)
    else:
        faulthandler.cancel_dump_traceback_later()


class _WatchedFile(io.FileIO):
    """A regular file that reports each read: a slow disk makes progress, an endless loop does not.

    Python opens it, so that HDF5's locks, which some network drives do not have, are not needed.
    """

    def __init__(self, path: str, progress: Callable[[], None]) -> None:
        try:
            status = Path(path).stat()
        except OSError as error:
            raise _Refused(f"cannot be opened ({error.strerror}); check the path, or {_AGAIN}") from error
        if not stat.S_ISREG(status.st_mode):
            raise _Refused("is a folder, a pipe or a device, no file; name a feature file")
        super().__init__(path)
        self._progress = progress
        self._left = _READ_AGAIN * status.st_size + _SMALL_FILE
        _refuse_being_written(self.fileno())

    def readinto(self, buffer: Any, /) -> int:
        count = super().readinto(memoryview(buffer)[:_PIECE_BYTES]) or 0
        self._left -= count
        if self._left < 0:
            raise OSError("its parts refer to each other in a circle")
        self._progress()
        return count


def _refuse_being_written(file: int) -> None:
    """Refuse a file that another program has opened with HDF5 for writing: parts of it may be missing."""
    try:
        import fcntl
    except ImportError:  # Windows: such a file cannot be read at all
        return
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _Refused("is open for writing in another program; close it there first") from None
    except OSError:  # no locks on this drive
        return


def _read(path: str, with_values: bool, progress: Callable[[], None]) -> tuple[dict[str, Any], Any]:
    """Return the description of a bag and, if wanted, its numbers as float32."""
    with (
        io.BufferedReader(_WatchedFile(path, progress)) as content,
        h5py.File(content, "r") as file,
    ):
        name = next((name for name in _DATASETS if name in file), None)
        if name is None:
            raise _Refused(f"holds no dataset 'features' or 'feats'; found {sorted(file)[:6]}")
        bag = _dataset(file, name)
        answer: dict[str, Any] = {
            "shape": list(bag.shape),
            "origin": asdict(_origin(file.attrs, bag.attrs)),
            "sha256": _text(file.attrs.get("content_sha256")),
            "cells": None,
            "label": _label(file),
        }
        if not with_values:
            return answer, None
        _refuse_missing_numbers(bag)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
            values = np.ascontiguousarray(bag.astype(np.float32)[()])
        if "cells" in file:
            cells = _dataset(file, "cells")
            if len(cells.shape) == 1 and cells.shape[0] <= values.size:
                answer["cells"] = [str(cell) for cell in cells.asstr("utf-8")[()]]
            else:
                raise _Refused(f"has cell names of shape {cells.shape} for features of shape {bag.shape}; {_AGAIN}")
        return answer, values


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset whose numbers are in this file: others could be of any file of this computer."""
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise _Refused(f"refers to another place for {name!r} ({type(link).__name__}); copy the numbers into the file")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise _Refused(f"has a group {name!r}, no dataset; {_AGAIN}")
    if dataset.is_virtual or dataset.external:
        raise _Refused(f"refers to other files for {name!r}; copy the numbers into the file")
    if dataset.shape is None:
        raise _Refused(f"has an empty dataset {name!r}; {_AGAIN}")
    return dataset


def _label(file: h5py.File) -> int | None:
    """Return the number of the patient's class, as GenBloom's files have it; None where there is none."""
    with contextlib.suppress(_Refused):
        labels = _dataset(file, "labels") if "labels" in file else None
        if labels is not None and labels.size == 1 and labels.dtype.kind in "iu":
            return int(labels[()].item())
    return None


def _refuse_missing_numbers(bag: h5py.Dataset) -> None:
    """Refuse what is no numbers, what was declared and never written, and what would fill the memory."""
    if bag.dtype.kind not in "fiu":
        raise _Refused(f"has features of type {bag.dtype}, no numbers; {_AGAIN}")
    if bag.size == 0:
        return  # refused by its shape
    stored = bag.id.get_storage_size()
    parts = 1 if bag.chunks is None else math.prod(-(-n // part) for n, part in zip(bag.shape, bag.chunks, strict=True))
    written = bool(stored) if bag.chunks is None else bag.id.get_num_chunks()
    if written < parts:
        raise _Refused(f"declares features of shape {bag.shape}, but not all of them were written; {_AGAIN}")
    size = max(bag.size, math.prod(bag.chunks or (1,))) * max(4, bag.dtype.itemsize)
    if size > max(_SMALL_BYTES, _RATIO * stored):
        raise _Refused(
            f"has {stored} bytes that would become {size}, and no encoder's features compress so well; {_AGAIN}"
        )


def _origin(of_file: h5py.AttributeManager, of_bag: h5py.AttributeManager) -> FeatureOrigin:
    found: dict[str, Any] = {field.name: _text(of_file.get(field.name)) for field in fields(FeatureOrigin)}
    encoders = (_text((of_bag if in_bag else of_file).get(name)) for in_bag, name in _ENCODER_PLACES)
    found["encoder"] = next((encoder for encoder in encoders if encoder), None)
    width = found["field_of_view_um"]
    return FeatureOrigin(**found | {"field_of_view_um": None if width is None else float(width)})


def _text(value: Any) -> str | None:
    """Return an attribute as text; None where it is missing or empty."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if value is None or isinstance(value, h5py.Empty):
        return None
    # h5py keeps bytes that are not UTF-8 as halves of characters, which no table takes.
    return printable(value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value))


if __name__ == "__main__":
    main()
