"""The rules that leave patients out, in the order of the paper's figure 1B; each counts the patients, with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from napari_caltomorph.cohort.cohort import Cohort, with_types
from napari_caltomorph.errors import CohortUnreadable

# Where another patient has most of the images, it is the same patient again; fewer are stray copies, and the two are
# kept in one part of every split instead.
_SAME_CELLS = 0.5

RARE = "other or rare diagnosis"


def missing_files(cohort: Cohort) -> Cohort:
    """Leave out patients with images or features that are missing or cannot be read."""
    problem = cohort.table["problem"]
    return cohort.without(problem.notna(), "missing files", problem[problem.notna()])


def same_patient_twice(cohort: Cohort) -> Cohort:
    """Leave out patients with rows that contradict each other; of equal rows keep the first."""
    table = cohort.table
    labels = table.groupby("patient_id")["raw_label"].transform(lambda one: one.nunique(dropna=False))
    cohort = cohort.without(labels > 1, "the same patient twice", "rows with different diagnoses")
    repeated = cohort.table["patient_id"].duplicated()
    return cohort.without(repeated, "the same patient twice", "another row of the same patient is kept")


def same_cells(cohort: Cohort) -> Cohort:
    """Leave out a patient with another's images."""
    table = cohort.table
    duplicates = (table["twin_share"] > _SAME_CELLS).fillna(False) & table["twin"].isin(table["patient_id"])
    reasons = "has the images of " + table["twin"].astype("string")
    return cohort.without(duplicates, "the same cells under two patients", reasons[duplicates])


def unlabelled(cohort: Cohort) -> Cohort:
    """Leave out patients without any diagnosis."""
    return cohort.without(cohort.table["label_kind"] == "unlabelled", "no label", "no diagnosis is given")


def few_cells(cohort: Cohort) -> Cohort:
    """Leave out patients with few usable cells (paper, section 2.2)."""
    table, least = cohort.table, cohort.options.min_cells
    few = (table["n_cells"] < least).fillna(True)
    reasons = table["n_cells"].astype("string").fillna("no") + f" usable cells, fewer than {least}"
    return cohort.without(few, "few cells", reasons[few])


def small_classes(cohort: Cohort) -> Cohort:
    """Leave out classes of too few patients (paper, section 2.2)."""
    sizes = cohort.table.groupby("coarse")["patient_id"].transform("size")
    few = (sizes < cohort.options.min_patients).fillna(False) & cohort.table["coarse"].notna()
    return cohort.without(few, RARE, f"fewer than {cohort.options.min_patients} patients")


def labelled_as(kind: str, rule: str, *, unless: str) -> Callable[[Cohort], Cohort]:
    """Return the rule that leaves out labels of one kind (paper, section 2.2), unless an option keeps them."""

    def leave_out(cohort: Cohort) -> Cohort:
        mask: pd.Series[bool] = cohort.table["label_kind"] == kind
        if getattr(cohort.options, unless) or not mask.any():
            return cohort
        reasons = "labelled " + cohort.table["raw_label"].astype("string")
        return cohort.without(mask, rule, reasons[mask])

    return leave_out


RULES = (
    missing_files,
    same_patient_twice,
    same_cells,
    unlabelled,
    labelled_as("follow_up", "follow-up after therapy", unless="keep_follow_up"),
    labelled_as("double", "double or in-between diagnosis", unless="keep_double"),
    labelled_as("unclear", "unclear diagnosis", unless="keep_unclear"),
    few_cells,
    labelled_as("rare", RARE, unless="keep_unmatched"),
    labelled_as("unknown", "label of no class", unless="keep_unmatched"),
    small_classes,
)


EXTENDED = {
    "double or in-between diagnosis": "double",
    "unclear diagnosis": "unclear",
    RARE: "rare",
    "label of no class": "no class",
    "few cells": "few cells",
    "follow-up after therapy": "follow-up",
}
"""Rules that leave out patients with cells and a diagnosis, each with a short name: the extended test set."""

LEFT_OUT_BY = "left_out_by"
"""Column of the rule that left a patient of the extended test set out."""


def extended_test_set(cohort: Cohort) -> Cohort:
    """Return the patients that were left out of a cohort, although they have cells and a diagnosis (paper, figure 4D).

    They are in no split, so nothing changes for the other patients. Raises `CohortUnreadable` where there are none.
    """
    left_out = cohort.left_out
    table = left_out.loc[left_out["rule"].isin(list(EXTENDED))]
    if table.empty:
        rules = ", ".join(EXTENDED)
        raise CohortUnreadable(
            f"{cohort.source} has no extended test set: no patient is left out for one of these reasons: {rules}."
        )
    with_cells = table.reindex(columns=["path", "features"]).notna().any(axis=1)
    if not with_cells.all():  # the rules before have left out who has none
        raise CohortUnreadable(
            f"{cohort.source} was saved by an earlier version, without the places of those left out; inspect the data "
            "again with the options of then."
        )
    marked = table.drop(columns=["rule", "reason"]).assign(**{LEFT_OUT_BY: table["rule"], "split": None})
    return replace(cohort, table=with_types(marked))


def with_extended(cohort: Cohort) -> Cohort:
    """Return a cohort with its extended test set, which stays in no split."""
    return replace(cohort, table=with_types(pd.concat([cohort.table, extended_test_set(cohort).table])))


FIXES = {
    "no row": "add the patients to the table",
    "the same patient twice": "keep one row a patient",
    "the same cells under two patients": "keep one of the patients",
    "no label": "fill in the diagnosis, or name another --label-column",
    "follow-up after therapy": "choose --keep-follow-up",
    "double or in-between diagnosis": "choose --keep-double",
    "unclear diagnosis": "choose --keep-unclear",
    "few cells": "choose a lower --min-cells",
    RARE: "choose a lower --min-patients, or --keep-unmatched",
    "label of no class": "choose another --taxonomy or --label-column, or --keep-unmatched",
}
"""What includes the patients that a rule left out; the reason names it where a rule has several."""
