"""The patients in a folder or table, with or without a diagnosis: which there are to predict, and what is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from napari_caltomorph.cohort.cohort import Cohort, with_types
from napari_caltomorph.cohort.layouts import find_layout
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.diagnosis.prediction_files import refuse_repeated_ids
from napari_caltomorph.errors import CohortUnreadable, SmearUnreadable
from napari_caltomorph.smear import find_smears, patient_id, read_smear
from napari_caltomorph.smear.trees import folders_in
from napari_caltomorph.storage import StrPath, path_of


@dataclass(frozen=True)
class FoundPatient:
    """One patient with images."""

    path: Path  # The folder, archive or stack of the patient's cells
    # What a table adds, as a report shows it: age, sex, diagnosis, measured hemoglobin.
    facts: Mapping[str, str] = field(default_factory=dict)


def find_patients(place: StrPath) -> dict[str, FoundPatient]:
    """Return every patient with images in a folder or table, by id; no label is needed, and no patient is left out.

    Parameters
    ----------
    place : str or Path
        A folder in which each folder, archive or stack is one smear, also below folders of diagnoses; a table; a
        directory of another known layout; or a saved ``cohort.json``.

    Raises
    ------
    CohortUnreadable
        There is no patient with images, or it is one patient's smear.
    OutputRefused
        Two patients have one id.
    """
    place = Path(place)
    if place.suffix == ".json" and place.is_file():
        return _with_images(Cohort.load(place).table, place)
    try:
        layout = find_layout(place, "auto")
    except CohortUnreadable as error:
        if not _is_smear(place):
            raise
        raise CohortUnreadable(
            f"{place} is one patient's smear; name the folder above it, or predict it by itself (without --each)."
        ) from error
    if layout.name != "folders":
        return _with_images(layout.read(place, CohortOptions()).table, place)
    found = _in_folders(place)
    try:
        table = with_types(layout.read(place, CohortOptions()).table).drop_duplicates("patient_id")
    except CohortUnreadable:  # no labels: a cohort needs them, a prediction does not
        return found
    facts = {str(row["patient_id"]): _facts(row) for row in table.to_dict("records")}
    return {patient: FoundPatient(one.path, facts.get(patient, {})) for patient, one in found.items()}


def _in_folders(place: Path) -> dict[str, FoundPatient]:
    smears = _smears(place)
    below = [smear for folder in folders_in(place) for smear in _smears(folder)]
    # A diagnosis with one patient looks like a patient with an export in a folder of its own: the others decide.
    found = below if len(below) > len(smears) else smears
    refuse_repeated_ids([patient_id(smear) for smear in found])
    return {patient_id(smear): FoundPatient(smear) for smear in found}


def _with_images(table: pd.DataFrame, place: Path) -> dict[str, FoundPatient]:
    known = with_types(table)
    known = known[known["path"].notna()].drop_duplicates("patient_id")
    if known.empty:
        raise CohortUnreadable(
            f"{place}: its {len(table)} patients have no images, only features; predict needs cells."
        )
    return {
        str(row["patient_id"]): FoundPatient(path_of(str(row["path"])), _facts(row)) for row in known.to_dict("records")
    }


def _facts(row: Mapping[Any, Any]) -> dict[str, str]:
    shown = {
        "age": ("age", "{:g}"),
        "sex": ("sex", "{}"),
        "raw_label": ("diagnosis given", "{}"),
        "hemoglobin_g_dl": ("hemoglobin measured", "{:.1f} g/dl"),
    }
    return {name: form.format(row[column]) for column, (name, form) in shown.items() if not pd.isna(row[column])}


def _is_smear(place: Path) -> bool:
    try:
        read_smear(place)
    except SmearUnreadable:
        return False
    return True


def _smears(folder: Path) -> list[Path]:
    try:
        return find_smears(folder)
    except SmearUnreadable:
        return []
