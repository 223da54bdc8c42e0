"""An ensemble and a labelled cohort -> an evaluation; nobody is judged by a member that learnt from them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch

from napari_caltomorph.cohort import Cohort, feature_files
from napari_caltomorph.cohort.cell_shares import cell_shares
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.encoding.device import find_device
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.errors import EvaluationRefused, FeaturesMissing, SmearUnreadable, TrainingPatientsFound
from napari_caltomorph.evaluation.columns import UNJUDGED_COLUMNS
from napari_caltomorph.evaluation.covariate_association import with_cell_shares
from napari_caltomorph.evaluation.evaluation import Evaluation
from napari_caltomorph.evaluation.judging import Judged, embeddings_of, judge, patient_rows
from napari_caltomorph.evaluation.leakage import TrainedOn
from napari_caltomorph.evaluation.options import EvaluateOptions
from napari_caltomorph.evaluation.provenance import Provenance
from napari_caltomorph.evaluation.truth import ClassesMap
from napari_caltomorph.names import path_of
from napari_caltomorph.progress import OnProgress, Progress, ignore

_LIBRARIES = ("napari-caltomorph", "torch", "numpy", "scipy", "scikit-learn")
# What `Evaluation.patients` says already, or what says nothing of the patient.
_NO_COVARIATES = {
    *("patient_id", "path", "features", "raw_label", "detailed", "coarse", "coarse_set", "hemoglobin_g_dl", "split"),
    *(
        "patient_id_in_table",
        "hemoglobin_g_dl_in_table",
        "fold",
        "fingerprint",
        "label_kind",
        "problem",
        "shared_images",
        "twin",
        "twin_share",
        "n_cells",
    ),
}


def evaluate(
    ensemble: Ensemble,
    cohort: Cohort,
    features: str | Path | None = None,
    options: EvaluateOptions | None = None,
    *,
    progress: OnProgress = ignore,
) -> Evaluation:
    """Judge a model on patients whose diagnosis is known.

    Parameters
    ----------
    ensemble : Ensemble
        A model as `Ensemble.load` gives it: its ``private/`` says whom it was trained on.
    cohort : Cohort
    features : str or Path or None
        Feature folder of `encode_cohort`; None where the cohort itself names feature files.
    options : EvaluateOptions
    progress : callable
        Called with a `Progress` in patients; raising `Cancelled` in it stops cleanly.

    Returns
    -------
    Evaluation

    Raises
    ------
    EvaluationRefused
        Nobody is left to judge, or nobody has numbers for `options.against`; as `FeaturesMissing` features are missing,
        as `TrainingPatientsFound` the model was trained on some of the patients.
    FeaturesRefused
        Features are damaged, or come from another encoder than the model's.
    ModelRefused
        The model's ``private/`` is damaged.
    DeviceMissing
        This machine has no such device.
    """
    options, start = options or EvaluateOptions(), time.monotonic()
    device = find_device(options.device)
    classes_map = ClassesMap.load(
        options.classes_map, cohort.taxonomy, ensemble.description.taxonomy, cohort.table["raw_label"].dropna()
    )
    table = _chosen(cohort, options)
    training = ensemble.training_patients()
    trained_on = TrainedOn(None if training is None else training.table, cohort)
    _refuse_training_patients(table, trained_on, cohort, options)
    places, unjudged = _places(table, feature_files(cohort, features), features, options)
    marks, smears = (dict(zip(table.index, _texts(table[name]), strict=True)) for name in ("fingerprint", "path"))
    judged: list[Judged] = []
    shares: list[dict[str, float]] = []
    has_cell_types = any(name not in table for name in options.against)
    other_cells = 0
    with _on(device, ensemble):
        for number, (row, path) in enumerate(places):
            progress(Progress("Judging", number, len(places), "patients"))
            bag = Features.load(path)
            mine, theirs = marks[row], bag.origin.smear_fingerprint
            other_cells += mine is not None and theirs is not None and mine != theirs
            patient = str(table.at[row, "patient_id"])
            honest = trained_on.judges(patient, theirs or mine)
            if honest.is_known and not options.out_of_fold:
                raise TrainingPatientsFound(_known_sentence(ensemble, [(patient, honest.how)], len(table)))
            if honest.problem:
                unjudged.append((patient, honest.problem))
                continue
            judged.append(judge(ensemble, row, bag, honest))
            shares.append(_cell_shares(smears[row], bag.cells) if has_cell_types else {})
        progress(Progress("Judging", len(places), len(places), "patients"))
    if not judged:
        raise EvaluationRefused(f"{cohort.source}: nobody can be judged ({unjudged[0][0]}: {unjudged[0][1]}).")
    chosen = table.loc[[one.row for one in judged]].reset_index(drop=True)
    patients = patient_rows(ensemble, chosen, judged, classes_map)
    notes = (*_mapped(classes_map, options), *_notes(judged, other_cells))
    return Evaluation(
        patients=patients,
        taxonomy=ensemble.description.taxonomy,
        cohort_taxonomy=cohort.taxonomy,
        provenance=_provenance(ensemble, cohort, patients, options, trained_on, device, time.monotonic() - start),
        options=options,
        embeddings=embeddings_of(judged, training, set(patients["patient_id"])),
        covariates=with_cell_shares(
            chosen[[column for column in chosen.columns if column not in _NO_COVARIATES]],
            shares,
            options.against,
            cohort.source,
        ),
        unjudged=pd.DataFrame(unjudged, columns=list(UNJUDGED_COLUMNS)),
        notes=notes,
    )


def _cell_shares(path: str | None, cells: tuple[str, ...]) -> dict[str, float]:
    """Return the shares of labelled cell types; empty too where the images are no longer at hand."""
    try:
        return {} if path is None else cell_shares(path_of(path), cells)
    except SmearUnreadable:
        return {}


def _texts(column: pd.Series[str]) -> list[str | None]:
    return [None if pd.isna(value) else str(value) for value in column]


def _chosen(cohort: Cohort, options: EvaluateOptions) -> pd.DataFrame:
    if not len(cohort):
        raise EvaluationRefused(f"{cohort.source} has no patients to judge.")
    splits = cohort.table["split"]
    if options.split == "all" or splits.isna().all():
        return cohort.table
    chosen = cohort.table.loc[(splits == options.split).fillna(False)]
    if not len(chosen):
        there = ", ".join(f"{count} {name}" for name, count in splits.value_counts().items())
        raise EvaluationRefused(
            f"{cohort.source} has no patients in its {options.split} split ({there}); choose another --split, or all."
        )
    return chosen.reset_index(drop=True)


def _refuse_training_patients(
    table: pd.DataFrame, trained_on: TrainedOn, cohort: Cohort, options: EvaluateOptions
) -> None:
    """Say before any feature is loaded what ids, fingerprints and shared images of the cohort already tell."""
    found = [
        (str(patient), honest.how)
        for patient, mark in zip(table["patient_id"], _texts(table["fingerprint"]), strict=True)
        if (honest := trained_on.judges(str(patient), mark)).is_known
    ]
    if found and not options.out_of_fold:
        raise TrainingPatientsFound(_known_sentence(None, found, len(table)))
    if options.out_of_fold and trained_on.table is None:
        raise EvaluationRefused(
            "The model does not bring the list of its training patients (private/), so nobody can be judged out of "
            "fold; use the model as it was trained, not an exported copy."
        )
    if options.out_of_fold and not found and not _may_be_found_later(table):
        raise EvaluationRefused(
            f"The model was trained on none of the {len(table)} patients to judge in {cohort.source}; leave out "
            "--out-of-fold, or choose --split train."
        )


def _may_be_found_later(table: pd.DataFrame) -> bool:
    """Whether feature files may name smears that the cohort does not."""
    return bool(table["fingerprint"].isna().any())


def _known_sentence(ensemble: Ensemble | None, found: list[tuple[str, str]], patients: int) -> str:
    first, how = found[0]
    name = "The model" if ensemble is None else ensemble.description.name
    return (
        f"{name} was trained on {len(found)} of the {patients} patients to judge (first: {first}, found {how}); judge "
        "the test split, or use --out-of-fold, which asks for each patient the member that did not learn from them. "
        "Other people under the same ids must be renamed."
    )


def _places(
    table: pd.DataFrame, files: Mapping[str, Path], folder: str | Path | None, options: EvaluateOptions
) -> tuple[list[tuple[int, Path]], list[tuple[str, str]]]:
    """Return the rows with their feature files, and the patients without one."""
    patients = zip(table.index, table["patient_id"], strict=True)
    found = [(row, files[patient]) for row, patient in patients if patient in files]
    missing = [(patient, "no features") for patient in table["patient_id"] if patient not in files]
    if missing and (not found or not options.skip_missing):
        where = f"in {folder}" if folder is not None else "named by the cohort"
        raise FeaturesMissing(
            f"{len(missing)} of {len(table)} patients have no features {where} (first: {missing[0][0]}); run "
            "`caltomorph encode`" + (", or judge the others with --skip-missing." if found else ".")
        )
    return found, missing


def _mapped(classes_map: ClassesMap, options: EvaluateOptions) -> Iterator[str]:
    if classes_map.explicit:
        pairs = ", ".join(f"{slug} = {target}" for slug, target in classes_map.explicit.items())
        yield f"Classes are mapped by {options.classes_map}: {pairs}."


def _notes(judged: list[Judged], other_cells: int) -> tuple[str, ...]:
    notes = []
    aside = sum(one.honest.is_known and one.honest.member is None for one in judged)
    if aside:
        notes.append(
            f"{aside} patients were set aside in training: no member learnt from them, so the whole ensemble judges "
            "them, but its temperature was fitted on them."
        )
    if fresh := sum(not one.honest.is_known for one in judged if any(o.honest.is_known for o in judged)):
        notes.append(f"{fresh} patients are new to the model: the whole ensemble judges them.")
    if other_cells:
        notes.append(f"The features of {other_cells} patients were made of other cells than the cohort has now.")
    if few := sum(bool(one.warnings) for one in judged):
        notes.append(f"{few} predictions bear a warning; see the column warnings of predictions.csv.")
    return tuple(notes)


def _provenance(
    ensemble: Ensemble,
    cohort: Cohort,
    patients: pd.DataFrame,
    options: EvaluateOptions,
    trained_on: TrainedOn,
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
        threshold=threshold,
        encoder=description.encoder.name,
        encoder_weights_sha256=description.encoder.weights_sha256,
        training_cohort=description.training.cohort,
        training_recipe=description.training.recipe,
        training_check=trained_on.check,
        cohort_name=cohort.name,
        cohort_source=str(cohort.source),
        cohort_layout=cohort.layout,
        cohort_fingerprint=hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest(),
        cohort_left_out=cohort.left_out_counts(),
        cohort_notes=cohort.notes,
        device=str(device),
        seconds=round(seconds, 1),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        library_versions={name: version(name) for name in _LIBRARIES},
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
