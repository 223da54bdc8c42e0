"""Cohorts, traits, synthetic smears and predictions for the tests of the audit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.audit.image_traits import ImageTraits
from napari_caltomorph.audit.patients import AuditOptions
from napari_caltomorph.audit.result import Audit
from napari_caltomorph.audit.run import audit
from napari_caltomorph.cohort import Cohort, with_types
from napari_caltomorph.smear import Smear, smear_from_array
from napari_caltomorph.synthetic import Stain, synthesize_patient
from napari_caltomorph.taxonomy import caltomorph_taxonomy

SIDE = 64


PALE = Stain(light=(250, 232, 210), gain=(0.95, 0.95, 0.95), blur=0.05, unevenness=0.02, noise=1.0, crowding=0.7)


DARK = replace(PALE, light=(240, 215, 205), gain=(1.15, 1.1, 1.2))


QUICK = AuditOptions(shufflings=60, cells=3)


QUICKER = AuditOptions(shufflings=20)  # where p does not matter


def cohort_of(classes: list[str], *, folds: int | None = 4, **columns: object) -> Cohort:
    """Patients p000 ... of these coarse classes, assigned to folds in turn within each class."""
    table = pd.DataFrame({"patient_id": [f"p{i:03d}" for i in range(len(classes))], "coarse": classes, **columns})
    if folds is not None:
        table["fold"] = table.groupby("coarse").cumcount() % folds
        table["split"] = "train"
    return Cohort("made up", Path("/nowhere"), "table", caltomorph_taxonomy(), with_types(table))


def halves(count: int) -> list[str]:
    return ["acute_leukemia", "lymphoma"] * (count // 2)


def traits_of(cohort: Cohort, rng: np.random.Generator, shift: float = 0.0) -> ImageTraits:
    """Random traits; those of the borders are shifted in lymphoma."""
    ids, is_second = cohort.table["patient_id"].astype(str), (cohort.table["coarse"] == "lymphoma").to_numpy(dtype=bool)

    def table(width: int) -> pd.DataFrame:
        return pd.DataFrame(rng.standard_normal((len(ids), width)), index=ids, columns=[f"t{i}" for i in range(width)])

    borders, colours, sizes = table(4), table(4), table(2)
    borders.loc[is_second, "t0"] += shift
    return ImageTraits(borders, colours, sizes, {})


def nothing_measured(cohort: Cohort) -> ImageTraits:
    empty = pd.DataFrame(index=cohort.table["patient_id"].astype(str))
    return ImageTraits(empty, empty, empty, {})


def drawn(patient: str, label: str, stain: Stain) -> Smear:
    """Three cells of a patient with the hemoglobin of everybody, so that red cells know nothing of the disease."""
    number = int(patient[1:])
    detailed = {"acute_leukemia": "aml", "lymphoma": "cll"}[label]
    created = replace(synthesize_patient(detailed, cells=3, seed=number), stain=stain, hemoglobin_g_dl=13.0)
    return smear_from_array(np.stack(list(created.images(SIDE))), patient)


def audit_of_stains(stains: list[Stain]) -> Audit:
    cohort = cohort_of(halves(len(stains)))
    labels = dict(zip(cohort.table["patient_id"], cohort.table["coarse"], strict=True))
    return audit(cohort, QUICK, open_smear=lambda patient: drawn(patient, labels[patient], stains[int(patient[1:])]))


def row_of(outcome: Audit, name: str):
    return next(row for row in outcome.rows if row.name == name)


def a_cell() -> NDArray[np.uint8]:
    return replace(synthesize_patient("cll", cells=1, seed=1), stain=PALE).image(0, 144)


def predictions_of(cohort: Cohort, rng: np.random.Generator, signal: float) -> pd.DataFrame:
    is_second = (cohort.table["coarse"] == "lymphoma").to_numpy(dtype=bool)
    logit = rng.standard_normal(len(cohort)) + signal * np.where(is_second, 1, -1)
    p = 1 / (1 + np.exp(-logit))
    return pd.DataFrame(
        {"patient_id": cohort.table["patient_id"], "p_acute_leukemia": 1 - p, "p_lymphoma": p, "p_mds": 0.0}
    )
