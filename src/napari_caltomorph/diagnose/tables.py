"""Predictions as the files of the contract: predictions.csv, cells.csv and prediction.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from napari_caltomorph.diagnose.prediction import FILE_NAME, Prediction
from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.storage import replacing


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
        path = folder / FILE_NAME if len(predictions) == 1 else folder / prediction.patient_id / FILE_NAME
        prediction.save(path)
        paths.append(path)
    tables = {
        "predictions.csv": pd.DataFrame([p.patient_row() for p in predictions]),
        "cells.csv": pd.concat([p.cell_table() for p in predictions]),
    }
    for name, table in tables.items():
        with replacing(folder / name) as part:
            table.to_csv(part, index=False)
        paths.append(folder / name)
    return paths


def refuse_repeated_ids(ids: Sequence[str]) -> None:
    """Raise `OutputRefused` when two patients of one output folder would bear the same id."""
    if twice := {i for i, count in Counter(ids).items() if count > 1}:
        raise OutputRefused(f"Two smears are called {min(twice)}; rename one, or predict them into two folders.")
