"""Who is called what: a matrix whose cells know their patients, with rows of its own for what the model cannot say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

RowKind = Literal["class", "several", "other"]


@dataclass(frozen=True)
class ConfusionRow:
    """One row: a class of the model, a set of right answers, or patients of a class that the model does not know.

    `slugs` are the right answers: one, several, or none.
    """

    name: str
    kind: RowKind
    slugs: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Confusion:
    """Patients by what is true of them and by what is predicted.

    Attributes
    ----------
    rows : tuple of ConfusionRow
    columns : tuple of str
        Slugs of the model's C classes.
    counts : (rows, C) int
    """

    rows: tuple[ConfusionRow, ...]
    columns: tuple[str, ...]
    counts: NDArray[np.int64]
    _ids: tuple[str, ...] = field(repr=False)
    _row: NDArray[np.intp] = field(repr=False)
    _column: NDArray[np.intp] = field(repr=False)

    @classmethod
    def of(
        cls,
        rows: Sequence[ConfusionRow],
        columns: Sequence[str],
        truth: Sequence[ConfusionRow | None],
        predicted: NDArray[np.intp],
        ids: Sequence[str],
    ) -> Confusion:
        """Count P patients by their rows; None: in no row."""
        place = {row: i for i, row in enumerate(rows)}
        row_of = np.array([-1 if row is None else place[row] for row in truth], dtype=np.intp)
        counts = np.zeros((len(rows), len(columns)), dtype=np.int64)
        np.add.at(counts, (row_of[row_of >= 0], predicted[row_of >= 0]), 1)
        return cls(tuple(rows), tuple(columns), counts, tuple(ids), row_of, predicted)

    @property
    def fractions(self) -> NDArray[np.float64]:
        """(rows, C) shares of each row's patients; zeros where a row has none."""
        result: NDArray[np.float64] = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        return result

    def patients(self, row: int, column: int | None = None) -> tuple[str, ...]:
        """Return who is counted in a cell, or in a whole row."""
        is_in = self._row == row
        if column is not None:
            is_in = is_in & (self._column == column)
        return tuple(self._ids[i] for i in np.flatnonzero(is_in))
