"""Predictions on disk: predictions.csv, cells.csv, each ``prediction.json``, and the smear that one was made of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_caltomorph.csv_files import write_csv
from napari_caltomorph.diagnosis.prediction import FILE_NAME, Prediction
from napari_caltomorph.errors import OutputRefused, SmearUnreadable
from napari_caltomorph.smear import Smear, open_place
from napari_caltomorph.storage import StrPath

PATIENT_TABLE = "predictions.csv"
CELL_TABLE = "cells.csv"

# Separators and control characters change the path, and Windows refuses the others.
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


def save_predictions(predictions: Sequence[Prediction], folder: StrPath) -> list[Path]:
    """Write one row a patient, one row a cell, and each prediction whole, into a folder; return the files written.

    The ``prediction.json`` of a single patient is next to the tables; with several patients each has a folder. Files of
    these names are replaced. Raises `OutputRefused` where two patients have the same id, or the folder cannot be
    written.
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
        CELL_TABLE: pd.concat([cell_table(p) for p in predictions]),
    }
    for name, table in tables.items():
        write_csv(table, folder / name)
    return [folder / name for name in tables]


def patient_row(prediction: Prediction) -> dict[str, Any]:
    """Return the row of ``predictions.csv``."""
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
        "n_cells": len(prediction.cells),
        "calibrated": prediction.calibrated,
        **({} if prediction.prediction_set is None else {"prediction_set": "; ".join(prediction.prediction_set)}),
        "warnings": "; ".join(prediction.warnings),
    }


def cell_table(prediction: Prediction) -> pd.DataFrame:
    """Return one row a cell, most attended first, with the columns of ``cells.csv``; attention is NaN without any."""
    order, taxonomy = prediction.order, prediction.taxonomy
    columns: dict[str, Any] = {
        "patient_id": prediction.patient_id,
        "cell": [prediction.cells[i] for i in order],
        "rank": prediction.ranks[order],
        "attention": prediction.attention[order] if prediction.has_attention else np.nan,
        "alone_class": [taxonomy.names[i] for i in prediction.alone_class[order]],
    }
    columns |= {f"alone_p_{slug}": prediction.alone[order, i] for i, slug in enumerate(taxonomy.slugs)}
    return pd.DataFrame(columns)


def prediction_file(folder: Path, patient_id: str, *, patients: int) -> Path:
    """Return the path of a ``prediction.json``: next to the tables for one patient, else in the patient's folder."""
    return (folder if patients == 1 else folder / folder_name(patient_id)) / FILE_NAME


def refuse_repeated_ids(ids: Sequence[str]) -> None:
    """Raise `OutputRefused` when two patients of one output folder would have the same id."""
    if twice := {name for name, count in Counter(map(folder_name, ids)).items() if count > 1}:
        raise OutputRefused(f"Two smears are called {min(twice)}; rename one, or predict them into two folders.")


def folder_name(patient_id: str) -> str:
    """Return the name of a patient's folder: the id, with characters that are unsafe in paths percent-escaped."""
    name = _NOT_IN_NAMES.sub(_escaped, patient_id) or "_"
    is_taken = name in {".", "..", FILE_NAME, PATIENT_TABLE, CELL_TABLE}
    return re.sub(r"\.", _escaped, name) if is_taken else name


def _escaped(character: re.Match[str]) -> str:
    return f"%{ord(character[0]):02X}"


def find_smear(prediction: Prediction) -> Smear:
    """Open the smear that a prediction was made of, where it still is.

    Raises `SmearUnreadable` where it was not read from disk, or is missing; the message names the place.
    """
    if prediction.smear_path is None:
        raise SmearUnreadable(f"{prediction.patient_id} was predicted from a layer; its images are not on disk.")
    smear = open_place(prediction.smear_path)
    if missing := set(prediction.cells) - set(smear.cells):
        raise SmearUnreadable(
            f"{prediction.smear_path} lacks {len(missing)} of the cells that were predicted (first: {min(missing)}); "
            "restore the export at this place."
        )
    return smear
