"""Trained members -> an ensemble that can say how it came to be, and what its members said of their own folds."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.diagnosis import Ensemble, FoldRecord, ModelDescription, TrainingRecord
from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.domain_fit import fit_domain
from napari_caltomorph.diagnosis.member import Member
from napari_caltomorph.diagnosis.model_file import (
    EncoderNeed,
    ErrorInterval,
    Estimate,
    HemoglobinTarget,
    MemberFile,
    OutOfFold,
    Threshold,
)
from napari_caltomorph.diagnosis.model_folder import TrainingPatients
from napari_caltomorph.encoding import DEMO_ENCODER
from napari_caltomorph.encoding.device import find_device
from napari_caltomorph.evaluation.calibrate import fit_calibration
from napari_caltomorph.statistics import Interval, classification_metrics, hemoglobin_metrics
from napari_caltomorph.synthetic import SYNTHETIC_COLUMN
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.checkpoint import FoldCheckpoint, FoldHistory
from napari_caltomorph.training.fit import new_member, predict_bags
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.options import TrainOptions

_LIBRARIES = ("napari-caltomorph", "torch", "timm", "numpy", "scikit-learn")
_THRESHOLD = Threshold(value=0.5, rule="the paper's operating point (section 3.1), not chosen on this cohort")
# Between the 5 % and the 95 % quantile of fewer lie less than 90 % of other patients.
_LEAST_FOR_INTERVAL = 19
# Stands in for a member's file until `Ensemble.save` has written it.
_UNWRITTEN = "0" * 64


def assemble(
    name: str,
    cohort: Cohort,
    bags: LabelledBags,
    splits: list[MemberSplit],
    options: TrainOptions,
    work: Path,
    *,
    seconds: float,
) -> Ensemble:
    """Return the ensemble of the members whose weights stand in a training's folder.

    Parameters
    ----------
    name : str
        Of the model.
    cohort : Cohort
    bags : LabelledBags
    splits : list of MemberSplit
        Of the members that were trained.
    options : TrainOptions
    work : Path
    seconds : float
        How long the training took.
    """
    members, histories = [], []
    for split in splits:
        checkpoint = FoldCheckpoint(work, split.fold)
        member = new_member(bags, split, options)
        member.load_state_dict(checkpoint.best())
        members.append(member.eval().requires_grad_(False))
        histories.append(checkpoint.history())
    said = _out_of_fold(bags, splits, members, options)
    description = ModelDescription(
        name=name,
        description=f"Trained by napari-caltomorph on the cohort {cohort.name}.",
        synthetic=_is_synthetic(bags),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        encoder=EncoderNeed(
            name=bags.origin.encoder,
            weights_sha256=bags.origin.weights_sha256,
            preprocessing=bags.origin.preprocessing,
            width=bags.width,
        ),
        field_of_view_um=bags.origin.field_of_view_um,
        taxonomy=bags.taxonomy,
        hemoglobin=HemoglobinTarget(error=_hemoglobin_error(bags, said)) if options.hemoglobin else None,
        aggregator=options.aggregator_options(),
        classifier_width=options.classifier_width,
        threshold=_THRESHOLD,
        calibration=_calibration(cohort, bags, members, options),
        training=TrainingRecord(
            recipe=options.recipe,
            options=options.model_dump(mode="json"),
            cohort=f"{cohort.name}, {len(bags)} training patients",
            patients={slug: int((bags.classes == index).sum()) for index, slug in enumerate(bags.taxonomy.slugs)},
            folds=tuple(_fold_record(s, h) for s, h in zip(splits, histories, strict=True)),
            out_of_fold=_out_of_fold_numbers(bags, splits, said),
            notes=_notes(bags, splits, histories, cohort),
            seconds=round(seconds, 1),
            machine=_machine(options),
        ),
        members=tuple(MemberFile(file=f"fold_{i}.safetensors", sha256=_UNWRITTEN) for i in range(len(members))),
        library_versions={name: version(name) for name in _LIBRARIES},
    )
    patients = TrainingPatients(
        table=_patient_table(bags, splits, said),
        embeddings=torch.stack([predict_bags(m, bags, np.arange(len(bags)), options).embedding for m in members]),
    )
    judge = patients.table["fold"].fillna(-2).to_numpy(dtype=np.intp)  # -2: all members learnt from the patient
    domain = fit_domain(bags.values, patients.embeddings.float().numpy(), judge)
    return Ensemble(description, tuple(members), patients, domain=domain)


class _Said:
    """What single members say of their own folds: NaN for patients of no fold that was trained."""

    def __init__(self, patients: int, classes: int) -> None:
        self.probabilities = np.full((patients, classes), np.nan)
        self.hemoglobin = np.full(patients, np.nan)

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """(P,)"""
        known: NDArray[np.bool_] = np.isfinite(self.probabilities).all(axis=1)
        return known


def _out_of_fold(bags: LabelledBags, splits: list[MemberSplit], members: list[Member], options: TrainOptions) -> _Said:
    said = _Said(len(bags), len(bags.taxonomy.classes))
    for split, member in zip(splits, members, strict=True):
        outputs = predict_bags(member, bags, split.own, options)
        said.probabilities[split.own] = outputs.logits.double().softmax(-1).numpy()
        hemoglobin = member.hemoglobin_g_dl(outputs)
        if hemoglobin is not None:
            said.hemoglobin[split.own] = hemoglobin.numpy()
    return said


def _out_of_fold_numbers(bags: LabelledBags, splits: list[MemberSplit], said: _Said) -> OutOfFold:
    """Pooled over all folds, with intervals, and of each fold: folds differ, and pooling hides it."""
    pooled = _metrics(bags, said, np.flatnonzero(said.is_known), resamples=1000)
    per_fold = [_metrics(bags, said, split.own, resamples=0) for split in splits]
    return OutOfFold(
        pooled={n: Estimate(value=i.value, low=i.low, high=i.high) for n, i in pooled.items()},
        per_fold={n: tuple(fold[n].value if n in fold else None for fold in per_fold) for n in pooled},
    )


def _metrics(bags: LabelledBags, said: _Said, patients: NDArray[np.intp], *, resamples: int) -> dict[str, Interval]:
    found = classification_metrics(
        bags.classes[patients], said.probabilities[patients], bags.taxonomy.is_malignant, resamples=resamples
    )
    hemoglobin = hemoglobin_metrics(bags.hemoglobin[patients], said.hemoglobin[patients], resamples=resamples)
    return found | {f"hemoglobin_{name}": interval for name, interval in hemoglobin.items()}


def _hemoglobin_error(bags: LabelledBags, said: _Said) -> ErrorInterval | None:
    """How far off single members were on their own folds; too few patients give no interval."""
    numbers = hemoglobin_metrics(bags.hemoglobin, said.hemoglobin, resamples=0)
    patients = int((np.isfinite(bags.hemoglobin) & np.isfinite(said.hemoglobin)).sum())
    if patients < _LEAST_FOR_INTERVAL:
        return None
    low, high = numbers["error_low"].value, numbers["error_high"].value
    return ErrorInterval(level=0.9, low=round(low, 2), high=round(high, 2), patients=patients)


def _calibration(
    cohort: Cohort, bags: LabelledBags, members: list[Member], options: TrainOptions
) -> Calibration | None:
    aside = np.flatnonzero(bags.folds < 0)
    if not len(aside):
        return None
    votes = [predict_bags(m, bags, aside, options).logits.double().softmax(-1).numpy() for m in members]
    return fit_calibration(
        bags.classes[aside],
        np.mean(votes, axis=0),
        bags.taxonomy.slugs,
        source=f"{len(aside)} patients of {cohort.name} that no member has seen",
    )


def _is_synthetic(bags: LabelledBags) -> bool:
    """Whether only drawn cells were learnt from: the cohort says so, or its encoder has seen no others."""
    says_so = SYNTHETIC_COLUMN in bags.table and bool(bags.table[SYNTHETIC_COLUMN].astype("string").eq("yes").all())
    return says_so or bags.origin.encoder == DEMO_ENCODER


def _fold_record(split: MemberSplit, history: FoldHistory) -> FoldRecord:
    assert history.stopped_by is not None
    return FoldRecord(
        patients=len(split.train),
        validation_patients=len(split.validation),
        epochs=history.epochs,
        best_epoch=history.best_epoch,
        stopped_by=history.stopped_by,
        train_loss=history.train_loss,
        validation_loss=history.validation_loss,
    )


def _notes(
    bags: LabelledBags, splits: list[MemberSplit], histories: list[FoldHistory], cohort: Cohort
) -> tuple[str, ...]:
    notes = [*bags.notes, *sorted({split.note for split in splits if split.note})]
    for split, history in zip(splits, histories, strict=True):
        known = np.unique(bags.classes[split.train])
        if unknown := [name for index, name in enumerate(bags.taxonomy.names) if index not in known]:
            notes.append(f"The member of fold {split.fold + 1} learnt from no patient of {', '.join(unknown)}.")
        if history.stopped_by == "not finite":
            notes.append(
                f"The loss of fold {split.fold + 1} was not a number in epoch {history.epochs + 1}; its member has the "
                f"weights of epoch {history.best_epoch}."
            )
    if len(splits) < len(bags.fold_numbers):
        notes.append(f"Stopped by hand: {len(splits)} of {len(bags.fold_numbers)} members were trained.")
    if bags.origin.encoder is None:
        notes.append("The feature files do not say which encoder made them.")
    return (*notes, *cohort.notes)


def _patient_table(bags: LabelledBags, splits: list[MemberSplit], said: _Said) -> pd.DataFrame:
    columns = ["patient_id", "coarse", "detailed", "group", "hemoglobin_g_dl", "fingerprint", "path"]
    # The member that did not learn from a patient, whichever fold that was; nobody's where its fold was not trained.
    member_of = {-1: -1} | {split.fold: member for member, split in enumerate(splits)}
    table = bags.table[columns].assign(fold=pd.array([member_of.get(int(f)) for f in bags.folds], dtype="Int64"))
    for index, slug in enumerate(bags.taxonomy.slugs):
        table[f"out_of_fold_p_{slug}"] = said.probabilities[:, index]
    if np.isfinite(said.hemoglobin).any():
        table["out_of_fold_hemoglobin_g_dl"] = said.hemoglobin
    return table


def _machine(options: TrainOptions) -> str:
    device = find_device(options.device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, {device}"
