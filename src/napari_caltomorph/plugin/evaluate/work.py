"""What the worker of *Evaluate ensemble* does: read the cohort, encode who is missing, judge, audit. No Qt here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_caltomorph.cohort import Cohort, CohortOptions, EncodeCohortOptions, read_cohort
from napari_caltomorph.diagnosis import find_model
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.errors import EvaluationRefused, FeaturesMissing, TrainingPatientsFound, WeightsMissing
from napari_caltomorph.evaluation import EvaluateOptions, Evaluation
from napari_caltomorph.plugin.evaluate.command import evaluate_command
from napari_caltomorph.plugin.torch_loading import prepare_torch_import
from napari_caltomorph.progress import OnProgress, Progress

if TYPE_CHECKING:
    from napari_caltomorph.audit.result import Audit
    from napari_caltomorph.diagnosis import Ensemble


@dataclass(frozen=True)
class EvaluateOrder:
    """All that an evaluation is started with.

    Attributes
    ----------
    model : str
        Name of an installed model, or a model folder.
    place : Path
        Of the cohort.
    patients : CohortOptions
    features : Path or None
        None where the cohort names its feature files.
    options : EvaluateOptions
    audit : bool
    encoding : EncodeCohortOptions
        How patients without features are encoded.
    no_weights : str
        Why they cannot be; empty where they can.
    """

    model: str
    place: Path
    patients: CohortOptions
    features: Path | None
    options: EvaluateOptions
    audit: bool
    encoding: EncodeCohortOptions
    no_weights: str = ""

    def command(self, out: Path, threshold: float | None = None) -> str:
        """Return the line for a terminal that does the same, perhaps at another malignancy threshold."""
        options = self.options if threshold is None else self.options.model_copy(update={"threshold": threshold})
        return evaluate_command(self.place, self.patients, self.model, self.features, out, options, audit=self.audit)


@dataclass(frozen=True)
class Judged:
    """What an order came to; `folder` is the model's."""

    order: EvaluateOrder
    evaluation: Evaluation
    folder: Path
    audit: Audit | None


@dataclass(frozen=True)
class LearntFrom:
    """The model has learnt from some of the patients, so that nobody was judged; `sentence` says who."""

    order: EvaluateOrder
    sentence: str


def evaluate_as_ordered(order: EvaluateOrder, progress: OnProgress) -> Judged | LearntFrom:
    """Judge the model, and compute what is slow, so that the window need not.

    Raises
    ------
    CaltomorphError
        What a person can mend; the message says how.
    """
    prepare_torch_import()
    from napari_caltomorph.diagnosis import Ensemble

    folder = find_model(order.model)
    # As training reads it: so the splits are the same.
    cohort = read_cohort(order.place, order.patients.model_copy(update={"names_only": True}), progress=progress)
    progress(Progress("Loading the model", 0, 1, "models"))
    ensemble = Ensemble.load(folder)
    try:
        evaluation = _evaluate(order, ensemble, cohort, progress)
    except TrainingPatientsFound as found:
        return LearntFrom(order, str(found))
    audit = _audit(cohort, evaluation, progress) if order.audit else None
    _compute(evaluation, progress)
    return Judged(order, evaluation, folder, audit)


def save_judged(judged: Judged, folder: Path, threshold: float | None, progress: OnProgress) -> list[Path]:
    """Write everything into a folder, as the terminal does; the last path is the report's.

    Parameters
    ----------
    judged : Judged
    folder : Path
    threshold : float or None
        The malignancy threshold, where it was moved by hand.
    progress : callable

    Raises
    ------
    CaltomorphError
        The folder cannot be written, or the model is no longer the one that was judged.
    """
    from napari_caltomorph.diagnosis import Ensemble
    from napari_caltomorph.report.evaluation_folder import save_evaluation_folder

    ensemble = Ensemble.load(judged.folder)
    if ensemble.description.fingerprint != judged.evaluation.provenance.model_fingerprint:
        raise EvaluationRefused(f"{judged.folder} is no longer the model that was judged; evaluate again.")
    return save_evaluation_folder(
        at_threshold(judged.evaluation, threshold),
        folder,
        ensemble,
        features=judged.order.features,
        audit=judged.audit,
        command=judged.order.command(folder, threshold),
        progress=progress,
    )


def at_threshold(evaluation: Evaluation, threshold: float | None) -> Evaluation:
    """Return an evaluation at a threshold that was moved by hand; itself where it was not."""
    if threshold is None:
        return evaluation
    return evaluation.with_threshold(Threshold(value=threshold, rule="set by hand, on the patients judged here"))


def _evaluate(order: EvaluateOrder, ensemble: Ensemble, cohort: Cohort, progress: OnProgress) -> Evaluation:
    from napari_caltomorph.evaluation import evaluate

    try:
        return evaluate(ensemble, cohort, order.features, order.options, progress=progress)
    except FeaturesMissing:
        to_judge = _to_judge(cohort, order.options)
        if to_judge.table["path"].isna().all():
            raise
        _encode(order, to_judge, progress)
    return evaluate(ensemble, cohort, order.features, order.options, progress=progress)


def _encode(order: EvaluateOrder, cohort: Cohort, progress: OnProgress) -> None:
    from napari_caltomorph.cohort import encode_cohort

    if order.features is None:
        raise EvaluationRefused("The patients have no features yet: choose a folder for them, and they are made first.")
    if order.no_weights:
        raise WeightsMissing(f"The patients have no features yet. {order.no_weights}")
    failed = encode_cohort(cohort, order.features, order.encoding, progress=progress).failed
    if failed and not order.options.skip_missing:
        first = f"{failed[0].patient_id}: {failed[0].reason}".rstrip(".")
        raise EvaluationRefused(
            f"{len(failed)} patients could not be encoded (first: {first}). Mend them, or choose --skip-missing."
        )


def _to_judge(cohort: Cohort, options: EvaluateOptions) -> Cohort:
    """The patients of the chosen split: nobody else need be encoded."""
    splits = cohort.table["split"]
    if options.split == "all" or splits.isna().all():
        return cohort
    return replace(cohort, table=cohort.table.loc[(splits == options.split).fillna(False)].reset_index(drop=True))


def _audit(cohort: Cohort, evaluation: Evaluation, progress: OnProgress) -> Audit:
    from napari_caltomorph.audit.run import audit

    return audit(cohort, predictions=evaluation.patients, progress=progress)


def _compute(evaluation: Evaluation, progress: OnProgress) -> None:
    """Compute intervals and map, which the evaluation keeps."""
    from napari_caltomorph.report.patient_map import patient_map

    steps: list[tuple[str, Callable[[], object]]] = [
        ("Computing intervals", lambda: evaluation.headline),
        ("Computing intervals by class", lambda: (evaluation.by_class, evaluation.hemoglobin)),
        ("Computing calibration", lambda: (evaluation.reliability, evaluation.malignancy_reliability)),
        ("Counting", lambda: (evaluation.confusion, evaluation.detailed_confusion)),
        ("Making the map of patients", lambda: patient_map(evaluation)),
    ]
    for number, (stage, compute) in enumerate(steps):
        progress(Progress(stage, number, len(steps), "steps"))
        compute()
