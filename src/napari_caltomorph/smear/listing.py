"""Which images below a folder or in an archive are one patient's cells, and which folders cell types or patients."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass, field

from napari_caltomorph.smear.cell_types import folded, is_cell_code, is_cell_type, is_label_root, is_no_type
from napari_caltomorph.smear.entries import Entries
from napari_caltomorph.smear.images import is_image
from napari_caltomorph.smear.trees import Tree, children_if_readable, entered_once, is_written_by_us

# A patient's folder may be inside this many others that contain nothing else; links can nest without end.
_WRAPPERS = 8

# Slides of a patient may be sorted into this many folders, such as dates, one in the other.
_GROUPS = 2


@dataclass
class Listing:
    """What was found below the folder of one patient: paths relative to the tree's root."""

    cells: list[tuple[str, str | None]] = field(default_factory=list)  # path, label
    passed_over: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)  # Folders with images that are not read
    unread: list[str] = field(default_factory=list)  # The same, below folders of cell types, or of slides
    empty: list[str] = field(default_factory=list)  # Folders of types without an image, where `types` are given
    slides: list[str] = field(default_factory=list)

    @property
    def is_of_patients(self) -> bool:
        """Whether there are several folders of images; a picture or two next to them (a legend) make them no smear."""
        return len(self.patients) > max(1, len(self.cells))


def list_cells(
    tree: Tree,
    folder: str,
    label: str | None = None,
    seen: set[Hashable] | None = None,
    types: Collection[str] | None = None,
) -> Listing:
    """Collect the images below `folder`, going only into folders of cell types, and into each once: not into `seen`.

    `types` are the user's own names of types; where they are given, all folders of images next to a type are types.
    """
    seen = set() if seen is None else seen
    entries = tree.children(folder)
    listing = Listing(passed_over=entries.passed_over)
    for file in entries.files:
        if is_image(file):
            listing.cells.append((file, label))
        else:
            listing.passed_over.append(file)
    parts = folders_of_cells(tree, folder, entries, types)
    entered = set(entered_once(tree, Entries(folders=parts), seen))
    for sub in entries.folders:
        if sub not in entered:
            listing.passed_over.append(sub)
            listing.patients += [] if sub in parts else _patients(tree, sub)
            continue
        below = list_cells(tree, sub, None if is_label_root(_name(sub)) else _name(sub), seen)
        listing.cells += below.cells
        listing.passed_over += below.passed_over
        listing.unread += below.patients + below.unread
        if types is not None and not below.cells:
            listing.empty.append(sub)
    # Masks and old copies next to what may be a patient are none; alone they are read.
    patients = [one for one in listing.patients if not is_no_type(one.rsplit("/", 1)[-1])] or listing.patients
    listing.unread += [one for one in listing.patients if one not in patients]
    listing.patients = patients
    if not listing.cells and len(listing.patients) == 1:
        # One folder around the patient's own, as some of APL-AML's patients have: it is the same patient.
        inner = list_cells(tree, listing.patients[0], types=types)
        inner.unread += listing.unread
        inner.passed_over += [path for path in listing.passed_over if not _is_in(listing.patients[0], path)]
        return inner
    return listing


def list_slides(tree: Tree, folder: str, *, named: bool = False, depth: int = 0) -> Listing:
    """Collect the images below the folder of one patient, where each folder that has images is a slide.

    Folders next to images are slides only where they are `named` so.
    """
    own = list_cells(tree, folder)
    if depth > _GROUPS or (own.cells and not own.is_of_patients and not named):
        return own
    entries = tree.children(folder)
    groups = [sub for sub in entries.folders if sub in own.passed_over and sub not in own.unread]
    others = [path for path in own.passed_over if path not in groups]
    pictures = [] if named else [path for path, _ in own.cells]
    joined = Listing(cells=own.cells if named else [], passed_over=others + pictures, unread=own.unread)
    for sub in groups:
        is_ours = is_written_by_us(tree, children_if_readable(tree, sub))
        below = Listing() if is_ours else list_slides(tree, sub, depth=depth + 1)
        joined.cells += below.cells
        joined.passed_over += below.passed_over if below.cells else [sub]
        joined.slides += below.slides or ([sub] if below.cells else [])
        joined.unread += below.patients + below.unread
    return joined


def folders_of_cells(tree: Tree, folder: str, entries: Entries, types: Collection[str] | None = None) -> list[str]:
    """Return the folders in a folder with these entries that hold some of a patient's cells.

    They are label roots and all folders below one, and elsewhere those with the name of a cell type. Codes and names
    that are in no list are types where at least half of the folders with images bear names or codes of types, or where
    `types` are given: names that a person uses for types.
    """
    if is_label_root(_name(folder)):
        return entries.folders
    roots = [sub for sub in entries.folders if is_label_root(_name(sub))]
    mine = set(map(folded, types or ()))
    named = [sub for sub in entries.folders if is_cell_type(_name(sub)) or folded(_name(sub)) in mine]
    others = [sub for sub in entries.folders if sub not in named and sub not in roots]
    coded = [sub for sub in others if is_cell_code(_name(sub))]
    # One code alone could be a patient's initials, unless the patient's cells are next to it.
    if not (named or len(coded) > 1 or (coded and any(map(is_image, entries.files)))):
        return roots
    others = [sub for sub in others if not is_no_type(_name(sub)) and _has_images(tree, sub)]
    known = len(named) + sum(is_cell_code(_name(sub)) for sub in others)
    return roots + named + (others if types is not None or 2 * known >= len(named) + len(others) else [])


def _patients(tree: Tree, folder: str) -> list[str]:
    """Return `folder` if it looks like a patient, otherwise the folders in it that do: class, then patient."""
    if looks_like_patient(tree, folder):
        return [folder]
    return [sub for sub in children_if_readable(tree, folder).folders if looks_like_patient(tree, sub)]


def looks_like_patient(tree: Tree, folder: str, depth: int = 0) -> bool:
    """Whether a folder holds images, or cells sorted by type; also a folder or two further down, if they are alone."""
    entries = children_if_readable(tree, folder)
    if is_written_by_us(tree, entries):
        return False
    if any(map(is_image, entries.files)) or folders_of_cells(tree, folder, entries):
        return True
    folders = entries.folders
    return len(folders) == 1 and depth < _WRAPPERS and looks_like_patient(tree, folders[0], depth + 1)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _has_images(tree: Tree, folder: str) -> bool:
    entries = children_if_readable(tree, folder)
    return any(map(is_image, entries.files)) and not is_written_by_us(tree, entries)


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]
