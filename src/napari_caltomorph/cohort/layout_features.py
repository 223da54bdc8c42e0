"""Patients as feature files without images: ``<patient>.h5`` next to a table, or ``<label>/<patient>.h5``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from napari_caltomorph.cohort.layout_folders import LayoutResult, join, recognises_folders
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.table_columns import as_id, refuse_column_options
from napari_caltomorph.cohort.table_file import find_table, unread_tables
from napari_caltomorph.encoding.h5_reader import read_bag
from napari_caltomorph.errors import CohortUnreadable, FeaturesRefused, printable
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear.trees import folders_in, is_system_entry
from napari_caltomorph.storage import path_of


def recognises_features(path: Path) -> bool:
    """Whether bags of features are in the folder, or one level down where no patient's images are."""
    return path.is_dir() and (_has_bags(path) or (bool(_bags(path)) and not recognises_folders(path)))


def read_features(path: Path, options: CohortOptions) -> LayoutResult:
    """Read names; raises `CohortUnreadable` where there is no bag, or bags have no label."""
    bags = _bags(path)
    if not bags:
        raise CohortUnreadable(f"{path} has no .h5 file; name the folder of the feature files.")
    is_labelled = not _has_bags(path)
    found = pd.DataFrame(
        {
            "patient_id": [as_id(printable(bag.stem)) for bag in bags],
            "raw_label": [printable(bag.parent.name) if is_labelled else None for bag in bags],
            "features": [printable(str(bag)) for bag in bags],
        }
    )
    table = find_table(path, options)
    if table is not None:
        return join(found, table, options, labels_from_table=not is_labelled)
    if not is_labelled:
        raise CohortUnreadable(
            f"{path}: {len(bags)} bags without labels; name a table with --table. {unread_tables(path)}".strip()
        )
    refuse_column_options(path, options)
    return LayoutResult(found)


def check_features(found: LayoutResult, *, progress: OnProgress = ignore) -> LayoutResult:
    """Count the cells of bags by their headers, and leave out those that no model could use together with the others.

    Raises `CohortUnreadable` where no patient has images, and no bag can be read.
    """
    table = found.table
    headers = []
    for number, bag in enumerate(table["features"]):
        report = partial(progress, Progress("Reading headers of features", number, len(table), "patients"))
        report()
        headers.append(None if pd.isna(bag) else _header(path_of(bag), report))
    kinds = Counter(header.kind for header in headers if isinstance(header, _Header))
    if headers and all(isinstance(header, str) for header in headers):
        raise CohortUnreadable(
            f"none of {len(headers)} feature files can be read (first: {headers[0]}); encode the patients again."
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


def _has_bags(path: Path) -> bool:
    return bool(_bags_in(path))


def _bags(path: Path) -> list[Path]:
    return _bags_in(path) or [bag for folder in folders_in(path) for bag in _bags_in(folder)]


def _bags_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.h5") if not is_system_entry(path.name))


def _header(path: Path, waiting: Callable[[], object]) -> _Header | str:
    """Return a bag's header, or why it cannot be read."""
    try:
        bag = read_bag(path, description_only=True, waiting=waiting)
    except FeaturesRefused as error:
        return str(error)
    shape = bag.shape[1:] if len(bag.shape) == 3 and bag.shape[0] == 1 else bag.shape
    if len(shape) != 2 or 0 in shape:
        return f"{path}: shape {bag.shape} is no bag of cells"
    encoder = bag.origin.encoder or "not named"
    if weights := bag.origin.weights_sha256:
        encoder += f" (weights {weights[:12]})"
    return _Header(shape[0], shape[1], encoder)
