"""Which folders are patients, and which diagnoses: by the ids of a table, by names, and by how deep images are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from napari_caltomorph.cohort.ids import match_ids
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.table_columns import as_id, ids_in
from napari_caltomorph.errors import CohortUnreadable
from napari_caltomorph.smear import Candidate, find_candidates, patient_id
from napari_caltomorph.smear.slides import are_slides, is_diagnosis


@dataclass(frozen=True)
class FoundFolders:
    """The patients that folders show, each with the label of the folder that it is in, where there is one."""

    patients: list[tuple[Candidate, str | None]]
    is_labelled: bool  # Folders of diagnoses, and not of patients, are directly in the place


def find_folders(path: Path, table: Path | None, options: CohortOptions, *, has_labels: bool = False) -> FoundFolders:
    """Return the patients in a folder, or in the folders of diagnoses in it, those without images too.

    The ids of a table decide which of both it is, otherwise names and how deep images are. Where both are possible,
    folders are diagnoses if it is known that the patients have labels. Raises `CohortUnreadable` where there is no
    image, the folders of diagnoses are a level lower, or the table cannot be read.
    """
    candidates = find_candidates(path)
    flat = [one for one in candidates if one.levels is not None]
    if not flat:
        raise CohortUnreadable(f"{path} has no folder with cell images; name the directory above the patients.")
    labelled: list[tuple[Candidate, str | None]] = [
        (one, label.path.name) for label in candidates for one in label.below
    ]
    if table is None:
        are_labels = _are_labels(flat)
        if are_labels is None:
            are_labels = has_labels and bool(labelled)
    else:
        # A patient's export may be in a folder of its own, which looks like a label with one patient: the ids decide.
        ids = ids_in(table, options)
        of_flat, of_labelled = (_matched(ids, found) for found in (candidates, [one for one, _ in labelled]))
        are_labels = len(of_flat) <= len(of_labelled) and any(one.levels is not None for one, _ in labelled)
        flat = [one for one in candidates if one.levels is not None or as_id(patient_id(one.path)) in of_flat]
    if not are_labels:
        return FoundFolders([(one, None) for one in flat], is_labelled=False)
    _refuse_diagnoses_below(path, flat)
    outside = [one for one in flat if one.has_cells and all(below.levels is None for below in one.below)]
    return FoundFolders([*labelled, *((one, None) for one in outside)], is_labelled=True)


def _matched(ids: Iterable[str], found: Iterable[Candidate]) -> set[str]:
    return set(match_ids(ids, [id_ for one in found if (id_ := as_id(patient_id(one.path)))]).found.values())


def _are_labels(found: list[Candidate]) -> bool | None:
    """Whether folders are diagnoses of patients, and not patients; None where each has one folder, as both have."""
    folders = [one for one in found if not one.has_cells]
    several, of_one = [one for one in folders if one.levels], len(found) - len(folders)
    if any(is_diagnosis(one.path.name) for one in folders) or any(one.levels == 2 for one in several):
        return True
    if not several:
        return None if len(folders) >= max(1, of_one) else False
    names = [(one.path.name, [below.path.name for below in one.below]) for one in several]
    if all(are_slides(patient, slides) for patient, slides in names):
        return False
    counts = Counter(name.casefold() for _, below in names for name in below)
    if sum(count for count in counts.values() if count > 1) > counts.total() / 2:
        return False  # slides have the same names in many patients; no patient has several diagnoses
    smears = sum(below.levels is not None for one in folders for below in one.below)
    # The patients of few diagnoses outnumber them; of many patients, few have several slides.
    return of_one <= len(several) and smears > len(found) - len(several)


def _refuse_diagnoses_below(path: Path, labels: list[Candidate]) -> None:
    """Raise `CohortUnreadable` where diagnoses are a level lower: their patients would be taken for slides."""
    below = [one for label in labels if label.levels == 2 for one in label.below if one.levels == 1]
    named = [one for one in below if is_diagnosis(one.path.name)]
    if 2 * len(named) > len(below) and not any(is_diagnosis(label.path.name) for label in labels):
        raise CohortUnreadable(
            f"{path}: the folders of diagnoses are a level lower ({named[0].path}); name the folder that they are in, "
            f"{named[0].path.parent}."
        )
