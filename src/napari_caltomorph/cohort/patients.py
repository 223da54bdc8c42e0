"""The patients in a folder or table, with or without a diagnosis: which there are to predict, and what is known."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from napari_caltomorph.cohort.cohort import Cohort, with_types
from napari_caltomorph.cohort.find_folders import find_folders
from napari_caltomorph.cohort.layout_features import find_bags
from napari_caltomorph.cohort.layout_folders import LayoutResult
from napari_caltomorph.cohort.layouts import Layout, find_layout
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.table_file import find_table
from napari_caltomorph.diagnosis.prediction_files import folder_name, refuse_repeated_ids
from napari_caltomorph.encoding.h5_reader import is_feature_file
from napari_caltomorph.errors import CohortUnreadable, SmearUnreadable, printable
from napari_caltomorph.smear import Candidate, Smear, find_candidates, open_place, patient_id, read_smear
from napari_caltomorph.smear.images import is_image
from napari_caltomorph.smear.slides import are_slides
from napari_caltomorph.storage import StrPath, path_of, paths_of, place_of


@dataclass(frozen=True)
class FoundPatient:
    """One patient to predict, or one that was found and cannot be predicted."""

    path: Path  # The folder, archive or stack of the patient's cells, or where it would be
    # What a table adds, as a report shows it: age, sex, diagnosis, measured hemoglobin.
    facts: Mapping[str, str] = field(default_factory=dict)
    # Where the cells are, as `open_place` takes it, if all of them are known to be one patient's
    place: str | None = None
    problem: str = ""  # Why there are no cells; empty where there are
    features: tuple[Path, ...] = ()  # The feature files, one a slide, of a patient without images

    def read(self) -> Smear:
        """Open the images of the cells; `SmearUnreadable` where that is not possible."""
        if self.problem:
            raise SmearUnreadable(self.problem)
        if self.features:
            raise SmearUnreadable(f"{self.path} contains features and no images; name the folder of its images.")
        return read_smear(self.path) if self.place is None else open_place(self.place)


def find_patients(place: StrPath, *, slides: bool = False) -> dict[str, FoundPatient]:
    """Return every patient in a folder or table, by id; no label is needed, and no patient is left out.

    Patients without cells that can be read are among them, each with its problem.

    Parameters
    ----------
    place : str or Path
        A folder in which each folder, archive or stack is one patient, also below folders of diagnoses; a folder of
        feature files; a table; a directory of another known layout; or a saved ``cohort.json``.
    slides : bool
        Each folder in `place` is known to be one patient, and the folders in it are slides.

    Raises
    ------
    CohortUnreadable
        There is no patient with images or features, or it is one patient's smear.
    OutputRefused
        Two patients have one id.
    """
    place = Path(place)
    if place.suffix == ".json" and place.is_file():
        return _in_table(LayoutResult(Cohort.load(place).table), place)
    if slides:
        return _in_folders([one for one in find_candidates(place) if one.levels is not None])
    try:
        layout = find_layout(place, "auto")
    except CohortUnreadable as error:
        if not _is_smear(place):
            raise
        raise CohortUnreadable(
            f"{place} is one patient's smear; name the folder above it, or predict it by itself (in the terminal "
            "without --each)."
        ) from error
    if layout.name == "features":
        return _in_feature_folder(place, layout)
    if layout.name != "folders":
        return _in_table(layout.find(place, CohortOptions()), place)
    patients = _in_folders(_candidates(place))
    try:
        found = layout.read(place, CohortOptions())
    except CohortUnreadable:  # no labels: a cohort needs them, a prediction does not
        return patients
    rows = with_types(found.table).drop_duplicates("patient_id").to_dict("records")
    facts = {str(row["patient_id"]): _facts(row) for row in rows}
    patients = {patient: replace(one, facts=facts.get(patient, {})) for patient, one in patients.items()}
    return _with_problems(patients, {patient: reason for patient, _, _, reason in found.left_out}, place)


def named_patients(places: Sequence[StrPath], *, slides: bool = False) -> dict[str, FoundPatient]:
    """Return the patient of each folder, archive, stack, image or feature file, by id.

    All images of one folder are one patient.

    A shell makes many images of ``P01/*.tif``.

    Parameters
    ----------
    places : sequence of str or Path
    slides : bool
        The folders in each place are known to be slides of that patient.

    Raises
    ------
    SmearUnreadable
        Among several places are single images, and they are not all images of one folder.
    OutputRefused
        Two patients have one id.
    """
    paths = list(dict.fromkeys(map(Path, places)))
    if len(paths) > 1 and (images := [path for path in paths if _is_one_cell(path)]):
        paths = [_folder_of(images, paths)]
    names = [printable(path.stem) if _is_bag(path) else patient_id(path) for path in paths]
    refuse_repeated_ids(names)
    whole = {path: place_of([path]) if slides else None for path in paths}
    found = [_of_bags([path]) if _is_bag(path) else FoundPatient(path, place=whole[path]) for path in paths]
    return dict(zip(names, found, strict=True))


def _candidates(place: Path) -> list[Candidate]:
    """Return the patients in a folder, by the ids of its table where there is one that can be read."""
    options = CohortOptions()
    try:
        table = find_table(place, options)
        found = find_folders(place, table, options)
    except CohortUnreadable:
        table, found = None, find_folders(place, None, options)
    candidates = [one for one, _ in found.patients]
    names = [one.path.name for one in candidates]
    if table is None and not found.is_labelled and are_slides(patient_id(place), names):
        raise CohortUnreadable(
            f"{place} is one patient's smear by the names of its folders ({names[0]}), which are slides then: predict "
            "it by itself (in the terminal without --each), or name the folders one by one if they are patients."
        )
    return candidates


def _in_folders(found: Iterable[Candidate]) -> dict[str, FoundPatient]:
    ids = [patient_id(one.path) for one in found]
    refuse_repeated_ids(ids)
    return {name: FoundPatient(one.path, place=place_of([one.path])) for name, one in zip(ids, found, strict=True)}


def _in_table(found: LayoutResult, place: Path) -> dict[str, FoundPatient]:
    table = with_types(found.table)
    patients, problems = dict[str, FoundPatient](), dict[str, str]()
    labels = table.groupby("patient_id")["raw_label"].transform(lambda one: one.nunique(dropna=False))
    for row, count in zip(table.to_dict("records"), labels, strict=True):
        name, where, bags = str(row["patient_id"]), row["path"], row["features"]
        if count > 1:
            problems[name] = "it has rows with different diagnoses, as two patients have"
        elif pd.isna(where) and pd.isna(bags):
            problems[name] = "it has neither images nor features"
        elif pd.isna(where):
            patients.setdefault(name, _of_bags(paths_of(bags), _facts(row)))
        else:
            patients.setdefault(name, FoundPatient(paths_of(where)[0], _facts(row), str(where)))
    return _with_problems(patients, problems | {patient: reason for patient, _, _, reason in found.left_out}, place)


def _in_feature_folder(place: Path, layout: Layout) -> dict[str, FoundPatient]:
    """Return each bag as a patient, or joined with others as a table says; those without a row are patients too."""
    bags, _ = find_bags(place)
    refuse_repeated_ids(bags["patient_id"])
    alone = {name: _of_bags([path_of(bag)]) for name, bag in zip(bags["patient_id"], bags["features"], strict=True)}
    try:
        found = _in_table(layout.find(place, CohortOptions()), place)
    except CohortUnreadable:  # no labels: a cohort needs them, a prediction does not
        return alone
    return {name: alone.get(name, one) if one.problem else one for name, one in found.items()}


def _of_bags(paths: Sequence[Path], facts: Mapping[str, str] = MappingProxyType({})) -> FoundPatient:
    return FoundPatient(paths[0], facts, features=tuple(paths))


def _with_problems(
    patients: Mapping[str, FoundPatient], problems: Mapping[str, str], place: Path
) -> dict[str, FoundPatient]:
    """Return the patients, and those that were found and cannot be predicted."""
    folder = place if place.is_dir() else place.parent
    others = {
        patient: FoundPatient(folder / folder_name(patient), problem=f"{patient}: {reason}.")
        for patient, reason in problems.items()
        if patient not in patients
    }
    return {**patients, **others}


def _facts(row: Mapping[Any, Any]) -> dict[str, str]:
    shown = {
        "age": ("age", "{:g}"),
        "sex": ("sex", "{}"),
        "raw_label": ("diagnosis given", "{}"),
        "hemoglobin_g_dl": ("hemoglobin measured", "{:.1f} g/dl"),
    }
    return {name: form.format(row[column]) for column, (name, form) in shown.items() if not pd.isna(row[column])}


def _is_bag(path: Path) -> bool:
    return is_feature_file(path.name) and not path.is_dir()


def _is_smear(place: Path) -> bool:
    try:
        read_smear(place)
    except SmearUnreadable:
        return False
    return True


def _is_one_cell(path: Path) -> bool:
    return is_image(path.name) and path.is_file() and len(read_smear(path)) == 1


def _folder_of(images: list[Path], paths: list[Path]) -> Path:
    folders = list(dict.fromkeys(path.parent for path in images))
    if len(images) == len(paths) and len(folders) == 1:
        cells = set(read_smear(folders[0]).cells)
        if cells == {printable(path.name) for path in images}:
            return folders[0]
        problem = f"{len(images)} of the {len(cells)} images in {folders[0]} are named"
    else:
        problem = f"{len(images)} of {len(paths)} places are single images (first: {images[0]})"
    named = " ".join(shlex.quote(str(folder)) for folder in folders[:3]) + (" ..." if len(folders) > 3 else "")
    raise SmearUnreadable(f"{problem}; which patients are meant? Name the folder of each instead: {named}")
