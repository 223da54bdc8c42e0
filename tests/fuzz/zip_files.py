"""Zip archives of cells: names that trick, entries of one name, bombs, and damaged headers."""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import Any

from hypothesis import strategies as st
from tests.fuzz.image_seeds import images, png
from tests.fuzz.mutations import Seed, mutated

_NAMES = (
    *("a.png", "b.png", "p1/a.png", "p1/b.png", "p2/a.png", "p1/LYT/a.png", "AML/p1/a.png", "AML/p1/s1/a.png", "x.txt"),
    *("../a.png", "/a.png", "C:\\a.png", "\\\\host\\a.png", "..\\a.png", "a/../../b.png", "./a.png", ".//a.png", "/"),
    *(".", "..", "a", "a/", "a.png/", "a.png/b.png", "A.PNG", "p1\\a.png", "a//b.png", " .png", "con.png", ".png"),
    *("x" * 300 + ".png", "d/" * 40 + "a.png", "\u202e.png", "\x1b[31m.png", "a\nb.png", "é.png", "\U0001f600.png"),
    *("__MACOSX/._a.png", "._a.png", "$RECYCLE.BIN/a.png", ".git/a.png", "@eaDir/a.png", "p1.h5", "in.zip", "t.csv"),
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_LOCAL, _CENTRAL, _END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
# Where the numbers of a header are, and how wide.
_HEADERS: dict[bytes, tuple[tuple[int, int], ...]] = {
    _LOCAL: ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 1), (31, 1)),
    _CENTRAL: (
        *((at, 2) for at in (4, 6, 8, 10, 28, 30, 32, 34, 36)),
        *((at, 4) for at in (16, 20, 24, 38, 42)),
        (46, 1),
    ),
    _END: ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}


@st.composite
def zip_files(draw: st.DrawFn) -> bytes:
    """The bytes of an archive."""
    entries = draw(st.lists(st.tuples(st.sampled_from(_NAMES), _contents(), st.sampled_from(_METHODS)), max_size=6))
    if draw(st.booleans()):
        entries.append(("p1/c.png", png(), zipfile.ZIP_DEFLATED))
    content = zipped(entries)
    return draw(mutated(Seed("zip", content, _fields(content)))) if draw(st.booleans()) else content


@st.composite
def _contents(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(("png", "png", "image", "none", "zeros", "zip")))
    if kind == "image":
        seed, _ = draw(st.sampled_from(images()))
        return draw(mutated(seed, most=2))
    return {"png": png(), "none": b"", "zeros": bytes(2**21), "zip": zipped([("a.png", png(), 0)])}[kind]


def zipped(entries: list[tuple[str, bytes, int]]) -> bytes:
    """Return an archive of entries, also of several with one name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content, method in entries:
            info: Any = zipfile.ZipInfo("placeholder")
            info.filename, info.compress_type = name, method  # `ZipInfo` itself would make the name harmless
            archive.writestr(info, content)
    return file.getvalue()


def _fields(content: bytes) -> tuple[tuple[int, int], ...]:
    fields = []
    for signature, places in _HEADERS.items():
        at = content.find(signature)
        while at >= 0:
            fields += [(at + offset, width) for offset, width in places]
            at = content.find(signature, at + 4)
    return tuple(fields)
