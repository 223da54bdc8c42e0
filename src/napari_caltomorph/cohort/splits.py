"""Which patients test and which train, and in which fold: by patient, stratified, in groups that stay together."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.cohort.cohort import Cohort


def split(cohort: Cohort) -> Cohort:
    """Give every patient a side and every training patient a fold.

    Stratified by detailed class; patients of one group, and patients that share an image, stay together. A split that
    the table brings is kept.
    """
    options, table = cohort.options, cohort.table.copy()
    notes = []
    groups = _groups(table)
    strata = _strata(table, max(options.folds, 2))
    brings_its_own = table["split"].notna().all()
    if not brings_its_own:
        table["split"] = "train"
        if options.test_fraction > 0:
            parts = max(2, round(1 / options.test_fraction))
            test = next(_stratified(strata, groups, parts, options.seed), np.array([], dtype=int))
            table.loc[table.index[test], "split"] = "test"
    train = np.flatnonzero(table["split"] == "train")
    table["fold"] = pd.array([None] * len(table), dtype="Int64")
    folds = min(options.folds, len(set(groups[train])))
    if folds >= 2:
        for number, part in enumerate(_stratified(strata[train], groups[train], folds, options.seed)):
            table.loc[table.index[train[part]], "fold"] = number
    if folds < options.folds:
        notes.append(f"Only {folds} folds: there are no more independent training patients.")
    names = dict(zip(cohort.taxonomy.slugs, cohort.taxonomy.names, strict=True))
    small = table["coarse"].iloc[train].map(names).value_counts()
    small = small[small < options.folds]
    if len(small):
        listed = ", ".join(f"{name} ({count})" for name, count in small.items())
        notes.append(f"Classes with fewer training patients than folds are not in every fold: {listed}.")
    table["split"] = table["split"].astype("string")
    result = replace(cohort, table=table).noting(*notes)
    if problem := leak(result):
        result = result.noting(f"The table's own split leaks: {problem}.")
    return result


def deal_out(table: pd.DataFrame, parts: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """Deal patients into parts that are alike in their classes; yield the row numbers of each.

    Patients of one group, and patients that share an image, come into one part. Yields nothing where there are fewer
    such groups than parts.
    """
    table = table.reset_index(drop=True)
    yield from _stratified(_strata(table, parts), _groups(table), parts, seed)


def leak(cohort: Cohort) -> str:
    """Return why the two sides are not independent, or an empty string: the proof that the splits keep apart."""
    table = cohort.table
    if table["patient_id"].duplicated().any():
        return f"patient {table.loc[table['patient_id'].duplicated(), 'patient_id'].iloc[0]} stands twice"
    sides = table["split"].str.cat(table["fold"].astype("string"), na_rep="")
    of_patient = dict(zip(table["patient_id"], sides, strict=True))
    for patient, twin in zip(table["patient_id"], table["twin"], strict=True):
        if pd.notna(twin) and twin in of_patient and of_patient[twin] != of_patient[patient]:
            return f"{patient} and {twin} share an image and stand on two sides"
    groups = table.loc[table["group"].notna()]
    spread = sides[groups.index].groupby(groups["group"]).nunique()
    return f"group {spread.idxmax()} stands on two sides" if (spread > 1).any() else ""


def _strata(table: pd.DataFrame, parts: int) -> NDArray[np.str_]:
    """Return what to stratify by: the detailed class; the coarse one where it has too few patients to be dealt out."""
    coarse = table["coarse"].fillna(table["coarse_set"]).fillna("other")
    detailed = table["detailed"].fillna(coarse)
    sizes = detailed.groupby(detailed).transform("size")
    return detailed.where(sizes >= parts, coarse).to_numpy(dtype=str)


def _groups(table: pd.DataFrame) -> NDArray[np.intp]:
    """Number the groups that must stay together: the table's own, joined through shared images."""
    first = {group: i for i, group in reversed(list(enumerate(table["group"]))) if pd.notna(group)}
    position = {patient: i for i, patient in enumerate(table["patient_id"])}
    parent = list(range(len(table)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i, (group, twin) in enumerate(zip(table["group"], table["twin"], strict=True)):
        for other in (first.get(group) if pd.notna(group) else None, position.get(twin) if pd.notna(twin) else None):
            if other is not None:
                parent[root(i)] = root(other)
    return np.array([root(i) for i in range(len(table))], dtype=np.intp)


def _stratified(
    strata: NDArray[np.str_], groups: NDArray[np.intp], parts: int, seed: int
) -> Iterator[NDArray[np.intp]]:
    """Deal patients into parts; yield the indices of each."""
    from sklearn.model_selection import StratifiedGroupKFold

    if len(set(groups)) < parts:
        return
    with warnings.catch_warnings():
        # Classes of fewer patients than parts are said in the notes.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        dealer = StratifiedGroupKFold(n_splits=parts, shuffle=True, random_state=seed)
        try:
            for _, part in dealer.split(np.zeros(len(strata)), strata, groups):
                yield part
        except ValueError:
            # No class has as many patients as there are parts: they are dealt out without regard to class.
            yield from _dealt(groups, parts, seed)


def _dealt(groups: NDArray[np.intp], parts: int, seed: int) -> Iterator[NDArray[np.intp]]:
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    for number in range(parts):
        yield np.flatnonzero(np.isin(groups, order[number::parts]))
