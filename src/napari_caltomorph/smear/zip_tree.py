"""A zip archive as a tree of names, without unpacking it: limits of what is unpacked, and what is refused."""

from __future__ import annotations

import contextlib
import io
import re
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import BinaryIO

from napari_caltomorph.errors import CellUnreadable, SmearUnreadable
from napari_caltomorph.smear.cell_types import is_cell_type, is_label_root
from napari_caltomorph.smear.entries import Entries, is_system_entry, sorted_out
from napari_caltomorph.smear.images import is_image

# A stack of 4,000 Metafer cells unpacks to this much; a bomb claims gigabytes, or shrinks thousandfold.
_MAX_ENTRY_BYTES = 2**28
_MAX_RATIO = 1000
# Every folder of a name is listed: one name of 30,000 nested folders would fill the memory by itself.
_MAX_DEPTH = 32
# `zipfile` can stop these at the size that an entry claims; 150 bytes of bz2 unpack to 200 MB in one go.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})

# The Finder's copies of every entry's attributes
_MAC_TWINS = "__MACOSX/"
_IS_ENCRYPTED = 0x1
_NAME_IS_UTF8 = 0x800


class ZipTree:
    """A zip archive, read in place; a single folder around everything is left off the names.

    Raises `SmearUnreadable` where it is no plain zip, is encrypted, or has an entry that is unsafe.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
            raise SmearUnreadable(f"{path} is not a zip archive that can be read ({error}).") from error
        names: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            if info.filename and not info.is_dir():  # a damaged archive may have entries without a name
                name = _name(info)
                _refuse_if_unsafe(path, name, info)
                if not name.startswith(_MAC_TWINS):
                    _refuse_if_ambiguous(path, name, info, names.setdefault(name, info))
        prefix = _common_folder(name for name in names if is_image(name) and not _is_hidden(name))
        self._entries = {name.removeprefix(prefix): info for name, info in names.items()}
        self._files: dict[str, list[str]] = defaultdict(list)
        self._folders: dict[str, set[str]] = defaultdict(set)
        for name in self._entries:
            *parents, _ = name.split("/")
            self._files["/".join(parents)].append(name)
            for depth in range(len(parents)):
                self._folders["/".join(parents[:depth])].add("/".join(parents[: depth + 1]))

    def children(self, folder: str) -> Entries:
        return sorted_out(self._files.get(folder, []), sorted(self._folders.get(folder, ())))

    def open(self, path: str) -> BinaryIO:
        info = self._entries[path]
        try:
            with self._zip.open(info) as packed:
                # Read whole: decoders seek, and seeking backwards in a compressed entry starts over.
                # The size is named, because without one more is unpacked than the entry claims.
                return io.BytesIO(packed.read(info.file_size))
        except (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, RuntimeError, ValueError) as error:
            raise CellUnreadable(f"damaged in the archive ({error})") from error

    def identity(self, folder: str) -> Hashable:
        return folder


def _name(info: zipfile.ZipInfo) -> str:
    """Return an entry's name as it would be on disk.

    macOS writes UTF-8 without the flag that says so, and old Windows tools write backslashes.
    """
    name = info.filename
    if not info.flag_bits & _NAME_IS_UTF8:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return re.sub(r"[\\/]+(\./+)*", "/", name).removeprefix("./")


def _refuse_if_unsafe(path: Path, name: str, info: zipfile.ZipInfo) -> None:
    parts = name.split("/")
    if ".." in parts or name.startswith("/") or re.match("[A-Za-z]:", name):
        raise SmearUnreadable(f"{path}: entry {name!r} points outside the archive; do not trust this file.")
    if len(parts) > _MAX_DEPTH:
        raise SmearUnreadable(f"{path}: entry {name[:80]!r}... lies {len(parts)} folders deep; do not trust this file.")
    if info.flag_bits & _IS_ENCRYPTED:
        raise SmearUnreadable(f"{path} is encrypted; unpack it with its password and open the folder.")
    if info.compress_type not in _METHODS:
        raise SmearUnreadable(f"{path} is packed in an unusual way; pack it again as a plain zip (deflate).")
    if info.file_size > _MAX_ENTRY_BYTES or info.file_size > _MAX_RATIO * max(info.compress_size, 1024):
        raise SmearUnreadable(
            f"{path}: entry {name!r} would unpack to {info.file_size / 1e6:,.0f} MB, far more than a cell; "
            "unpack it yourself if you trust it, and open what comes out."
        )


def _refuse_if_ambiguous(path: Path, name: str, info: zipfile.ZipInfo, first: zipfile.ZipInfo) -> None:
    if (info.CRC, info.file_size) != (first.CRC, first.file_size):
        raise SmearUnreadable(
            f"{path} has two different entries {name!r}; unpack it, keep the right one, and open the folder."
        )


def _is_hidden(name: str) -> bool:
    return any(map(is_system_entry, name.split("/")))


def _common_folder(images: Iterable[str]) -> str:
    """Return the one folder that all images lie in, with its slash, unless its name is a label."""
    firsts = {name.split("/", 1)[0] if "/" in name else "" for name in images}
    if len(firsts) != 1:
        return ""
    (first,) = firsts
    return "" if not first or is_label_root(first) or is_cell_type(first) else f"{first}/"
