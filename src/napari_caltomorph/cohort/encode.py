"""Encode a cohort into a feature folder, one file a patient; run it again to resume.

The files themselves record how they were computed, and each is written completely or not at all. So whatever happens
to a run, the next one only has to compute what is missing.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from napari_caltomorph.cohort.cleaning import with_extended
from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.cohort.encode_patient import OpenSmear, PatientToEncode, failure, is_unchanged
from napari_caltomorph.cohort.encode_workers import ImageProgress, Workers, open_workers
from napari_caltomorph.cohort.feature_folder import (
    Journal,
    MadeWith,
    PatientRecord,
    Run,
    feature_path,
    locked,
    now,
    refuse_other_features,
)
from napari_caltomorph.cohort.options import EncodeCohortOptions
from napari_caltomorph.cohort.peer_files import write_as
from napari_caltomorph.diagnosis.prediction_files import refuse_repeated_ids
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear.images import is_image
from napari_caltomorph.smear.trees import archive_of
from napari_caltomorph.storage import StrPath, paths_of

# A Metafer cell: 144 x 144 px RGB. An archive or a stack of unknown content has about this many bytes a cell.
_CELL_BYTES = 144 * 144 * 3


@dataclass(frozen=True)
class EncodeSummary:
    """The result of a run."""

    folder: Path  # The feature folder; run.json in it has the details
    made_with: MadeWith
    encoded: int  # Patients encoded now
    skipped: int  # Patients that were done already
    cells: int  # Of the patients encoded now
    left_out: int  # Cells left out of these patients
    assumed: dict[str, int]  # What was assumed of images (`FeatureOrigin.assumptions`), of how many patients
    failed: tuple[PatientRecord, ...]  # Patients that could not be encoded, each with the reason
    seconds: float


def encode_cohort(
    cohort: Cohort,
    folder: StrPath,
    options: EncodeCohortOptions | None = None,
    *,
    open_smear: OpenSmear | None = None,
    progress: OnProgress = ignore,
) -> EncodeSummary:
    """Write one feature file for every patient of a cohort; files that exist and match are kept.

    Patients that fail are in the returned summary, with the reason; they do not stop the others.

    Parameters
    ----------
    cohort : Cohort
    folder : str or Path
        Made if needed: ``<patient_id>.h5`` (see `feature_path`) and ``run.json``; in a folder of its own what
        `options` write for a peer.
    options : EncodeCohortOptions
    open_smear : callable, optional
        Returns a patient's `Smear` by id; then nothing is read from the table's paths, which may be missing. It is
        called in another thread of this process, whatever `workers` is, or on a cluster's workers, for which it must
        be picklable; an error such as `SmearUnreadable` fails that patient only. As there are no files to compare, the
        next run reads every patient again, and encodes it only if the feature file does not have the same cells.
    progress : callable
        See `OnProgress`; patients that are done when it is cancelled stay done.

    Raises
    ------
    FeaturesRefused
        The folder has features of another encoder.
    OutputRefused
        It cannot be written, or another run writes to it.
    CohortUnreadable
        No patient is left out with a diagnosis, and those are to be encoded too.
    ClusterMissing, PackageMissing, WeightsMissing, WeightsRefused, DeviceMissing
    """
    options, folder = options or EncodeCohortOptions(), Path(folder).absolute()
    if options.extended:
        cohort = with_extended(cohort)
    if open_smear is not None:  # files at the table's paths are not these cells
        cohort = replace(cohort, table=cohort.table.assign(path=None))
    with locked(folder), open_workers(options, progress) as workers:
        made = workers.made_with
        refuse_other_features(folder, made)
        journal = Journal(folder)
        everyone = list(_list_patients(cohort, folder, progress=progress))
        patients = [p for p in everyone if not is_unchanged(p, journal.record_of(p.patient_id), folder, made)]
        name, source, skipped = cohort.name, str(cohort.source), len(cohort) - len(patients)
        processes = options.model_dump(include={"workers", "scheduler"})
        journal.begin(Run(cohort=name, source=source, made_with=made, started=now(), skipped=skipped, **processes))
        try:
            records = _encode_all(patients, folder, workers, open_smear, journal, progress)
        except BaseException:
            journal.end("stopped")
            raise
        _take_back_lost(everyone, records, folder, journal)
        if options.write_as is not None:
            there = [folder / one.file for one in everyone if (folder / one.file).is_file()]
            write_as(options.write_as, there, folder, progress=progress)
        run = journal.end("complete")
    return _summary(folder, run, records)


def _summary(folder: Path, run: Run, records: Mapping[str, PatientRecord]) -> EncodeSummary:
    encoded = [record for record in records.values() if record.outcome == "encoded"]
    return EncodeSummary(
        folder=folder,
        made_with=run.made_with,
        encoded=run.encoded,
        skipped=run.skipped + run.found,
        cells=sum(record.cells or 0 for record in encoded),
        left_out=sum(sum(record.left_out.values()) for record in encoded),
        assumed=dict(Counter(sentence for record in encoded for sentence in record.assumed)),
        failed=tuple(record for record in records.values() if record.outcome == "failed"),
        seconds=run.seconds,
    )


def _encode_all(
    patients: list[PatientToEncode],
    folder: Path,
    workers: Workers,
    open_smear: OpenSmear | None,
    journal: Journal,
    progress: OnProgress,
) -> dict[str, PatientRecord]:
    """Encode patients, and record each; return the records by id."""
    counter = ImageProgress(patients, progress)
    counter.report()
    done = {}
    with closing(workers.encode(patients, folder, counter, open_smear)) as records:
        for record in records:
            journal.add(record)
            counter.finish(record.patient_id)
            done[record.patient_id] = record
    return done


def _take_back_lost(
    patients: list[PatientToEncode], records: dict[str, PatientRecord], folder: Path, journal: Journal
) -> None:
    """Fail the patients whose files are gone at the end: a folder may be deleted, or moved, during a long run."""
    for patient in patients:
        record = records.get(patient.patient_id)
        claimed = "skipped" if record is None else record.outcome
        if claimed != "failed" and not (folder / patient.file).is_file():
            lost = failure(patient, folder, f"{patient.file} was deleted during the run; run it again.")
            journal.take_back(lost, claimed)
            records[patient.patient_id] = lost


def _list_patients(cohort: Cohort, folder: Path, *, progress: OnProgress = ignore) -> Iterator[PatientToEncode]:
    """Yield the patients of a cohort with the digests of their files; no image is opened.

    Raises `OutputRefused` where two patients would share a feature file.
    """
    refuse_repeated_ids(cohort.table["patient_id"])
    rows = zip(cohort.table["patient_id"], cohort.table["path"], cohort.table["n_images"], strict=True)
    for number, (patient, path, n_images) in enumerate(rows):
        progress(Progress("Looking for what is done", number, len(cohort), "patients"))
        listing, images = (None, 1) if pd.isna(path) else _listing(paths_of(path))
        yield PatientToEncode(
            patient_id=patient,
            file=feature_path(folder, patient).name,
            path=None if pd.isna(path) else str(path),
            listing=listing,
            images=images if pd.isna(n_images) else max(1, int(n_images)),
        )


def _listing(paths: Sequence[Path]) -> tuple[str | None, int]:
    """Return the digest of names, sizes and times below the paths of a patient, and about how many images there are."""
    digest, images, is_empty = hashlib.sha256(), 0, True
    for name, file in (found for path in paths for found in _files(path)):
        try:
            stat = file.stat()
            facts = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        except OSError:  # a link to nowhere
            facts = (-1, -1, -1)
        digest.update(os.fsencode(name) + b"\0%d %d %d\n" % facts)
        is_empty = False
        if file in paths and file.suffix.lower() in (".zip", ".tif", ".tiff"):
            images += max(1, facts[0] // _CELL_BYTES)
        else:
            images += is_image(file.name)
    return None if is_empty else digest.hexdigest(), max(1, images)


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield all files at and below a path, always in the same order; links are followed, each folder once."""
    if (file := archive_of(path) or path).is_file():
        yield path.name, file
        return
    seen = set()
    for here, folders, files in os.walk(path, followlinks=True):
        status = Path(here).stat()
        if status.st_ino and (status.st_dev, status.st_ino) in seen:  # 0 on some network drives
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in sorted(files):
            file = Path(here) / name
            yield file.relative_to(path).as_posix(), file
