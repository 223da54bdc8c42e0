"""Where the pixels of a smear's cells come from: files, pages of a stack, or an array. Read only when needed.

A folder and a zip archive are both one tree of names, so that reading a smear does not depend on which it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import struct
import threading
import weakref
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_caltomorph.errors import CellUnreadable, SmearUnreadable
from napari_caltomorph.smear.cell_types import is_cell_type, is_label_root
from napari_caltomorph.smear.images import decode, decode_page, is_image

# A stack of 4,000 Metafer cells unpacks to this much; a bomb claims gigabytes, or shrinks thousandfold.
_MAX_ENTRY_BYTES = 2**28
_MAX_RATIO = 1000
# Every folder of a name is listed: one name of 30,000 nested folders would fill the memory by itself.
_MAX_DEPTH = 32
# `zipfile` can stop these at the size that an entry claims; 150 bytes of bz2 unpack to 200 MB in one go.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})

_IS_ENCRYPTED = 0x1
_NAME_IS_UTF8 = 0x800


class CellSource(Protocol):
    """N cell images, numbered."""

    def image(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; `CellUnreadable` when it cannot be decoded."""

    def digest(self, index: int) -> str:
        """SHA-256, in hex, of the bytes that make this cell; `CellUnreadable` when there are none."""


class FileSource:
    """One file a cell, in a folder or a zip archive."""

    def __init__(self, tree: Tree, paths: list[str]) -> None:
        self._tree, self._paths = tree, paths

    def image(self, index: int) -> NDArray[np.uint8]:
        with self._tree.open(self._paths[index]) as file:
            return decode(file, self._paths[index])

    def digest(self, index: int) -> str:
        with self._tree.open(self._paths[index]) as file:
            try:
                digest = hashlib.sha256()
                while piece := file.read(2**20):
                    digest.update(piece)
                return digest.hexdigest()
            except OSError as error:
                raise CellUnreadable(error.strerror or str(error)) from error


class StackSource:
    """One page a cell, in a TIFF; the file stays open, and one thread reads it at a time."""

    def __init__(self, tree: Tree, path: str) -> None:
        file = tree.open(path)
        self._tiff = tifffile.TiffFile(file)
        weakref.finalize(self, file.close)
        self._lock = threading.Lock()

    def image(self, index: int) -> NDArray[np.uint8]:
        with self._lock:
            try:
                return decode_page(self._tiff.pages[index])
            except CellUnreadable:
                raise
            except Exception as error:
                raise CellUnreadable(f"damaged page ({error})") from error

    def digest(self, index: int) -> str:
        return _pixels_digest(self.image(index))


class ArraySource:
    """A (N, H, W, 3) uint8 array, such as the data of an image layer."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = array

    def image(self, index: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self._array[index])

    def digest(self, index: int) -> str:
        return _pixels_digest(self.image(index))


def _pixels_digest(pixels: NDArray[np.uint8]) -> str:
    shape = "x".join(str(n) for n in pixels.shape).encode()
    return hashlib.sha256(shape + pixels.tobytes()).hexdigest()


class Tree(Protocol):
    """Files below one root; folders and files are named by POSIX paths relative to it, the root by ``""``."""

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """Return paths of the files and of the folders directly in `folder`."""

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading; `CellUnreadable` when it cannot be."""


class FolderTree:
    def __init__(self, root: Path) -> None:
        self.root = root

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        files: list[str] = []
        folders: list[str] = []
        with os.scandir(self.root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if _is_folder(entry):
                    folders.append(path)
                elif entry.is_symlink() or entry.is_file():  # opening a pipe would wait forever
                    files.append(path)
        return files, folders

    def open(self, path: str) -> BinaryIO:
        try:
            return (self.root / path).open("rb")
        except OSError as error:
            raise CellUnreadable(error.strerror or str(error)) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


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
                names[name] = info
        prefix = _common_folder(name for name in names if is_image(name) and not _is_hidden(name))
        self._entries = {name.removeprefix(prefix): info for name, info in names.items() if not _is_hidden(name)}
        self._files: dict[str, list[str]] = defaultdict(list)
        self._folders: dict[str, set[str]] = defaultdict(set)
        for name in self._entries:
            *parents, _ = name.split("/")
            self._files["/".join(parents)].append(name)
            for depth in range(len(parents)):
                self._folders["/".join(parents[:depth])].add("/".join(parents[: depth + 1]))

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        return self._files.get(folder, []), sorted(self._folders.get(folder, ()))

    def open(self, path: str) -> BinaryIO:
        info = self._entries[path]
        try:
            with self._zip.open(info) as packed:
                # Read whole: decoders seek, and seeking backwards in a compressed entry starts over.
                # The size is named, because without one more is unpacked than the entry claims.
                return io.BytesIO(packed.read(info.file_size))
        except (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, RuntimeError, ValueError) as error:
            raise CellUnreadable(f"damaged in the archive ({error})") from error


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


def _is_hidden(name: str) -> bool:
    return name.startswith("__MACOSX/")


def _common_folder(images: Iterable[str]) -> str:
    """Return the one folder that all images lie in, with its slash, unless its name is a label."""
    firsts = {name.split("/", 1)[0] if "/" in name else "" for name in images}
    if len(firsts) != 1:
        return ""
    (first,) = firsts
    return "" if not first or is_label_root(first) or is_cell_type(first) else f"{first}/"
