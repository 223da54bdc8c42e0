"""Trained members -> an ensemble, with the record of its training and its out-of-fold numbers."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from napari_caltomorph.about import library_versions
from napari_caltomorph.cohort import Cohort
from napari_caltomorph.diagnosis import Ensemble, FoldRecord, ModelDescription, TrainingRecord
from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.domain_fit import fit_domain
from napari_caltomorph.diagnosis.elsewhere import Elsewhere, Estimate
from napari_caltomorph.diagnosis.inference import softmax
from napari_caltomorph.diagnosis.member import Member
from napari_caltomorph.diagnosis.model_file import (
    EncoderNeed,
    HemoglobinTarget,
    MemberFile,
    Threshold,
)
from napari_caltomorph.diagnosis.model_folder import TrainingPatients
from napari_caltomorph.diagnosis.training_record import OutOfFold
from napari_caltomorph.encoding import DEMO_ENCODER
from napari_caltomorph.encoding.device import find_device
from napari_caltomorph.evaluation.calibrate import fit_calibration
from napari_caltomorph.evaluation.hemoglobin_error import fit_error_interval
from napari_caltomorph.evaluation.training_overlap import seen_by_published_encoder
from napari_caltomorph.statistics import Interval, classification_metrics, hemoglobin_metrics
from napari_caltomorph.statistics.interval import mean
from napari_caltomorph.synthetic import SYNTHETIC_COLUMN
from napari_caltomorph.taxonomy import Taxonomy, caltomorph_taxonomy
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.barely_learned import barely_learned, little_learned
from napari_caltomorph.training.folds import notes_of
from napari_caltomorph.training.members import TrainedMember, predict_bags
from napari_caltomorph.training.options import TrainOptions

_LIBRARIES = ("napari-caltomorph", "torch", "timm", "numpy", "scikit-learn")
# 0.5 is the paper's operating point for its own classes and training; of any other model it is only this.
_MORE_THAN_HALF = Threshold(value=0.5, rule="more probably malignant than not")
_PAPERS = Threshold(value=0.5, rule="the paper's operating point (section 3.1), not chosen on this cohort")
# A placeholder, until `Ensemble.save` has written the member's file.
_UNWRITTEN = "0" * 64


def assemble(
    name: str,
    cohort: Cohort,
    bags: LabelledBags,
    trained: list[TrainedMember],
    options: TrainOptions,
    *,
    traits: pd.DataFrame | None,
    elsewhere: Elsewhere,
    seconds: float,
) -> Ensemble:
    """Return the ensemble of some trained members, at least one; `seconds` is the duration of the training.

    `traits` are those of the patients' images, for the training domain.
    """
    members = tuple(one.member for one in trained)
    out_of_fold = _out_of_fold(bags, trained, options)
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
            views=bags.origin.views,
        ),
        field_of_view_um=bags.origin.field_of_view_um,
        taxonomy=bags.taxonomy,
        hemoglobin=_hemoglobin(bags, out_of_fold) if options.hemoglobin else None,
        aggregator=options.aggregator_options(bags.taxonomy),
        classifier_width=options.classifier_width,
        threshold=default_threshold(bags.taxonomy, options),
        calibration=_calibration(cohort, bags, members, options),
        training=_record(cohort, bags, trained, out_of_fold, options, elsewhere, seconds),
        members=tuple(MemberFile(file=f"fold_{i}.safetensors", sha256=_UNWRITTEN) for i in range(len(members))),
        library_versions=library_versions(*_LIBRARIES),
    )
    patients = TrainingPatients(
        table=_patient_table(bags, trained, out_of_fold),
        embeddings=torch.stack([predict_bags(m, bags, np.arange(len(bags)), options).embedding for m in members]),
    )
    # -2: all members were trained on the patient
    held_out_by = patients.table["fold"].fillna(-2).to_numpy(dtype=np.intp)
    domain = fit_domain(bags.values, patients.embeddings.float().numpy(), held_out_by, traits)
    return Ensemble(description, members, patients, domain=domain)


def _record(
    cohort: Cohort,
    bags: LabelledBags,
    trained: list[TrainedMember],
    out_of_fold: _OutOfFoldOutputs,
    options: TrainOptions,
    elsewhere: Elsewhere,
    seconds: float,
) -> TrainingRecord:
    return TrainingRecord(
        recipe=options.recipe,
        options=_without_place(options).model_dump(mode="json"),
        cohort=f"{cohort.name}, {len(bags)} training patients",
        patients={slug: int((bags.classes == index).sum()) for index, slug in enumerate(bags.taxonomy.slugs)},
        prior_shift=options.balance != "none",
        folds=tuple(map(_fold_record, trained)),
        out_of_fold=_out_of_fold_numbers(bags, trained, out_of_fold),
        elsewhere=elsewhere,
        notes=_notes(bags, trained, cohort, options),
        seconds=round(seconds, 1),
        machine=_machine(options),
    )


def _without_place(options: TrainOptions) -> TrainOptions:
    """Return the options without the folder of a file: it is of this machine, and models are given to others."""
    weights = options.aggregator_weights
    return options if weights is None else options.model_copy(update={"aggregator_weights": Path(weights).name})


@dataclass(frozen=True)
class _OutOfFoldOutputs:
    """Outputs of each member for its own fold: probabilities (P, C), hemoglobin (P,) g/dl; NaN without a member."""

    probabilities: NDArray[np.float64]
    hemoglobin: NDArray[np.float64]


def _out_of_fold(bags: LabelledBags, trained: list[TrainedMember], options: TrainOptions) -> _OutOfFoldOutputs:
    probabilities = np.full((len(bags), len(bags.taxonomy.classes)), np.nan)
    hemoglobin_g_dl = np.full(len(bags), np.nan)
    for one in trained:
        own = one.split.own
        outputs = predict_bags(one.member, bags, own, options)
        probabilities[own] = softmax(outputs.logits)
        hemoglobin = one.member.hemoglobin_g_dl(outputs)
        if hemoglobin is not None:
            hemoglobin_g_dl[own] = hemoglobin.numpy()
    return _OutOfFoldOutputs(probabilities, hemoglobin_g_dl)


def _out_of_fold_numbers(bags: LabelledBags, trained: list[TrainedMember], out_of_fold: _OutOfFoldOutputs) -> OutOfFold:
    """Return them pooled over all folds, with intervals, and per fold: pooling hides how much folds differ."""
    known = np.flatnonzero(np.isfinite(out_of_fold.probabilities).all(axis=1))
    pooled = _metrics(bags, out_of_fold, known)
    per_fold = [_metrics(bags, out_of_fold, one.split.own) for one in trained]
    return OutOfFold(
        pooled={n: Estimate(value=i.value, low=i.low, high=i.high) for n, i in pooled.items()},
        per_fold={n: tuple(fold[n].value if n in fold else None for fold in per_fold) for n in pooled},
    )


def _metrics(bags: LabelledBags, out_of_fold: _OutOfFoldOutputs, patients: NDArray[np.intp]) -> dict[str, Interval]:
    classes, probabilities = bags.classes[patients], out_of_fold.probabilities[patients]
    metrics = classification_metrics(classes, probabilities, bags.taxonomy.is_malignant)
    if len(set(bags.taxonomy.is_malignant)) == 2:  # otherwise malignancy is 0 or 1 for all
        excess = bags.taxonomy.malignancy(probabilities) - bags.taxonomy.is_malignant[classes]
        metrics["malignancy_bias"] = mean(excess, np.zeros_like(classes))
    measured, predicted = bags.hemoglobin[patients], out_of_fold.hemoglobin[patients]
    hemoglobin = hemoglobin_metrics(measured, predicted)
    return metrics | {f"hemoglobin_{name}": interval for name, interval in hemoglobin.items()}


def _hemoglobin(bags: LabelledBags, out_of_fold: _OutOfFoldOutputs) -> HemoglobinTarget:
    """Return the target with the error of single members on their own folds."""
    return HemoglobinTarget(error=fit_error_interval(bags.hemoglobin, out_of_fold.hemoglobin, bags.folds))


def _calibration(
    cohort: Cohort, bags: LabelledBags, members: tuple[Member, ...], options: TrainOptions
) -> Calibration | None:
    aside = np.flatnonzero(bags.folds < 0)
    if not len(aside):
        return None
    probabilities = [softmax(predict_bags(m, bags, aside, options).logits) for m in members]
    return fit_calibration(
        bags.classes[aside],
        np.mean(probabilities, axis=0),
        bags.taxonomy.slugs,
        source=f"{len(aside)} patients of {cohort.name} that no member has seen",
    )


def default_threshold(taxonomy: Taxonomy, options: TrainOptions) -> Threshold:
    """Return the threshold of a model until a rule chooses one."""
    is_as_published = options.recipe == "paper" and options.balance == "none"
    return _PAPERS if is_as_published and taxonomy.classes == caltomorph_taxonomy().classes else _MORE_THAN_HALF


def _is_synthetic(bags: LabelledBags) -> bool:
    """Whether all cells are synthetic: the cohort says so, or its encoder was trained on such cells only."""
    says_so = SYNTHETIC_COLUMN in bags.table and bool(bags.table[SYNTHETIC_COLUMN].astype("string").eq("yes").all())
    return says_so or bags.origin.encoder == DEMO_ENCODER


def _fold_record(trained: TrainedMember) -> FoldRecord:
    split, history, recalibration = trained.split, trained.history, trained.member.recalibration
    assert history.stopped_by is not None
    return FoldRecord(
        patients=len(split.train),
        validation_patients=len(split.validation),
        epochs=history.epochs,
        best_epoch=history.best_epoch,
        stopped_by=history.stopped_by,
        train_loss=history.train_loss,
        validation_loss=history.validation_loss,
        recalibration=None if recalibration is None else tuple(recalibration.values.tolist()),
    )


def _notes(bags: LabelledBags, trained: list[TrainedMember], cohort: Cohort, options: TrainOptions) -> tuple[str, ...]:
    notes = [*bags.notes, *notes_of([one.split for one in trained])]
    if little := [one.split.fold for one in trained if barely_learned(bags, one.split, options, one.history)]:
        notes.append(little_learned({"": little}))
    for split, history in ((one.split, one.history) for one in trained):
        known = np.unique(bags.classes[split.train])
        if unknown := [name for index, name in enumerate(bags.taxonomy.names) if index not in known]:
            notes.append(f"The member of fold {split.fold + 1} was trained on no patient of {', '.join(unknown)}.")
        if history.stopped_by == "not finite":
            notes.append(
                f"The loss of fold {split.fold + 1} was not a number in epoch {history.epochs + 1}; its member has the "
                f"weights of epoch {history.best_epoch}."
            )
    if len(trained) < len(bags.fold_numbers):
        notes.append(
            f"The training was stopped by hand: {len(trained)} of {len(bags.fold_numbers)} members are in the model. "
            "Patients of the other folds have no out-of-fold prediction."
        )
    if seen := seen_by_published_encoder(options.aggregator_options(bags.taxonomy), cohort):
        notes.append(seen)
    if bags.origin.encoder is None:
        notes.append("The feature files do not name their encoder.")
    return (*notes, *cohort.notes)


def _patient_table(bags: LabelledBags, trained: list[TrainedMember], out_of_fold: _OutOfFoldOutputs) -> pd.DataFrame:
    columns = ["patient_id", "coarse", "detailed", "group", "slide_of", "hemoglobin_g_dl", "fingerprint", "path"]
    # Column "fold": number of the member that was trained without the patient; missing where there is none.
    member_of = {-1: -1} | {one.split.fold: number for number, one in enumerate(trained)}
    table = bags.table[columns].assign(fold=pd.array([member_of.get(int(f)) for f in bags.folds], dtype="Int64"))
    for index, slug in enumerate(bags.taxonomy.slugs):
        table[f"out_of_fold_p_{slug}"] = out_of_fold.probabilities[:, index]
    if np.isfinite(out_of_fold.hemoglobin).any():
        table["out_of_fold_hemoglobin_g_dl"] = out_of_fold.hemoglobin
    return table


def _machine(options: TrainOptions) -> str:
    device = find_device(options.device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, {device}"
