"""Predictions of patients by members that were not trained on them.

Training patients are found by id, also where one is a slide of the other, by the smear's fingerprint, and by images
shared with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.diagnosis.inference import MemberOutputs
from napari_caltomorph.diagnosis.model_folder import TrainingPatients
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.errors import EvaluationRefused, TrainingPatientsFound
from napari_caltomorph.evaluation.patients import COLUMNS, Check, Embeddings
from napari_caltomorph.evaluation.truth import ClassesMap

_OWN_MEMBER = 0
"""Member whose embeddings are kept: members have different latent spaces."""


@dataclass(frozen=True)
class EligibleMembers:
    """Which members may predict a patient."""

    is_known: bool = False  # Whether the model was trained on the patient, or on some of the images
    member: int | None = None  # The one member that was not trained on the patient; None for all of them, or for none
    problem: str = ""  # Why no member may; empty where one may
    how: str = ""  # How the patient was found


@dataclass(frozen=True)
class TrainingOverlap:
    """The training patients of a model in a cohort; `table` is None where the model does not include them."""

    table: pd.DataFrame | None
    cohort: Cohort
    _fold_of: dict[str, int | None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.table is not None:
            folds = [None if pd.isna(fold) else int(fold) for fold in self.table["fold"]]
            self._fold_of.update(zip(self.table["patient_id"], folds, strict=True))

    @property
    def check(self) -> Check:
        """How training patients can be searched for."""
        if self.table is None:
            return "not possible"
        return "ids, smears and shared images" if self.table["fingerprint"].notna().all() else "ids and shared images"

    def eligible(self, patient_id: str, fingerprint: str | None) -> EligibleMembers:
        """Return which members may predict a patient, by the id and by the fingerprint of the smear."""
        ways = {
            "by slides of one patient": self._by_patient.get(patient_id, []),
            "by id": [patient_id] if patient_id in self._fold_of else [],
            "by the same cells": self._by_fingerprint.get(fingerprint, []) if fingerprint else [],
            "by shared images": self._by_images.get(patient_id, []),
        }
        found = {name: how for how, names in ways.items() for name in names}
        if not found:
            return EligibleMembers()
        how = next(iter(found.values()))
        folds = {self._fold_of[name] for name in found}
        if None in folds:
            return EligibleMembers(True, problem="all members were trained on the patient", how=how)
        own = folds - {-1}  # -1: set aside, no member was trained on the patient
        if len(own) > 1:
            return EligibleMembers(True, problem="images of several folds: each member was trained on some", how=how)
        return EligibleMembers(True, member=next(iter(own), None), how=how)

    @cached_property
    def _by_patient(self) -> dict[str, list[str]]:
        """Patient or slide of the cohort -> training patients or slides that are of the same patient."""
        if self.table is None:
            return {}
        theirs = self.table["patient_id"].groupby(_patients(self.table)).agg(list).to_dict()
        mine = self.cohort.table
        return {
            str(row): theirs.get(patient, []) for row, patient in zip(mine["patient_id"], _patients(mine), strict=True)
        }

    @cached_property
    def _by_fingerprint(self) -> dict[str, list[str]]:
        """Fingerprint -> training patients, by the model's own table and the cohort's."""
        found: dict[str, list[str]] = {}
        if self.table is None:
            return found
        mine = self.cohort.table
        ours = mine.loc[mine["patient_id"].isin(list(self._fold_of)), ["patient_id", "fingerprint"]]
        both = pd.concat([self.table[["patient_id", "fingerprint"]], ours]).dropna().drop_duplicates()
        for patient, fingerprint in both.itertuples(index=False):
            found.setdefault(str(fingerprint), []).append(str(patient))
        return found

    @cached_property
    def _by_images(self) -> dict[str, list[str]]:
        """Patient of the cohort -> training patients who have an image that this one has too."""
        table = self.cohort.table[["patient_id", "shared_images", "fingerprint"]]
        owners: dict[str, list[str]] = {}
        images = {
            str(patient): [] if pd.isna(shared) else str(shared).split()
            for patient, shared in zip(table["patient_id"], table["shared_images"], strict=True)
        }
        prints = dict(zip(table["patient_id"], table["fingerprint"], strict=True))
        for patient, numbers in images.items():
            known = [patient] if patient in self._fold_of else self._by_fingerprint.get(str(prints[patient]), [])
            for number in numbers:
                owners.setdefault(number, []).extend(known)
        shared = {p: [name for number in numbers for name in owners[number]] for p, numbers in images.items()}
        return {patient: list(dict.fromkeys(names)) for patient, names in shared.items() if names}


def _patients(table: pd.DataFrame) -> pd.Series[str]:
    """Return the patient of each row, which may be one slide; models of earlier versions have none."""
    ids = table["patient_id"]
    return table["slide_of"].fillna(ids) if "slide_of" in table else ids


def refuse_training_patients(
    table: pd.DataFrame, overlap: TrainingOverlap, source: object, *, out_of_fold: bool
) -> None:
    """Refuse, before any feature is loaded, what ids, fingerprints and shared images of the cohort already show.

    Raises `TrainingPatientsFound` where the model was trained on some of the patients, unless they are evaluated out of
    fold. Then `EvaluationRefused` where it was trained on none of them, or has no list of its training patients.
    """
    found = [
        (str(patient), eligible.how)
        for patient, fingerprint in zip(table["patient_id"], table["fingerprint"], strict=True)
        if (eligible := overlap.eligible(str(patient), None if pd.isna(fingerprint) else fingerprint)).is_known
    ]
    if found and not out_of_fold:
        raise training_patients_found(found, len(table))
    if out_of_fold and overlap.table is None:
        raise EvaluationRefused(
            "The model does not include the list of its training patients (private/), so no patient can be evaluated "
            "out of fold; use the model as it was trained, not an exported copy."
        )
    may_be_found_later = table["fingerprint"].isna().any()  # feature files may name smears that the cohort does not
    if out_of_fold and not found and not may_be_found_later:
        raise EvaluationRefused(
            f"The model was trained on none of the {len(table)} patients to evaluate in {source}; leave out "
            "--out-of-fold, or choose --split train."
        )


def training_patients_found(
    found: list[tuple[str, str]], patients: int, model: str = "The model"
) -> TrainingPatientsFound:
    """Return the error for training patients among P patients, each with how it was found."""
    first, how = found[0]
    return TrainingPatientsFound(
        f"{model} was trained on {len(found)} of the {patients} patients to evaluate (first: {first}, found {how}); "
        "evaluate the test split, or use --out-of-fold, which predicts each patient by the member that was not trained "
        "on it. Other people under the same ids must be renamed."
    )


class HeldOutPrediction(NamedTuple):
    """One patient as predicted by the eligible members."""

    row: int
    cells: int
    fingerprint: str | None
    warnings: tuple[str, ...]
    is_outside_domain: bool | None  # None: not known
    eligible: EligibleMembers
    outputs: MemberOutputs  # of the eligible members
    embedding: NDArray[np.float32]  # (width,) of the one member whose space is used for all


def predict_held_out(ensemble: Ensemble, row: int, bag: Features, eligible: EligibleMembers) -> HeldOutPrediction:
    """Predict a patient by the members that were not trained on it.

    Whether the smear is unlike the training cohort is measured for the whole ensemble only: a training patient belongs
    to that cohort.
    """
    domain = None
    if eligible.member is None:
        outputs = ensemble.member_outputs(bag)
        domain = ensemble.domain_of(bag, outputs)
        embedding = outputs.embeddings[_OWN_MEMBER]
    else:
        both = ensemble.member_outputs(bag, (eligible.member, _OWN_MEMBER))
        hemoglobin = None if both.hemoglobin is None else both.hemoglobin[:1]
        outputs = MemberOutputs(both.probabilities[:1], hemoglobin, both.embeddings[:1])
        embedding = both.embeddings[1]
    return HeldOutPrediction(
        row=row,
        cells=len(bag),
        fingerprint=bag.origin.smear_fingerprint,
        warnings=ensemble.warnings(bag, domain),
        is_outside_domain=None if domain is None else domain.is_outside,
        eligible=eligible,
        outputs=outputs,
        embedding=embedding,
    )


def patient_rows(
    ensemble: Ensemble, chosen: pd.DataFrame, predictions: list[HeldOutPrediction], classes_map: ClassesMap
) -> pd.DataFrame:
    """Return the rows of `EvaluatedPatients.patients` for the chosen rows of a cohort's table."""
    truth = classes_map.apply(chosen)
    hemoglobin = [None if one.outputs.hemoglobin is None else one.outputs.hemoglobin.mean() for one in predictions]
    fingerprints = [one.fingerprint for one in predictions]
    columns: dict[str, object] = {
        "patient_id": chosen["patient_id"],
        "split": chosen["split"],
        "raw_label": chosen["raw_label"],
        "detailed": chosen["detailed"],
        "truth": truth["truth"],
        "coarse_set": truth["coarse_set"],
        "row": truth["row"],
        "measured_hemoglobin_g_dl": chosen["hemoglobin_g_dl"],
        "hemoglobin_g_dl": pd.array(hemoglobin, dtype="Float64"),
        "n_cells": pd.array([one.cells for one in predictions], dtype="Int64"),
        "fold": pd.array([one.eligible.member for one in predictions], dtype="Int64"),
        "path": chosen["path"],
        "smear_fingerprint": pd.array(fingerprints, dtype="string").fillna(chosen["fingerprint"].array),
        "is_outside_domain": pd.array([one.is_outside_domain for one in predictions], dtype="boolean"),
        "warnings": pd.array(["; ".join(one.warnings) for one in predictions], dtype="string"),
    }
    table = pd.DataFrame(columns).astype(COLUMNS)
    calibration = ensemble.description.calibration
    raw = np.stack([one.outputs.probabilities.mean(axis=0) for one in predictions])
    shown = raw
    if calibration is not None:  # as `Prediction.probabilities`
        is_outside = np.array([bool(one.is_outside_domain) for one in predictions])
        shown = np.where(is_outside[:, None], raw, calibration.apply(raw))
    for index, slug in enumerate(ensemble.description.taxonomy.slugs):
        table[f"p_{slug}"] = shown[:, index]
    return table


def embeddings_of(predictions: list[HeldOutPrediction], training: TrainingPatients | None, ids: set[str]) -> Embeddings:
    """Return the embeddings of the predicted patients, and of training patients other than these ids."""
    mine = np.stack([one.embedding for one in predictions])
    if training is None:
        return Embeddings(_OWN_MEMBER, mine)
    others = ~training.table["patient_id"].isin(list(ids)).to_numpy(dtype=bool)
    theirs = training.embeddings[_OWN_MEMBER].float().numpy()[others]
    return Embeddings(_OWN_MEMBER, mine, theirs, tuple(training.table["coarse"][others]))
