"""Patients as feature files without images: ``<patient>.h5`` next to a table, or ``<label>/<patient>.h5``.

CLAM and TRIDENT write them into a folder of their own next to the table: its name is no label.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from napari_caltomorph.cohort.layout_folders import LayoutResult, join, recognises_folders
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.table_columns import as_id, refuse_column_options
from napari_caltomorph.cohort.table_file import find_table, unread_tables
from napari_caltomorph.encoding.h5_reader import is_feature_file, read_bag
from napari_caltomorph.errors import CohortUnreadable, FeaturesRefused, counted, printable
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear.entries import Entries
from napari_caltomorph.smear.trees import FolderTree, children_if_readable, folders_in
from napari_caltomorph.storage import paths_of

# Folders of feature files: CLAM's; TRIDENT's, one an encoder, in one for the size of patches.
_CONTAINERS = re.compile(r"h5_files|features?(_.+)?|feats|\d+(\.\d+)?x_\d+px_.+", re.IGNORECASE)
# Places of patches on a slide (CLAM, TRIDENT): .h5 files without features.
_COORDINATES = re.compile(r"patches(_.+)?|coords|coordinates", re.IGNORECASE)
# Next to image folders, which are previews then and no patients.
_OF_SOFTWARE = re.compile(r"h5_files|patches(_.+)?|\d+(\.\d+)?x_\d+px_.+", re.IGNORECASE)


def recognises_features(path: Path) -> bool:
    """Whether bags of features are in the folder, or in its folders where no patient's images are."""
    if not path.is_dir():
        return False
    if _bags_in(path):
        return True
    is_of_software = any(map(_OF_SOFTWARE.fullmatch, _entries(path).folders))
    return bool(_unlabelled(path) or _labelled(path)) and (is_of_software or not recognises_folders(path))


def read_features(path: Path, options: CohortOptions) -> LayoutResult:
    """Read names; raises `CohortUnreadable` where there is no bag, bags have no label, or are of several encoders."""
    found, folder = find_bags(path)
    is_labelled = folder is None
    table = find_table(path, options)
    if table is not None:
        joined = join(found, table, options, labels_from_table=not is_labelled)
        if folder not in (None, path):
            joined.notes.append(f"Features were read from the folder {folder.relative_to(path)}.")
        return joined
    if not is_labelled:
        raise CohortUnreadable(
            f"{path}: {counted(len(found), 'bag')} without labels; name a table with --table. "
            f"{unread_tables(path)}".strip()
        )
    refuse_column_options(path, options)
    return LayoutResult(found)


def find_bags(path: Path) -> tuple[pd.DataFrame, Path | None]:
    """Return the bags in a folder, as a table of patients, and the one folder that they are in.

    None where they are in folders of labels. Raises `CohortUnreadable` where there is none, or it is not clear which.
    """
    folders = _unlabelled(path)
    if len(folders) > 1:
        names = ", ".join(str(folder.relative_to(path)) for folder in folders[:4])
        raise CohortUnreadable(f"{path} has {len(folders)} folders of feature files ({names}); name one, with --table.")
    is_labelled = not folders
    if is_labelled:
        folders = _labelled(path)
    bags = [(label, bag) for label in folders for folder in _unlabelled(label) for bag in _bags_in(folder)]
    if not bags:
        raise CohortUnreadable(f"{path} has no .h5 file of features; name the folder of the feature files.")
    found = pd.DataFrame(
        {
            "patient_id": [as_id(printable(bag.stem)) for _, bag in bags],
            "raw_label": [printable(label.name) if is_labelled else None for label, _ in bags],
            "features": [printable(str(bag)) for _, bag in bags],
        }
    )
    return found, None if is_labelled else folders[0]


def check_features(found: LayoutResult, *, progress: OnProgress = ignore) -> LayoutResult:
    """Count the cells of bags by their headers, and leave out those that no model could use together with the others.

    Raises `CohortUnreadable` where no patient has images, and no bag can be read.
    """
    table = found.table
    headers = []
    for number, bag in enumerate(table["features"]):
        report = partial(progress, Progress("Reading headers of features", number, len(table), "patients"))
        report()
        headers.append(None if pd.isna(bag) else _header_of_slides(paths_of(bag), report))
    kinds = Counter(header.kind for header in headers if isinstance(header, _Header))
    if headers and all(isinstance(header, str) for header in headers):
        raise CohortUnreadable(
            f"none of {len(headers)} feature files can be read; the first: {str(headers[0]).rstrip('.')}."
        )
    usual = kinds.most_common(1)[0][0] if kinds else ""
    left_out: list[tuple[str, str | None, str, str]] = []
    for patient, label, header in zip(table["patient_id"], table["raw_label"], headers, strict=True):
        raw_label = None if pd.isna(label) else str(label)
        if isinstance(header, str):
            left_out.append((patient, raw_label, "unreadable features", header))
        elif header is not None and header.kind != usual:
            left_out.append((patient, raw_label, "features of another encoder", f"{header.kind}; most are {usual}"))
    fits = [header is None or (isinstance(header, _Header) and header.kind == usual) for header in headers]
    cells = [header.cells if isinstance(header, _Header) else None for header in headers]
    table = table.assign(n_cells=pd.array(cells, dtype="Int64"))
    return LayoutResult(table.loc[fits].reset_index(drop=True), found.left_out + left_out, found.notes)


@dataclass(frozen=True)
class _Header:
    cells: int
    width: int
    encoder: str

    @property
    def kind(self) -> str:
        """What must be the same for all patients."""
        return f"{self.width} wide, encoder {self.encoder}"


def _unlabelled(path: Path, depth: int = 2) -> list[Path]:
    """Return the folders of bags whose labels are in a table: the folder itself, or those of CLAM and TRIDENT in it."""
    if _bags_in(path):
        return [path]
    if depth == 0 or not any(map(_CONTAINERS.fullmatch, _entries(path).folders)):
        return []
    containers = [folder for folder in folders_in(path) if _CONTAINERS.fullmatch(folder.name)]
    return [folder for container in containers for folder in _unlabelled(container, depth - 1)]


def _labelled(path: Path) -> list[Path]:
    """Return the folders whose names are the labels of the bags in them."""
    folders = [folder for folder in folders_in(path) if not _COORDINATES.fullmatch(folder.name)]
    return [folder for folder in folders if _unlabelled(folder)]


def _bags_in(folder: Path) -> list[Path]:
    return sorted(folder / name for name in _entries(folder).files if is_feature_file(name))


def _entries(folder: Path) -> Entries:
    return children_if_readable(FolderTree(folder), "")


def _header_of_slides(paths: Sequence[Path], waiting: Callable[[], object]) -> _Header | str:
    """Return what the headers of a patient's slides say together, or why they cannot be one bag."""
    headers = []
    for path in paths:
        header = _header(path, waiting)
        if isinstance(header, str):
            return header
        headers.append(header)
    if len(kinds := {header.kind for header in headers}) > 1:
        return f"its slides are of several encoders: {'; '.join(sorted(kinds))}"
    return replace(headers[0], cells=sum(header.cells for header in headers))


def _header(path: Path, waiting: Callable[[], object]) -> _Header | str:
    """Return a bag's header, or why it cannot be read."""
    try:
        bag = read_bag(path, description_only=True, waiting=waiting)
    except FeaturesRefused as error:
        return str(error)
    shape = bag.of_cells
    if not (len(shape) == 2 or (len(shape) == 3 and bag.origin.views is not None)) or 0 in shape:
        return f"{path}: shape {bag.shape} is no bag of cells"
    encoder = bag.origin.encoder or "not named"
    if weights := bag.origin.weights_sha256:
        encoder += f" (weights {weights[:12]})"
    return _Header(shape[0], shape[-1], encoder)
