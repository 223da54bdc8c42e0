"""The rules that leave patients out, in the order of the paper's figure 1B; each counts the patients, with a reason."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from napari_caltomorph.cohort.cohort import Cohort

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
