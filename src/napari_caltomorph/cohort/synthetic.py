"""Synthetic patients as a cohort that is not written to disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from napari_caltomorph.cohort.cohort import Cohort, with_types
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.splits import split
from napari_caltomorph.smear import Smear
from napari_caltomorph.synthetic import (
    SYNTHETIC_COLUMN,
    SyntheticPatient,
    SynthOptions,
    synthesize_patients,
    synthetic_smear,
)
from napari_caltomorph.taxonomy import caltomorph_taxonomy


@dataclass(frozen=True)
class SyntheticPatients:
    """Patients by id; `open_smear` is what `encode_cohort` takes to draw their cells as it encodes them."""

    patients: Mapping[str, SyntheticPatient]

    @classmethod
    def synthesize(cls, options: SynthOptions) -> SyntheticPatients:
        """Synthesize the patients that `synthesize_cohort` would write."""
        return cls({patient.patient_id: patient for patient in synthesize_patients(options)})

    def open_smear(self, patient_id: str) -> Smear:
        """Return a patient's cells, drawn when they are read."""
        return synthetic_smear(self.patients[patient_id])

    def cohort(self, options: CohortOptions | None = None) -> Cohort:
        """Return them as a cohort, split by the options; its table has no paths."""
        names = ("patient_id", "detailed", "coarse", "hemoglobin_g_dl", "age", "sex")
        table = pd.DataFrame([{name: getattr(patient, name) for name in names} for patient in self.patients.values()])
        table["n_images"] = [len(patient) for patient in self.patients.values()]
        table[SYNTHETIC_COLUMN] = "yes"
        cohort = Cohort(
            name="synthetic patients",
            source=Path("synthetic"),
            layout="drawn",
            taxonomy=caltomorph_taxonomy(),
            table=with_types(table),
            options=options or CohortOptions(),
        )
        return split(cohort)
