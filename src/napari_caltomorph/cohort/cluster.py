"""Encoding on many processes with Dask: each task is one patient, and writes that patient's file itself.

A task that is done twice writes the same file twice, so a worker that dies costs only the patient in its hands. Dask
is imported only when it is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_caltomorph.cohort.encode_options import EncodeCohortOptions
from napari_caltomorph.cohort.encode_patient import (
    BAD_PATIENT,
    MadeWith,
    OpenSmear,
    PatientRecord,
    encode_patient,
    failure,
    look_at,
    made_with,
)
from napari_caltomorph.cohort.feature_folder import PatientToEncode
from napari_caltomorph.dask_workers import dask_client, device_of
from napari_caltomorph.encoding.load import LoadedEncoder, load_encoder
from napari_caltomorph.encoding.options import EncodeOptions
from napari_caltomorph.errors import ClusterMissing, WeightsRefused
from napari_caltomorph.progress import OnProgress, Progress

if TYPE_CHECKING:
    from napari_caltomorph.cohort.encode import Report

# How often whoever wants the work to stop is asked while it waits for workers.
_POLL_SECONDS = 0.1


@contextmanager
def on_cluster(options: EncodeCohortOptions, progress: OnProgress) -> Generator[_Cluster, None, None]:
    """Yield a workplace of several processes: on this machine, or those of a scheduler that runs already.

    Raises
    ------
    ClusterMissing
        Dask is not installed, or nothing answers at the address.
    """
    with dask_client(options.scheduler, options.workers) as client:
        yield _Cluster(client, options, progress)


class _Cluster:
    """Encodes each patient on whichever worker is free."""

    def __init__(self, client: Any, options: EncodeCohortOptions, progress: OnProgress) -> None:
        self._client = client
        asked = EncodeOptions(**options.model_dump(include=set(EncodeOptions.model_fields)))
        waiting = Progress("Waiting for the first worker", 0, 1, "workers")
        future = client.submit(_describe, asked, pure=False)
        while not future.done():
            progress(waiting)
            time.sleep(_POLL_SECONDS)
        self.made_with: MadeWith = future.result()
        # "auto" may mean something else on another worker; features of one folder have one precision.
        self._options = asked.model_copy(update={"precision": self.made_with.precision})

    def encode(
        self, patients: list[PatientToEncode], folder: Path, report: Report, open_smear: OpenSmear | None
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
                    report.still()
                    time.sleep(_POLL_SECONDS)
                future = next(finished)
                yield self._result(future, patient_of[future.key], folder)
                future.release()
        finally:
            self._client.cancel(futures)

    def _result(self, future: Any, patient: PatientToEncode, folder: Path) -> PatientRecord:
        from distributed import KilledWorker

        if future.status not in ("finished", "error"):
            raise ClusterMissing("The Dask scheduler has gone away; start it again and run this again to go on.")
        try:
            record: PatientRecord = future.result()
        except KilledWorker:
            return failure(patient, folder, "Every worker that took this patient died; it may need more memory.")
        if record.outcome != "failed" and not (folder / record.file).is_file():
            return failure(
                patient, folder, f"Its worker wrote {record.file} where this process does not see it; share the folder."
            )
        return record


def _describe(options: EncodeOptions) -> MadeWith:
    return made_with(_encoder(options))


def _encode_on_worker(
    patient: PatientToEncode, *, folder: Path, options: EncodeOptions, need: MadeWith, open_smear: OpenSmear | None
) -> PatientRecord:
    encoder = _encoder(options)
    if not need.is_of(made_with(encoder)):
        raise WeightsRefused(
            f"Workers have different weights of {need.encoder} ({encoder.weights_sha256[:12]} and "
            f"{need.weights_sha256[:12]}); give all of them one file with --weights."
        )
    try:
        return encode_patient(patient, look_at(patient, open_smear=open_smear), folder, encoder, options)
    except BAD_PATIENT as error:
        return failure(patient, folder, str(error))


def _encoder(options: EncodeOptions) -> LoadedEncoder:
    from distributed import get_worker

    return _load(options.model_copy(update={"device": device_of(get_worker().name, options.device)}))


@cache
def _load(options: EncodeOptions) -> LoadedEncoder:
    return load_encoder(options)
