"""A feature folder: which file is whose, which patients' images changed, and that one run at a time writes to it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import pandas as pd

from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.diagnosis.prediction_files import folder_name
from napari_caltomorph.errors import FeaturesRefused, OutputRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear.images import is_image
from napari_caltomorph.storage import only_run, path_of

LOCK = ".caltomorph-encode.lock"

# A Metafer cell: 144 x 144 px RGB. An archive or a stack of unknown content holds about this many bytes a cell.
_CELL_BYTES = 144 * 144 * 3


@dataclass(frozen=True)
class PatientToEncode:
    """One patient, as small as it can be sent to a worker.

    Attributes
    ----------
    patient_id, file : str
        Whose, and the name of the feature file.
    path : str or None
        Where the cells are.
    listing : str or None
        Sum of the files' names, sizes and times; None where there are none.
    images : int
        About how many images there are: what the time left is counted in.
    """

    patient_id: str
    file: str
    path: str | None
    listing: str | None
    images: int


def feature_path(folder: Path, patient_id: str) -> Path:
    """Return where a patient's features are in a feature folder."""
    return folder / f"{folder_name(patient_id)}.h5"


def feature_files(cohort: Cohort, folder: str | Path | None) -> dict[str, Path]:
    """Return the feature file of each patient that has one: the file in the folder, else the file the cohort names.

    Parameters
    ----------
    cohort : Cohort
        Its column ``features`` may name files.
    folder : str or Path or None
        Feature folder of `encode_cohort`; None where only the cohort names files.

    Returns
    -------
    dict of str to Path
        By patient id, in the cohort's order; files that exist.
    """
    files: dict[str, Path] = {}
    for patient, named in zip(cohort.table["patient_id"], cohort.table["features"], strict=True):
        candidates = [] if folder is None else [feature_path(Path(folder), patient)]
        candidates += [] if pd.isna(named) else [path_of(named)]
        if path := next((path for path in candidates if path.is_file()), None):
            files[patient] = path
    return files


def list_patients(cohort: Cohort, folder: Path, *, progress: OnProgress = ignore) -> Iterator[PatientToEncode]:
    """Yield the patients of a cohort with what their folders look like; no image is opened.

    Raises
    ------
    OutputRefused
        Two patients would share a file.
    """
    files: dict[str, str] = {}
    for patient in cohort.table["patient_id"]:
        # Some file systems take "a.h5" and "A.h5" for one file.
        other = files.setdefault(feature_path(folder, patient).name.casefold(), patient)
        if other is not patient:
            raise OutputRefused(f"Patients {other!r} and {patient!r} would share one feature file; rename one.")
    rows = zip(cohort.table["patient_id"], cohort.table["path"], cohort.table["n_images"], strict=True)
    for number, (patient, path, n_images) in enumerate(rows):
        progress(Progress("Looking for what is done", number, len(cohort), "patients"))
        listing, images = (None, 1) if pd.isna(path) else _listing(path_of(path))
        yield PatientToEncode(
            patient_id=patient,
            file=feature_path(folder, patient).name,
            path=None if pd.isna(path) else str(path),
            listing=listing,
            images=images if pd.isna(n_images) else max(1, int(n_images)),
        )


def refuse_other_features(folder: Path, encoder: str, weights_sha256: str, precision: str) -> None:
    """Find out, before any work is done, whether a folder holds features that must not be mixed with these.

    Raises
    ------
    FeaturesRefused
        It does; the message names both.
    """
    mine = (encoder, weights_sha256, precision)
    for path in folder.glob("*.h5"):
        try:
            with h5py.File(path, "r") as file:
                theirs = tuple(
                    str(file.attrs.get(key, "unknown")) for key in ("encoder", "weights_sha256", "precision")
                )
        except (OSError, RuntimeError):
            continue  # damaged: made again, if it is one of the cohort's patients
        if theirs != mine:
            both = " and ".join(f"{name} (weights {weights[:12]}, {kind})" for name, weights, kind in (theirs, mine))
            raise FeaturesRefused(
                f"{folder} would mix features of {both}: {path.name} is of the first. Choose another feature folder."
            )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and keep other runs out of it while the block runs.

    Temporary files of a run, or of a worker, that was killed are removed.

    Raises
    ------
    OutputRefused
        Another run writes there, or the folder cannot be written.
    """
    with only_run(folder, LOCK, "another feature folder"):
        _remove_leftovers(folder)
        try:
            yield
        finally:
            _remove_leftovers(folder)


def _remove_leftovers(folder: Path) -> None:
    for part in folder.glob(".caltomorph-*.part"):
        with contextlib.suppress(OSError):
            part.unlink()


def _listing(path: Path) -> tuple[str | None, int]:
    """Return the sum of names, sizes and times below a path, and about how many images there are."""
    digest, images, is_empty = hashlib.sha256(), 0, True
    for name, file in _files(path):
        try:
            stat = file.stat()
            facts = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        except OSError:  # a link to nowhere
            facts = (-1, -1, -1)
        digest.update(os.fsencode(name) + b"\0%d %d %d\n" % facts)
        is_empty = False
        if file == path and path.suffix.lower() in (".zip", ".tif", ".tiff"):
            images += max(1, facts[0] // _CELL_BYTES)
        else:
            images += is_image(file.name)
    return None if is_empty else digest.hexdigest(), max(1, images)


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield all files at and below a path, always in the same order; links are followed, each folder once."""
    if path.is_file():
        yield path.name, path
        return
    seen = set()
    for here, folders, files in os.walk(path, followlinks=True):
        stat = Path(here).stat()
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders.sort()
        for name in sorted(files):
            file = Path(here) / name
            yield str(file.relative_to(path)), file
