"""A folder or a zip archive as one tree of names, so that reading a smear never asks which it is."""

from __future__ import annotations

import io
import lzma
import os
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from napari_caltomorph.errors import CellUnreadable, SmearUnreadable
from napari_caltomorph.smear.cell_types import is_cell_type, is_label_root

# No single leukocyte needs more than this unpacked; a bomb claims gigabytes, or shrinks thousandfold.
_MAX_ENTRY_BYTES = 2**28
_MAX_RATIO = 1000


class Tree(Protocol):
    """Files below one root; folders and files are named by POSIX paths relative to it, the root by ``""``."""

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """Return paths of the files and of the folders directly in `folder`."""

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading; `CellUnreadable` when it cannot be."""


class FolderTree:
    """A folder on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        files: list[str] = []
        folders: list[str] = []
        with os.scandir(self.root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                (folders if entry.is_dir() else files).append(path)
        return files, folders

    def open(self, path: str) -> BinaryIO:
        try:
            return (self.root / path).open("rb")
        except OSError as error:
            raise CellUnreadable(error.strerror or str(error)) from error


class ZipTree:
    """A zip archive, read in place; a single folder around everything is left off the names.

    Raises
    ------
    SmearUnreadable
        Not a zip, encrypted, an entry that points outside, or one that unpacks to far more than a cell.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise SmearUnreadable(f"{path} is not a zip archive that can be read ({error}).") from error
        entries = [info for info in self._zip.infolist() if not info.is_dir()]
        for info in entries:
            _refuse_if_unsafe(path, info)
        names = {info.filename: info for info in entries if not _is_hidden(info.filename)}
        prefix = _common_folder(names)
        self._entries = {name[len(prefix) :]: info for name, info in names.items()}
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
        try:
            # Read whole: decoders seek, and seeking backwards in a compressed entry starts over.
            return io.BytesIO(self._zip.read(self._entries[path]))
        except (
            zipfile.BadZipFile,
            zlib.error,
            lzma.LZMAError,
            OSError,
            EOFError,
            NotImplementedError,
        ) as error:
            raise CellUnreadable(f"damaged in the archive ({error})") from error


def _refuse_if_unsafe(path: Path, info: zipfile.ZipInfo) -> None:
    parts = PurePosixPath(info.filename.replace("\\", "/")).parts
    if ".." in parts or info.filename.startswith(("/", "\\")) or ":" in info.filename.split("/")[0]:
        raise SmearUnreadable(f"{path}: entry {info.filename!r} points outside the archive; do not trust this file.")
    if info.flag_bits & 1:
        raise SmearUnreadable(f"{path} is encrypted; unpack it with its password and open the folder.")
    if info.file_size > _MAX_ENTRY_BYTES or info.file_size > _MAX_RATIO * max(info.compress_size, 1024):
        raise SmearUnreadable(
            f"{path}: entry {info.filename!r} would unpack to {info.file_size / 1e6:,.0f} MB, far more than a cell; "
            "do not trust this file."
        )


def _is_hidden(name: str) -> bool:
    return name.startswith("__MACOSX/")


def _common_folder(names: Iterable[str]) -> str:
    firsts = {name.split("/", 1)[0] for name in names}
    if len(firsts) != 1 or not all("/" in name for name in names):
        return ""
    (first,) = firsts
    return "" if is_label_root(first) or is_cell_type(first) else f"{first}/"
