"""A table whose rows name each patient's folder: CSV, TSV, Excel or Parquet."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.tables import Found, canonical, is_table, read_table
from napari_caltomorph.errors import CohortUnreadable
from napari_caltomorph.names import printable


def recognises(path: Path) -> bool:
    """Whether the path is a table."""
    return path.is_file() and is_table(path)


def read(path: Path, options: CohortOptions) -> Found:
    """Read the table; paths in it are relative to its folder."""
    raw, assumed = read_table(path)
    table, guessed = canonical(raw, path, options)
    if "path" not in table:
        raise CohortUnreadable(f"{path}: no column says where the cells are; name it with --path-column.")
    places = [path.parent / str(place) if pd.notna(place) else None for place in table["path"]]
    are_features = [place is not None and place.suffix == ".h5" for place in places]
    table["features"] = [str(p) if is_bag else None for p, is_bag in zip(places, are_features, strict=True)]
    table["path"] = [
        printable(str(p)) if p is not None and not is_bag else None
        for p, is_bag in zip(places, are_features, strict=True)
    ]
    return Found(table, notes=assumed + guessed)
