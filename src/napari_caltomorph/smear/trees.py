"""Folders and zip archives as one tree of names, so that reading does not depend on which it is."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, Protocol

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.smear.entries import WRITTEN, Entries, sorted_out
from napari_caltomorph.smear.images import is_image
from napari_caltomorph.smear.zip_tree import ZipTree


class Tree(Protocol):
    """Files below one root; folders and files are named by POSIX paths relative to it, the root by ``""``."""

    def children(self, folder: str) -> Entries:
        """Return what is directly in `folder`."""

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading; `CellUnreadable` when it cannot be."""

    def identity(self, folder: str) -> Hashable:
        """Return what is the same for two names of one folder, of which one is a link."""


def open_tree(place: Path) -> Tree | None:
    """Return the tree of a folder, of a zip archive, or of a place in one (``cohort.zip/P01``); None for other files.

    Raises `SmearUnreadable` where the archive cannot be read, or must not be trusted.
    """
    if place.is_dir():
        return FolderTree(place)
    archive = archive_of(place)
    if archive is None:
        return None
    inner = place.relative_to(archive).as_posix()
    tree = ZipTree(archive)
    return tree if inner == "." else SubTree(tree, inner)


def archive_of(place: Path) -> Path | None:
    """Return the zip archive that a place is, or is in."""
    return next((one for one in (place, *place.parents) if one.suffix.lower() == ".zip" and one.is_file()), None)


def folders_in(place: Path) -> list[Path]:
    """Return the folders directly in a folder, by name: none of the system's, and none that we wrote."""
    tree = open_tree(place)
    if tree is None:
        return []
    return sorted(
        place / name
        for name in tree.children("").folders
        if not is_written_by_us(tree, children_if_readable(tree, name))
    )


def files_in(place: Path) -> list[Path]:
    """Return the files directly in a folder or archive, by name: none of the system's, and none that we wrote."""
    tree = open_tree(place)
    return [] if tree is None else sorted(place / name for name in tree.children("").files)


def children_if_readable(tree: Tree, folder: str) -> Entries:
    """Return what is in a folder that may be none of our business: one that cannot be opened counts as empty."""
    try:
        return tree.children(folder)
    except OSError:
        return Entries()


def is_written_by_us(tree: Tree, entries: Entries) -> bool:
    """Whether a folder with these entries is the result of one of our jobs, and no image below it could be a cell."""
    names = {name.rsplit("/", 1)[-1] for name in (*entries.files, *entries.passed_over)}
    return any(always <= names for always, _ in WRITTEN) and not _has_cells(tree, entries, set())


def _has_cells(tree: Tree, entries: Entries, seen: set[Hashable]) -> bool:
    return any(is_image(file) or file.lower().endswith(".zip") for file in entries.files) or any(
        _has_cells(tree, children_if_readable(tree, folder), seen) for folder in entered_once(tree, entries, seen)
    )


def entered_once(tree: Tree, entries: Entries, seen: set[Hashable]) -> Iterator[str]:
    """Yield the folders that are not in `seen`, and add them: links can make endless names of few folders."""
    for folder in sorted(entries.folders):
        identity = tree.identity(folder)
        if identity not in seen:
            seen.add(identity)
            yield folder


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
        return sorted_out(files, folders, others)

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

    def identity(self, folder: str) -> Hashable:
        try:
            status = (self.root / folder).stat()
        except OSError:
            return folder
        return (status.st_dev, status.st_ino) if status.st_ino else folder  # 0 on some network drives


def _kind(entry: os.DirEntry[str]) -> Literal["file", "folder", "other"]:
    """A link that leads nowhere is a file that cannot be read; a pipe or a device, which would never end, is none."""
    try:
        if entry.is_dir():
            return "folder"
        is_file = entry.is_file() or (entry.is_symlink() and not Path(entry).exists())
    except OSError:  # a link that leads to itself
        is_file = True
    return "file" if is_file else "other"


class SubTree:
    """A folder, or one file, of another tree."""

    def __init__(self, tree: Tree, place: str) -> None:
        self._tree = tree
        folder, _, name = place.rpartition("/")
        is_file = place in tree.children(folder).files
        self._prefix = f"{folder}/".lstrip("/") if is_file else f"{place}/"
        self._only = name if is_file else None

    def children(self, folder: str) -> Entries:
        if self._only is not None:
            return Entries([self._only])
        found = self._tree.children(f"{self._prefix}{folder}".rstrip("/"))
        return Entries(*([path.removeprefix(self._prefix) for path in paths] for paths in found.lists))

    def open(self, path: str) -> BinaryIO:
        return self._tree.open(f"{self._prefix}{path}")

    def identity(self, folder: str) -> Hashable:
        return folder
