"""How labelled patients may be arranged on disk. A layout is two functions and a row in `LAYOUTS`.

``read(path, options)`` returns what is there, before any cleaning. ``recognises(path)`` reads names only and lets
``auto`` find the layout; without it the layout must be named.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote, urlsplit

import pandas as pd

from napari_caltomorph.cohort.layout_features import read_features, recognises_features
from napari_caltomorph.cohort.layout_folders import LayoutResult, frame, join, read_folders, recognises_folders
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.slides import complete_labels, join_slides, split_slides
from napari_caltomorph.cohort.table_columns import canonical, keep_where
from napari_caltomorph.cohort.table_file import find_table, is_table, read_table
from napari_caltomorph.encoding.h5_reader import is_feature_file
from napari_caltomorph.errors import CohortUnreadable, SmearUnreadable, printable
from napari_caltomorph.smear.trees import archive_of, folders_in, open_tree


@dataclass(frozen=True)
class Layout:
    """One arrangement of patients on disk."""

    name: str
    read: Callable[[Path, CohortOptions], LayoutResult]
    recognises: Callable[[Path], bool] = lambda path: False
    has_slide_rows: bool = False  # A patient may have several rows or files, one a slide

    def find(self, path: Path, options: CohortOptions) -> LayoutResult:
        """Read what is there, with one row a patient or, if the options say so, a slide."""
        found = complete_labels(self.read(path, options))
        if options.bag == "slide":
            return split_slides(found)
        return join_slides(found) if self.has_slide_rows else found


def find_layout(path: Path, name: str) -> Layout:
    """Return a layout by name, or for ``auto`` the first that recognises the path; `CohortUnreadable` if none does."""
    try:
        is_tree = open_tree(path) is not None
    except SmearUnreadable as error:
        raise CohortUnreadable(str(error)) from error
    if not (is_tree or path.exists()):
        raise CohortUnreadable(f"{path} does not exist; check the path.")
    if name != "auto":
        if name not in LAYOUTS:
            raise CohortUnreadable(f"There is no layout {name!r}; there are auto, {', '.join(LAYOUTS)}.")
        return LAYOUTS[name]
    found = next((layout for layout in LAYOUTS.values() if layout.recognises(path)), None)
    if found is None:
        raise CohortUnreadable(
            f"{path} is no known cohort ({_content_of(path)}); name the directory above the patients, or a "
            "table with a path for each."
        )
    return found


def _content_of(path: Path) -> str:
    if path.exists() and not path.is_dir() and archive_of(path) is None:
        kind = "a file that does not end like a table: .csv, .tsv, .xlsx or .parquet"
        return kind if path.is_file() else "no regular file"
    folders = len(folders_in(path))
    return f"{folders} folders, none of them with cell images or features" if folders else "no folder, and no .h5 file"


def _read_table_of_folders(path: Path, options: CohortOptions) -> LayoutResult:
    """Read a table with a row and a folder, or feature file, for each patient; paths are relative to the table."""
    raw, notes = read_table(path, options)
    table, guessed = canonical(keep_where(raw, path, options), path, options)
    if "path" not in table:
        raise CohortUnreadable(f"{path}: no column looks like the path of the cells; name it with --path-column.")
    if "raw_label" not in table:
        raise CohortUnreadable(f"{path}: no column looks like the diagnosis; name it with --label-column.")
    places = [_place_in_table(str(place), path) if pd.notna(place) else None for place in table["path"]]
    are_features = [place is not None and is_feature_file(place.name) for place in places]
    named = [None if place is None else printable(str(place)) for place in places]
    table["features"] = [name if is_bag else None for name, is_bag in zip(named, are_features, strict=True)]
    table["path"] = [None if is_bag else name for name, is_bag in zip(named, are_features, strict=True)]
    return LayoutResult(table, notes=notes + guessed)


def _place_in_table(text: str, table: Path) -> Path:
    r"""Return the path that a cell of a table means; ``\`` is ``/`` where nothing is called so.

    A path of Windows with a drive or a server stays as it is written, so that a message shows it.
    """
    text = text.strip("\"'")  # Explorer's "Copy as path" adds them
    if text.lower().startswith("file:"):
        text = _path_of_uri(text)
    if PureWindowsPath(text).is_absolute() and not text.startswith("/"):
        return Path(text)
    # Path.expanduser raises an error where a name only begins with "~".
    spellings = [os.path.expanduser(one) for one in (text, text.replace("\\", "/"))]  # noqa: PTH111
    places = [table.parent / one for one in spellings]
    return next((place for place in places if os.path.lexists(place)), places[-1])


def _path_of_uri(uri: str) -> str:
    address = urlsplit(uri)
    path = unquote(address.path)
    if address.netloc not in ("", "localhost"):
        return f"//{address.netloc}{path}"
    return path[1:] if PureWindowsPath(path[1:]).drive else path  # /D:/data


def _recognises_aml_hehr(path: Path) -> bool:
    """Whether it is AML-Hehr (TCIA): ``metadata.csv`` and ``data/<bag_label>/<patient_id>/``."""
    table = path / "metadata.csv"
    if not table.is_file() or not (path / "data").is_dir():
        return False
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return {"patient_id", "bag_label"} <= set(next(csv.reader(file), []))


def _read_aml_hehr(path: Path, options: CohortOptions) -> LayoutResult:
    """Read AML-Hehr; the blood counts keep their own names."""
    data = path / "data"
    if not data.is_dir():
        raise CohortUnreadable(f"{data} does not exist; unpack the cohort's images there.")
    found = frame((patient, label.name) for label in folders_in(data) for patient in folders_in(label))
    options = options.with_columns(id_column="patient_id", label_column="bag_label")
    return join(found, _table_of(path, "metadata.csv", options), options, labels_from_table=True)


def _recognises_apl_aml(path: Path) -> bool:
    """Whether it is APL-AML (Sidhom et al. 2021): ``master.csv`` and ``All/Patient_XX/<slides>/<cell type>/``."""
    return (path / "master.csv").is_file() and (path / "All").is_dir()


def _read_apl_aml(path: Path, options: CohortOptions) -> LayoutResult:
    """Read APL-AML; `read_smear` takes the cell types from the sub-folders."""
    images = path / "All"
    if not images.is_dir():
        raise CohortUnreadable(f"{images} does not exist; unpack the cohort's images there.")
    found = frame((patient, None) for patient in folders_in(images))
    options = options.with_columns(id_column="Patient_ID", label_column="Diagnosis")
    return join(found, _table_of(path, "master.csv", options), options, labels_from_table=True)


def _table_of(path: Path, own: str, options: CohortOptions) -> Path:
    """Return the table that a cohort has of its own, or the one that is named instead."""
    named = None if options.table is None else find_table(path, options)
    return named or path / own


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("table", _read_table_of_folders, lambda path: path.is_file() and is_table(path), has_slide_rows=True),
        Layout("aml-hehr", _read_aml_hehr, _recognises_aml_hehr),
        Layout("apl-aml", _read_apl_aml, _recognises_apl_aml),
        Layout("features", read_features, recognises_features, has_slide_rows=True),
        Layout("folders", read_folders, recognises_folders),
    )
}
"""In the order in which they are tried: special ones before general ones."""
