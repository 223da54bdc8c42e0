"""Which patients test and which train, and in which fold: by patient, stratified, in groups that stay together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.cohort.cohort import Cohort


def split(cohort: Cohort) -> Cohort:
    """Give every patient a side and every training patient a fold.

    Stratified by detailed class; patients of one group, and patients that share an image, stay together. A split that
    the table brings is kept; whoever it does not name trains.
    """
    options, table, notes = cohort.options, cohort.table.copy(), []
    if brings_its_own := bool(table["split"].notna().any()):
        notes.append("The table's own split is kept.")
        if unnamed := int(table["split"].isna().sum()):
            table["split"] = table["split"].fillna("train")
            notes.append(f"The table's own split does not name {unnamed} patients: they train.")
    else:
        sides = _deal(table, (1 - options.test_fraction, options.test_fraction), options.split_seed)
        table["split"] = pd.array(np.where(sides == 1, "test", "train"), dtype="string")
        if options.test_fraction > 0 and not (sides == 1).any():
            notes.append("Nobody is held out: there are too few independent patients; name a larger --test-fraction.")
    is_train = (table["split"] == "train").to_numpy(dtype=bool)
    table["fold"] = pd.array([None] * len(table), dtype="Int64")
    train = table.loc[is_train]
    folds = min(options.folds, len(set(_groups(train))))
    if folds >= 2:
        table.loc[is_train, "fold"] = _deal(train, [1 / folds] * folds, options.split_seed)
    if folds < options.folds:
        count = f"Only {folds}" if folds >= 2 else "No"
        notes.append(f"{count} folds: there are no more independent training patients.")
    notes += _small_classes(cohort, train)
    if sharing := sum(len(rows) for rows in _sharing(table)):
        notes.append(f"{sharing} patients share images with others: each stays on the side of those others.")
    result = replace(cohort, table=table).noting(*notes)
    problem = leak(result)
    assert brings_its_own or not problem, problem
    return result.noting(f"The table's own split leaks: {problem}.") if problem else result


def deal_out(table: pd.DataFrame, parts: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """Deal patients into parts that are alike in their classes; yield the row numbers of each.

    Patients of one group, and patients that share an image, come into one part. Yields nothing where there are fewer
    such groups than parts.
    """
    if len(set(_groups(table))) >= parts:
        part_of = _deal(table, [1 / parts] * parts, seed)
        yield from (np.flatnonzero(part_of == part) for part in range(parts))


def leak(cohort: Cohort) -> str:
    """Return why the two sides are not independent, or an empty string: the proof that the splits keep apart.

    Sides are the test part and each fold: no patient, no image and no group may stand on two of them.
    """
    table = cohort.table.reset_index(drop=True)
    sides = table["split"].str.cat(table["fold"].astype("string"), na_rep="")
    for what, together in (
        ("{0} stands twice", table.groupby("patient_id").indices.values()),
        ("{0} and {1} share an image and stand on two sides", _sharing(table)),
        ("group {2} stands on two sides", table.groupby("group").indices.values()),
    ):
        for rows in together:
            first, *others = rows
            for other in others:
                if what.endswith("twice") or sides[first] != sides[other]:
                    ids = table["patient_id"]
                    return what.format(ids[first], ids[other], table["group"][first])
    return ""


def _small_classes(cohort: Cohort, train: pd.DataFrame) -> list[str]:
    names = dict(zip(cohort.taxonomy.slugs, cohort.taxonomy.names, strict=True))
    sizes = train["coarse"].map(names).value_counts()
    small = sizes[sizes < cohort.options.folds]
    if small.empty:
        return []
    listed = ", ".join(f"{name} ({count})" for name, count in small.items())
    return [f"Classes with fewer training patients than folds are not in every fold: {listed}."]


def _sharing(table: pd.DataFrame) -> Iterable[list[int]]:
    """Return the row numbers of the patients of each image that several have."""
    owners: dict[str, list[int]] = {}
    for row, images in enumerate(table["shared_images"]):
        for image in [] if pd.isna(images) else images.split():
            owners.setdefault(image, []).append(row)
    return [rows for rows in owners.values() if len(rows) > 1]


def _groups(table: pd.DataFrame) -> NDArray[np.intp]:
    """Number the groups that must stay together: the table's own, joined through shared images."""
    parent = list(range(len(table)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for first, *others in (*table.groupby("group").indices.values(), *_sharing(table)):
        for other in others:
            parent[root(other)] = root(first)
    return np.array([root(i) for i in range(len(table))], dtype=np.intp)


def _strata(table: pd.DataFrame, least: int) -> pd.Series[str]:
    """Return what to stratify by: the detailed class, the coarse one where it is too small, one for all such last."""
    coarse = table["coarse"].fillna(table["coarse_set"]).fillna("other")
    detailed = table["detailed"].fillna(coarse)
    strata = detailed.where(detailed.groupby(detailed).transform("size") >= least, coarse)
    return strata.where(strata.groupby(strata).transform("size") >= least, "")


def _deal(table: pd.DataFrame, shares: Sequence[float], seed: int) -> NDArray[np.intp]:
    """Return the part that each patient comes into; parts have these shares of every stratum, as near as can be.

    The largest groups first, otherwise in random order, each comes to the part that lacks most of what it brings
    (which lowers the squared error most). Where parts lack as much, that with fewest of its classes, then of all.
    """
    least = math.ceil(1 / min((share for share in shares if share > 0), default=1.0))
    strata, in_stratum = np.unique(_strata(table, least).to_numpy(dtype=str), return_inverse=True)
    fine, of_class = np.unique(_strata(table, 1).to_numpy(dtype=str), return_inverse=True)
    sizes = np.bincount(in_stratum, minlength=len(strata))
    share = np.array(shares)
    lacking = share[:, None] * sizes  # (parts, strata)
    has = np.zeros((len(share), len(fine)))
    total = share * len(table)
    rng = np.random.default_rng(seed)
    of_group = _groups(table)
    groups = [np.flatnonzero(of_group == group) for group in rng.permutation(np.unique(of_group))]
    part_of = np.zeros(len(table), dtype=np.intp)
    for rows in sorted(groups, key=len, reverse=True):
        brings = np.bincount(in_stratum[rows], minlength=len(strata))
        classes = np.bincount(of_class[rows], minlength=len(fine))
        wanted = np.round((lacking * brings / sizes).sum(axis=1), 9)
        crowded = (has * classes).sum(axis=1)
        part = np.lexsort((rng.random(len(share)), -np.round(total, 9), crowded, -wanted))[0]
        part_of[rows] = part
        lacking[part] -= brings
        has[part] += classes
        total[part] -= len(rows)
    return part_of
