"""Encode one patient of a cohort into one feature file, unless the file has the same cells and encoder already.

It runs the same in this process and in a Dask worker: arguments and results are small and can be sent.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from napari_caltomorph.about import library_versions
from napari_caltomorph.cohort.feature_folder import MadeWith, PatientRecord
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.encoding.load import LoadedEncoder
from napari_caltomorph.encoding.run import features_of_cells, origin_of
from napari_caltomorph.encoding.stream import EncodedSmear
from napari_caltomorph.errors import CellUnreadable, FeaturesRefused, OutputRefused, SmearUnreadable
from napari_caltomorph.smear import QUALITY_RULES, Smear, open_place
from napari_caltomorph.smear.readers import SmearToRead
from napari_caltomorph.storage import raise_if_of_all

BAD_PATIENT = (SmearUnreadable, CellUnreadable, FeaturesRefused, OutputRefused, OSError)
"""Errors that concern one patient and not the others."""

OpenSmear = Callable[[str], Smear]
"""Returns the cells of a patient, by id."""

_LIBRARIES = ("napari-caltomorph", "torch", "timm", "numpy", "h5py", "pillow", "tifffile", "imagecodecs")


@dataclass(frozen=True)
class PatientToEncode:
    """One patient, as small as it can be sent to a worker."""

    patient_id: str
    file: str  # Name of the feature file
    path: str | None  # Where the cells are
    listing: str | None  # Digest of the files' names, sizes and times; None where there are none
    images: int  # About how many images there are: the unit of progress


def made_with(encoder: LoadedEncoder) -> MadeWith:
    """Return what this encoder, on its device, computes features with."""
    device = str(encoder.device)
    if encoder.device.type == "cuda":
        device += f" ({torch.cuda.get_device_name(encoder.device)})"
    versions = library_versions(*_LIBRARIES) | {"python": platform.python_version()}
    return MadeWith(
        encoder=encoder.encoder.name,
        weights_sha256=encoder.weights_sha256,
        preprocessing=str(encoder.preprocessing),
        precision=encoder.precision,
        device=device,
        library_versions=versions,
        field_of_view_um=encoder.field_of_view_um,
        views=encoder.views_in_words,
    )


def smear_to_read(
    patient: PatientToEncode, folder: Path, encoder: LoadedEncoder, open_smear: OpenSmear | None, threads: int
) -> SmearToRead:
    """Return what a reader needs; features that exist already are compared before images are read to be encoded."""
    target = folder / patient.file
    has_news = partial(_has_news, target, made_with(encoder)) if target.exists() else None
    opened = partial(open_place, patient.path or "") if open_smear is None else partial(open_smear, patient.patient_id)
    return SmearToRead(patient.patient_id, opened, encoder.at_scale, threads, has_news)


def write_features(
    patient: PatientToEncode, encoded: EncodedSmear, folder: Path, encoder: LoadedEncoder
) -> PatientRecord:
    """Write a patient's feature file, unless it has the same already; errors of the patient are in the record."""
    target = folder / patient.file
    try:
        smear = encoded.graded()
        record = partial(
            PatientRecord,
            patient_id=patient.patient_id,
            file=patient.file,
            path=patient.path,
            cells=len(smear.usable),
            left_out=smear.left_out_counts(),
            fingerprint=smear.fingerprint,
            listing=patient.listing,
        )
        if not encoded.values:
            return record(outcome="found", made=_written(target))
        origin = origin_of(smear, encoder)
        features_of_cells(smear, encoded.by_cell(), origin).save(target)
        seconds = round(time.monotonic() - encoded.begun, 3)
        return record(outcome="encoded", made=_written(target), assumed=origin.assumptions, seconds=seconds)
    except BAD_PATIENT as error:
        return failed(patient, folder, error)


def failed(patient: PatientToEncode, folder: Path, error: Exception) -> PatientRecord:
    """Return the record of a patient with one of `BAD_PATIENT`; raises it where no patient can be written."""
    if isinstance(error, OutputRefused):
        raise_if_of_all(error, folder)
    return failure(patient, folder, str(error))


def failure(patient: PatientToEncode, folder: Path, reason: str) -> PatientRecord:
    """Return the record of a patient that cannot be encoded."""
    if (folder / patient.file).exists():
        reason += f" Its features of an earlier run stay in {patient.file}."
    return PatientRecord(
        patient_id=patient.patient_id, outcome="failed", file=patient.file, path=patient.path, reason=reason
    )


def is_unchanged(patient: PatientToEncode, record: PatientRecord | None, folder: Path, made: MadeWith) -> bool:
    """Whether the record, the files' sizes and times, and the feature file itself show that nothing has changed."""
    if record is None or record.outcome == "failed" or patient.listing is None:
        return False
    if (record.path, record.file, record.listing) != (patient.path, patient.file, patient.listing):
        return False
    features = _load(folder / patient.file, record.fingerprint, made)
    return features is not None and len(features) == record.cells


def _has_news(path: Path, made: MadeWith, smear: Smear) -> bool:
    """Whether a feature file is not what encoding the graded smear would give."""
    features = _load(path, smear.fingerprint, made)
    return (
        features is None
        or features.origin.field_of_view_um != smear.field_of_view_um
        or features.cells != tuple(smear.cells[i] for i in smear.usable)
    )


def _load(path: Path, fingerprint: str | None, made: MadeWith) -> Features | None:
    """Return the features in a file; None where it is missing, damaged, or of other cells, encoder or rules."""
    try:
        features = Features.load(path, views=True)
    except FeaturesRefused:
        return None
    origin = features.origin
    is_same = made.is_of(origin) and origin.quality_rules == QUALITY_RULES and origin.smear_fingerprint == fingerprint
    return features if is_same else None


def _written(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
