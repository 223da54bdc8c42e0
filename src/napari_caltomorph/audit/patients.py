"""The patients of a shortcut audit: one class each, in folds, and what a model predicts of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt

from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.cohort.splits import split_into_parts
from napari_caltomorph.errors import counted
from napari_caltomorph.statistics.classification import classification_metrics
from napari_caltomorph.statistics.interval import Interval

# A class with fewer cannot be in every fold's training patients and be tested too.
MIN_CLASS = 5


class AuditOptions(BaseModel, frozen=True, extra="forbid"):
    """How shortcuts are searched for."""

    cells: PositiveInt = Field(60, description="Images measured of each patient, chosen at random.")
    shufflings: int = Field(300, ge=20, description="How often labels are shuffled; p is at least 1 / (this + 1).")
    folds: int = Field(5, ge=2, description="Folds to split patients into where the cohort has none.")
    columns: tuple[str, ...] = Field(
        (), description="Columns such as site, scanner or year; by default those whose names look like it."
    )
    routine: tuple[str, ...] = Field(
        (), description="Columns of routine data; by default age, sex, hemoglobin and what looks like a blood count."
    )
    seed: NonNegativeInt = Field(0, description="The same seed gives the same audit.")


@dataclass(frozen=True)
class AuditedPatients:
    """P audited patients with one class each, and their folds."""

    table: pd.DataFrame
    classes: NDArray[np.intp]  # (P,) indices into names
    folds: NDArray[np.intp]  # (P,)
    names: tuple[str, ...]
    slugs: tuple[str, ...]
    malignant: NDArray[np.bool_]
    how: str
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def metric(self) -> str:
        return "auroc" if len(self.names) == 2 else "macro_auroc"

    @property
    def counts(self) -> dict[str, int]:
        return {name: int((self.classes == c).sum()) for c, name in enumerate(self.names)}

    def of(self, is_in: NDArray[np.bool_]) -> AuditedPatients:
        return replace(self, table=self.table.loc[is_in], classes=self.classes[is_in], folds=self.folds[is_in])

    def score(self, probabilities: NDArray[np.float64]) -> dict[str, Interval]:
        """Return the metric and balanced accuracy of (P, C) probabilities."""
        found = classification_metrics(self.classes, probabilities, self.malignant)
        return {name: found[name] for name in (self.metric, "balanced_accuracy") if name in found}


def audited_patients(cohort: Cohort, options: AuditOptions, *, among: pd.DataFrame | None = None) -> AuditedPatients:
    """Choose the audited patients: of these, or of those with folds, those with a class that others have too."""
    table, notes = cohort.table if among is None else among, []
    own = table["fold"].notna()
    is_own = (among is None or bool(own.all())) and table["fold"].nunique() >= 2
    if among is None and is_own:
        if left := int((~own).sum()):
            notes.append(f"Not audited: {counted(left, 'patient')} without a fold, such as those held out.")
        table = table.loc[own]
    is_one = table["coarse"].notna()
    if unclear := int((~is_one).sum()):
        notes.append(f"Left out: {counted(unclear, 'patient')} without a single class.")
    sizes = table["coarse"].value_counts()
    kept = [one for one in cohort.taxonomy.classes if sizes.get(one.slug, 0) >= MIN_CLASS]
    few = [f"{c.name} ({sizes[c.slug]})" for c in cohort.taxonomy.classes if 0 < sizes.get(c.slug, 0) < MIN_CLASS]
    if few:
        notes.append(f"Classes with fewer than {MIN_CLASS} patients are left out: {', '.join(few)}.")
    slugs = tuple(one.slug for one in kept)
    table = table.loc[is_one & table["coarse"].isin(slugs)].reset_index(drop=True)
    folds = table["fold"].to_numpy(dtype=np.intp) if is_own and len(table) else _split(table, options)
    how = "the cohort's own folds" if is_own else "folds split for the audit"
    has_fold = folds >= 0
    return AuditedPatients(
        table=table.loc[has_fold].reset_index(drop=True),
        classes=np.array([slugs.index(slug) for slug in table["coarse"][has_fold]], dtype=np.intp),
        folds=folds[has_fold],
        names=tuple(one.name for one in kept),
        slugs=slugs,
        malignant=np.array([one.malignant for one in kept], dtype=bool),
        how=how,
        notes=tuple(notes),
    )


def _split(table: pd.DataFrame, options: AuditOptions) -> NDArray[np.intp]:
    """Return the fold of each patient; -1 for all where there are no two independent ones."""
    folds = np.full(len(table), -1, dtype=np.intp)
    for count in range(options.folds, 1, -1):
        for fold, rows in enumerate(split_into_parts(table, count, options.seed)):
            folds[rows] = fold
        if (folds >= 0).any():
            break
    return folds


@dataclass(frozen=True)
class Predicted:
    """Predicted patients of a cohort: their rows, and (P, S) probabilities of S slugs."""

    table: pd.DataFrame
    slugs: tuple[str, ...]
    probabilities: NDArray[np.float64]

    @classmethod
    def of(cls, cohort: Cohort, predictions: pd.DataFrame) -> Predicted:
        columns = [str(column) for column in predictions.columns if str(column).startswith("p_")]
        table = cohort.table.loc[cohort.table["coarse"].notna()]
        by_id = predictions.set_index(predictions["patient_id"].astype(str))[columns].astype(float)
        if by_id.index.has_duplicates:
            raise ValueError(f"two predictions of one patient: {by_id.index[by_id.index.duplicated()][0]}")
        by_id = by_id.reindex(table["patient_id"].astype(str))
        is_known = by_id.notna().all(axis=1).to_numpy() if columns else np.zeros(len(table), dtype=bool)
        slugs = tuple(column.removeprefix("p_") for column in columns)
        return cls(table.loc[is_known].reset_index(drop=True), slugs, by_id.to_numpy()[is_known])

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """(P,) whether the most probable class is the patient's."""
        if not len(self.table):
            return np.zeros(0, dtype=bool)
        predicted = np.array(self.slugs)[self.probabilities.argmax(axis=1)]
        return np.asarray(predicted == self.table["coarse"].to_numpy(dtype=str), dtype=bool)

    def among(self, patients: AuditedPatients) -> NDArray[np.float64]:
        """(P, C) probabilities of some of these patients among their classes alone."""
        rows = pd.Index(self.table["patient_id"]).get_indexer(pd.Index(patients.table["patient_id"]))
        probabilities = np.zeros((len(patients), len(patients.slugs)))
        for c, slug in enumerate(patients.slugs):
            if slug in self.slugs:
                probabilities[:, c] = self.probabilities[rows, self.slugs.index(slug)]
        total = probabilities.sum(axis=1, keepdims=True)
        return np.where(total > 0, probabilities / np.where(total > 0, total, 1), 1 / len(patients.slugs))
