"""The patients at a place, by id, whatever their diagnosis: what there is to predict."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.cohort.layouts import find_layout
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.diagnose.tables import refuse_repeated_ids
from napari_caltomorph.errors import CohortUnreadable, SmearUnreadable
from napari_caltomorph.names import path_of
from napari_caltomorph.smear import find_smears, patient_id


def find_patients(place: Path) -> dict[str, Path]:
    """Return every patient whose images a place holds or names; labels are not asked for, and nobody is left out.

    Parameters
    ----------
    place : Path
        A folder in which each folder, archive or stack is one smear, also below folders of diagnoses; a table; a
        directory of another known layout; or a saved ``cohort.json``.

    Returns
    -------
    dict of str to Path
        Patient id -> the folder, archive or stack of the patient's cells.

    Raises
    ------
    CohortUnreadable
        There is no patient with images.
    OutputRefused
        Two patients bear one id.
    """
    if place.suffix == ".json" and place.is_file():
        return _with_images(Cohort.load(place).table, place)
    layout = find_layout(place, "auto")
    if layout.name != "folders":
        return _with_images(layout.read(place, CohortOptions()).table, place)
    smears = _smears(place)
    below = [smear for folder in sorted(place.iterdir()) if folder.is_dir() for smear in _smears(folder)]
    # A diagnosis with one patient looks like a patient whose export lies in a folder of its own: the others tell.
    found = below if len(below) > len(smears) else smears
    refuse_repeated_ids([patient_id(smear) for smear in found])
    return {patient_id(smear): smear for smear in found}


def _with_images(table: pd.DataFrame, place: Path) -> dict[str, Path]:
    known = table if "path" in table else table.assign(path=None)
    known = known[known["path"].notna()].drop_duplicates("patient_id")
    if known.empty:
        raise CohortUnreadable(
            f"{place}: its {len(table)} patients have no images, only features; predict needs cells."
        )
    return {str(row["patient_id"]): path_of(str(row["path"])) for row in known.to_dict("records")}


def _smears(folder: Path) -> list[Path]:
    try:
        return find_smears(folder)
    except SmearUnreadable:
        return []
