"""Validate a model on a laboratory's own patients: what ``caltomorph validate`` runs.

`validate_model` evaluates, audits and decides; `save_validation` writes the record and what it rests on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.diagnosis import read_policy
from napari_caltomorph.encoding.options import Device
from napari_caltomorph.errors import EvaluationRefused, EvaluationUnreadable, counted
from napari_caltomorph.evaluation.options import Lab, Overlap
from napari_caltomorph.jobs.evaluate import (
    EvaluateModelOptions,
    EvaluateRequest,
    ModelEvaluation,
    evaluate_model,
    save_evaluation,
)
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.storage import StrPath

if TYPE_CHECKING:
    from napari_caltomorph.diagnosis import Policy
    from napari_caltomorph.evaluation import Evaluation
    from napari_caltomorph.laboratory import Validation
    from napari_caltomorph.statistics.metric import Metric

RECORD_NAME = "validation.html"


def _described(name: str) -> str:
    return str(EvaluateModelOptions.model_fields[name].description)


class ValidateOptions(BaseModel, frozen=True, extra="forbid"):
    """What a model must show on a laboratory's own patients, and how it is tested."""

    criteria: Path | None = Field(
        None, description="TOML file of acceptance criteria, written beforehand; otherwise our defaults."
    )
    policy: Path | None = Field(
        None, description="TOML or JSON file: only patients whose prediction it does not withhold are judged."
    )
    skip_audit: bool = Field(False, description="Do not read the images: no shortcut audit, no comparison of stain.")
    lab: Lab = Field("other", description=_described("lab"))
    encoder_overlap: Overlap = Field("unknown", description=_described("encoder_overlap"))
    classes_map: Path | None = Field(None, description=_described("classes_map"))
    skip_missing: bool = Field(False, description=_described("skip_missing"))
    encode_missing: bool = Field(False, description=_described("encode_missing"))
    device: Device = Field("auto", description=_described("device"))


@dataclass(frozen=True)
class ValidateRequest:
    """What a validation starts with."""

    model: str  # Name of an installed model, or a model folder
    cohort: Path
    patients: CohortOptions
    features: Path | None
    options: ValidateOptions


@dataclass(frozen=True)
class ModelValidation:
    """The result of a request, and the evaluation that it rests on."""

    validation: Validation
    evaluated: ModelEvaluation
    judged: Evaluation  # Of the patients that the policy does not withhold


def validate_model(request: ValidateRequest, *, progress: OnProgress = ignore) -> ModelValidation:
    """Evaluate all patients of a cohort, none of which the model was trained on, and check the criteria.

    Parameters
    ----------
    request : ValidateRequest
    progress : callable
        See `OnProgress`.

    Raises
    ------
    TrainingPatientsFound
        The model was trained on some of the patients.
    CaltomorphError
        Any other obstacle; the message names the fix.
    """
    from napari_caltomorph.laboratory import StatedCriteria, validate

    stated = StatedCriteria.read(request.options.criteria)  # refused before anything is read
    policy = None if request.options.policy is None else read_policy(request.options.policy)
    shared = request.options.model_dump(exclude={"criteria", "policy", "skip_audit"})
    options = EvaluateModelOptions(split="all", **shared)
    asked = EvaluateRequest(request.model, request.cohort, request.patients, request.features, options)
    evaluated = evaluate_model(asked, progress=progress)
    evaluation, table, coverage = evaluated.evaluation, evaluated.cohort.table, None
    notes: list[str] = []
    if policy is not None:
        evaluation, coverage, notes = _predicted(evaluation, policy)
    persons = table.reindex(columns=["group", "slide_of", "patient_id"]).bfill(axis=1).iloc[:, 0]
    person_of = dict(zip(table["patient_id"].astype(str), persons.astype(str), strict=True))
    groups = np.array([person_of[one] for one in evaluation.patients["patient_id"].astype(str)])
    training = evaluated.ensemble.description.training
    validation = validate(evaluation, stated, training, groups=groups, coverage=coverage)
    validation = replace(validation, notes=(*notes, *validation.notes))
    if request.options.skip_audit:
        note = "The images were not read: no shortcut audit, and no comparison of stain, background and size."
        return ModelValidation(replace(validation, notes=(*validation.notes, note)), evaluated, evaluation)
    return ModelValidation(_with_images(validation, evaluated, progress), evaluated, evaluation)


def _predicted(evaluation: Evaluation, policy: Policy) -> tuple[Evaluation, Metric, list[str]]:
    """Return the evaluation of the patients whose prediction a policy does not withhold, their share, and sentences."""
    from napari_caltomorph.evaluation.coverage import withholding
    from napari_caltomorph.statistics.metric import Metric

    found = withholding(evaluation, policy)
    is_kept = np.array([not why for why in found.reasons])
    kept, count = int(is_kept.sum()), len(evaluation)
    if not kept:
        raise EvaluationRefused(f"The policy {policy} withholds all {counted(count, 'patient')}; validate without it.")
    coverage = Metric.of_counts(kept, count, "no patient")
    wrong = f"; wrong class: {found.error['withheld'].shown(2)}" if found.error["withheld"].is_defined else ""
    withheld = f"{counted(count - kept, 'patient')} withheld{wrong}"
    notes = [f"Policy {policy}: {withheld}. All numbers are of the other {kept}: coverage {coverage.shown(2)}."]
    if found.not_checked:
        notes.append(f"Not checked, so that more may be withheld in use: {', '.join(found.not_checked)}.")
    return evaluation.among(is_kept), coverage, notes


def _with_images(validation: Validation, evaluated: ModelEvaluation, progress: OnProgress) -> Validation:
    """Add what the images show: shortcuts in this cohort, and how it differs from the training away from the cells."""
    from napari_caltomorph.audit.image_traits import image_traits
    from napari_caltomorph.audit.run import audit_of_traits
    from napari_caltomorph.laboratory.image_comparison import compare_images

    traits = image_traits(evaluated.cohort.table, progress=progress)
    audit = audit_of_traits(evaluated.cohort, traits, predictions=evaluated.evaluation.patients, progress=progress)
    domain = evaluated.ensemble.domain
    sentences = compare_images(None if domain is None else domain.images, traits.appearance)
    return replace(validation, audit=audit, domain=replace(validation.domain, images=sentences))


def save_validation(
    result: ModelValidation, folder: StrPath, *, command: str = "", progress: OnProgress = ignore
) -> list[Path]:
    """Write ``validation.html``, ``validation.json``, and the files of the evaluation, into a folder.

    Where the folder has a validation of the same model and patients by other criteria, the record states so.
    """
    from napari_caltomorph.report.html import save_page
    from napari_caltomorph.report.validation_record import validation_record

    folder = Path(folder)
    validation = replace(result.validation, notes=(*_earlier(result.validation, folder), *result.validation.notes))
    page = validation_record(validation, result.judged, command=command)
    others = save_evaluation(result.evaluated, folder, numbers_only=True, progress=progress)
    written = [save_page(page, folder / RECORD_NAME), validation.save(folder)]
    return [*written, *others]


def _earlier(validation: Validation, folder: Path) -> list[str]:
    from napari_caltomorph.laboratory import Validation
    from napari_caltomorph.laboratory.validation import FILE_NAME

    if not (folder / FILE_NAME).is_file():
        return []
    try:
        earlier = Validation.load(folder)
    except EvaluationUnreadable:
        return ["An earlier validation in this folder could not be read."]
    mine, theirs = validation.provenance, earlier.provenance
    is_same = (mine.model_fingerprint, mine.cohort_fingerprint) == (theirs.model_fingerprint, theirs.cohort_fingerprint)
    kept = [note for note in earlier.notes if is_same and note.startswith(_CHANGED)]
    if is_same and earlier.stated.sha256 != validation.stated.sha256:
        kept.append(
            f"{_CHANGED}: on {theirs.created[:10]} the verdict on the same patients was “{earlier.verdict.kind}”, by "
            f"criteria {earlier.stated.sha256[:12]}."
        )
    return kept


_CHANGED = "The criteria were changed after results were known"
