"""AML-Hehr (TCIA): ``metadata.csv`` and ``data/<bag_label>/<patient_id>/``."""

from __future__ import annotations

import csv
from pathlib import Path

from napari_caltomorph.cohort.layout_result import Found
from napari_caltomorph.cohort.layouts.folders import frame, join
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.errors import CohortUnreadable


def recognises(path: Path) -> bool:
    """Whether the folder has the cohort's own table and data folder."""
    table = path / "metadata.csv"
    if not table.is_file() or not (path / "data").is_dir():
        return False
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return {"patient_id", "bag_label"} <= set(next(csv.reader(file), []))


def read(path: Path, options: CohortOptions) -> Found:
    """Read the cohort; the blood counts stay under their own names.

    Raises
    ------
    CohortUnreadable
        The data folder is not there.
    """
    data = path / "data"
    if not data.is_dir():
        raise CohortUnreadable(f"{data} does not exist; unpack the cohort's images there.")
    labels = sorted(folder for folder in data.iterdir() if folder.is_dir())
    found = frame((p, label.name) for label in labels for p in sorted(label.iterdir()) if p.is_dir())
    options = options.with_columns(id_column="patient_id", label_column="bag_label")
    return join(found, path / "metadata.csv", options, labels_from_table=True)
