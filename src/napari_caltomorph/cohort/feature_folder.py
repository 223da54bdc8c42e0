"""A feature folder: the file of each patient, features that must not be mixed, and one run at a time that writes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import pandas as pd

from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.diagnosis.prediction_files import folder_name
from napari_caltomorph.errors import FeaturesRefused
from napari_caltomorph.storage import only_run, path_of

LOCK = ".caltomorph-encode.lock"


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


def refuse_other_features(folder: Path, encoder: str, weights_sha256: str, precision: str) -> None:
    """Refuse, before any computation, a folder with features that must not be mixed with these.

    Raises
    ------
    FeaturesRefused
        There are such features; the message names both.
    """
    mine = (encoder, weights_sha256, precision)
    for path in folder.glob("*.h5"):
        try:
            with h5py.File(path, "r") as file:
                theirs = tuple(
                    str(file.attrs.get(key, "unknown")) for key in ("encoder", "weights_sha256", "precision")
                )
        except (OSError, RuntimeError):
            continue  # damaged: encoded again, if it is one of the cohort's patients
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
