"""Predictions on disk: predictions.csv, cells.csv, each ``prediction.json``, and the smear that one was made of."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from napari_caltomorph.csv_files import write_csv
from napari_caltomorph.diagnosis.prediction import FILE_NAME, Prediction
from napari_caltomorph.errors import OutputRefused, SmearUnreadable
from napari_caltomorph.smear import Smear, open_place
from napari_caltomorph.storage import StrPath

PATIENT_TABLE = "predictions.csv"
CELL_TABLE = "cells.csv"

_RESULTS = {
    *("predicted_class", "malignancy", "hemoglobin_g_dl"),
    *("second_class", "delta_probability", "stands_out", "prediction_set"),
}

# Separators and control characters change the path. Windows refuses the others, and drops a last dot or space. A half
# of a character (a surrogate) has no bytes.
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|\ud800-\udfff]|[. ]\Z')
# What Windows takes for a device, also with a suffix: con, con.h5.
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\.|\Z)", re.IGNORECASE)
# In bytes. File systems take 255, and ".h5" is added; a shortened name has room for longer additions.
_LONGEST, _KEPT = 252, 100


def save_predictions(predictions: Sequence[Prediction], folder: StrPath) -> list[Path]:
    """Write one row a patient, one row a cell, and each prediction whole, into a folder.

    Parameters
    ----------
    predictions : sequence of Prediction
    folder : str or Path
        Files of these names are replaced.

    Returns
    -------
    list of Path
        The files written: each ``prediction.json``, next to the tables for a single patient and in a folder of its own
        for several; then ``predictions.csv`` and ``cells.csv``.

    Raises
    ------
    OutputRefused
        Two patients have the same id, or the folder cannot be written.
    """
    refuse_repeated_ids([p.patient_id for p in predictions])
    folder, paths = Path(folder), []
    for prediction in predictions:
        path = prediction_file(folder, prediction.patient_id, patients=len(predictions))
        prediction.save(path)
        paths.append(path)
    return [*paths, *save_tables(predictions, folder)]


def save_tables(predictions: Sequence[Prediction], folder: Path) -> list[Path]:
    """Write the tables of `save_predictions`: one row a patient, and one row a cell."""
    tables = {
        PATIENT_TABLE: pd.DataFrame([patient_row(p) for p in predictions]),
        CELL_TABLE: pd.concat([p.cell_table() for p in predictions]),
    }
    for name, table in tables.items():
        write_csv(table, folder / name)
    return [folder / name for name in tables]


def patient_row(prediction: Prediction) -> dict[str, Any]:
    """Return the row of ``predictions.csv``; where the prediction is withheld, its class and numbers are empty."""
    policy: dict[str, Any] = {}
    if prediction.policy is not None:
        policy = {"policy": str(prediction.policy), "withheld": "; ".join(prediction.withheld)}
    row = _row(prediction)
    if prediction.withheld:
        row |= dict.fromkeys(set(row) & {*_RESULTS, *(f"p_{slug}" for slug in prediction.taxonomy.slugs)})
    return row | policy | {"warnings": "; ".join(prediction.warnings)}


def _row(prediction: Prediction) -> dict[str, Any]:
    (first, _), (second, _) = prediction.top(2)
    probabilities = zip(prediction.taxonomy.slugs, prediction.probabilities, strict=True)
    return {
        "patient_id": prediction.patient_id,
        "predicted_class": first,
        **{f"p_{slug}": p for slug, p in probabilities},
        "malignancy": prediction.malignancy,
        "hemoglobin_g_dl": prediction.hemoglobin,
        "second_class": second,
        "delta_probability": prediction.delta_probability,
        "stands_out": prediction.stands_out,
        "n_cells": len(prediction.cells),
        "calibrated": prediction.calibrated,
        **({} if prediction.prediction_set is None else {"prediction_set": "; ".join(prediction.prediction_set)}),
        **(
            {} if (at := prediction.prevalence) is None else {"prevalence": at.value, "training_prevalence": at.trained}
        ),
    }


def prediction_file(folder: Path, patient_id: str, *, patients: int) -> Path:
    """Return the path of a ``prediction.json``: next to the tables for one patient, else in the patient's folder."""
    return (folder if patients == 1 else folder / folder_name(patient_id)) / FILE_NAME


def refuse_repeated_ids(ids: Iterable[str]) -> None:
    """Raise `OutputRefused` when two patients have the same id, or would have the same folder or file."""
    known: dict[str, str] = {}
    for patient in ids:
        # Many file systems ignore case, and how an umlaut is composed.
        key = unicodedata.normalize("NFC", folder_name(patient)).casefold()
        if known.get(key) == patient:
            raise OutputRefused(f"Two smears are called {patient}; rename one, or predict them into two folders.")
        if key in known:
            raise OutputRefused(f"Two patients would share their files: {known[key]!r} and {patient!r}; rename one.")
        known[key] = patient


def folder_name(patient_id: str) -> str:
    """Return the name of a patient's folder, and the beginning of the names of the patient's files, on every system.

    It is the id, with characters that are unsafe in paths percent-escaped. Of an id that is too long for the name of a
    file, it is the beginning and a part of the id's SHA-256.
    """
    is_taken = patient_id in {".", "..", FILE_NAME, PATIENT_TABLE, CELL_TABLE}
    name = re.sub(r"\.", _escaped, patient_id) if is_taken else _NOT_IN_NAMES.sub(_escaped, patient_id) or "_"
    if _DEVICE.match(name):
        name = re.sub(r"\A.", _escaped, name)
    if len(name.encode()) <= _LONGEST:
        return name
    digest = hashlib.sha256(patient_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{name.encode()[:_KEPT].decode(errors='ignore')}~{digest}"


def _escaped(character: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in character[0].encode("utf-8", "surrogatepass"))


def find_smear(prediction: Prediction) -> Smear:
    """Open the smear that a prediction was made of, where it still is.

    Raises `SmearUnreadable` where it was not read from disk, or is missing; the message names the place.
    """
    if files := prediction.feature_files:
        raise SmearUnreadable(
            f"{prediction.patient_id} was predicted from features ({files[0].name}), which have no images; to see its "
            "cells, predict their images."
        )
    if prediction.smear_path is None:
        raise SmearUnreadable(f"{prediction.patient_id} was predicted from a layer; its images are not on disk.")
    smear = open_place(prediction.smear_path)
    if missing := set(prediction.cells) - set(smear.cells):
        raise SmearUnreadable(
            f"{prediction.smear_path} lacks {len(missing)} of the cells that were predicted (first: {min(missing)}); "
            "restore the export at this place."
        )
    return smear
