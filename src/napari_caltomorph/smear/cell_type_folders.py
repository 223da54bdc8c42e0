"""Which folders below a patient hold cells of one type, so that their names are the cells' labels."""

from __future__ import annotations

from collections.abc import Iterable

from napari_caltomorph.smear.cell_types import is_cell_code, is_cell_type, is_label_root, is_no_type, known_type
from napari_caltomorph.smear.entries import Entries
from napari_caltomorph.smear.images import is_image
from napari_caltomorph.smear.trees import Tree, children_if_readable, is_written_by_us


def cell_type_folders(tree: Tree, folder: str, entries: Entries) -> list[str]:
    """Return the folders in a folder with these entries that hold cells of a type.

    Below a label root, that is every folder, and elsewhere those with the name of a type. Codes and names that are in
    no list are types where at least half of the folders with images bear names or codes of types.
    """
    if is_label_root(_name(folder)):
        return entries.folders
    named = [sub for sub in entries.folders if is_cell_type(_name(sub))]
    others = [sub for sub in entries.folders if sub not in named and not is_label_root(_name(sub))]
    coded = [sub for sub in others if is_cell_code(_name(sub))]
    # One code alone could be a patient's initials, unless the patient's cells are next to it.
    if not (named or len(coded) > 1 or (coded and any(map(is_image, entries.files)))):
        return named
    others = [sub for sub in others if not is_no_type(_name(sub)) and _has_images(tree, sub)]
    known = len(named) + sum(is_cell_code(_name(sub)) for sub in others)
    return named + others if 2 * known >= len(named) + len(others) else named


def unlisted(labels: Iterable[str | None]) -> list[str]:
    """Return the labels that are in no list of cell types, in the order in which they occur."""
    return [label for label in dict.fromkeys(labels) if label is not None and known_type(label) is None]


def _has_images(tree: Tree, folder: str) -> bool:
    entries = children_if_readable(tree, folder)
    return any(map(is_image, entries.files)) and not is_written_by_us(tree, entries)


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]
