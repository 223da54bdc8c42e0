"""Folders: ``<label>/<patient>/cells``, or ``<patient>/cells`` beside a table of diagnoses."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.tables import Found, canonical, find_table, read_table
from napari_caltomorph.errors import CohortUnreadable, SmearUnreadable
from napari_caltomorph.names import printable
from napari_caltomorph.smear import find_smears


def recognises(path: Path) -> bool:
    """Whether patients lie in the folder, or one level down."""
    return path.is_dir() and bool(_patients(path) or _labelled(path))


def read(path: Path, options: CohortOptions) -> Found:
    """Read the folders; a table in the same directory adds columns, and labels where folders bear none.

    Raises
    ------
    CohortUnreadable
        No patient is there, patients bear no label, or the table's ids match no folder.
    """
    labelled = _labelled(path)
    table = find_table(path, options)
    if labelled:
        rows = [(printable(p.name), printable(label.name), printable(str(p))) for label, ps in labelled for p in ps]
        found = pd.DataFrame(rows, columns=["patient_id", "raw_label", "path"])
    else:
        patients = _patients(path)
        if not patients:
            raise CohortUnreadable(f"{path} holds no folder with cell images; name the directory above the patients.")
        if table is None:
            raise CohortUnreadable(
                f"{path}: {len(patients)} patients without labels; sort them into a folder a diagnosis, or name a "
                "table with --table."
            )
        found = pd.DataFrame(
            {
                "patient_id": [printable(p.name) for p in patients],
                "raw_label": None,
                "path": [printable(str(p)) for p in patients],
            }
        )
    return Found(found) if table is None else join(found, table, options, labels_from_table=not labelled)


def join(found: pd.DataFrame, path: Path, options: CohortOptions, *, labels_from_table: bool) -> Found:
    """Add a table's columns to patients that were found on disk.

    Parameters
    ----------
    found : pandas.DataFrame
        ``patient_id``, ``raw_label`` and where each patient is.
    path : Path
        The table.
    labels_from_table : bool
        Take the diagnosis from the table; otherwise the folder's name is it.
    """
    raw, assumed = read_table(path)
    table, guessed = canonical(raw, path, options)
    if labels_from_table and "raw_label" not in table:
        raise CohortUnreadable(f"{path}: no column looks like the diagnosis; name it with --label-column.")
    places = [column for column in ("path", "features", "n_cells") if column in found]
    if not labels_from_table and "raw_label" in table:
        table = table.drop(columns="raw_label")
    on_disk = found if not labels_from_table else found.drop(columns="raw_label")
    table = table.drop(columns=[column for column in places if column in table])
    both = table.merge(on_disk, on="patient_id", how="outer", indicator=True)
    if not (both["_merge"] == "both").any():
        raise CohortUnreadable(
            f"{path}: no id matches a folder (first id {table['patient_id'].iloc[0]!r}, first folder "
            f"{found['patient_id'].iloc[0]!r}); name another column with --id-column."
        )
    absent = both["_merge"] == "left_only"
    left_out = [
        (
            str(row.patient_id),
            _text(getattr(row, "raw_label", None)),
            "missing files",
            f"in {path.name}, but not on disk",
        )
        for row in both.loc[absent].itertuples()
    ]
    if labels_from_table and not options.where:
        left_out += [
            (str(row.patient_id), None, "no row", f"on disk, but not in {path.name}")
            for row in both.loc[both["_merge"] == "right_only"].itertuples()
        ]
    keep = both["_merge"] == "both" if labels_from_table or options.where else ~absent
    return Found(both.loc[keep].drop(columns="_merge").reset_index(drop=True), left_out, assumed + guessed)


def _text(value: object) -> str | None:
    return None if value is None or pd.isna(value) else str(value)  # type: ignore[call-overload]


def _patients(folder: Path) -> list[Path]:
    try:
        return find_smears(folder)
    except (SmearUnreadable, OSError):
        return []


def _labelled(path: Path) -> list[tuple[Path, list[Path]]]:
    """Return (label folder, its patients) of a ``<label>/<patient>`` tree."""
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    found = [(folder, _patients(folder)) for folder in folders]
    return [(folder, patients) for folder, patients in found if patients]
