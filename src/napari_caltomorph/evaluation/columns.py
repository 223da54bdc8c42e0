"""The columns of an evaluation's tables of patients, with their types."""

COLUMNS = {
    "patient_id": "string",
    "split": "string",
    "raw_label": "string",
    "detailed": "string",  # slug in the cohort's taxonomy
    "truth": "string",  # slug in the model's taxonomy; missing for several right answers, other classes and no label
    "coarse_set": "string",  # the model's slugs joined with '|' where more than one answer is right
    "row": "string",  # what a patient of none of the model's classes is called
    "measured_hemoglobin_g_dl": "Float64",
    "hemoglobin_g_dl": "Float64",  # what the model says
    "n_cells": "Int64",
    "fold": "Int64",  # the one member that judged, out of fold; missing: the whole ensemble did
    "path": "string",  # of the smear, where its images are at hand
    "smear_fingerprint": "string",
    "is_outside_domain": "boolean",  # unlike the training cohort: calibration is withdrawn; missing: not known
    "warnings": "string",
}
"""Columns of `Evaluation.patients`; ``p_<class slug>`` of the model's classes follow."""

UNJUDGED_COLUMNS = ("patient_id", "reason")
