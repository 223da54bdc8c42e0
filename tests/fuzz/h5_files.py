"""Feature files of every software and of none: valid bags, and what else HDF5 can put where one is expected."""

from __future__ import annotations

import io
from typing import Any

import h5py
import numpy as np
from hypothesis import strategies as st
from tests.fuzz.mutations import Seed, mutated

_VALUES = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
_CELLS = ["a.tif", "b.tif", "c.tif", "d.tif"]
_TEXT = h5py.string_dtype("utf-8")


def _ours(file: Any) -> None:
    file.create_dataset("features", data=_VALUES)
    file.create_dataset("cells", data=_CELLS, dtype=_TEXT)
    for key in ("encoder", "weights_sha256", "preprocessing", "precision", "smear_fingerprint"):
        file.attrs[key] = key
    file.attrs["field_of_view_um"] = 25.0


def _clam(file: Any) -> None:
    file.create_dataset("features", data=_VALUES, chunks=(1, 6), maxshape=(None, 6))
    file.create_dataset("coords", data=np.zeros((4, 2), dtype=np.int64), chunks=(1, 2), maxshape=(None, 2))


def _trident(file: Any) -> None:
    bag = file.create_dataset("features", data=_VALUES[np.newaxis], compression="gzip")
    bag.attrs["encoder"] = "uni_v1"
    file.create_dataset("coords", data=np.zeros((1, 4, 2))).attrs["patch_size"] = 256


def _stamp(file: Any) -> None:
    file.create_dataset("feats", data=_VALUES.astype(np.float16), fletcher32=True, chunks=True)
    file.attrs["extractor"] = "ctranspath"


_SOFTWARE = {"ours": _ours, "clam": _clam, "trident": _trident, "stamp": _stamp}
_DTYPES = ("f2", "f4", "f8", ">f4", "i1", "i8", "u8", "?", "c8", "S3", "V7", "f4,i2", _TEXT, h5py.ref_dtype)
_DTYPES += (h5py.vlen_dtype(np.float32), h5py.enum_dtype({"a": 1, "b": 2}), np.dtype(("f4", (3,))))
_SHAPES = ((), (0,), (4,), (4, 0), (0, 6), (4, 6), (1, 4, 6), (2, 4, 6), (1, 1, 4, 6), (4, 1), (5000, 3))
_VAST = ((2**40, 6), (30_000, 30_000), (2**20, 2**10), (4, 2**31))
_ATTRIBUTES: tuple[Any, ...] = (
    *("x", "", "x" * 3000, "a\nb", b"\xff\xfe", 1, -1, 2**63, np.nan, np.inf, True, 0.5, h5py.Empty("f4")),
    *(h5py.Empty(_TEXT), np.zeros(3), np.zeros((0,)), np.array(["a", "b"], dtype="S1"), np.zeros(2, dtype="f4,i2")),
)
_ELSEWHERE = ("p.h5", "/etc/passwd", "/dev/zero")
_TARGETS = ("features", "/missing", "/", "cells", "/loop")


def _save(fill: Any, **how: Any) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w", **how) as file:
        fill(file)
    return content.getvalue()


def fields(content: bytes) -> tuple[tuple[int, int], ...]:
    """Return where a number of the format may be: HDF5 aligns them, and most of a file is zeros."""
    return tuple(
        (at, width)
        for width in (1, 2, 4, 8)
        for at in range(0, len(content) - 8, width)
        if any(content[at : at + width])
    )


SEEDS = tuple(
    Seed(f"{name} {version}", content, fields(content))
    for name, fill in _SOFTWARE.items()
    for version in ("earliest", "latest")
    for content in (_save(fill, libver=version),)
)


@st.composite
def h5_files(draw: st.DrawFn) -> bytes:
    """The bytes of a feature file: a valid one with changes, or one with other things in it."""
    if draw(st.integers(0, 3)):
        return draw(mutated(draw(st.sampled_from(SEEDS))))
    content = _save(lambda file: _fill(draw, file), libver=draw(st.sampled_from(("earliest", "latest"))))
    return draw(mutated(Seed("strange", content))) if draw(st.booleans()) else content


def _fill(draw: st.DrawFn, file: Any) -> None:
    name = draw(st.sampled_from(("features", "feats")))
    draw(st.sampled_from((_add_array, _add_array, _add_vast, _add_link, _add_other)))(draw, file, name)
    if draw(st.booleans()):
        _add_array(draw, file, "cells")
    for key in draw(st.lists(st.sampled_from(("encoder", "extractor", "weights_sha256", "field_of_view_um")))):
        place = file[name] if draw(st.booleans()) and isinstance(file.get(name, getlink=True), h5py.HardLink) else file
        place.attrs[key] = draw(st.sampled_from(_ATTRIBUTES))


def _add_array(draw: st.DrawFn, file: Any, name: str) -> None:
    how: dict[str, Any] = {}
    shape = draw(st.sampled_from(_SHAPES))
    if shape and all(shape) and draw(st.booleans()):
        how = {"chunks": True, "compression": draw(st.sampled_from((None, "gzip", "lzf"))), "fletcher32": True}
    dtype = draw(st.sampled_from(_DTYPES))
    try:
        file.create_dataset(name, shape=shape, dtype=dtype, **how)
    except ValueError:  # texts and references cannot be compressed
        file.create_dataset(name, shape=shape, dtype=dtype)


def _add_vast(draw: st.DrawFn, file: Any, name: str) -> None:
    """Gigabytes of fill value that take no place in the file."""
    shape = draw(st.sampled_from(_VAST))
    file.create_dataset(name, shape=shape, dtype="f4", chunks=tuple(min(side, 64) for side in shape))


def _add_link(draw: st.DrawFn, file: Any, name: str) -> None:
    file["loop"] = h5py.SoftLink("/loop")
    file[name] = draw(
        st.one_of(
            st.builds(h5py.SoftLink, st.sampled_from(_TARGETS)),
            st.builds(h5py.ExternalLink, st.sampled_from(_ELSEWHERE), st.sampled_from(_TARGETS)),
        )
    )


def _add_other(draw: st.DrawFn, file: Any, name: str) -> None:
    kind = draw(st.sampled_from(("group", "empty", "type", "external", "virtual")))
    if kind == "group":
        file.create_group(name)
    elif kind == "empty":
        file.create_dataset(name, data=h5py.Empty("f4"))
    elif kind == "type":
        file[name] = np.dtype("f4")
    elif kind == "external":  # the bytes of another file on the reader's disk
        file.create_dataset(name, shape=(4, 6), dtype="u1", external=[("/etc/passwd", 0, 24)])
    else:
        layout = h5py.VirtualLayout(shape=(4, 6), dtype="f4")
        layout[:] = h5py.VirtualSource(draw(st.sampled_from((".", "p.h5", "/dev/zero"))), "features", shape=(4, 6))
        file.create_virtual_dataset(name, layout)
