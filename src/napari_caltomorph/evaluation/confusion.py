"""Confusion matrices whose cells know their patients.

A row is a class of the model, a set of right answers, or a class that the model does not know.
Sets and other classes have a row each while they are few; the rarest share one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.cohort.cleaning import EXTENDED
from napari_caltomorph.evaluation.patients import EvaluatedPatients
from napari_caltomorph.statistics.classification import confusion
from napari_caltomorph.taxonomy import Taxonomy

RowKind = Literal["class", "several", "other"]

MOST_ROWS = 10
"""Of other classes, and of sets of right answers; from the next on, the rarest share the last row."""


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
    """Patients by their true row and their predicted class."""

    rows: tuple[ConfusionRow, ...]
    columns: tuple[str, ...]  # Slugs of the model's C classes
    counts: NDArray[np.int64]  # (rows, C) int
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
        return np.asarray(self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1))

    def patients(self, row: int, column: int | None = None) -> tuple[str, ...]:
        """Return the ids of the patients in a cell, or in a whole row."""
        is_in = self._row == row
        if column is not None:
            is_in = is_in & (self._column == column)
        return tuple(self._ids[i] for i in np.flatnonzero(is_in))


def coarse_confusion(evaluated: EvaluatedPatients) -> Confusion:
    """Return coarse classes (paper, figure 2B), then sets of right answers and other classes (figure 4D)."""
    names = dict(zip(evaluated.taxonomy.slugs, evaluated.taxonomy.names, strict=True))
    rows = {slug: ConfusionRow(name, "class", (slug,)) for slug, name in names.items()}
    return _count(evaluated, list(rows.values()), [rows.get(truth) for truth in evaluated.patients["truth"].fillna("")])


def detailed_confusion(evaluated: EvaluatedPatients) -> Confusion:
    """Return detailed classes of the cohort by the model's coarse ones (paper, figure 3A), then the same other rows."""
    names = {d.slug: d.name for c in evaluated.cohort_taxonomy.classes for d in c.detailed}
    truth: list[ConfusionRow | None] = []
    places: dict[ConfusionRow, tuple[int, int]] = {}
    for slug, fine in zip(
        evaluated.patients["truth"].fillna(""), evaluated.patients["detailed"].fillna(""), strict=True
    ):
        if not slug:
            truth.append(None)
            continue
        name = names.get(fine, fine) or f"{evaluated.taxonomy.coarse(slug).name}, not detailed"
        row = ConfusionRow(name, "class", (slug,))
        places[row] = evaluated.taxonomy.slugs.index(slug), list(names).index(fine) if fine in names else len(names)
        truth.append(row)
    return _count(evaluated, sorted(places, key=places.__getitem__), truth)


def out_of_fold_confusion(patients: pd.DataFrame, taxonomy: Taxonomy) -> NDArray[np.int64]:
    """Count training patients by class (rows) and by the class that the held-out member predicts (columns): (C, C).

    `patients` is the table of `TrainingPatients`; patients that no member predicted are not counted.
    """
    slugs = list(taxonomy.slugs)
    predicted = patients[[f"out_of_fold_p_{slug}" for slug in slugs]].to_numpy(dtype=float, na_value=np.nan)  # (P, C)
    is_known = np.isfinite(predicted).all(axis=1)
    classes = np.array([slugs.index(slug) for slug in patients["coarse"][is_known]], dtype=np.int64)
    return confusion(classes, predicted[is_known].argmax(axis=1), len(slugs))


def _count(evaluated: EvaluatedPatients, rows: list[ConfusionRow], truth: list[ConfusionRow | None]) -> Confusion:
    """Count patients of one class by the rows given, and all others in rows below."""
    patients = evaluated.patients
    names = dict(zip(evaluated.taxonomy.slugs, evaluated.taxonomy.names, strict=True))
    sets = [(rule, one) for rule, one in zip(evaluated.left_out_by, patients["coarse_set"].fillna(""), strict=True)]
    classes = [(rule, one) for rule, one in zip(evaluated.left_out_by, patients["row"].fillna(""), strict=True)]
    several = _own_or_shared(sets, "several", lambda one: " or ".join(names[s] for s in one.split("|")), "other sets")
    others = _own_or_shared(classes, "other", str, "other classes")
    below = [several.get(one) or others.get(name) for one, name in zip(sets, classes, strict=True)]
    return Confusion.of(
        list(dict.fromkeys([*rows, *several.values(), *others.values()])),
        evaluated.taxonomy.slugs,
        [mine or other for mine, other in zip(truth, below, strict=True)],
        evaluated.predicted,
        list(patients["patient_id"]),
    )


def _own_or_shared(
    patients: Iterable[tuple[str, str]], kind: RowKind, name: Callable[[str], str], rest: str
) -> dict[tuple[str, str], ConfusionRow]:
    """Return a row for each rule and key of patients, the largest first; beyond `MOST_ROWS` the rarest share one.

    The rule is that which left the patients out of the cohort, or empty; each has a row of its own for its rarest.
    """
    ordered = [one for one, _ in Counter(one for one in patients if one[1]).most_common()]
    own = ordered if len(ordered) <= MOST_ROWS else ordered[: MOST_ROWS - 1]
    shared = Counter(rule for rule, _ in ordered[len(own) :])

    def row(rule: str, text: str, slugs: tuple[str, ...] = ()) -> ConfusionRow:
        return ConfusionRow(f"{EXTENDED[rule]}: {text}" if rule and rule != text else text, kind, slugs)

    rows = {(rule, one): row(rule, name(one), tuple(one.split("|")) if kind == "several" else ()) for rule, one in own}
    return rows | {(rule, one): row(rule, f"{shared[rule]} {rest}") for rule, one in ordered[len(own) :]}
