"""The patients of an evaluation: one row each, with the truth, the prediction, and the arrays that follow from them.

This is the data that every number, table, figure and file of an evaluation is computed from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, NonNegativeFloat, NonNegativeInt

from napari_caltomorph.cohort.cleaning import LEFT_OUT_BY
from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.hemoglobin_error import ErrorInterval
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.diagnosis.policy import Policy
from napari_caltomorph.diagnosis.prevalence import Prevalence
from napari_caltomorph.evaluation.options import EvaluateOptions
from napari_caltomorph.taxonomy import Taxonomy

COLUMNS = {
    "patient_id": "string",
    "split": "string",
    "raw_label": "string",
    "detailed": "string",  # slug in the cohort's taxonomy
    "truth": "string",  # slug in the model's taxonomy; missing for several right answers, other classes and no label
    "coarse_set": "string",  # the model's slugs joined with '|' where more than one answer is right
    "row": "string",  # name of a class that is none of the model's
    "measured_hemoglobin_g_dl": "Float64",
    "hemoglobin_g_dl": "Float64",  # as the model predicts it
    "n_cells": "Int64",
    "fold": "Int64",  # the one member that predicted, out of fold; missing: the whole ensemble did
    "path": "string",  # of the smear, where its images are available
    "smear_fingerprint": "string",
    "is_outside_domain": "boolean",  # unlike the training cohort: calibration is withdrawn; missing: not known
    # Aspects in which a smear outside is far out, joined with '|'; missing: not known, or by an earlier version
    "far_aspects": "string",
    "has_other_scale": "boolean",  # than the images of the training; missing as above
    "warnings": "string",
}
"""Columns of `EvaluatedPatients.patients`; ``p_<class slug>`` of the model's classes follow."""

LATER_COLUMNS = ("far_aspects", "has_other_scale")
"""Those of `COLUMNS` that files of earlier versions lack."""

NOT_EVALUATED_COLUMNS = ("patient_id", "reason")

Check = Literal["ids, smears and shared images", "ids and shared images", "not possible"]
"""How training patients were searched for among the evaluated ones."""

GroupCheck = Literal["compared", "not in the cohort", "not in training", "in neither"]
"""Whether groups, or patients of several slides, of both were compared; otherwise which of them has none."""


class Provenance(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()):
    """The model, the cohort, and the software versions of an evaluation."""

    model_name: str
    model_fingerprint: str
    model_synthetic: bool
    members: NonNegativeInt
    calibration: Calibration | None
    hemoglobin_error: ErrorInterval | None = None  # None: not measured, or an evaluation by an earlier version
    threshold: Threshold
    policy: Policy | None = None  # Of which is counted whom it withholds; all other numbers are of all patients
    prevalence: Prevalence | None = None  # Where the probabilities hold; None where the model does not know
    encoder: str | None
    encoder_weights_sha256: str | None
    training_cohort: str
    training_recipe: str  # ``"paper"`` stops each member on its own fold, which makes out-of-fold numbers optimistic
    training_elsewhere: tuple[str, ...] = ()  # What the training measured for other laboratories, in sentences
    training_check: Check  # Whether the cohort could be searched for patients that the model was trained on
    training_groups: GroupCheck | None = None  # None where nothing was compared, and in files of earlier versions
    cohort_name: str
    cohort_source: str
    cohort_layout: str
    cohort_fingerprint: str  # SHA-256 over ids, labels and smears of the evaluated patients
    cohort_left_out: dict[str, int]
    cohort_notes: tuple[str, ...]
    device: str
    seconds: NonNegativeFloat
    created: str
    library_versions: dict[str, str]


@dataclass(frozen=True)
class Embeddings:
    """Patients in the latent space of one member; the spaces of two members have nothing in common."""

    member: int
    evaluated: NDArray[np.float32]  # (P, width) float32: in the order of `EvaluatedPatients.patients`
    # (T, width) float32 or None: training patients that are not among the evaluated; None where the model does not
    # include them
    training: NDArray[np.float32] | None = None
    training_classes: tuple[str, ...] = ()  # Their slugs
    # Whether the member was not trained on each of them; empty where that is not known
    training_held_out: tuple[bool, ...] = ()


@dataclass(frozen=True, eq=False)
class EvaluatedPatients:
    """P patients of a cohort with what a model predicts of them."""

    # One row for each of P evaluated patients: `COLUMNS` and ``p_<slug>``, the probabilities as a `Prediction` shows
    # them. With no patient's truth known there are predictions and no metrics.
    patients: pd.DataFrame
    # The model's C classes, and those that the cohort was labelled with
    taxonomy: Taxonomy
    cohort_taxonomy: Taxonomy
    provenance: Provenance
    options: EvaluateOptions = EvaluateOptions()  # noqa: RUF009 (frozen)
    embeddings: Embeddings | None = None
    # The other columns of the cohort's table (age, sex, group, and its own), in the same order
    covariates: pd.DataFrame = field(default_factory=pd.DataFrame)
    # Patients who should have been evaluated, and why they were not
    not_evaluated: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(NOT_EVALUATED_COLUMNS)))
    # Observations made during the evaluation, each a sentence; `Evaluation.statements` has these too
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.patients)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """(P, C)"""
        columns = [f"p_{slug}" for slug in self.taxonomy.slugs]
        return np.asarray(self.patients[columns], dtype=float)

    @cached_property
    def predicted(self) -> NDArray[np.intp]:
        """(P,) number of the most probable class; the first of several."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def malignancy(self) -> NDArray[np.float64]:
        """(P,) sum of the malignant classes' probabilities."""
        return self.taxonomy.malignancy(self.probabilities)

    @cached_property
    def classes(self) -> NDArray[np.intp]:
        """(P,) number of the one true class; -1 for several right answers, other classes, and no label."""
        number = {slug: i for i, slug in enumerate(self.taxonomy.slugs)}
        return np.array(
            [number.get(s, -1) if isinstance(s, str) else -1 for s in self.patients["truth"]], dtype=np.intp
        )

    @property
    def has_one_class(self) -> NDArray[np.bool_]:
        """(P,) patients of exactly one class, which the model knows: those that metrics count."""
        return np.asarray(self.classes >= 0)

    @property
    def has_several(self) -> NDArray[np.bool_]:
        """(P,) borderline and double diagnoses, with several right answers."""
        return self.patients["coarse_set"].notna().to_numpy(dtype=bool)

    @property
    def is_other(self) -> NDArray[np.bool_]:
        """(P,) patients of a class that the model does not know."""
        return self.patients["row"].notna().to_numpy(dtype=bool)

    @property
    def is_labelled(self) -> bool:
        """Whether the truth of any patient is known."""
        return bool((self.has_one_class | self.has_several | self.is_other).any())

    @property
    def is_external(self) -> bool:
        """Whether the smears come from another laboratory than those of the training."""
        return self.options.lab == "other"

    @cached_property
    def left_out_by(self) -> tuple[str, ...]:
        """The rule that left each of P patients out of the cohort; empty for those that are in."""
        if self.options.split != "extended" or LEFT_OUT_BY not in self.covariates:
            return ("",) * len(self)
        return tuple(map(str, self.covariates[LEFT_OUT_BY]))

    @cached_property
    def is_healthy_donor(self) -> NDArray[np.bool_]:
        """(P,) patients whose class is one of `options.healthy`."""
        names = list(self.options.healthy)
        return (self.patients["truth"].isin(names) | self.patients["detailed"].isin(names)).to_numpy(dtype=bool)

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """(P, C) numbers of the classes, most probable first; ties in the taxonomy's order."""
        return np.argsort(-self.probabilities, axis=1, kind="stable")

    @property
    def delta_probability(self) -> NDArray[np.float64]:
        """(P,) first minus second probability (paper, supplementary figure 1)."""
        ranked = np.sort(self.probabilities, axis=1)
        return np.asarray(ranked[:, -1] - ranked[:, -2])

    @cached_property
    def is_right(self) -> NDArray[np.bool_]:
        """(P,) whether the predicted class is a right answer; false where the model knows none."""
        slugs = np.array(self.taxonomy.slugs, dtype=object)[self.predicted]
        within = [
            isinstance(s, str) and slug in s.split("|")
            for s, slug in zip(self.patients["coarse_set"], slugs, strict=True)
        ]
        return np.asarray((self.classes == self.predicted) | np.array(within, dtype=bool))

    @property
    def wrong(self) -> tuple[str, ...]:
        """Patients with a right answer that was not given, the surest mistake first."""
        could = (self.has_one_class | self.has_several) & ~self.is_right
        sure = self.probabilities.max(axis=1)
        ids = self.patients["patient_id"]
        return tuple(ids.iloc[i] for i in sorted(np.flatnonzero(could).tolist(), key=lambda i: -sure[i]))

    @cached_property
    def is_outside_domain(self) -> NDArray[np.bool_]:
        """(P,) whether the smear is known to be unlike the training cohort."""
        return np.asarray(self.patients["is_outside_domain"].fillna(False), dtype=bool)

    @cached_property
    def is_calibrated(self) -> NDArray[np.bool_]:
        """(P,) whether the probabilities are calibrated; never outside the training domain."""
        return ~self.is_outside_domain & (self.provenance.calibration is not None)

    @cached_property
    def prediction_sets(self) -> tuple[tuple[str, ...] | None, ...] | None:
        """Slugs of the classes that cannot be excluded, of each patient; None without a calibration in force."""
        calibration, slugs = self.provenance.calibration, self.taxonomy.slugs
        if calibration is None:
            return None
        return tuple(
            calibration.prediction_set(one, slugs) if is_calibrated else None
            for one, is_calibrated in zip(self.probabilities, self.is_calibrated, strict=True)
        )

    @property
    def counts(self) -> dict[str, int]:
        labelled = self.has_one_class | self.has_several | self.is_other
        return {
            "evaluated": len(self),
            "one class": int(self.has_one_class.sum()),
            "several right answers": int(self.has_several.sum()),
            "other classes": int(self.is_other.sum()),
            "no label": int((~labelled).sum()),
            "not evaluated": len(self.not_evaluated),
        }
