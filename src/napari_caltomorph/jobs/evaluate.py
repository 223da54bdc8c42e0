"""Evaluate a model on a labelled cohort: what *Evaluate ensemble* and ``caltomorph evaluate`` both run.

`evaluate_model` gives the numbers, `examine` adds what takes longer (shortcut audit, faithfulness), and
`save_evaluation` writes everything into one folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, model_validator
from pydantic_core import PydanticCustomError

from napari_caltomorph.cohort import Cohort, CohortOptions, EncodeCohortOptions, feature_files
from napari_caltomorph.diagnosis import find_model, read_description
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.encoding.options import Precision, Preparation
from napari_caltomorph.errors import EvaluationRefused, FeaturesMissing
from napari_caltomorph.evaluation import EvaluateOptions, Evaluation
from napari_caltomorph.jobs.encode import encode_missing, read_patients
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.storage import StrPath, only_run, refuse_missing, replacing

if TYPE_CHECKING:
    from napari_caltomorph.audit import Audit
    from napari_caltomorph.diagnosis import Ensemble, Policy
    from napari_caltomorph.evaluation.decisions import AppliedDecision, Decision, Rule
    from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness

AUDIT_NAME = "audit.json"
FIGURES = "figures"
LOCK = ".caltomorph-evaluate.lock"


class EvaluateModelOptions(EvaluateOptions):
    """Which patients a model is evaluated on, how, and what is computed next to the numbers."""

    audit: bool = Field(
        False, description="Compute as well how much stain, image size and routine data alone tell; reads all images."
    )
    faithfulness: bool = Field(
        False, description="Compute as well whether attention and contributions show which cells the model uses."
    )
    choose_by: str | None = Field(
        None, description="Rule that chooses the malignancy threshold, e.g. none-missed=acute_leukemia or fdr=0.1."
    )
    chosen_on: Path | None = Field(
        None, description="Saved evaluation whose patients choose it; otherwise those evaluated here."
    )
    store_threshold: bool = Field(False, description="Write the chosen threshold into the model.")
    encode_missing: bool = Field(False, description="First encode the patients whose features are missing.")
    weights: Path | None = Field(None, description="Encoder weights file for that; otherwise the one on this machine.")
    field_of_view: PositiveFloat | None = Field(
        None, description="Of that encoding: width of a cell's image in micrometres; otherwise what its files say."
    )
    precision: Precision = Field("auto", description="Of that encoding: bf16 where the hardware has it, else float32.")

    @model_validator(mode="after")
    def _weights_are_for_encoding(self) -> EvaluateModelOptions:
        if self.weights is not None and not self.encode_missing:
            raise PydanticCustomError(
                "weights", "--weights is for patients without features: add --encode-missing, or leave it out"
            )
        return self

    def rule(self) -> Rule | None:
        """Return the rule that chooses the threshold; `EvaluationRefused` where the options do not fit together."""
        if self.choose_by is None:
            if self.chosen_on is not None or self.store_threshold:
                raise EvaluationRefused("--chosen-on and --store-threshold need a rule to choose by; add --choose-by.")
            return None
        from napari_caltomorph.evaluation.decisions import rule_from

        return rule_from(self.choose_by)

    def of_evaluation(self) -> EvaluateOptions:
        """Return the part that an `Evaluation` depends on and keeps."""
        return EvaluateOptions(**self.model_dump(include=set(EvaluateOptions.model_fields)))


@dataclass(frozen=True)
class EvaluateRequest:
    """What an evaluation starts with."""

    model: str  # Name of an installed model, or a model folder
    cohort: Path  # Directory, table or cohort.json
    patients: CohortOptions
    features: Path | None  # Feature folder; None where the cohort names its feature files
    options: EvaluateModelOptions


@dataclass(frozen=True)
class ModelEvaluation:
    """The result of a request."""

    request: EvaluateRequest
    evaluation: Evaluation  # At the threshold that was chosen, where a rule chose one
    cohort: Cohort = field(repr=False)
    ensemble: Ensemble = field(repr=False)  # The evaluated model
    decision: Decision | None = None  # How the threshold was chosen
    applied: AppliedDecision | None = None  # What it does on these patients, where others chose it
    audit: Audit | None = None  # Added by `examine`
    faithfulness: CohortFaithfulness | None = None  # Added by `examine`

    def at(self, threshold: float | None) -> ModelEvaluation:
        """Return the result at a malignancy threshold that was set by hand; itself for None."""
        if threshold is None:
            return self
        by_hand = Threshold(value=threshold, rule="set by hand, on the patients evaluated here")
        options = self.request.options.model_copy(update={"threshold": threshold})
        return replace(
            self, request=replace(self.request, options=options), evaluation=self.evaluation.with_threshold(by_hand)
        )

    def under(self, policy: Policy | None) -> ModelEvaluation:
        """Return the result with what a policy withholds; itself for None."""
        return self if policy is None else replace(self, evaluation=self.evaluation.under(policy))


def evaluate_model(request: EvaluateRequest, *, progress: OnProgress = ignore) -> ModelEvaluation:
    """Evaluate a model on a cohort, and choose its threshold where a rule is given.

    Parameters
    ----------
    request : EvaluateRequest
    progress : callable
        See `OnProgress`.

    Returns
    -------
    ModelEvaluation

    Raises
    ------
    TrainingPatientsFound
        The model was trained on some of the patients, which can be evaluated out of fold.
    CaltomorphError
        Any other obstacle; the message names the fix.
    """
    options, rule = request.options, request.options.rule()
    folder = find_model(request.model)
    read_description(folder)  # refused before the cohort is read
    cohort = read_patients(request.cohort, request.patients, progress=progress)
    from napari_caltomorph.diagnosis import Ensemble
    from napari_caltomorph.encoding.device import find_device
    from napari_caltomorph.evaluation import chosen_patients, evaluate

    progress(Progress("Loading the model", 0, 1, "models"))
    ensemble = Ensemble.load(folder, find_device(options.device))
    numbers = options.of_evaluation()
    try:
        evaluation = evaluate(ensemble, cohort, request.features, numbers, progress=progress)
    except FeaturesMissing:
        to_evaluate = chosen_patients(cohort, numbers)
        if not options.encode_missing or to_evaluate.table["path"].isna().all():
            raise
        shared = options.model_dump(include={"device", "weights", "field_of_view", "precision"})
        need = ensemble.description.encoder
        prepared = Preparation.recorded(need.preprocessing, need.views).model_dump()
        encoding = EncodeCohortOptions(encoder=ensemble.description.encoder_name, **shared, **prepared)
        encode_missing(
            to_evaluate,
            request.features,
            encoding,
            can_continue=lambda: options.skip_missing,
            refused=EvaluationRefused,
            progress=progress,
        )
        evaluation = evaluate(ensemble, cohort, request.features, numbers, progress=progress)
    result = ModelEvaluation(request, evaluation, cohort, ensemble)
    return result if rule is None else _decided(result, rule, folder)


def examine(result: ModelEvaluation, *, progress: OnProgress = ignore) -> ModelEvaluation:
    """Add the shortcut audit and the faithfulness of explanations, where the request asks for them."""
    audit, faithfulness, options = result.audit, result.faithfulness, result.request.options
    if options.audit:
        from napari_caltomorph.audit import audit as audit_cohort

        # Patients of the extended test set are not among those audited.
        predictions = None if options.split == "extended" else result.evaluation.patients
        audit = audit_cohort(result.cohort, predictions=predictions, progress=progress)
    if options.faithfulness:
        from napari_caltomorph.evaluation.faithfulness import cohort_faithfulness

        files = _files(result)
        faithfulness = cohort_faithfulness(result.ensemble, result.evaluation, files, progress=progress)
    return replace(result, audit=audit, faithfulness=faithfulness)


def compute_for_display(evaluation: Evaluation, *, progress: OnProgress = ignore) -> None:
    """Compute intervals and map now, which the evaluation keeps, so that a window need not wait for them."""
    from napari_caltomorph.report.patient_map import patient_map

    steps: list[tuple[str, Callable[[], object]]] = [
        ("Computing intervals", lambda: evaluation.headline),
        ("Computing intervals by class", lambda: (evaluation.by_class, evaluation.hemoglobin)),
        ("Computing calibration", lambda: (evaluation.reliability, evaluation.malignancy_reliability)),
        ("Counting", lambda: (evaluation.confusion, evaluation.detailed_confusion)),
        ("Computing the map of patients", lambda: patient_map(evaluation)),
    ]
    for number, (stage, compute) in enumerate(steps):
        progress(Progress(stage, number, len(steps), "steps"))
        compute()


def evaluation_folder(folder: StrPath) -> AbstractContextManager[bool]:
    """Make the folder of an evaluation, and keep other runs out of it while the block runs; see `storage.only_run`."""
    folder = Path(folder)
    return only_run(folder, LOCK, "another folder for the evaluation", inside=[folder / FIGURES])


def save_evaluation(
    result: ModelEvaluation,
    folder: StrPath,
    *,
    command: str = "",
    numbers_only: bool = False,
    progress: OnProgress = ignore,
) -> list[Path]:
    """Write all that is known of an evaluation into a folder.

    Parameters
    ----------
    result : ModelEvaluation
    folder : str or Path
        It gets ``evaluation.json``, ``predictions.csv``, ``embeddings.safetensors``, ``audit.json`` and
        ``faithfulness.json`` where these were computed, ``figures`` and ``report.html``.
    command : str
        The command line that made the evaluation, for the report.
    numbers_only : bool
        No figure and no report is made.
    progress : callable
        See `OnProgress`; files that are complete when it is cancelled stay.

    Returns
    -------
    list of Path
        The files that a person opens first; the report comes last.

    Raises
    ------
    OutputRefused
        The folder cannot be written.
    """
    from napari_caltomorph.report.evaluation_figures import save_figures

    folder, evaluation = Path(folder), result.evaluation
    written = evaluation.save(folder)
    if result.audit is not None:
        with replacing(folder / AUDIT_NAME) as part:
            part.write_text(json.dumps(result.audit.to_json(), indent=1), "utf-8")
        written.append(folder / AUDIT_NAME)
    if result.faithfulness is not None:
        written += result.faithfulness.save(folder)
    figures: list[Path] = []
    if not numbers_only:
        figures = save_figures(evaluation, folder / FIGURES, progress=progress)
        written += [path for path in figures if path.suffix == ".png"]
        written.append(_save_report(result, folder, command, progress))
    refuse_missing([*written, *figures])
    return written


def _save_report(result: ModelEvaluation, folder: Path, command: str, progress: OnProgress) -> Path:
    from napari_caltomorph.report.evaluation_report import evaluation_report, top_cells
    from napari_caltomorph.report.html import REPORT_NAME, save_page

    files = _files(result)
    cells = top_cells(result.ensemble, result.evaluation, files, progress=progress)
    page = evaluation_report(
        result.evaluation,
        audit=result.audit,
        model=result.ensemble.description,
        cells=cells,
        faithfulness=result.faithfulness,
        command=command,
        progress=progress,
    )
    return save_page(page, folder / REPORT_NAME)


def cells_by_attention(result: ModelEvaluation, patient: str, cells: int) -> list[NDArray[np.uint8]]:
    """Return images, (H, W, 3) uint8, of so many cells of a patient, those with the highest attention.

    There are none without images, features, or attention.
    """
    from napari_caltomorph.report.evaluation_report import top_cells

    images = top_cells(result.ensemble, result.evaluation, _files(result), among=[patient], cells=cells)
    return images.get(patient, [])


def _decided(result: ModelEvaluation, rule: Rule, model: Path) -> ModelEvaluation:
    """Choose a threshold, apply it, and store it in the model where that is wanted."""
    from napari_caltomorph.evaluation.decisions import choose_threshold, store_threshold

    options, evaluation = result.request.options, result.evaluation
    chosen_on = None if options.chosen_on is None else Evaluation.load(options.chosen_on)
    decision = choose_threshold(evaluation if chosen_on is None else chosen_on, rule)
    applied = None if chosen_on is None else decision.apply(evaluation)
    if options.store_threshold:
        store_threshold(model, decision, applied)
    at_threshold = evaluation.with_threshold(decision.as_threshold(applied))
    return replace(result, evaluation=at_threshold, decision=decision, applied=applied)


def _files(result: ModelEvaluation) -> dict[str, tuple[Path, ...]]:
    from napari_caltomorph.evaluation import chosen_patients

    return feature_files(chosen_patients(result.cohort, result.evaluation.options), result.request.features)
