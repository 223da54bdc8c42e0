"""Many patients, one after the other: what the panel *Predict patients* and ``caltomorph predict`` both do.

Each prediction stands on disk before the next patient is begun. So a run that was stopped goes on where it was, and
what became of one patient never costs the others theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from napari_caltomorph.diagnosis.model_file import ModelDescription
from napari_caltomorph.diagnosis.patient_result import PatientProgress, PatientResult
from napari_caltomorph.diagnosis.predict import Predictor
from napari_caltomorph.diagnosis.prediction import Prediction
from napari_caltomorph.diagnosis.tables import prediction_file, refuse_repeated_ids, save_tables
from napari_caltomorph.encoding.device import is_out_of_memory
from napari_caltomorph.encoding.features import library_version
from napari_caltomorph.errors import FeaturesRefused, PredictionUnreadable, SmearUnreadable
from napari_caltomorph.names import printable
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import Smear, read_smear, smear_fingerprint
from napari_caltomorph.storage import refuse_unwritable


def predict_each(
    patients: Mapping[str, Path], out: Path, predictor: Predictor, *, progress: OnProgress = ignore
) -> list[PatientResult]:
    """Predict patients, and write each prediction and the tables of all.

    Parameters
    ----------
    patients : mapping of str to Path
        Patient id -> the folder, archive or stack of the patient's cells.
    out : Path
        Made if needed: ``prediction.json`` of each patient (see `prediction_file`), ``predictions.csv`` and
        ``cells.csv``. A prediction that stands there is kept, if the same model made it of the same images with this
        version; so is the choice of cells that a person made for it. Device and precision are not compared.
    predictor : Predictor
    progress : callable
        Called with a `PatientProgress` often, and with the `PatientResult` of each patient; raising `Cancelled` in it
        stops cleanly.

    Returns
    -------
    list of PatientResult
        In the order of `patients`, with those who failed and why. Where the run ends early, by any exception, the
        tables hold the patients that were reached.

    Raises
    ------
    OutputRefused
        Two patients would share a folder, or nothing can be written.
    CaltomorphError
        What concerns all patients, such as missing weights.
    """
    refuse_unwritable(out)
    refuse_repeated_ids(list(patients))
    results: list[PatientResult] = []
    try:
        for number, (patient, path) in enumerate(patients.items(), start=1):
            said = _Said(progress, patient, number, len(patients))
            file = prediction_file(out, patient, patients=len(patients))
            result = _predict_one(patient, path, file, predictor, said)
            results.append(result)
            said.result(result)
    finally:
        if predictions := [one.prediction for one in results if one.prediction is not None]:
            save_tables(predictions, out)
    return results


@dataclass(frozen=True)
class _Said:
    """Reports of one patient's steps as reports of the whole run."""

    progress: OnProgress
    patient_id: str
    number: int
    patients: int

    def __call__(self, inner: Progress) -> None:
        steps = (inner.stage, inner.done, inner.total, inner.unit)
        self.progress(PatientProgress(*steps, self.patient_id, self.number, self.patients))

    def result(self, result: PatientResult) -> None:
        steps = ("Predicting", self.number, self.patients, "patients")
        self.progress(PatientProgress(*steps, self.patient_id, self.number, self.patients, result))


def _predict_one(patient: str, path: Path, file: Path, predictor: Predictor, progress: OnProgress) -> PatientResult:
    progress(Progress("Reading", 0, 1, "smears"))
    try:
        smear = replace(read_smear(path), patient_id=patient)
        known = _known(file, smear, predictor.description, progress)
        prediction = known or predictor.predict(smear, progress=progress)[1]
    except Exception as error:
        if (problem := _problem(patient, error)) is None:
            raise
        return PatientResult(patient, path, problem=problem, ran_out_of_memory=is_out_of_memory(error))
    place = printable(str(smear.path))
    if known is None or known.smear_path != place:  # the images may lie elsewhere by now
        prediction = prediction.model_copy(update={"smear_path": place})
        prediction.save(file)
    return PatientResult(patient, path, prediction, file, was_done=known is not None)


def _known(file: Path, smear: Smear, model: ModelDescription, progress: OnProgress) -> Prediction | None:
    """Return what stands in a file, if predicting again would say the same."""
    if not file.is_file() or model.encoder.weights_sha256 is None:  # else any weights of that encoder would do
        return None
    try:
        found = Prediction.load(file)
    except PredictionUnreadable:
        return None
    is_same_model = found.model_fingerprint == model.fingerprint and found.threshold == model.threshold
    if not is_same_model or found.library_version != library_version() or found.patient_id != smear.patient_id:
        return None
    return found if found.smear_fingerprint == smear_fingerprint(smear, progress=progress) else None


def _problem(patient: str, error: Exception) -> str | None:
    """Return what to say of an error that concerns one patient only, or None when it ends the run."""
    if isinstance(error, (SmearUnreadable, FeaturesRefused)):
        return str(error)
    if is_out_of_memory(error):
        return f"{patient}: memory ran out; close other programs, or choose the device cpu or a smaller batch size."
    return None
