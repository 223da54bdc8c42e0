"""What is in a folder or a zip archive: both are one tree of names, so that reading does not depend on which it is.

What systems and we ourselves leave in folders is sorted out here, so that it is no patient, cell or feature anywhere.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, Protocol

from napari_caltomorph.errors import CellUnreadable, SmearUnreadable
from napari_caltomorph.smear.cell_types import is_cell_type, is_label_root
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

# What Windows, macOS and network storage (Synology, QNAP, NetApp) leave in folders, besides names with a dot in front.
_SYSTEM_NAMES = frozenset(
    [
        *("$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "__pycache__"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini"),
        *("__macosx", "network trash folder", "temporary items", "lost+found"),
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "~snapshot"),
    ]
)

# The files that a job always writes together -> the images that it may write next to them.
_WRITTEN = tuple(
    (frozenset(always.split()), re.compile(images))
    for always, images in (
        ("prediction.json", r"screenshot\.png"),
        ("predictions.csv cells.csv", ""),
        ("evaluation.json", ""),
        ("map.safetensors map.png map.pdf", r"[a-z_]+\d*\.png"),
        ("model.json", r"training_curves\.png"),
        ("training.json", ""),
        ("comparison.csv folds.csv", r"comparison\.png"),
        ("run.json", ""),
        ("differential.csv cell_types.csv", ""),
        ("flow.png classes.png preview.png", r"(flow|classes|preview)\.png"),
    )
)


def is_system_entry(name: str) -> bool:
    """Whether a file or folder of this name is hidden (a dot in front), or is of a system: a bin, a snapshot, a cache.

    Only what is found in a folder is sorted out by its name; what a person names is read.
    """
    return name.startswith((".", "~$")) or name.casefold() in _SYSTEM_NAMES


@dataclass
class Entries:
    """What is directly in a folder: paths relative to the tree's root."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)  # Of the system, figures of ours, and what is no regular file


class Tree(Protocol):
    """Files below one root; folders and files are named by POSIX paths relative to it, the root by ``""``."""

    def children(self, folder: str) -> Entries:
        """Return what is directly in `folder`."""

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading; `CellUnreadable` when it cannot be."""


def is_written_by_us(tree: Tree, entries: Entries) -> bool:
    """Whether a folder with these entries is the result of one of our jobs, and no image below it could be a cell."""
    names = {name.rsplit("/", 1)[-1] for name in (*entries.files, *entries.passed_over)}
    return any(always <= names for always, _ in _WRITTEN) and not _has_cells(tree, entries)


def folders_in(place: Path) -> list[Path]:
    """Return the folders directly in a folder, by name: none of the system's, and none that we wrote."""
    tree = FolderTree(place)
    return sorted(
        place / name
        for name in tree.children("").folders
        if not is_written_by_us(tree, children_if_readable(tree, name))
    )


def children_if_readable(tree: Tree, folder: str) -> Entries:
    """Return what is in a folder that may be none of our business: one that cannot be opened counts as empty."""
    try:
        return tree.children(folder)
    except OSError:
        return Entries()


def _has_cells(tree: Tree, entries: Entries) -> bool:
    return any(is_image(file) or file.lower().endswith(".zip") for file in entries.files) or any(
        _has_cells(tree, children_if_readable(tree, folder)) for folder in entries.folders
    )


def _sorted_out(files: list[str], folders: list[str], others: Iterable[str] = ()) -> Entries:
    """Sort out what is of the system, or a figure of ours."""
    names = {path.rsplit("/", 1)[-1] for path in files}
    ours = [images for always, images in _WRITTEN if always <= names]
    entries = Entries(passed_over=list(others))
    for path in files:
        name = path.rsplit("/", 1)[-1]
        is_out = is_system_entry(name) or any(images.fullmatch(name) for images in ours)
        (entries.passed_over if is_out else entries.files).append(path)
    for path in folders:
        is_out = is_system_entry(path.rsplit("/", 1)[-1])
        (entries.passed_over if is_out else entries.folders).append(path)
    return entries


class FolderTree:
    """A folder on disk. Links are followed, unless one leads back to a folder above it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def children(self, folder: str) -> Entries:
        files: list[str] = []
        folders: list[str] = []
        others: list[str] = []
        with os.scandir(self.root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                kind = _kind(entry)
                if kind == "folder" and entry.is_symlink() and self._leads_back(path):
                    kind = "other"
                {"file": files, "folder": folders, "other": others}[kind].append(path)
        return _sorted_out(files, folders, others)

    def _leads_back(self, link: str) -> bool:
        """Whether a link leads to a folder that it is in, or that the way to it went through."""
        target = (self.root / link).resolve()
        way = PurePosixPath(link).parents
        return any((self.root / place).resolve().is_relative_to(target) for place in way)

    def open(self, path: str) -> BinaryIO:
        try:
            return (self.root / path).open("rb")
        except OSError as error:
            raise CellUnreadable(error.strerror or str(error)) from error


def _kind(entry: os.DirEntry[str]) -> Literal["file", "folder", "other"]:
    """A link that leads nowhere is a file that cannot be read; a pipe or a device, which would never end, is none."""
    try:
        if entry.is_dir():
            return "folder"
        is_file = entry.is_file() or (entry.is_symlink() and not Path(entry).exists())
    except OSError:  # a link that leads to itself
        is_file = True
    return "file" if is_file else "other"


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
        return _sorted_out(self._files.get(folder, []), sorted(self._folders.get(folder, ())))

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
