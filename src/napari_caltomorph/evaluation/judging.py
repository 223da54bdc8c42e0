"""One patient before the members that may judge: what they say, and how it becomes the rows of an evaluation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.diagnosis.inference import MemberOutputs
from napari_caltomorph.diagnosis.training_patients import TrainingPatients
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.evaluation.columns import COLUMNS
from napari_caltomorph.evaluation.embeddings import Embeddings
from napari_caltomorph.evaluation.leakage import EligibleMembers
from napari_caltomorph.evaluation.truth import ClassesMap

_OWN_MEMBER = 0
"""Whose embeddings are kept: members have different latent spaces."""


class Judged(NamedTuple):
    """What was said of one patient, and by whom."""

    row: int
    cells: int
    fingerprint: str | None
    warnings: tuple[str, ...]
    is_outside_domain: bool | None  # None: not known
    honest: EligibleMembers
    outputs: MemberOutputs  # of the members that may judge
    embedding: NDArray[np.float32]  # (width,) of the one member whose space is used for all


def judge(ensemble: Ensemble, row: int, bag: Features, honest: EligibleMembers) -> Judged:
    """Ask the members that have not learnt from the patient.

    Whether the smear is like the training cohort is asked of the whole ensemble only: a training patient belongs to it.
    """
    domain = None
    if honest.member is None:
        outputs = ensemble.member_outputs(bag)
        domain = ensemble.domain_of(bag, outputs)
        embedding = outputs.embeddings[_OWN_MEMBER]
    else:
        both = ensemble.member_outputs(bag, (honest.member, _OWN_MEMBER))
        hemoglobin = None if both.hemoglobin is None else both.hemoglobin[:1]
        outputs = MemberOutputs(both.probabilities[:1], hemoglobin, both.embeddings[:1])
        embedding = both.embeddings[1]
    return Judged(
        row=row,
        cells=len(bag),
        fingerprint=bag.origin.smear_fingerprint,
        warnings=ensemble.warnings(bag, domain),
        is_outside_domain=None if domain is None else domain.is_outside,
        honest=honest,
        outputs=outputs,
        embedding=embedding,
    )


def patient_rows(
    ensemble: Ensemble, chosen: pd.DataFrame, judged: list[Judged], classes_map: ClassesMap
) -> pd.DataFrame:
    truth = classes_map.apply(chosen)
    hemoglobin = [None if one.outputs.hemoglobin is None else one.outputs.hemoglobin.mean() for one in judged]
    fingerprints = [one.fingerprint for one in judged]
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
        "n_cells": pd.array([one.cells for one in judged], dtype="Int64"),
        "fold": pd.array([one.honest.member for one in judged], dtype="Int64"),
        "path": chosen["path"],
        "smear_fingerprint": pd.array(fingerprints, dtype="string").fillna(chosen["fingerprint"].array),
        "is_outside_domain": pd.array([one.is_outside_domain for one in judged], dtype="boolean"),
        "warnings": pd.array(["; ".join(one.warnings) for one in judged], dtype="string"),
    }
    table = pd.DataFrame(columns).astype(COLUMNS)
    calibration = ensemble.description.calibration
    raw = np.stack([one.outputs.probabilities.mean(axis=0) for one in judged])
    shown = raw
    if calibration is not None:  # as `Prediction.probabilities`
        is_outside = np.array([bool(one.is_outside_domain) for one in judged])
        shown = np.where(is_outside[:, None], raw, calibration.apply(raw))
    for index, slug in enumerate(ensemble.description.taxonomy.slugs):
        table[f"p_{slug}"] = shown[:, index]
    return table


def embeddings_of(judged: list[Judged], training: TrainingPatients | None, ids: set[str]) -> Embeddings:
    """Return the embeddings of the judged, and of training patients other than these ids."""
    mine = np.stack([one.embedding for one in judged])
    if training is None:
        return Embeddings(_OWN_MEMBER, mine)
    others = ~training.table["patient_id"].isin(list(ids)).to_numpy(dtype=bool)
    theirs = training.embeddings[_OWN_MEMBER].float().numpy()[others]
    return Embeddings(_OWN_MEMBER, mine, theirs, tuple(training.table["coarse"][others]))
