"""An evaluation as one row a patient: what predictions.csv holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from napari_caltomorph.evaluation.evaluation import Evaluation


def patient_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row a patient with the columns of ``predictions.csv``: the contract's, and the truth."""
    names = np.array(evaluation.taxonomy.names, dtype=object)
    patients = evaluation.patients
    columns: dict[str, object] = {
        "patient_id": patients["patient_id"],
        "predicted_class": names[evaluation.predicted],
        **{f"p_{slug}": evaluation.probabilities[:, i] for i, slug in enumerate(evaluation.taxonomy.slugs)},
        "malignancy": evaluation.malignancy,
        "hemoglobin_g_dl": patients["hemoglobin_g_dl"],
        "second_class": names[evaluation.order[:, 1]],
        "delta_probability": evaluation.delta_probability,
        "n_cells": patients["n_cells"],
        "calibrated": evaluation.is_calibrated,
        **(
            {}
            if evaluation.prediction_sets is None
            else {"prediction_set": [None if s is None else _named(evaluation, s) for s in evaluation.prediction_sets]}
        ),
        "warnings": patients["warnings"],
        "split": patients["split"],
        "true_class": [names[c] if c >= 0 else None for c in evaluation.classes],
        "right_answers": patients["coarse_set"],
        "other_class": patients["row"],
        "detailed_class": patients["detailed"],
        "raw_label": patients["raw_label"],
        "is_right": [
            bool(r) if c else None
            for r, c in zip(evaluation.is_right, evaluation.has_one_class | evaluation.has_several, strict=True)
        ],
        "measured_hemoglobin_g_dl": patients["measured_hemoglobin_g_dl"],
        "judged_by_member": patients["fold"],
        "lab": evaluation.options.lab,
    }
    return pd.DataFrame(columns)


def _named(evaluation: Evaluation, slugs: tuple[str, ...]) -> str:
    return "; ".join(evaluation.taxonomy.coarse(slug).name for slug in slugs)
