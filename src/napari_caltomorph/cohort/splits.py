"""Splits of a cohort into a training and a test part, and of the training part into folds.

Splits are by patient and stratified by class; patients of one group, or with a shared image, and the slides of a
patient stay together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.errors import counted


def split(cohort: Cohort) -> Cohort:
    """Assign every patient to the training or test part, and every training patient to a fold.

    Stratified by detailed class; patients of one group, and patients that share an image, stay together. A split that
    the table has is kept; patients that it does not name train.
    """
    options, table, notes = cohort.options, cohort.table.copy(), []
    if has_own_split := bool(table["split"].notna().any()):
        notes.append("The table's own split is kept.")
        if unnamed := int(table["split"].isna().sum()):
            table["split"] = table["split"].fillna("train")
            notes.append(f"The table's own split does not name {counted(unnamed, 'patient')}: trained on.")
    else:
        part = _assign_parts(table, (1 - options.test_fraction, options.test_fraction), options.split_seed)
        table["split"] = pd.array(np.where(part == 1, "test", "train"), dtype="string")
        if options.test_fraction > 0 and not (part == 1).any():
            notes.append("No patient is held out: too few are independent; name a larger --test-fraction.")
    is_train = (table["split"] == "train").to_numpy(dtype=bool)
    table["fold"] = pd.array([None] * len(table), dtype="Int64")
    train = table.loc[is_train]
    folds = min(options.folds, len(set(independent_groups(train))))
    if folds >= 2:
        table.loc[is_train, "fold"] = _assign_parts(train, [1 / folds] * folds, options.split_seed)
    if folds < options.folds:
        count = f"Only {folds}" if folds >= 2 else "No"
        notes.append(f"{count} folds: there are no more independent training patients.")
    notes += _small_classes(cohort, train)
    if sharing := len(set().union(*_sharing(table))):
        notes.append(f"{sharing} patients share images with others: each stays in the part of those others.")
    result = replace(cohort, table=table).noting(*notes)
    problem = find_leak(result)
    assert has_own_split or not problem, problem
    return result.noting(f"The table's own split leaks: {problem}.") if problem else result


def split_into_parts(table: pd.DataFrame, parts: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """Split patients into parts with similar shares of the classes; yield the row numbers of each part.

    Patients of one group, and patients that share an image, are in one part. Yields nothing where there are fewer
    such groups than parts.
    """
    if len(set(independent_groups(table))) >= parts:
        part_of = _assign_parts(table, [1 / parts] * parts, seed)
        yield from (np.flatnonzero(part_of == part) for part in range(parts))


def find_leak(cohort: Cohort) -> str:
    """Return why the parts of a split are not independent, or an empty string.

    Parts are the test part and each fold: no patient, image or group may be in two of them.
    """
    table = cohort.table.reset_index(drop=True)
    part = table["split"].str.cat(table["fold"].astype("string"), na_rep="")
    for what, together in (
        ("{0} occurs twice", table.groupby("patient_id").indices.values()),
        ("{0} and {1} share an image and are in two parts", _sharing(table)),
        ("{0} and {1} are slides of one patient and are in two parts", table.groupby("slide_of").indices.values()),
        ("group {2} is in two parts", table.groupby("group").indices.values()),
    ):
        for rows in together:
            first, *others = rows
            for other in others:
                if what.endswith("twice") or part[first] != part[other]:
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


def independent_groups(table: pd.DataFrame) -> NDArray[np.intp]:
    """Number the groups that must stay together: the table's own, joined through shared images and patients' slides.

    A number is the row of one patient of the group. The order of these numbers decides the splits, and a general
    algorithm for connected components would order groups that are joined twice in another way.
    """
    rows = pd.Series(np.arange(len(table)), index=table.index)
    group = rows.groupby(table["group"]).transform("min").fillna(rows).to_numpy(dtype=np.intp, copy=True)
    for first, *others in [*_sharing(table), *table.groupby("slide_of").indices.values()]:
        group[np.isin(group, group[others])] = group[first]
    return group


def _strata(table: pd.DataFrame, least: int) -> pd.Series[str]:
    """Return what to stratify by: the detailed class, the coarse one where it is too small, one for all such last."""
    coarse = table["coarse"].fillna(table["coarse_set"]).fillna("other")
    detailed = table["detailed"].fillna(coarse)
    strata = detailed.where(detailed.groupby(detailed).transform("size") >= least, coarse)
    return strata.where(strata.groupby(strata).transform("size") >= least, "")


def _assign_parts(table: pd.DataFrame, shares: Sequence[float], seed: int) -> NDArray[np.intp]:
    """Return the part of each patient; parts have these shares of every stratum, as nearly as possible.

    Groups are assigned by size, the largest first, otherwise in random order; each to the part that lacks most of what
    the group has (which lowers the squared error most). Ties go to the part with fewest patients of the group's
    classes, then to the part that lacks most patients, then to a random one.
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
    of_group = independent_groups(table)
    groups = [np.flatnonzero(of_group == group) for group in rng.permutation(np.unique(of_group))]
    part_of = np.zeros(len(table), dtype=np.intp)
    for rows in sorted(groups, key=len, reverse=True):
        counts = np.bincount(in_stratum[rows], minlength=len(strata))
        classes = np.bincount(of_class[rows], minlength=len(fine))
        wanted = np.round((lacking * counts / sizes).sum(axis=1), 9)
        crowded = (has * classes).sum(axis=1)
        part = np.lexsort((rng.random(len(share)), -np.round(total, 9), crowded, -wanted))[0]
        part_of[rows] = part
        lacking[part] -= counts
        has[part] += classes
        total[part] -= len(rows)
    return part_of
