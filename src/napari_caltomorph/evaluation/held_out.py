"""Predictions of patients by members that were not trained on them, and the rows of an evaluation made of these."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.diagnosis.domain import Aspect
from napari_caltomorph.diagnosis.inference import MemberOutputs
from napari_caltomorph.diagnosis.model_folder import TrainingPatients
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.evaluation.patients import COLUMNS, Embeddings
from napari_caltomorph.evaluation.training_overlap import EligibleMembers
from napari_caltomorph.evaluation.truth import ClassesMap

_OWN_MEMBER = 0
"""Member whose embeddings are kept: members have different latent spaces."""


class HeldOutPrediction(NamedTuple):
    """One patient as predicted by the eligible members."""

    row: int
    cells: int
    fingerprint: str | None
    warnings: tuple[str, ...]
    is_outside_domain: bool | None  # None: not known
    far_aspects: tuple[Aspect, ...] | None  # In which it is outside; None: not known
    has_other_scale: bool | None  # Than the training; None: not known
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
        far_aspects=None if domain is None else domain.far,
        has_other_scale=ensemble.has_other_scale(bag),
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
    aspects = [one.far_aspects for one in predictions]
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
        "far_aspects": pd.array([None if far is None else "|".join(far) for far in aspects], dtype="string"),
        "has_other_scale": pd.array([one.has_other_scale for one in predictions], dtype="boolean"),
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
    held_out = training.table["fold"].isin([_OWN_MEMBER, -1])[others]  # -1: set aside, seen by no member
    return Embeddings(_OWN_MEMBER, mine, theirs, tuple(training.table["coarse"][others]), tuple(held_out.tolist()))
