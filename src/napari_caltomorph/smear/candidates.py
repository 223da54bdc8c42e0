"""What may be patients in a folder, and how deep images are in each: it tells diagnoses, patients and slides apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_caltomorph.smear.images import is_image
from napari_caltomorph.smear.listing import folders_of_cells, looks_like_patient
from napari_caltomorph.smear.read import is_stack_file, natural
from napari_caltomorph.smear.trees import Tree, children_if_readable, is_written_by_us, open_tree
from napari_caltomorph.storage import StrPath

# A diagnosis, its patients, and their slides.
_DEEPEST = 2


@dataclass(frozen=True)
class Candidate:
    """What may be a patient: a folder, an archive or a stack."""

    path: Path
    has_cells: bool  # Images, or folders of cell types, are directly in it
    # 0: cells of one smear; 1: of several smears, such as a patient's slides or the patients of a diagnosis; 2: a level
    # more; None: no image
    levels: int | None
    below: tuple[Candidate, ...] = ()  # What is in the folder


def find_candidates(folder: StrPath) -> list[Candidate]:
    """Return what may be patients in a folder, with what is in each, in natural order; also folders without images.

    `folder` may be a zip archive, or a folder in one. Folders that hold cells of one type are not among them. Raises
    `SmearUnreadable` where an archive cannot be read.
    """
    folder = Path(folder)
    tree = open_tree(folder)
    return [] if tree is None else _in_folder(folder, tree, "", depth=0)


def _in_folder(root: Path, tree: Tree, folder: str, depth: int) -> list[Candidate]:
    entries = children_if_readable(tree, folder)
    parts = [sub for sub in folders_of_cells(tree, folder, entries) if _has_cells_only(tree, sub)]
    folders = {sub: _of_folder(root, tree, sub, depth) for sub in entries.folders if sub not in parts}
    # The images of a patient of a diagnosis are not opened to see whether they are stacks.
    files = [f for f in entries.files if depth < _DEEPEST and is_stack_file(tree, f)]
    if root.is_dir():  # an archive in an archive is not read
        files += [f for f in entries.files if f.lower().endswith(".zip")]
    found = folders | {file: Candidate(root / file, has_cells=True, levels=0) for file in files}
    return [one for name in sorted(found, key=natural) if (one := found[name]) is not None]


def _of_folder(root: Path, tree: Tree, folder: str, depth: int) -> Candidate | None:
    entries = children_if_readable(tree, folder)
    if is_written_by_us(tree, entries):
        return None
    below = _in_folder(root, tree, folder, depth + 1) if depth < _DEEPEST else []
    smears = [one for one in below if one.levels is not None]
    images = sum(map(is_image, entries.files)) - sum(is_image(one.path.name) for one in smears)
    # A picture or two next to several smears (a legend) make them no smear.
    has_cells = bool(folders_of_cells(tree, folder, entries)) or (images > 0 and len(smears) <= max(1, images))
    levels = None
    if has_cells or (len(below) < 2 and looks_like_patient(tree, folder)):
        levels = 0
    elif smears:
        levels = 1 + max(one.levels or 0 for one in smears)
    return Candidate(root / folder, has_cells, levels, tuple(below))


def _has_cells_only(tree: Tree, folder: str) -> bool:
    """Whether a folder with the name of a cell type is not a diagnosis of that name, with patients in it."""
    entries = children_if_readable(tree, folder)
    return bool(folders_of_cells(tree, folder, entries)) or any(map(is_image, entries.files))
