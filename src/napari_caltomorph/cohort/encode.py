"""A cohort -> a feature folder, one file a patient; run it again to go on where it stopped.

The files themselves say how they were made, and each is written whole or not at all. So whatever happens to a run,
the next one has to do only what is not there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.cohort.encode_journal import Journal, Run, now
from napari_caltomorph.cohort.encode_options import EncodeCohortOptions
from napari_caltomorph.cohort.encode_patient import (
    BAD_PATIENT,
    MadeWith,
    OpenSmear,
    PatientRecord,
    encode_patient,
    failure,
    is_unchanged,
    look_at,
    made_with,
)
from napari_caltomorph.cohort.feature_folder import PatientToEncode, list_patients, locked, refuse_other_features
from napari_caltomorph.encoding.load import LoadedEncoder, load_encoder
from napari_caltomorph.progress import Cancelled, OnProgress, Progress, ignore
from napari_caltomorph.smear import Smear

# How often whoever wants the work to stop is asked while it waits for something.
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class EncodeSummary:
    """What a run did.

    Attributes
    ----------
    folder : Path
        The feature folder; ``run.json`` in it tells more.
    made_with : MadeWith
    encoded, skipped : int
        Patients encoded now, and those that were done already.
    cells, left_out : int
        Cells of the patients encoded now, and those left out of them.
    failed : tuple of PatientRecord
        Patients who could not be encoded, each with the reason.
    seconds : float
    """

    folder: Path
    made_with: MadeWith
    encoded: int
    skipped: int
    cells: int
    left_out: int
    failed: tuple[PatientRecord, ...]
    seconds: float


class Workplace(Protocol):
    """Where patients are encoded: this process, or a cluster."""

    made_with: MadeWith

    def encode(
        self, patients: list[PatientToEncode], folder: Path, report: Report, open_smear: OpenSmear | None
    ) -> Generator[PatientRecord, None, None]:
        """Yield what became of each patient, in any order."""


class Report:
    """Counts images over all patients, so that the time left is right however unequal they are."""

    def __init__(self, patients: list[PatientToEncode], progress: OnProgress) -> None:
        self._images = {patient.patient_id: patient.images for patient in patients}
        self._total = sum(self._images.values())
        self._done = 0.0
        self._progress = progress

    def still(self, patient_id: str | None = None, share: float = 0.0) -> None:
        """Say how far it is, with a share of one patient more; raises what the caller raises to stop."""
        within = self._images[patient_id] * share if patient_id else 0.0
        self._progress(Progress("Encoding", int(self._done + within), self._total))

    def done(self, patient_id: str) -> None:
        """Say that a patient is done."""
        self._done += self._images[patient_id]
        self.still()


def encode_cohort(
    cohort: Cohort,
    folder: str | Path,
    options: EncodeCohortOptions | None = None,
    *,
    open_smear: OpenSmear | None = None,
    progress: OnProgress = ignore,
) -> EncodeSummary:
    """Write one feature file for every patient of a cohort; what is there and matches is left as it is.

    Parameters
    ----------
    cohort : Cohort
    folder : str or Path
        Made if needed: ``<patient_id>.h5`` (see `feature_path`) and ``run.json``.
    options : EncodeCohortOptions
    open_smear : callable, optional
        Gives a patient's `Smear` by id, instead of reading it from the table's path, which a patient then need not
        have. It is called in another thread, or on a cluster's workers, for which it must be picklable; an error such
        as `SmearUnreadable` fails that patient only. As there are no files to compare, every patient is looked at
        again by the next run, and encoded only if the feature file does not hold the same cells.
    progress : callable
        Called with a `Progress` after every batch and several times a second; raising `Cancelled` in it stops
        cleanly. Patients who are done by then stay done.

    Returns
    -------
    EncodeSummary
        With those who failed, and why; they do not stop the others.

    Raises
    ------
    FeaturesRefused
        The folder holds features of another encoder.
    OutputRefused
        It cannot be written, or another run writes to it.
    ClusterMissing, PackageMissing, WeightsMissing, WeightsRefused, DeviceMissing
    """
    options = options or EncodeCohortOptions()
    folder = Path(folder).absolute()
    if open_smear is not None:  # what lies at the table's paths says nothing about these cells
        cohort = replace(cohort, table=cohort.table.assign(path=None))
    with locked(folder), _workplace(options, progress) as workplace:
        made = workplace.made_with
        refuse_other_features(folder, made.encoder, made.weights_sha256, made.precision)
        journal = Journal(folder)
        patients = [
            patient
            for patient in list_patients(cohort, folder, progress=progress)
            if not is_unchanged(patient, journal.record_of(patient.patient_id), folder, made)
        ]
        journal.begin(
            Run(
                cohort=cohort.name,
                source=str(cohort.source),
                made_with=made,
                workers=options.workers,
                scheduler=options.scheduler,
                started=now(),
                skipped=len(cohort) - len(patients),
            )
        )
        try:
            cells, left_out, failed = _encode_all(patients, folder, workplace, open_smear, journal, progress)
        except BaseException:
            journal.end("stopped")
            raise
        run = journal.end("complete")
    return EncodeSummary(
        folder, made, run.encoded, run.skipped + run.found, cells, left_out, tuple(failed), run.seconds
    )


def _encode_all(
    patients: list[PatientToEncode],
    folder: Path,
    workplace: Workplace,
    open_smear: OpenSmear | None,
    journal: Journal,
    progress: OnProgress,
) -> tuple[int, int, list[PatientRecord]]:
    """Encode patients and note each; return the cells encoded, those left out, and the patients who failed."""
    report = Report(patients, progress)
    report.still()
    cells = left_out = 0
    failed = []
    with closing(workplace.encode(patients, folder, report, open_smear)) as records:
        for record in records:
            journal.add(record)
            report.done(record.patient_id)
            if record.outcome == "failed":
                failed.append(record)
            elif record.outcome == "encoded":
                cells += record.cells or 0
                left_out += sum(record.left_out.values())
    return cells, left_out, failed


def _workplace(options: EncodeCohortOptions, progress: OnProgress) -> AbstractContextManager[Workplace]:
    if options.workers == 1 and options.scheduler is None:
        return _here(options, progress)
    from napari_caltomorph.cohort.cluster import on_cluster

    return on_cluster(options, progress)


@contextmanager
def _here(options: EncodeCohortOptions, progress: OnProgress) -> Generator[Workplace, None, None]:
    progress(Progress("Loading the encoder", 0, 1, "encoders"))
    yield _ThisProcess(load_encoder(options), options)


class _ThisProcess:
    """Encodes one patient after the other; the next one is looked at while the device works on this one."""

    def __init__(self, encoder: LoadedEncoder, options: EncodeCohortOptions) -> None:
        self._encoder, self._options = encoder, options
        self.made_with = made_with(encoder)

    def encode(
        self, patients: list[PatientToEncode], folder: Path, report: Report, open_smear: OpenSmear | None
    ) -> Generator[PatientRecord, None, None]:
        with _looking_ahead(open_smear) as look:
            ahead = look(patients[0]) if patients else None
            for number, patient in enumerate(patients, start=1):
                looked = ahead
                ahead = look(patients[number]) if number < len(patients) else None
                assert looked is not None
                yield self._encode_one(patient, looked, folder, report)

    def _encode_one(
        self, patient: PatientToEncode, looked: Future[Smear], folder: Path, report: Report
    ) -> PatientRecord:
        def within(inner: Progress) -> None:
            report.still(patient.patient_id, inner.done / inner.total)

        try:
            smear = _wait(looked, report)
            return encode_patient(patient, smear, folder, self._encoder, self._options, progress=within)
        except BAD_PATIENT as error:
            return failure(patient, folder, str(error))


@contextmanager
def _looking_ahead(
    open_smear: OpenSmear | None,
) -> Generator[Callable[[PatientToEncode], Future[Smear]], None, None]:
    """Yield a function that looks at a patient in a thread; leaving the block stops it."""
    is_over = threading.Event()

    def stop_when_over(_: Progress) -> None:
        if is_over.is_set():
            raise Cancelled

    pool = ThreadPoolExecutor(max_workers=1)
    try:
        yield lambda patient: pool.submit(look_at, patient, open_smear=open_smear, progress=stop_when_over)
    finally:
        is_over.set()
        pool.shutdown(cancel_futures=True)


def _wait(looked: Future[Smear], report: Report) -> Smear:
    while True:
        try:
            return looked.result(timeout=POLL_SECONDS)
        except NotYet:
            if looked.done():  # the look itself ran out of time, on a network drive
                raise
            report.still()
