"""Cells that a person has named: a table that others can reuse, in which every change gives another table.

A label follows the bytes of its smear, by the smear's fingerprint, wherever the folder is moved or whatever the patient
is called there; where one side has no fingerprint, the patient's id must do.
"""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple

from napari_caltomorph.differential.cell_types import cell_type, in_reading_order
from napari_caltomorph.encoding import Features
from napari_caltomorph.smear import Smear

FOLDER = "folder"
"""Who gave a label that was taken over from the name of a sub-folder."""


class SmearId(NamedTuple):
    """Whose cells these are, where neither images nor features are at hand; no fingerprint is an empty one."""

    patient_id: str
    fingerprint: str


AnySmear = Smear | Features | SmearId


@dataclass(frozen=True)
class CellLabel:
    """One cell and its type.

    Attributes
    ----------
    patient_id, cell : str
    label : str
        Name of a `CellType`.
    by, when : str
        Who gave it, and the time in UTC; ``"folder"`` and empty where a sub-folder's name says it.
    smear_fingerprint : str
        `Smear.fingerprint`; empty where it is not known.
    """

    patient_id: str
    cell: str
    label: str
    by: str = ""
    when: str = ""
    smear_fingerprint: str = ""

    @property
    def is_by_hand(self) -> bool:
        """Whether a person gave it to this very cell."""
        return self.by != FOLDER


@dataclass(frozen=True)
class CellLabels:
    """Labelled cells of any number of smears.

    Attributes
    ----------
    rows : tuple of CellLabel
        One a cell, in the order in which they were given.
    """

    rows: tuple[CellLabel, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of_folders(cls, smear: Smear) -> CellLabels:
        """Take over the types that a smear's sub-folders say; the smear is graded."""
        pairs = zip(smear.cells, smear.labels, strict=True)
        types = {cell: cell_type(label).name for cell, label in pairs if label is not None}
        return cls().labelled(smear, types, by=FOLDER, when="")

    def of(self, smear: AnySmear) -> dict[str, str]:
        """Return cell -> name of its type, for one smear, whether or not the cells are in its bag."""
        return {row.cell: row.label for row in self._rows_of(smear)}

    def labelled(
        self, smear: AnySmear, types: Mapping[str, str], *, by: str | None = None, when: str | None = None
    ) -> CellLabels:
        """Return the table with these cells labelled.

        Parameters
        ----------
        smear : Smear, Features or SmearId
        types : mapping
            Cell -> name of its type, in any spelling.
        by, when : str, optional
            The user's name on this machine, and now.
        """
        patient, fingerprint = _whose(smear)
        by = _user() if by is None else by
        when = datetime.now(UTC).isoformat(timespec="seconds") if when is None else when
        new = tuple(
            CellLabel(patient, cell, cell_type(label).name, by, when, fingerprint) for cell, label in types.items()
        )
        return CellLabels((*self.without(smear, types).rows, *new)) if new else self

    def without(self, smear: AnySmear, cells: Iterable[str]) -> CellLabels:
        """Return the table without the labels of these cells of a smear."""
        cells = set(cells)
        gone = {id(row) for row in self._rows_of(smear) if row.cell in cells}
        return CellLabels(tuple(row for row in self.rows if id(row) not in gone)) if gone else self

    def merged(self, other: CellLabels) -> CellLabels:
        """Return both tables as one. Where both label a cell, `other` wins, unless a folder would overrule a hand."""
        mine = {_place(row): row for row in self.rows}
        for row in other.rows:
            known = mine.get(_place(row))
            if known is None or row.is_by_hand or not known.is_by_hand:
                mine[_place(row)] = row
        return CellLabels(tuple(mine.values()))

    def disagreements(self, other: CellLabels) -> list[tuple[CellLabel, CellLabel]]:
        """Return the cells that both tables label, differently."""
        mine = {_place(row): row for row in self.rows}
        pairs = ((mine.get(_place(row)), row) for row in other.rows)
        return [(known, row) for known, row in pairs if known is not None and known.label != row.label]

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many cells have each type, in the order in which a differential is read."""
        found = Counter(row.label for row in self.rows)
        return {name: found[name] for name in in_reading_order(set(found))}

    def _rows_of(self, smear: AnySmear) -> list[CellLabel]:
        """Rows of a smear; one that names its very bytes comes after one that names the patient only, and so wins."""
        patient, fingerprint = _whose(smear)
        named = self._by_patient.get(patient, [])
        if not fingerprint:
            return named
        return [row for row in named if not row.smear_fingerprint] + self._by_fingerprint.get(fingerprint, [])

    @cached_property
    def _by_patient(self) -> dict[str, list[CellLabel]]:
        return _grouped((row.patient_id, row) for row in self.rows)

    @cached_property
    def _by_fingerprint(self) -> dict[str, list[CellLabel]]:
        return _grouped((row.smear_fingerprint, row) for row in self.rows if row.smear_fingerprint)


def _whose(smear: AnySmear) -> SmearId:
    if isinstance(smear, SmearId):
        return smear
    fingerprint = smear.fingerprint if isinstance(smear, Smear) else smear.origin.smear_fingerprint
    return SmearId(smear.patient_id, fingerprint or "")


def _place(row: CellLabel) -> tuple[str, str]:
    """Which cell a row is about."""
    return row.smear_fingerprint or f"patient {row.patient_id}", row.cell


def _grouped(pairs: Iterable[tuple[str, CellLabel]]) -> dict[str, list[CellLabel]]:
    groups: dict[str, list[CellLabel]] = {}
    for key, row in pairs:
        groups.setdefault(key, []).append(row)
    return groups


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in the system's table, as in a container
        return "unknown"
