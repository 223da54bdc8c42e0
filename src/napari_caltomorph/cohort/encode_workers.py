"""Where the patients of a cohort are encoded: in this process, which others may read for, or on a cluster with Dask.

With Dask a task is one patient, and writes that patient's file itself. A task that is done twice writes the same file
twice, so a worker that dies costs only its current patient. Dask is imported only when it is needed.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from napari_caltomorph.cohort.encode_patient import (
    OpenSmear,
    PatientToEncode,
    failure,
    made_with,
    smear_to_read,
    write_features,
)
from napari_caltomorph.cohort.feature_folder import MadeWith, PatientRecord
from napari_caltomorph.cohort.options import EncodeCohortOptions
from napari_caltomorph.dask_workers import dask_client, device_of
from napari_caltomorph.encoding.load import LoadedEncoder, load_encoder
from napari_caltomorph.encoding.stream import encode_smears
from napari_caltomorph.errors import ClusterMissing, WeightsRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear.cell_batches import THREADS
from napari_caltomorph.smear.process_reader import ProcessReader
from napari_caltomorph.smear.readers import Readers, ThreadReader

# How often the progress callback, which may stop the run, is called while something is awaited.
POLL_SECONDS = 0.1


class ImageProgress:
    """Progress in images over all patients, so that the time left is right also for unequal patients."""

    def __init__(self, patients: list[PatientToEncode], progress: OnProgress) -> None:
        self._images = {patient.patient_id: patient.images for patient in patients}
        self._total = sum(self._images.values())
        self._done = 0
        self._within: dict[str, float] = {}  # Images done of patients in hand
        self._progress = progress

    def report(self, patient_id: str | None = None, share: float = 0.0) -> None:
        """Report the images done, with the share of a patient in hand; raises what the callback raises to stop."""
        if patient_id in self._images:
            self._within[patient_id] = self._images[patient_id] * share
        self._progress(Progress("Encoding", self._done + int(sum(self._within.values())), self._total))

    def finish(self, patient_id: str) -> None:
        """Report that a patient is done."""
        self._within.pop(patient_id, None)
        self._done += self._images.pop(patient_id)
        self.report()


class Workers(Protocol):
    """What encodes patients: this process, or a cluster."""

    made_with: MadeWith

    def encode(
        self, patients: list[PatientToEncode], folder: Path, progress: ImageProgress, open_smear: OpenSmear | None
    ) -> Generator[PatientRecord, None, None]:
        """Yield the outcome for each patient, in any order."""


@contextmanager
def open_workers(options: EncodeCohortOptions, progress: OnProgress) -> Generator[Workers, None, None]:
    """Yield what encodes patients: this process, with others that read for it, or the workers of a running scheduler.

    Raises `PackageMissing` without Dask, `ClusterMissing` where no scheduler answers, and the errors of `load_encoder`.
    """
    if options.scheduler is None:
        progress(Progress("Loading the encoder", 0, 1, "encoders"))
        yield _ThisProcess(load_encoder(options, options), options.batch_size, options.workers)
        return
    with dask_client(options.scheduler) as client:
        yield _Cluster(client, options, progress)


class _ThisProcess:
    """Encodes patients as their cells are read: several are in hand, so that the encoder does not wait for one."""

    def __init__(self, encoder: LoadedEncoder, batch_size: int, workers: int = 1) -> None:
        self._encoder, self._batch_size, self._workers = encoder, batch_size, workers
        self.made_with = made_with(encoder)

    def encode(
        self, patients: list[PatientToEncode], folder: Path, progress: ImageProgress, open_smear: OpenSmear | None
    ) -> Generator[PatientRecord, None, None]:
        for patient in patients if open_smear is None else ():
            if patient.path is None:
                yield failure(patient, folder, f"{patient.patient_id} has no images to encode.")
        patient_of = {one.patient_id: one for one in patients if open_smear is not None or one.path is not None}
        # A function of others is called in this process, by one reader; its threads share the cells of a patient.
        in_threads = self._workers == 1 or open_smear is not None
        total = THREADS if in_threads else self._workers
        count = 1 if open_smear is not None else max(1, min(total, len(patient_of)))
        wanted = (
            smear_to_read(patient, folder, self._encoder, open_smear, total // count) for patient in patient_of.values()
        )
        with Readers(wanted, [ThreadReader() if in_threads else ProcessReader() for _ in range(count)]) as readers:
            stream = encode_smears(readers, self._encoder, self._batch_size, progress.report)
            for encoded in stream:
                yield write_features(patient_of[encoded.key], encoded, folder, self._encoder)


class _Cluster:
    """Encodes each patient on whichever worker is free."""

    def __init__(self, client: Any, options: EncodeCohortOptions, progress: OnProgress) -> None:
        self._client = client
        waiting = Progress("Waiting for the first worker", 0, 1, "workers")
        future = client.submit(_describe, options, pure=False)
        while not future.done():
            progress(waiting)
            time.sleep(POLL_SECONDS)
        self.made_with: MadeWith = future.result()
        # "auto" may mean something else on another worker; features of one folder have one precision.
        self._options = options.model_copy(update={"precision": self.made_with.precision})

    def encode(
        self, patients: list[PatientToEncode], folder: Path, progress: ImageProgress, open_smear: OpenSmear | None
    ) -> Generator[PatientRecord, None, None]:
        from distributed import as_completed

        futures = self._client.map(
            _encode_on_worker,
            patients,
            folder=folder,
            options=self._options,
            need=self.made_with,
            open_smear=open_smear,
            pure=False,
        )
        patient_of = dict(zip((future.key for future in futures), patients, strict=True))
        finished = as_completed(futures, loop=self._client.loop)
        try:
            for _ in patients:
                while not finished.has_ready():
                    progress.report()
                    time.sleep(POLL_SECONDS)
                future = next(finished)
                yield self._result(future, patient_of[future.key], folder)
                future.release()
        finally:
            self._client.cancel(futures)

    def _result(self, future: Any, patient: PatientToEncode, folder: Path) -> PatientRecord:
        from distributed import KilledWorker

        if future.status not in ("finished", "error"):
            raise ClusterMissing("The Dask scheduler has stopped; start it again, and run this again to resume.")
        try:
            record: PatientRecord = future.result()
        except KilledWorker:
            return failure(patient, folder, "Every worker that took this patient died; it may need more memory.")
        if record.outcome != "failed" and not (folder / record.file).is_file():
            return failure(
                patient, folder, f"Its worker wrote {record.file} where this process does not see it; share the folder."
            )
        return record


def _describe(options: EncodeCohortOptions) -> MadeWith:
    return made_with(_encoder(options))


def _encode_on_worker(
    patient: PatientToEncode,
    *,
    folder: Path,
    options: EncodeCohortOptions,
    need: MadeWith,
    open_smear: OpenSmear | None,
) -> PatientRecord:
    encoder = _encoder(options)
    if not need.is_of(made_with(encoder)):
        raise WeightsRefused(
            f"Workers have different weights of {need.encoder} ({encoder.weights_sha256[:12]} and "
            f"{need.weights_sha256[:12]}); give all of them one file with --weights."
        )
    here = _ThisProcess(encoder, options.batch_size)
    (record,) = here.encode([patient], folder, ImageProgress([patient], ignore), open_smear)
    return record


def _encoder(options: EncodeCohortOptions) -> LoadedEncoder:
    from distributed import get_worker

    return _load(options.model_copy(update={"device": device_of(get_worker().name, options.device)}))


@cache
def _load(options: EncodeCohortOptions) -> LoadedEncoder:
    return load_encoder(options, options)
