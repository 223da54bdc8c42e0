"""An ensemble and a labelled cohort -> an evaluation; no patient is predicted by a member that was trained on it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from napari_caltomorph.about import library_versions
from napari_caltomorph.cohort import Cohort, extended_test_set, feature_files, with_extended
from napari_caltomorph.cohort.cells import cell_shares
from napari_caltomorph.cohort.cleaning import EXTENDED
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.encoding.device import find_device
from napari_caltomorph.encoding.features import load_bag
from napari_caltomorph.errors import EvaluationRefused, FeaturesMissing, SmearUnreadable, counted
from napari_caltomorph.evaluation.covariates import covariates_of
from napari_caltomorph.evaluation.evaluation import Evaluation
from napari_caltomorph.evaluation.held_out import (
    HeldOutPrediction,
    embeddings_of,
    patient_rows,
    predict_held_out,
)
from napari_caltomorph.evaluation.options import EvaluateOptions
from napari_caltomorph.evaluation.patients import NOT_EVALUATED_COLUMNS, Provenance
from napari_caltomorph.evaluation.training_overlap import (
    TrainingOverlap,
    refuse_training_patients,
    seen_by_published_encoder,
    training_patients_found,
)
from napari_caltomorph.evaluation.truth import ClassesMap
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.storage import StrPath

_LIBRARIES = ("napari-caltomorph", "torch", "numpy", "scipy", "scikit-learn")


def evaluate(
    ensemble: Ensemble,
    cohort: Cohort,
    features: StrPath | None = None,
    options: EvaluateOptions | None = None,
    *,
    progress: OnProgress = ignore,
) -> Evaluation:
    """Evaluate a model on patients whose diagnosis is known.

    Parameters
    ----------
    ensemble : Ensemble
        As `Ensemble.load` returns it: its ``private/`` lists the training patients.
    features : str or Path or None
        Feature folder of `encode_cohort`; None where the cohort itself names feature files.

    Raises
    ------
    EvaluationRefused
        No patient is left to evaluate, or no patient has numbers for `options.against`.
    FeaturesMissing, TrainingPatientsFound
        Features are missing; the model was trained on some of the patients. Both are `EvaluationRefused`.
    FeaturesRefused
        Features are damaged, or come from another encoder than the model's.
    ModelRefused, DeviceMissing
        The model's ``private/`` is damaged; this machine has no such device.
    """
    options, start = options or EvaluateOptions(), time.monotonic()
    ensemble.description.views_to_average(asked=options.average_views)
    device = find_device(options.device)
    labels, taxonomy = cohort.table["raw_label"].dropna(), ensemble.description.taxonomy
    classes_map = ClassesMap.load(options.classes_map, cohort.taxonomy, taxonomy, labels)
    to_evaluate = chosen_patients(cohort, options)
    table = to_evaluate.table
    training = ensemble.training_patients()
    everyone = with_extended(cohort) if options.split == "extended" else cohort
    overlap = TrainingOverlap(None if training is None else training.table, everyone)
    refuse_training_patients(table, overlap, cohort.source, out_of_fold=options.out_of_fold)
    files, missing = _rows_with_features(table, feature_files(to_evaluate, features), features, options)
    with _on(device, ensemble):
        predicted = _predict(ensemble, table, files, overlap, options, progress)
    not_evaluated = [*missing, *predicted.not_eligible]
    if not predicted.predictions:
        patient, reason = not_evaluated[0]
        raise EvaluationRefused(f"{cohort.source}: no patient can be evaluated ({patient}: {reason}).")
    chosen = table.loc[[one.row for one in predicted.predictions]].reset_index(drop=True)
    patients = patient_rows(ensemble, chosen, predicted.predictions, classes_map)
    return Evaluation(
        patients=patients,
        taxonomy=taxonomy,
        cohort_taxonomy=cohort.taxonomy,
        provenance=_provenance(ensemble, cohort, patients, options, overlap, device, time.monotonic() - start),
        options=options,
        embeddings=embeddings_of(predicted.predictions, training, set(patients["patient_id"])),
        covariates=covariates_of(chosen, predicted.cell_shares, options.against, cohort.source),
        not_evaluated=pd.DataFrame(
            [*not_evaluated, *_never_evaluated(cohort, options)], columns=list(NOT_EVALUATED_COLUMNS)
        ),
        notes=_notes(ensemble, cohort, predicted, classes_map, options),
    )


class _Predicted(NamedTuple):
    """The patients of a cohort that could be predicted, and those that no member may predict."""

    predictions: list[HeldOutPrediction]
    cell_shares: list[dict[str, float]]  # of the same patients
    not_eligible: list[tuple[str, str]]  # patient, reason
    other_cells: int  # patients whose features were computed from other cells than the cohort has


def _predict(
    ensemble: Ensemble,
    table: pd.DataFrame,
    files: list[tuple[int, tuple[Path, ...]]],
    overlap: TrainingOverlap,
    options: EvaluateOptions,
    progress: OnProgress,
) -> _Predicted:
    """Predict each patient from its feature file by the members that were not trained on it."""
    fingerprints, smears = (
        {row: None if pd.isna(value) else str(value) for row, value in table[name].items()}
        for name in ("fingerprint", "path")
    )
    needs_cell_types = any(name not in table for name in options.against)
    predictions: list[HeldOutPrediction] = []
    cell_shares: list[dict[str, float]] = []
    not_eligible: list[tuple[str, str]] = []
    other_cells = 0
    for number, (row, paths) in enumerate(files):
        report = partial(progress, Progress("Evaluating", number, len(files), "patients"))
        report()
        bag = load_bag(paths, views=options.average_views, waiting=report)
        if options.average_views:
            bag.require_views()
        in_cohort, in_file = fingerprints[row], bag.origin.smear_fingerprint
        other_cells += in_cohort is not None and in_file is not None and in_cohort != in_file
        patient = str(table.at[row, "patient_id"])
        eligible = overlap.eligible(patient, in_file or in_cohort)
        if eligible.is_known and not options.out_of_fold:
            raise training_patients_found([(patient, eligible.how)], len(table), ensemble.description.name)
        if eligible.problem:
            not_eligible.append((patient, eligible.problem))
            continue
        predictions.append(predict_held_out(ensemble, row, bag, eligible))
        cell_shares.append(_cell_shares(smears[row], bag.cells) if needs_cell_types else {})
    progress(Progress("Evaluating", len(files), len(files), "patients"))
    return _Predicted(predictions, cell_shares, not_eligible, other_cells)


def _cell_shares(path: str | None, cells: tuple[str, ...]) -> dict[str, float]:
    """Return the shares of labelled cell types; empty too where the images are no longer available."""
    try:
        return {} if path is None else cell_shares(path, cells)
    except SmearUnreadable:
        return {}


def chosen_patients(cohort: Cohort, options: EvaluateOptions) -> Cohort:
    """Return a cohort of the patients to evaluate.

    Parameters
    ----------
    cohort : Cohort
    options : EvaluateOptions
        Of them, `split` chooses the patients.

    Raises
    ------
    EvaluationRefused
        There are none.
    """
    if options.split == "extended":
        return extended_test_set(cohort)
    if not len(cohort):
        raise EvaluationRefused(f"{cohort.source} has no patients to evaluate.")
    splits = cohort.table["split"]
    if options.split == "all" or splits.isna().all():
        return cohort
    chosen = cohort.table.loc[(splits == options.split).fillna(False)]
    if not len(chosen):
        there = ", ".join(f"{count} {name}" for name, count in splits.value_counts().items())
        raise EvaluationRefused(
            f"{cohort.source} has no patients in its {options.split} split ({there}); choose another --split, or all."
        )
    return replace(cohort, table=chosen.reset_index(drop=True))


def _never_evaluated(cohort: Cohort, options: EvaluateOptions) -> list[tuple[str, str]]:
    """Return the patients that are left out of the extended test set as well, each with the rule."""
    if options.split != "extended":
        return []
    others = cohort.left_out.loc[~cohort.left_out["rule"].isin(list(EXTENDED)), ["patient_id", "rule"]]
    return [(str(patient), str(rule)) for patient, rule in others.itertuples(index=False)]


def _rows_with_features(
    table: pd.DataFrame, files: Mapping[str, tuple[Path, ...]], folder: StrPath | None, options: EvaluateOptions
) -> tuple[list[tuple[int, tuple[Path, ...]]], list[tuple[str, str]]]:
    """Return the rows with their feature files, and the patients without one."""
    patients = zip(table.index, table["patient_id"], strict=True)
    found = [(row, files[patient]) for row, patient in patients if patient in files]
    missing = [(patient, "no features") for patient in table["patient_id"] if patient not in files]
    if missing and (not found or not options.skip_missing):
        where = f"in {folder}" if folder is not None else "named by the cohort"
        raise FeaturesMissing(
            f"{len(missing)} of {len(table)} patients have no features {where} (first: {missing[0][0]}); run "
            "`caltomorph encode`" + (", or evaluate the others with --skip-missing." if found else ".")
        )
    return found, missing


def _notes(
    ensemble: Ensemble, cohort: Cohort, predicted: _Predicted, classes_map: ClassesMap, options: EvaluateOptions
) -> tuple[str, ...]:
    description = ensemble.description
    notes = [f"{unfinished}."] if (unfinished := description.training.unfinished) else []
    notes += [seen] if (seen := seen_by_published_encoder(description.aggregator, cohort)) else []
    if options.average_views:
        notes.append(f"Averaged over the cells as they are and their views ({description.encoder.views}).")
    if classes_map.explicit:
        pairs = ", ".join(f"{slug} = {target}" for slug, target in classes_map.explicit.items())
        notes.append(f"Classes are mapped by {options.classes_map}: {pairs}.")
    predictions = predicted.predictions
    aside = sum(one.eligible.is_known and one.eligible.member is None for one in predictions)
    if aside:
        notes.append(
            f"Set aside in training: {counted(aside, 'patient')}. No member was trained on them, so the whole ensemble "
            "predicts them, but its temperature was fitted on them."
        )
    if fresh := sum(not one.eligible.is_known for one in predictions if any(o.eligible.is_known for o in predictions)):
        notes.append(f"New to the model: {counted(fresh, 'patient')}, predicted by the whole ensemble.")
    if predicted.other_cells:
        notes.append(
            f"The features of {counted(predicted.other_cells, 'patient')} were computed from other cells than the "
            "cohort has now."
        )
    if few := sum(bool(one.warnings) for one in predictions):
        notes.append(f"{counted(few, 'prediction')} with a warning: see the column warnings of predictions.csv.")
    return tuple(notes)


def _provenance(
    ensemble: Ensemble,
    cohort: Cohort,
    patients: pd.DataFrame,
    options: EvaluateOptions,
    overlap: TrainingOverlap,
    device: torch.device,
    seconds: float,
) -> Provenance:
    description = ensemble.description
    threshold = description.threshold
    if options.threshold is not None:
        threshold = Threshold(value=options.threshold, rule="given by the user")
    lines = patients[["patient_id", "raw_label", "smear_fingerprint"]].fillna("").agg("\t".join, axis=1)
    return Provenance(
        model_name=description.name,
        model_fingerprint=description.fingerprint,
        model_synthetic=description.synthetic,
        members=len(ensemble.members),
        calibration=description.calibration,
        hemoglobin_error=description.hemoglobin_error,
        threshold=threshold,
        prevalence=description.prevalence,
        encoder=description.encoder.name,
        encoder_weights_sha256=description.encoder.weights_sha256,
        training_cohort=description.training.cohort,
        training_recipe=description.training.recipe,
        training_elsewhere=description.training.elsewhere_in_words,
        training_check=overlap.check,
        training_groups=overlap.groups,
        cohort_name=cohort.name,
        cohort_source=str(cohort.source),
        cohort_layout=cohort.layout,
        cohort_fingerprint=hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest(),
        cohort_left_out=cohort.left_out_counts(),
        cohort_notes=cohort.notes,
        device=str(device),
        seconds=round(seconds, 1),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        library_versions=library_versions(*_LIBRARIES),
    )


@contextmanager
def _on(device: torch.device, ensemble: Ensemble) -> Iterator[None]:
    """Move the members to a device, and back to where the caller had them."""
    before = [member.feature_mean.device for member in ensemble.members]
    for member in ensemble.members:
        member.to(device)
    try:
        yield
    finally:
        for member, place in zip(ensemble.members, before, strict=True):
            member.to(place)
