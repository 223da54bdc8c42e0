"""Predict many patients, one after the other: what *Predict patients* and ``caltomorph predict`` both run.

Each prediction is on disk before the next patient begins. So a run that was stopped resumes where it was, and the
failure of one patient does not affect the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_caltomorph.about import library_version
from napari_caltomorph.cohort import FoundPatient
from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.prediction_files import find_smear, prediction_file, refuse_repeated_ids, save_tables
from napari_caltomorph.differential import Differential, Probe
from napari_caltomorph.encoding import EncodeOptions
from napari_caltomorph.encoding.features import load_bag
from napari_caltomorph.errors import (
    CaltomorphError,
    DiskFull,
    FeaturesRefused,
    OutputRefused,
    PredictionUnreadable,
    SmearUnreadable,
)
from napari_caltomorph.progress import OnProgress, Progress, TimeLeft, format_seconds, ignore
from napari_caltomorph.smear import QUALITY_RULES, smear_fingerprint
from napari_caltomorph.storage import StrPath, only_run, place_of, raise_if_of_all

if TYPE_CHECKING:
    from napari_caltomorph.diagnosis import Policy, Predictor
    from napari_caltomorph.encoding import Features, LoadedEncoder

LOCK = ".caltomorph-predict.lock"


@dataclass(frozen=True)
class PatientResult:
    """The result of one patient."""

    patient_id: str
    path: Path  # Where the cells are
    prediction: Prediction | None = None  # None where the patient failed
    file: Path | None = None  # The prediction.json
    report: Path | None = None  # The HTML report, where one was written
    is_cached: bool = False  # The prediction was on disk already and was not computed again
    problem: str = ""  # Why there is no prediction, or no report; empty where nothing failed
    ran_out_of_memory: bool = False  # The machine was the problem, and not the patient's images


@dataclass(frozen=True)
class PatientProgress(Progress):
    """One report of a run over patients: a step of patient `number`, or, with `result`, the end of that patient."""

    patient_id: str = ""
    number: int = 1
    patients: int = 1
    seconds_left: float | None = None  # For all patients; None while unknown
    result: PatientResult | None = None

    @property
    def in_words(self) -> str:
        """E.g. ``"3 of 12 patients, 4 min left. Encoding: 312/487 cells"``."""
        if self.patients == 1:
            return super().in_words
        left = "" if self.seconds_left is None else f", {format_seconds(self.seconds_left)} left"
        return f"{self.number} of {self.patients} patients{left}. {super().in_words}"

    @property
    def whole(self) -> tuple[int, int] | None:
        """Patients that are done, and all patients."""
        return None if self.patients == 1 else (self.number - (self.result is None), self.patients)


class PatientSteps:
    """Reports the steps of a run over patients, each as a `PatientProgress` with the time left for all of them."""

    def __init__(self, patients: int, progress: OnProgress, stage: str = "Predicting") -> None:
        self._patients, self._progress, self._stage = patients, progress, stage
        self._number, self._patient = 0, ""
        self._time = TimeLeft(patients)

    def begin(self, patient: str) -> OnProgress:
        """Begin the next patient; return the callback of its steps."""
        self._number, self._patient = self._number + 1, patient
        self._time.begin()
        return self._report

    def end(self, *, is_cached: bool = False, result: PatientResult | None = None) -> None:
        """End this patient, and report its result."""
        self._time.end(counts=not is_cached)
        self._report(Progress(self._stage, self._number, self._patients, "patients"), result)

    def _report(self, step: Progress, result: PatientResult | None = None) -> None:
        about = self._patient, self._number, self._patients, self._time.seconds, result
        self._progress(PatientProgress(step.stage, step.done, step.total, step.unit, *about))


def predict_patients(
    patients: Mapping[str, FoundPatient],
    out: StrPath,
    predictor: Predictor,
    *,
    report: bool = False,
    probe: Probe | None = None,
    progress: OnProgress = ignore,
) -> list[PatientResult]:
    """Predict patients, and write each prediction and the tables of all.

    Parameters
    ----------
    patients : mapping of str to FoundPatient
        By patient id.
    out : str or Path
        Made if needed: ``prediction.json`` of each patient (see `prediction_file`), ``predictions.csv`` and
        ``cells.csv``. A prediction in it is kept, if the same model made it of the same images with this version; so
        is the choice of cells that a person made for it. Device and precision are not compared.
    predictor : Predictor
    report : bool
        Whether to write ``report.html`` next to each ``prediction.json``.
    probe : Probe, optional
        Counts the cells by type for the report.
    progress : callable
        See `OnProgress`; gets a `PatientProgress` often, and one with the `PatientResult` of each patient.

    Returns
    -------
    list of PatientResult
        In the order of `patients`, with those that failed and why. Where the run ends early, by any exception, the
        tables contain the patients up to there.

    Raises
    ------
    OutputRefused
        Two patients would share a folder, another run writes to `out`, or nothing can be written there; `DiskFull` also
        where the disk fills up meanwhile.
    CaltomorphError
        What concerns all patients, such as missing weights.
    """
    out = Path(out)
    refuse_repeated_ids(patients)
    files = {patient: prediction_file(out, patient, patients=len(patients)) for patient in patients}
    predictor.prevalence, predictor.averaged_views  # noqa: B018 (refused before the first patient)
    policy = predictor.policy  # one for all, also where its file changes meanwhile
    results: list[PatientResult] = []
    counting = None if probe is None else Counting(probe, predictor)
    with only_run(out, LOCK, "another folder for the predictions", inside=[file.parent for file in files.values()]):
        try:
            steps = PatientSteps(len(patients), progress)
            for patient, found in patients.items():
                step = steps.begin(patient)
                result = predict_one(patient, found, files[patient], out, predictor, policy, step)
                results.append(result)  # before the report: it is in the tables also where the report is interrupted
                if report and result.prediction is not None:
                    results[-1] = with_report(result, found, predictor, counting, step)
                steps.end(is_cached=result.is_cached and not report, result=results[-1])
        finally:
            results = [_if_still_there(result) for result in results]
            if predictions := [one.prediction for one in results if one.prediction is not None]:
                save_tables(predictions, out)
    return results


def predict_one(
    patient: str,
    found: FoundPatient,
    file: Path,
    out: Path,
    predictor: Predictor,
    policy: Policy | None,
    progress: OnProgress,
    before_saving: Callable[[Prediction], None] | None = None,
) -> PatientResult:
    """Predict one patient, and write the prediction, unless the same one is there.

    `before_saving` gets a new prediction before it replaces what is in its file, and keeps that; without it, a file
    with a person's choice of cells is not replaced.
    """
    from napari_caltomorph.encoding.device import is_out_of_memory

    path = found.path
    progress(Progress("Reading", 0, 1, "smears"))
    try:
        opened = (_bag if found.features else _smear)(patient, found, predictor, progress)
        cached = _cached(file, patient, opened, predictor, keeps_choice=before_saving is None)
        prediction = cached or opened.predict()
        # The cells may be elsewhere by now, and another prevalence or policy may be stated.
        prediction = prediction.model_copy(update={"smear_path": opened.place})
        prediction = prediction.at_prevalence(predictor.options.prevalence).under(policy)
        if prediction != cached:
            if before_saving is not None:
                before_saving(prediction)
            prediction.save(file)
    except (SmearUnreadable, FeaturesRefused, OutputRefused) as error:
        if isinstance(error, OutputRefused):
            raise_if_of_all(error, out)
        return PatientResult(patient, path, problem=str(error))
    except OSError as error:
        why = SmearUnreadable(f"{path} cannot be read ({error.strerror or error}); check its drive.")
        return PatientResult(patient, path, problem=str(why))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        fix = "close other programs, or choose the device cpu or a smaller batch size"
        return PatientResult(patient, path, problem=f"{patient}: memory ran out; {fix}.", ran_out_of_memory=True)
    return PatientResult(patient, path, prediction, file, is_cached=cached is not None)


@dataclass(frozen=True)
class _Opened:
    """The cells of a patient, as images or encoded before."""

    place: str | None
    quality_rules: str | None
    weights_sha256: str | None  # Of the encoder
    fingerprint: Callable[[], str]
    predict: Callable[[], Prediction]


def _smear(patient: str, found: FoundPatient, predictor: Predictor, progress: OnProgress) -> _Opened:
    smear = replace(found.read(), patient_id=patient)
    fingerprint = partial(smear_fingerprint, smear, progress=progress)
    weights = predictor.description.encoder.weights_sha256
    predict = partial(predictor.predict, smear, progress=progress)
    return _Opened(smear.place, QUALITY_RULES, weights, fingerprint, lambda: predict()[1])


def _bag(patient: str, found: FoundPatient, predictor: Predictor, progress: OnProgress) -> _Opened:
    waiting = partial(progress, Progress("Reading", 0, 1, "feature files"))
    averages = predictor.options.average_views
    bag = replace(load_bag(found.features, views=averages, waiting=waiting), patient_id=patient)
    if averages:
        bag.require_views()
    place = place_of(path.absolute() for path in found.features)
    predict = partial(predictor.predict_bag, bag, place, progress=progress)
    return _Opened(place, bag.origin.quality_rules, bag.origin.weights_sha256, lambda: bag.fingerprint, predict)


def _if_still_there(result: PatientResult) -> PatientResult:
    """Return the result of a patient, or a failure where its files were deleted during the run."""
    if missing := [file for file in (result.file, result.report) if file is not None and not file.is_file()]:
        problem = f"{result.patient_id}: {missing[0]} was deleted during the run; run it again."
        return PatientResult(result.patient_id, result.path, problem=problem)
    return result


def _cached(
    file: Path, patient: str, opened: _Opened, predictor: Predictor, *, keeps_choice: bool
) -> Prediction | None:
    """Return the prediction in a file, if predicting again would give the same.

    Raises `OutputRefused` where it would not, cells of the patient were left out by hand, and that choice is kept.
    """
    model = predictor.description
    if not file.is_file() or model.encoder.weights_sha256 is None:  # else any weights of that encoder would do
        return None
    try:
        found = Prediction.load(file)
    except PredictionUnreadable:
        return None
    holds_at = found.at_prevalence(None).prevalence
    cells = found.quality_rules, found.encoder_weights_sha256, found.averaged_views
    was = found.model_fingerprint, found.threshold, holds_at, found.library_version, *cells
    cells = opened.quality_rules, opened.weights_sha256, predictor.averaged_views
    now = model.fingerprint, model.threshold, model.prevalence, library_version(), *cells
    if was == now and found.patient_id == patient and found.smear_fingerprint == opened.fingerprint():
        return found
    if keeps_choice and any(one.by == "user" for one in found.left_out):
        raise OutputRefused(
            f"{file} has cells that were left out by hand, and another model, version or smear than now; choose "
            "another folder for the predictions, or move that file away."
        )
    return None


@dataclass(frozen=True)
class Counting:
    """Counts the cells of predictions with a probe, whose encoder may be another than the model's."""

    probe: Probe
    predictor: Predictor

    def of(self, prediction: Prediction) -> Differential:
        pairs = zip(prediction.cells, prediction.labels, strict=True)
        by_hand = {cell: label for cell, label in pairs if label is not None}
        return self.probe.differential(self._features(prediction), by_hand)

    def _features(self, prediction: Prediction) -> Features:
        if self.probe.description.encoder in (None, prediction.encoder):
            return self.predictor.features_of(prediction)
        from napari_caltomorph.differential.run import encode_cells

        smear = replace(find_smear(prediction), patient_id=prediction.patient_id)
        return encode_cells(smear, prediction.cells, self._encoder, self._compute)

    @property
    def _compute(self) -> EncodeOptions:
        chosen = self.predictor.options.model_dump(include={"field_of_view", "device", "precision", "batch_size"})
        return EncodeOptions(**chosen)

    @cached_property
    def _encoder(self) -> LoadedEncoder:
        from napari_caltomorph.differential.run import probe_encoder

        return probe_encoder(self.probe, self._compute)


def with_report(
    result: PatientResult, patient: FoundPatient, predictor: Predictor, counting: Counting | None, progress: OnProgress
) -> PatientResult:
    """Write the report of one patient; why there is none is that patient's problem, and not the run's."""
    from napari_caltomorph.explanation.trust import available_trust
    from napari_caltomorph.report.html import REPORT_NAME, save_page
    from napari_caltomorph.report.patient_report import patient_report

    prediction = result.prediction
    assert prediction is not None
    assert result.file is not None
    try:
        counts = None if counting is None else counting.of(prediction)
        trust = available_trust(prediction, lambda: predictor.ensemble, lambda: predictor.features_of(prediction))
        page = patient_report(prediction, trust=trust, differential=counts, metadata=patient.facts, progress=progress)
        path = save_page(page, result.file.with_name(REPORT_NAME))
    except DiskFull:
        raise
    except CaltomorphError as error:
        return replace(result, problem=f"{result.patient_id}: no report ({str(error).rstrip('.')}).")
    return replace(result, report=path)
