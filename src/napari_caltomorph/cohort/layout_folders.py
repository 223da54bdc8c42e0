"""Patients as folders: ``<label>/<patient>/cells``, or ``<patient>/cells`` next to a table of diagnoses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from napari_caltomorph.cohort.find_folders import find_folders
from napari_caltomorph.cohort.ids import match_ids
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.table_columns import (
    as_id,
    canonical,
    columns_like,
    ids_in,
    keep_where,
    refuse_column_options,
)
from napari_caltomorph.cohort.table_file import find_table, read_table, unread_tables
from napari_caltomorph.errors import CohortUnreadable, SmearUnreadable, counted, printable
from napari_caltomorph.smear import find_candidates, patient_id


@dataclass(frozen=True)
class LayoutResult:
    """What a layout finds, before cleaning and splitting."""

    table: pd.DataFrame  # Patients, with the cohort's and the table's own columns
    left_out: list[tuple[str, str | None, str, str]] = field(default_factory=list)  # Patients that are not usable
    notes: list[str] = field(default_factory=list)


def recognises_folders(path: Path) -> bool:
    """Whether patients are in the folder or zip archive, or one level down."""
    try:
        return any(one.levels is not None for one in find_candidates(path))
    except SmearUnreadable:
        return False


def read_folders(path: Path, options: CohortOptions) -> LayoutResult:
    """Read the folders; a table in the same directory adds columns, and labels where folders have none.

    Raises `CohortUnreadable` where there is no patient, patients have no label, or the table's ids match no folder.
    """
    table = find_table(path, options)
    found = find_folders(path, table, options, has_labels=True)
    if not found.is_labelled:
        patients = frame((one.path, None) for one, _ in found.patients)
        if table is None:
            raise CohortUnreadable(
                f"{path}: {counted(len(patients), 'patient')} without labels; sort them into a folder a diagnosis, or "
                f"name a table with --table. {unread_tables(path)}".strip()
            )
        return join(patients, table, options, labels_from_table=True)
    labelled = frame((one.path, label) for one, label in found.patients if label is not None)
    if table is None:
        refuse_column_options(path, options)
        result = LayoutResult(labelled, notes=[note for note in [unread_tables(path)] if note])
    else:
        result = join(labelled, table, options, labels_from_table=False)
    outside = [patient_id(one.path) for one, label in found.patients if label is None]
    reason = "its cells are in no folder of a diagnosis"
    return replace(result, left_out=result.left_out + [(patient, None, "no label", reason) for patient in outside])


def frame(patients: Iterable[tuple[Path, str | None]]) -> pd.DataFrame:
    """Return ``patient_id``, ``raw_label`` and ``path`` of patients, each a path and the label of its folder."""
    rows = [
        (as_id(patient_id(path)), None if label is None else printable(label), printable(str(path)))
        for path, label in patients
    ]
    return pd.DataFrame(rows, columns=["patient_id", "raw_label", "path"])


def join(found: pd.DataFrame, path: Path, options: CohortOptions, *, labels_from_table: bool) -> LayoutResult:
    """Add a table's columns to patients that were found on disk: ``patient_id``, ``raw_label`` and where each is.

    With `labels_from_table`, or with a label column named in the options, the diagnosis comes from the table. Otherwise
    the folder's name is the diagnosis, and a patient needs no row. Raises `CohortUnreadable` where the table cannot be
    understood, has no diagnosis, or has none of the ids.
    """
    labels_from_table = labels_from_table or options.label_column is not None
    raw, notes = read_table(path, options)
    ids = ids_in(path, options, raw)
    # Where each patient is was found already, so a table's own column of files is ignored.
    without = ("path",) if labels_from_table else ("path", "label")
    table, guessed = canonical(keep_where(raw, path, options), path, options, without=without)
    notes += guessed
    if labels_from_table:
        if "raw_label" not in table:
            raise CohortUnreadable(f"{path}: no column looks like the diagnosis; name it with --label-column.")
        on_disk = found.drop(columns="raw_label")
    else:
        on_disk = found
        notes += [
            f"The folders' names are the labels; {path.name}'s {column!r} is not used unless --label-column names it."
            for column in columns_like(raw, "label")[:1]
        ]
    matches = match_ids(ids, found["patient_id"])
    notes += [f"{path.name}: {note}" for note in matches.notes]
    is_found = table["patient_id"].isin(matches.found)
    if not is_found.any():
        first = next((patient for patient in table["patient_id"] if patient in matches.likely), ids[0])
        raise CohortUnreadable(
            f"{path}: no id matches a folder or file (first id {first!r}{matches.looks_like(first)}, first found "
            f"{found['patient_id'].iloc[0]!r}); write ids as the folders are called (a spreadsheet may have changed "
            "them), or name another column with --id-column."
        )
    table["patient_id"] = [matches.found.get(patient, patient) for patient in table["patient_id"]]
    labels = table["raw_label"] if labels_from_table else pd.Series(None, index=table.index, dtype=object)
    left_out = [
        (
            patient,
            None if pd.isna(label) else str(label),
            "missing files",
            f"in {path.name}, but not on disk{matches.looks_like(patient)}",
        )
        for patient, label in zip(table["patient_id"][~is_found], labels[~is_found], strict=True)
    ]
    if labels_from_table:
        left_out += [
            (patient, None, "no row", f"on disk, but not in {path.name}{matches.looks_like(patient)}")
            for patient in found["patient_id"][~found["patient_id"].isin(matches.found.values())]
        ]
    if labels_from_table or options.where:
        on_disk = on_disk[on_disk["patient_id"].isin(table["patient_id"])]
    return LayoutResult(table.merge(on_disk, on="patient_id", how="right"), left_out, notes)
