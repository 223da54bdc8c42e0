"""A path -> a `Smear`, from names and headers alone; no pixel is decoded here."""

from __future__ import annotations

import os
import re
import shlex
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from natsort import natsort_keygen, ns

from napari_caltomorph.errors import CellUnreadable, LooksLikeCohort, SmearUnreadable, printable
from napari_caltomorph.smear.cell_types import unlisted
from napari_caltomorph.smear.images import IMAGE_KINDS, IMAGE_SUFFIXES, is_image, is_stack, read_cells
from napari_caltomorph.smear.listing import Listing, list_cells, list_slides
from napari_caltomorph.smear.pixels import StoredCell
from napari_caltomorph.smear.slides import are_slides, join_slides
from napari_caltomorph.smear.smear import Smear
from napari_caltomorph.smear.sources import CellSource, FileSource, StackSource
from napari_caltomorph.smear.trees import FolderTree, Tree, open_tree
from napari_caltomorph.storage import StrPath, path_of, paths_of

# Headers give the canvas and the pixel size. Up to this many are all read; of a larger smear this many, evenly
# spaced, so that 20,000 cells on a network drive open as fast as 500.
_HEADERS = 512

# Files this much larger than the usual cell are whole fields; they do not set the canvas.
_CANVAS_LIMIT = 2.0

UNLISTED = "Labels of cells that are in no list of cell types"

_FILE_ENDS = re.compile(rf"(\.ome|\.rgb)?\.({'|'.join(end[1:] for end in sorted(IMAGE_SUFFIXES))}|zip)$", re.IGNORECASE)

_by_numbers = natsort_keygen(alg=ns.PATH | ns.IGNORECASE)


def read_smear(
    path: StrPath | Sequence[StrPath], *, slides: bool = False, types: Collection[str] | None = None
) -> Smear:
    """Open one patient's single-cell images.

    Parameters
    ----------
    path : path or list of paths
        A folder of images; a zip archive of such a folder, read in place; a multi-page TIFF or OME-TIFF, one cell a
        page; one image; or several images of one folder.
    slides : bool
        The path, or all of the paths, are known to be one patient: each folder of images, archive or stack is a slide,
        whose cells are named ``slide/cell``. Otherwise folders are slides only if they are named so (``slide_1``).
    types : collection of str, optional
        The path is known to be of labelled cells: next to a folder that is named after a cell type, or has one of these
        names, all folders of images are types. Otherwise names in no list are types only where they are a minority.

    Returns
    -------
    Smear
        Names in natural order; pixels are decoded when needed.

    Raises
    ------
    SmearUnreadable
        Nothing there, or no image in it; the message says what was found.
    LooksLikeCohort
        The folder contains folders that look like patients.
    """
    paths = [Path(path)] if isinstance(path, (str, os.PathLike)) else [Path(p) for p in path]
    try:
        if slides and len(paths) > 1:
            paths = sorted(dict.fromkeys(paths), key=lambda one: natural(str(one)))
            return join_slides(paths, [read_smear(one, slides=True) for one in paths])
        if slides and len(paths) == 1 and (files := _slide_files(paths[0])):
            place = paths[0].absolute()
            joined = join_slides(files, [read_smear(one, slides=True) for one in files])
            return replace(joined, patient_id=patient_id(place), path=place, paths=())
        tree = open_tree(paths[0]) if len(paths) == 1 else None
        return _read_files(paths) if tree is None else _read_tree(paths[0], tree, slides, types)
    except OSError as error:
        raise SmearUnreadable(f"{paths[0]} cannot be read ({error.strerror}).") from error


def open_place(place: str) -> Smear:
    """Open one patient's cells where a cohort's table or a prediction says that they are; see `Smear.place`."""
    return read_smear(paths_of(place), slides=True)


def _slide_files(patient: Path) -> list[Path]:
    """Return the archives, or else the stacks, in the folder of a patient whose slides are a file each."""
    if not patient.is_dir():
        return []
    tree = FolderTree(patient)
    entries = tree.children("")
    images = [file for file in entries.files if is_image(file)]
    archives = [file for file in entries.files if file.lower().endswith(".zip")]
    if images or entries.folders:
        archives = []
    files = archives or (images if len(images) > 1 and all(is_stack_file(tree, file) for file in images) else [])
    return [patient / file for file in sorted(files, key=natural)]


def find_slides(patient: StrPath) -> list[Path]:
    """Return the folders of a patient's slides where there are several, in natural order; otherwise none."""
    patient = Path(patient)
    try:
        slides = read_smear(patient, slides=True).slides
    except SmearUnreadable:
        return []
    return _slide_files(patient) or [path_of(str(patient / slide)) for slide in slides]


def patient_id(path: StrPath) -> str:
    """Return the id of the patient whose smear is at `path`: the name of the folder, archive or stack."""
    path = Path(path)
    name = Path(os.path.normpath(path.absolute())).name  # not ".." of a path that ends so
    if not path.is_dir():
        name = _FILE_ENDS.sub("", name)
    return printable(name) or "smear"


def natural(name: str) -> tuple[Any, str]:
    """Order by the numbers in a name; 1.tif and 01.tif, equal so, always come out in the same order."""
    return _by_numbers(name), name


def is_stack_file(tree: Tree, path: str) -> bool:
    """Whether a file is a TIFF with several pages, each of which is a cell."""
    if not is_image(path):
        return False
    try:
        with tree.open(path) as file:
            return is_stack(file)
    except CellUnreadable:
        return False


def _read_tree(path: Path, tree: Tree, slides: bool, types: Collection[str] | None) -> Smear:
    listing = list_cells(tree, "", types=types)
    names = sorted(listing.patients, key=natural)
    are_named = are_slides(patient_id(path), names)
    if slides or are_named:
        smear = _make_smear(path, tree, list_slides(tree, "", named=are_named))
        note = f"Taken for slides of one patient, because of the names: {', '.join(names)}"
        return smear if slides else replace(smear, notes=(note, *smear.notes))
    if listing.is_of_patients:
        raise LooksLikeCohort(
            f"{path} holds {len(names)} folders that look like patients (first: {names[0]}); open one of them, or use "
            f"`caltomorph predict {shlex.quote(str(path))} --each` in the terminal. If they are slides or cell "
            "types of one patient, use --slides instead, or name slides slide_1, slide_2 and so on."
        )
    return _make_smear(path, tree, listing)


def _read_files(paths: list[Path]) -> Smear:
    paths = list(dict.fromkeys(paths))
    if not paths:
        raise SmearUnreadable("No image was named; choose a folder, a zip archive or images.")
    for path in paths:
        if not path.exists():
            raise SmearUnreadable(f"{path} does not exist; check the path.")
        if not is_image(path.name):
            raise SmearUnreadable(f"{path} is neither a folder, a zip archive nor an image ({IMAGE_KINDS}).")
        if not path.is_file():
            raise SmearUnreadable(f"{path} is no regular file (a pipe, a device or a folder); choose an image file.")
    parents = {path.parent for path in paths}
    if len(parents) > 1:
        raise SmearUnreadable(f"The images are in {len(parents)} folders; open one patient at a time.")
    (parent,) = parents
    listing = Listing(cells=[(path.name, None) for path in paths])
    return _make_smear(paths[0] if len(paths) == 1 else parent, FolderTree(parent), listing)


def _make_smear(path: Path, tree: Tree, listing: Listing) -> Smear:
    if not listing.cells:
        found = ", ".join(printable(p) for p in sorted(listing.passed_over, key=natural)[:3]) or "nothing"
        more = f" and {len(listing.passed_over) - 3} more" if len(listing.passed_over) > 3 else ""
        fix = "Choose the export's folder."
        if any(one.lower().endswith(".zip") for one in listing.passed_over):
            each = f"Open one archive, or use `caltomorph predict {shlex.quote(str(path))} --each` in the terminal."
            fix = each if path.is_dir() else "Unpack it: archives in an archive are not read."
        if path.is_dir() and any(one.lower().endswith(".h5") for one in listing.passed_over):
            fix = f"For feature files, use `caltomorph predict --features {shlex.quote(str(path))}` in the terminal."
        raise SmearUnreadable(f"{path} holds no cell image ({IMAGE_KINDS}); found {found}{more}. {fix}")
    cells = sorted(listing.cells, key=lambda cell: natural(cell[0]))
    paths = [name for name, _ in cells]
    stack = _stack(tree, paths)
    headers = {paths[0]: stack.cells} if stack else _read_headers(tree, paths)
    stacks = {name: len(found) for name, found in headers.items() if len(found) > 1 and not stack}
    _refuse_stacks(path, stacks, len(headers))
    stored = stack.cells if stack else [found[0] for found in headers.values()]
    source: CellSource = stack or FileSource(tree, paths)
    if stack:
        count = len(stored)
        names = tuple(f"{printable(paths[0])}#{i + 1:0{len(str(count))}d}" for i in range(count))
        labels: tuple[str | None, ...] = (None,) * count
    else:
        names = tuple(printable(name) for name in paths)
        labels = tuple(None if label is None else printable(label) for _, label in cells)
        if duplicates := [name for name, count in Counter(names).items() if count > 1]:
            raise SmearUnreadable(f"{path}: two files are both shown as {duplicates[0]}; rename one of them.")
    return Smear(
        patient_id=patient_id(path),
        path=path.absolute(),
        cells=names,
        labels=labels,
        source=source,
        canvas=_canvas(stored),
        pixel_size_um=_common_pixel_size(stored),
        passed_over=tuple(printable(p) for p in listing.passed_over),
        slides=tuple(printable(p) for p in sorted(listing.slides, key=natural)) if len(listing.slides) > 1 else (),
        notes=tuple(_notes(listing, stored, stacks)),
    )


def _refuse_stacks(path: Path, stacks: dict[str, int], images: int) -> None:
    """Refuse files of several cells, given with how many, that are not alone and have most of the cells."""
    if sum(stacks.values()) <= images - len(stacks):
        return
    fix = "Open it alone, or move the other images elsewhere."
    if len(stacks) == images and path.is_dir() and not any("/" in name for name in stacks):
        fix = "Open one alone; in the terminal, use --each if each is a patient, or --slides if each is a slide of one."
    name, cells = next(iter(stacks.items()))
    raise SmearUnreadable(f"{path}: {printable(name)} has {cells} cells, and is not the only image. {fix}")


def _notes(listing: Listing, stored: list[StoredCell], stacks: Iterable[str]) -> Iterator[str]:
    if names := unlisted(label for _, label in listing.cells):
        yield f"{UNLISTED}: {_enumerated(names)}"
    if listing.empty and listing.cells:
        yield f"Folders of cell types without an image: {_enumerated(listing.empty)}"
    if unread := listing.patients + listing.unread:
        yield f"Folders with images that were not read, as their names are no cell types: {_enumerated(unread)}"
    if stacks:
        yield f"Files that were not read, as they have several cells: {_enumerated([*stacks])}"
    if len(listing.cells) == 1 and len(stored) > 1 and stored[0].colors == 1:
        yield f"{len(stored)} pages without colours, each taken for a cell, as nothing says what else they are"


def _enumerated(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(printable, names[:5])) + more


def _stack(tree: Tree, paths: list[str]) -> StackSource | None:
    """Return the cells of a file that is alone and has several."""
    if len(paths) > 1:
        return None
    try:
        stack = StackSource(tree, paths[0])
    except CellUnreadable:
        return None  # check_smear reads it again, and reports it
    return stack if len(stack.cells) > 1 else None


def _read_headers(tree: Tree, paths: list[str]) -> dict[str, list[StoredCell]]:
    """Return the cells of each of some files."""
    step = max(1, -(-len(paths) // _HEADERS))
    headers = {}
    for path in paths[::step]:
        try:
            with tree.open(path) as file:
                headers[path] = read_cells(file)
        except CellUnreadable:
            continue  # check_smear reads it again, and reports it
    return headers


def _canvas(stored: list[StoredCell]) -> tuple[int, int]:
    if not stored:
        return (144, 144)  # nothing readable, which check_smear reports; the Metafer size keeps the layer whole
    # Of two, the lower one: a cell next to a whole field.
    limit = _CANVAS_LIMIT * statistics.median_low(max(cell.height, cell.width) for cell in stored)
    usual = [cell for cell in stored if max(cell.height, cell.width) <= limit]
    return max(cell.height for cell in usual), max(cell.width for cell in usual)


def _common_pixel_size(stored: list[StoredCell]) -> float | None:
    sizes = [cell.pixel_size_um for cell in stored if cell.pixel_size_um is not None]
    return statistics.median(sizes) if sizes else None
