"""A table whose rows name each patient's folder: CSV, TSV, Excel or Parquet."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from napari_caltomorph.cohort.layout_result import Found
from napari_caltomorph.cohort.layouts.features import sort_out_features
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.table_columns import canonical, keep_where
from napari_caltomorph.cohort.table_file import is_table, read_table
from napari_caltomorph.errors import CohortUnreadable, printable


def recognises(path: Path) -> bool:
    """Whether the path is a table."""
    return path.is_file() and is_table(path)


def read(path: Path, options: CohortOptions) -> Found:
    """Read the table; paths in it are relative to its folder."""
    raw, notes = read_table(path)
    table, guessed = canonical(keep_where(raw, path, options), path, options)
    if "path" not in table:
        raise CohortUnreadable(f"{path}: no column says where the cells are; name it with --path-column.")
    if "raw_label" not in table:
        raise CohortUnreadable(f"{path}: no column looks like the diagnosis; name it with --label-column.")
    places = [path.parent / str(place) if pd.notna(place) else None for place in table["path"]]
    are_features = [place is not None and place.suffix.lower() == ".h5" for place in places]
    named = [None if place is None else printable(str(place)) for place in places]
    table["features"] = [name if is_bag else None for name, is_bag in zip(named, are_features, strict=True)]
    table["path"] = [None if is_bag else name for name, is_bag in zip(named, are_features, strict=True)]
    return sort_out_features(Found(table, notes=notes + guessed))
