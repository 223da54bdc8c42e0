"""The rules that leave patients out, in the order of the paper's figure 1B; each counts the patients, with a reason."""

from __future__ import annotations

import pandas as pd

from napari_caltomorph.cohort.cohort import Cohort

# Where another patient has most of the images, it is the same patient again; fewer are stray copies, and the two are
# kept in one part of every split instead.
_SAME_CELLS = 0.5


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


def follow_up(cohort: Cohort) -> Cohort:
    """Leave out samples after therapy (paper, section 2.2)."""
    return _of_kind(cohort, "follow_up", "follow-up after therapy", is_kept=cohort.options.keep_follow_up)


def double_diagnosis(cohort: Cohort) -> Cohort:
    """Leave out double and in-between diagnoses (paper, section 2.2)."""
    return _of_kind(cohort, "double", "double or in-between diagnosis", is_kept=cohort.options.keep_double)


def rare_diagnosis(cohort: Cohort) -> Cohort:
    """Leave out diagnoses of no class, and classes of too few patients (paper, section 2.2)."""
    is_other = cohort.options.keep_unmatched
    cohort = _of_kind(cohort, "rare", "other or rare diagnosis", is_kept=is_other)
    cohort = _of_kind(cohort, "unknown", "label of no class", is_kept=is_other)
    sizes = cohort.table.groupby("coarse")["patient_id"].transform("size")
    few = (sizes < cohort.options.min_patients).fillna(False) & cohort.table["coarse"].notna()
    return cohort.without(few, "other or rare diagnosis", f"fewer than {cohort.options.min_patients} patients")


def unclear_diagnosis(cohort: Cohort) -> Cohort:
    """Leave out unclear diagnoses (paper, section 2.2)."""
    return _of_kind(cohort, "unclear", "unclear diagnosis", is_kept=cohort.options.keep_unclear)


def few_cells(cohort: Cohort) -> Cohort:
    """Leave out patients with few usable cells (paper, section 2.2)."""
    table, least = cohort.table, cohort.options.min_cells
    few = (table["n_cells"] < least).fillna(True)
    reasons = table["n_cells"].astype("string").fillna("no") + f" usable cells, fewer than {least}"
    return cohort.without(few, "few cells", reasons[few])


RULES = (
    missing_files,
    same_patient_twice,
    same_cells,
    unlabelled,
    follow_up,
    double_diagnosis,
    unclear_diagnosis,
    few_cells,
    rare_diagnosis,
)


def _of_kind(cohort: Cohort, kind: str, rule: str, *, is_kept: bool) -> Cohort:
    mask: pd.Series[bool] = cohort.table["label_kind"] == kind
    if is_kept or not mask.any():
        return cohort
    reasons = "labelled " + cohort.table["raw_label"].astype("string")
    return cohort.without(mask, rule, reasons[mask])
