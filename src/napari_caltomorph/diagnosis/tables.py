"""Predictions as the files of the contract: predictions.csv, cells.csv and prediction.json."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from napari_caltomorph.diagnosis.prediction import FILE_NAME, Prediction
from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.storage import replacing

PATIENT_TABLE = "predictions.csv"
CELL_TABLE = "cells.csv"

# Separators and control characters lead elsewhere or nowhere, the others are refused by Windows.
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


def save_predictions(predictions: Sequence[Prediction], folder: Path) -> list[Path]:
    """Write one row a patient, one row a cell, and each prediction whole.

    One patient's ``prediction.json`` stands beside the tables; those of several stand in a folder each.

    Parameters
    ----------
    predictions : sequence of Prediction
        At least one; patient ids differ.
    folder : Path
        Made if needed; files of these names in it are replaced.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    OutputRefused
        Two patients bear one id, or the folder cannot be written.
    """
    refuse_repeated_ids([p.patient_id for p in predictions])
    paths = []
    for prediction in predictions:
        path = prediction_file(folder, prediction.patient_id, patients=len(predictions))
        prediction.save(path)
        paths.append(path)
    return [*paths, *save_tables(predictions, folder)]


def save_tables(predictions: Sequence[Prediction], folder: Path) -> list[Path]:
    """Write one row a patient and one row a cell, and nothing else of `save_predictions`."""
    tables = {
        PATIENT_TABLE: pd.DataFrame([p.patient_row() for p in predictions]),
        CELL_TABLE: pd.concat([p.cell_table() for p in predictions]),
    }
    for name, table in tables.items():
        with replacing(folder / name) as part:
            table.to_csv(part, index=False)
    return [folder / name for name in tables]


def prediction_file(folder: Path, patient_id: str, *, patients: int) -> Path:
    """Return where a prediction stands whole: beside the tables if it is alone there, else in the patient's folder."""
    return (folder if patients == 1 else folder / folder_name(patient_id)) / FILE_NAME


def refuse_repeated_ids(ids: Sequence[str]) -> None:
    """Raise `OutputRefused` when two patients of one output folder would bear the same id."""
    if twice := {name for name, count in Counter(map(folder_name, ids)).items() if count > 1}:
        raise OutputRefused(f"Two smears are called {min(twice)}; rename one, or predict them into two folders.")


def folder_name(patient_id: str) -> str:
    """Return the name of a patient's own folder: the id, with what could lead out of its parent percent-escaped."""
    name = _NOT_IN_NAMES.sub(_escaped, patient_id) or "_"
    is_taken = name in {".", "..", FILE_NAME, PATIENT_TABLE, CELL_TABLE}
    return re.sub(r"\.", _escaped, name) if is_taken else name


def _escaped(character: re.Match[str]) -> str:
    return f"%{ord(character[0]):02X}"
