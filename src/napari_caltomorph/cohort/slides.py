"""Patients with several slides: one bag a patient with the cells of all slides, or one bag a slide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, count
from typing import Any

import pandas as pd

from napari_caltomorph.cohort.layout_folders import LayoutResult
from napari_caltomorph.encoding.h5_reader import is_feature_file
from napari_caltomorph.errors import counted, printable
from napari_caltomorph.smear import find_slides, patient_id
from napari_caltomorph.storage import path_of, paths_of, place_of

# These are of a patient and not of a slide.
_OF_PATIENT = ("age", "sex", "hemoglobin_g_dl", "group", "split")


def complete_labels(found: LayoutResult) -> LayoutResult:
    """Give rows without a diagnosis the one of their patient's other rows, where those have one diagnosis."""
    table = found.table
    given = table.groupby("patient_id")["raw_label"]
    is_completed = table["raw_label"].isna() & (given.transform("nunique") == 1)
    if not is_completed.any():
        return found
    first = table.loc[is_completed, "patient_id"].iloc[0]
    note = f"Rows without a diagnosis: {int(is_completed.sum())}, read as their patient's others (first: {first})."
    labels = table["raw_label"].where(~is_completed, given.transform("first"))
    return replace(found, table=table.assign(raw_label=labels), notes=[*found.notes, note])


def join_slides(found: LayoutResult) -> LayoutResult:
    """Make one row of a patient's slides: rows with one label and different places, all of images or all of features.

    Rows with different labels, without a place, or that repeat others, stay: the rules of cleaning leave them out.
    """
    table, dropped, differing = found.table.copy(), list[int](), defaultdict[str, list[str]](list)
    for patient, rows in table[table["patient_id"].duplicated(keep=False)].groupby("patient_id", sort=False):
        given = rows.reindex(columns=["path", "features"]).count()
        column = str(given.idxmax())
        slides = rows.dropna(subset=column).drop_duplicates(column)
        if len(slides) < 2 or given[column] < given.sum() or rows["raw_label"].nunique(dropna=False) > 1:
            continue
        table.loc[slides.index[0], column] = place_of([path_of(place) for place in slides[column]])
        dropped += list(slides.index[1:])
        for name in _OF_PATIENT:
            if name in rows and rows[name].nunique() > 1:
                differing[name].append(str(patient))
    notes = [
        f"The rows of {counted(len(patients), 'patient')} differ in {name!r} (first: {patients[0]}): the first of each "
        "is used."
        for name, patients in differing.items()
    ]
    return replace(found, table=table.drop(index=dropped).reset_index(drop=True), notes=found.notes + notes)


def split_slides(found: LayoutResult) -> LayoutResult:
    """Make a row, called ``<patient>_<slide>``, of each slide; ``slide_of`` is its patient, for the splits.

    Patients with rows of different labels stay, for the rules of cleaning.
    """
    table = found.table.reset_index(drop=True)
    slides = pd.Series([_slides(row) for row in table.to_dict("records")], index=table.index, dtype=object).explode()
    rows = table.loc[slides.index].reset_index(drop=True)
    slides, is_repeat = slides.reset_index(drop=True), slides.index.duplicated()
    patients = rows["patient_id"]
    labels = rows["raw_label"].groupby(patients).transform(lambda one: one.nunique(dropna=False))
    is_slide = (slides.groupby(patients).transform("nunique") > 1) & (labels == 1) & slides.notna()
    names = _names(patients[is_slide], slides[is_slide], taken=patients)
    given = rows.get("slide_of", pd.Series(None, index=rows.index, dtype=object))
    rows["slide_of"] = given.fillna(patients.where(is_slide))
    rows["patient_id"] = [names.get(one, one[0]) for one in zip(patients, slides, strict=True)]
    for column in ("path", "features"):
        if column in rows:
            rows[column] = slides.where(is_slide & rows[column].notna(), rows[column])
    several = patients[is_slide].drop_duplicates()
    note = f"Patients with several slides: {len(several)}. Each slide is one bag, and a patient's are not split apart."
    kept = rows[is_slide | ~is_repeat].reset_index(drop=True)
    return replace(found, table=kept, notes=found.notes + ([note] if len(several) else []))


def _slides(row: dict[Any, Any]) -> list[str | None]:
    """Return the places of a row's slides: those that it names, or those in the one folder that it names."""
    place = next((str(row[column]) for column in ("path", "features") if not pd.isna(row.get(column))), None)
    if place is None:
        return [None]
    paths = paths_of(place)
    if len(paths) == 1:
        paths = find_slides(paths[0]) or paths
    return [place_of([path]) for path in paths]


def _names(patients: Iterable[str], slides: Iterable[str], taken: Iterable[str]) -> dict[tuple[str, str], str]:
    """Return an id for each slide of a patient that no file system takes for another's."""
    used = {patient.casefold() for patient in taken}
    names: dict[tuple[str, str], str] = {}
    for patient, slide in dict.fromkeys(zip(patients, slides, strict=True)):
        path = path_of(slide)
        name = f"{patient}_{path.stem if is_feature_file(path.name) else patient_id(path)}"
        unique = next(
            one for one in chain([name], (f"{name}_{number}" for number in count(2))) if one.casefold() not in used
        )
        used.add(unique.casefold())
        names[patient, slide] = printable(unique)
    return names
