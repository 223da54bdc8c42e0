"""Watch a folder into which a scanner exports, and predict each patient once: ``caltomorph watch``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_caltomorph.cohort import FoundPatient
from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.prediction_files import prediction_file, save_tables
from napari_caltomorph.errors import PredictionUnreadable, SmearUnreadable, printable
from napari_caltomorph.jobs.cut import cut_patient
from napari_caltomorph.jobs.predict import LOCK, Counting, predict_one, with_report
from napari_caltomorph.laboratory import Predicted, Watched, Watcher, WatchOptions, refuse_overlap
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.smear import smear_fingerprint
from napari_caltomorph.smear.entries import CUT_CELLS
from napari_caltomorph.storage import StrPath, file_sha256, only_run, place_of, replacing

if TYPE_CHECKING:
    from napari_caltomorph.diagnosis import Policy, Predictor
    from napari_caltomorph.differential import Probe
    from napari_caltomorph.fields import CutOptions


def watch_folder(
    folder: StrPath,
    out: StrPath,
    predictor: Predictor,
    options: WatchOptions = WatchOptions(),  # noqa: B008 (frozen)
    *,
    cut: CutOptions | None = None,
    probe: Probe | None = None,
    progress: OnProgress = ignore,
) -> list[Watched]:
    """Watch a folder, and predict each patient in it once, when its export has come to rest.

    Parameters
    ----------
    folder : str or Path
        Each folder and each zip archive in it is one patient. Nothing is ever written into it.
    out : str or Path
        Made if needed: what `predict_patients` writes, an earlier prediction of an export that has changed under a
        dated name, and the ledger ``watch.jsonl``.
    predictor : Predictor
    options : WatchOptions
    cut : CutOptions, optional
        The exports are microscope fields, whose cells are cut out first.
    probe : Probe, optional
        Counts the cells by type for the reports.
    progress : callable
        See `OnProgress`; gets a `WatchProgress` several times a second, and one for each export that changes its state.
        Raising `Cancelled` in it ends the watch.

    Returns
    -------
    list of Watched
        All exports, in natural order, when the option ``once`` is set; without it, the watch ends by an exception only.

    Raises
    ------
    OutputRefused
        `out` and `folder` overlap, another run writes to `out`, or earlier predictions in it are of another model,
        folder or way of reading; with ``once`` also where the disk is full or gone.
    FolderLost
        With ``once``, the folder is not there; without, it is waited for.
    CaltomorphError
        What concerns all patients, such as missing weights.
    """
    folder, out = Path(folder), Path(out)
    refuse_overlap(folder, out)
    setup = {
        "folder": printable(str(folder.absolute())),
        "model": f"{predictor.description.name}, {predictor.description.fingerprint[:16]}",
        "average_views": predictor.averaged_views,
        "slides": options.slides,
        "cut": None if cut is None else cut.model_dump(mode="json"),
    }
    predictor.prevalence, predictor.encoder, predictor.ensemble  # noqa: B018 (refused before the first patient)
    counting = None if probe is None else Counting(probe, predictor)
    inside = [path for path in out.iterdir() if path.is_dir()] if out.is_dir() else []
    with only_run(out, LOCK, "another folder for the predictions", inside=inside):
        watcher = Watcher(
            folder, out, _Predicting(out, predictor, predictor.policy, options, cut, counting), options, progress
        )
        watcher.run(setup)
        return watcher.exports


@dataclass(frozen=True)
class _Predicting:
    """Predicts exports with a model: the work of a watch."""

    out: Path
    predictor: Predictor
    policy: Policy | None  # One for all, also where its file changes meanwhile
    options: WatchOptions
    cut: CutOptions | None
    counting: Counting | None

    def load(self, file: Path) -> Prediction | None:
        try:
            return Prediction.load(file)
        except PredictionUnreadable:
            return None

    def open(self, patient: str, path: Path, progress: OnProgress) -> _Opened:
        try:
            found = FoundPatient(path, place=place_of([path]) if self.options.slides else None)
            if self.cut is not None:
                folder = self.file_of(patient).with_name(CUT_CELLS)
                found = cut_patient(found, self.out, folder, self.cut, progress).found
            return _Opened(self, patient, found, smear_fingerprint(found.read(), progress=progress))
        except OSError as error:
            raise SmearUnreadable(f"{path} cannot be read ({error.strerror or error}); check its drive.") from error

    def save_tables(self, predictions: Sequence[Prediction]) -> None:
        if predictions:
            save_tables(predictions, self.out)

    def file_of(self, patient: str) -> Path:
        return prediction_file(self.out, patient, patients=2)


@dataclass(frozen=True)
class _Opened:
    work: _Predicting
    patient: str
    found: FoundPatient
    fingerprint: str

    def predict(self, check: Callable[[], None], progress: OnProgress) -> Predicted:
        kept: list[Path] = []
        file, work = self.work.file_of(self.patient), self.work

        def before_saving(prediction: Prediction) -> None:
            if prediction.smear_fingerprint != self.fingerprint:  # e.g. some cells were unreadable for a moment
                raise SmearUnreadable(f"{self.found.path} was read twice, with different images; check its drive.")
            check()
            kept.extend(_keep(file))

        about = self.patient, self.found, file, work.out, work.predictor, work.policy
        result = predict_one(*about, progress, before_saving)
        if result.prediction is None:
            raise SmearUnreadable(result.problem)
        if work.options.report:
            result = with_report(result, self.found, work.predictor, work.counting, progress)
        if result.is_cached:  # the process was killed before the ledger's line, and what it kept is there
            kept = sorted(file.parent.glob(f"{file.stem}_*{file.suffix}"), key=lambda one: -one.stat().st_mtime)
        earlier = kept[0].relative_to(work.out).as_posix() if kept else ""
        assert result.prediction is not None
        return Predicted(result.prediction, self.fingerprint, earlier, result.problem)


def _keep(file: Path) -> list[Path]:
    """Copy a prediction and its report, which will be replaced, to names with its date; return the copies."""
    from napari_caltomorph.report.html import REPORT_NAME

    if not file.is_file():
        return []
    try:
        date = "".join(sign for sign in Prediction.load(file).created[:19] if sign.isalnum())
    except PredictionUnreadable:
        date = "unreadable"
    name, kept = f"{date}_{file_sha256(file)[:8]}", []
    for path in (file, file.with_name(REPORT_NAME)):
        copy = path.with_stem(f"{path.stem}_{name}")
        if path.is_file():
            with replacing(copy) as part:
                shutil.copyfile(path, part)
            kept.append(copy)
    return kept
