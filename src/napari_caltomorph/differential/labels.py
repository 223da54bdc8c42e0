"""Labelled cells: an immutable table of cells and their types, saved as CSV for people and other programs.

A label belongs to the bytes of its smear, by the smear's fingerprint, also when the folder is moved or the patient is
renamed. Where one side has no fingerprint, the patient's id is compared.
"""

from __future__ import annotations

import getpass
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from napari_caltomorph.csv_files import read_csv, write_csv
from napari_caltomorph.differential.cell_types import cell_type, in_reading_order
from napari_caltomorph.encoding import Features
from napari_caltomorph.errors import LabelsUnreadable
from napari_caltomorph.reading import explained
from napari_caltomorph.smear import Smear
from napari_caltomorph.storage import StrPath

FOLDER = "folder"
"""The author of labels that come from the names of sub-folders."""


class SmearId(NamedTuple):
    """The patient and fingerprint of a smear, without its images or features; an unknown fingerprint is empty."""

    patient_id: str
    fingerprint: str


AnySmear = Smear | Features | SmearId
_NEEDED = ("patient_id", "cell", "label")


@dataclass(frozen=True)
class CellLabel:
    """One cell and its type."""

    patient_id: str
    cell: str
    label: str  # Name of a `CellType`
    # Its author, and the time in UTC; ``"folder"`` and empty for labels from the names of sub-folders
    by: str = ""
    when: str = ""
    smear_fingerprint: str = ""  # `Smear.fingerprint`; empty where it is not known

    @property
    def is_by_hand(self) -> bool:
        return self.by != FOLDER


@dataclass(frozen=True)
class CellLabels:
    """Labelled cells of any number of smears."""

    rows: tuple[CellLabel, ...] = ()  # One per cell, in the order of labelling

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of_folders(cls, smear: Smear) -> CellLabels:
        """Return the labels that the sub-folders of a graded smear name."""
        pairs = zip(smear.cells, smear.labels, strict=True)
        types = {cell: cell_type(label).name for cell, label in pairs if label is not None}
        return cls().labelled(smear, types, by=FOLDER, when="")

    def of(self, smear: AnySmear) -> dict[str, str]:
        """Return cell -> name of its type for one smear, also for cells that are left out of its bag."""
        return {row.cell: row.label for row in self._rows_of(smear)}

    def labelled(
        self, smear: AnySmear, types: Mapping[str, str], *, by: str | None = None, when: str | None = None
    ) -> CellLabels:
        """Return the table with these cells labelled: cell -> name of its type, in any spelling.

        By default, `by` is the user's name on this machine, and `when` is now.
        """
        patient, fingerprint = _smear_id(smear)
        by = _user() if by is None else by
        when = datetime.now(UTC).isoformat(timespec="seconds") if when is None else when
        new = tuple(
            CellLabel(patient, cell, cell_type(label).name, by, when, fingerprint) for cell, label in types.items()
        )
        return CellLabels((*self.without(smear, types).rows, *new)) if new else self

    def without(self, smear: AnySmear, cells: Iterable[str]) -> CellLabels:
        """Return the table without the labels of these cells of a smear."""
        cells = set(cells)
        removed = {id(row) for row in self._rows_of(smear) if row.cell in cells}
        return CellLabels(tuple(row for row in self.rows if id(row) not in removed)) if removed else self

    def merged(self, other: CellLabels) -> CellLabels:
        """Return both tables as one. `other` takes precedence, except that a folder never replaces a label by hand."""
        mine = {_cell_key(row): row for row in self.rows}
        for row in other.rows:
            known = mine.get(_cell_key(row))
            if known is None or row.is_by_hand or not known.is_by_hand:
                mine[_cell_key(row)] = row
        return CellLabels(tuple(mine.values()))

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of cells of each type, in the order of a differential."""
        counts = Counter(row.label for row in self.rows)
        return {name: counts[name] for name in in_reading_order(set(counts))}

    def _rows_of(self, smear: AnySmear) -> list[CellLabel]:
        """Return the rows of a smear; those with its fingerprint come last, and take precedence over those without."""
        patient, fingerprint = _smear_id(smear)
        by_patient, by_fingerprint = self._grouped
        named = by_patient.get(patient, [])
        if not fingerprint:
            return named
        return [row for row in named if not row.smear_fingerprint] + by_fingerprint.get(fingerprint, [])

    @cached_property
    def _grouped(self) -> tuple[dict[str, list[CellLabel]], dict[str, list[CellLabel]]]:
        """Rows by patient, and by fingerprint."""
        by_patient: dict[str, list[CellLabel]] = {}
        by_fingerprint: dict[str, list[CellLabel]] = {}
        for row in self.rows:
            by_patient.setdefault(row.patient_id, []).append(row)
            by_fingerprint.setdefault(row.smear_fingerprint, []).append(row)
        return by_patient, by_fingerprint


_COLUMNS = tuple(field.name for field in fields(CellLabel))


def save_labels(labels: CellLabels, path: StrPath) -> None:
    """Write one row per cell as CSV.

    Parameters
    ----------
    labels : CellLabels
        Their fields are the columns.
    path : str or Path

    Raises
    ------
    OutputRefused
        It cannot be written.
    """
    table = pd.DataFrame([[getattr(row, name) for name in _COLUMNS] for row in labels.rows], columns=list(_COLUMNS))
    write_csv(table, Path(path))


def read_labels(paths: StrPath | Sequence[StrPath]) -> CellLabels:
    """Read tables of labelled cells; where two label one cell, the later takes precedence (`CellLabels.merged`).

    They are CSV with the columns patient_id, cell and label; by, when and smear_fingerprint where they are known.
    Raises `LabelsUnreadable`, which names the column or the line to fix.
    """
    labels = CellLabels()
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        labels = labels.merged(_read(Path(path)))
    return labels


def _read(path: Path) -> CellLabels:
    with explained(path, "a table of labelled cells", LabelsUnreadable, "save it as CSV again"):
        table = read_csv(path, dtype="string", missing=(), encoding="utf-8-sig")
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first cells of longer rows for names of rows
        raise LabelsUnreadable(
            f"{path}: rows have more cells than the header; name every column, and quote texts that contain a comma."
        )
    missing = [name for name in _NEEDED if name not in table]
    if missing:
        raise LabelsUnreadable(
            f"{path} has no column {' nor '.join(map(repr, missing))}; a table of labelled cells has patient_id, cell "
            "and label."
        )
    for name in _NEEDED:
        blank = table.index[table[name].str.strip() == ""]
        if len(blank):
            raise LabelsUnreadable(f"{path}, line {blank[0] + 2}: {name} is empty; fill it in or remove the line.")
    given = [name for name in _COLUMNS if name in table]
    lines: dict[tuple[str, str], int] = {}
    rows = []
    for line, values in enumerate(table[given].itertuples(index=False, name=None), start=2):
        row = CellLabel(**dict(zip(given, values, strict=True)))
        row = replace(row, label=cell_type(row.label).name)
        earlier = lines.setdefault((row.smear_fingerprint or row.patient_id, row.cell), line)
        if earlier != line:
            raise LabelsUnreadable(
                f"{path}, line {line}: {row.cell} of {row.patient_id} is in line {earlier} already; remove one."
            )
        rows.append(row)
    return CellLabels(tuple(rows))


def _smear_id(smear: AnySmear) -> SmearId:
    if isinstance(smear, SmearId):
        return smear
    fingerprint = smear.fingerprint if isinstance(smear, Smear) else smear.origin.smear_fingerprint
    return SmearId(smear.patient_id, fingerprint or "")


def _cell_key(row: CellLabel) -> tuple[str, str]:
    """Return what identifies the cell of a row."""
    return row.smear_fingerprint or f"patient {row.patient_id}", row.cell


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # the user is not in the system's table, as in a container
        return "unknown"
