"""One patient of a cohort -> one feature file: looked at first, and encoded only if the file does not hold it yet.

It runs the same in this process and in a Dask worker: what goes in and what comes out is small and can be sent.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict

from napari_caltomorph.cohort.feature_folder import PatientToEncode
from napari_caltomorph.encoding.features import FeatureOrigin, Features
from napari_caltomorph.encoding.load import LoadedEncoder
from napari_caltomorph.encoding.options import EncodeOptions
from napari_caltomorph.encoding.run import encode
from napari_caltomorph.errors import CellUnreadable, FeaturesRefused, SmearUnreadable
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.smear import QUALITY_RULES, Smear, check_smear, read_smear
from napari_caltomorph.storage import path_of

BAD_PATIENT = (SmearUnreadable, CellUnreadable, FeaturesRefused, OSError)
"""What is wrong with one patient and does not concern the others."""

OpenSmear = Callable[[str], Smear]
"""Gives the cells of a patient, whose id it takes."""

_LIBRARIES = ("napari-caltomorph", "torch", "timm", "numpy", "h5py", "pillow", "tifffile", "imagecodecs")


class MadeWith(BaseModel):
    """What features are made with; all but the device and the libraries must be the same for a whole folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str
    weights_sha256: str
    preprocessing: str
    precision: str
    device: str
    library_versions: dict[str, str]

    def is_of(self, origin: FeatureOrigin | MadeWith) -> bool:
        """Whether features of that origin can stand beside these."""
        shared = ("encoder", "weights_sha256", "preprocessing", "precision")
        return all(getattr(self, name) == getattr(origin, name) for name in shared)


class PatientRecord(BaseModel):
    """What became of one patient.

    ``encoded`` now; ``found`` finished, by a run that was killed before it noted so; or ``failed``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    patient_id: str
    outcome: Literal["encoded", "found", "failed"]
    file: str
    path: str | None
    cells: int | None = None
    left_out: dict[str, int] = {}
    fingerprint: str | None = None
    listing: str | None = None
    made: str | None = None
    seconds: float = 0.0
    reason: str | None = None


def made_with(encoder: LoadedEncoder) -> MadeWith:
    """Return what this encoder, on its device, makes features with."""
    device = str(encoder.device)
    if encoder.device.type == "cuda":
        device += f" ({torch.cuda.get_device_name(encoder.device)})"
    versions = {name: version(name) for name in _LIBRARIES} | {"python": platform.python_version()}
    return MadeWith(
        encoder=encoder.encoder.name,
        weights_sha256=encoder.weights_sha256,
        preprocessing=str(encoder.preprocessing),
        precision=encoder.precision,
        device=device,
        library_versions=versions,
    )


def look_at(patient: PatientToEncode, *, open_smear: OpenSmear | None = None, progress: OnProgress = ignore) -> Smear:
    """Read a patient's cells, or let `open_smear` give them, and grade them; one of `BAD_PATIENT` if that cannot be."""
    if open_smear is not None:
        smear = open_smear(patient.patient_id)
    elif patient.path is not None:
        smear = read_smear(path_of(patient.path))
    else:
        raise SmearUnreadable(f"{patient.patient_id} has no images to encode.")
    return check_smear(replace(smear, patient_id=patient.patient_id), progress=progress)


def encode_patient(
    patient: PatientToEncode,
    smear: Smear,
    folder: Path,
    encoder: LoadedEncoder,
    options: EncodeOptions,
    *,
    progress: OnProgress = ignore,
) -> PatientRecord:
    """Write a patient's feature file, unless it is there already and was made in the very same way.

    Parameters
    ----------
    patient : PatientToEncode
    smear : Smear
        Of this patient, graded.
    folder : Path
        The feature folder.
    encoder : LoadedEncoder
    options : EncodeOptions
    progress : callable
        Called after every batch; raising `Cancelled` in it leaves no file.
    """
    start = time.monotonic()
    target = folder / patient.file
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
    if _holds(target, smear, made_with(encoder)):
        return record(outcome="found", made=_written(target))
    encode(smear, options, encoder=encoder, progress=progress).save(target)
    return record(outcome="encoded", made=_written(target), seconds=round(time.monotonic() - start, 3))


def failure(patient: PatientToEncode, folder: Path, reason: str) -> PatientRecord:
    """Return the record of a patient who cannot be encoded."""
    if (folder / patient.file).exists():
        reason += f" Its features of an earlier run stay in {patient.file}."
    return PatientRecord(
        patient_id=patient.patient_id, outcome="failed", file=patient.file, path=patient.path, reason=reason
    )


def is_unchanged(patient: PatientToEncode, record: PatientRecord | None, folder: Path, made: MadeWith) -> bool:
    """Whether a record, the files' sizes and times, and the feature file itself say that nothing is to be done."""
    if record is None or record.outcome == "failed" or patient.listing is None:
        return False
    if (record.path, record.file, record.listing) != (patient.path, patient.file, patient.listing):
        return False
    features = _load(folder / patient.file)
    return (
        features is not None
        and made.is_of(features.origin)
        and features.origin.quality_rules == QUALITY_RULES
        and features.origin.smear_fingerprint == record.fingerprint
        and len(features) == record.cells
    )


def _holds(path: Path, smear: Smear, made: MadeWith) -> bool:
    features = _load(path)
    return (
        features is not None
        and made.is_of(features.origin)
        and features.origin.quality_rules == QUALITY_RULES
        and features.origin.smear_fingerprint == smear.fingerprint
        and features.origin.field_of_view_um == smear.field_of_view_um
        and features.cells == tuple(smear.cells[i] for i in smear.usable)
    )


def _load(path: Path) -> Features | None:
    """Return the features of a file; none where there is no file or a damaged one, which is made again."""
    try:
        return Features.load(path) if path.is_file() else None
    except FeaturesRefused:
        return None


def _written(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
