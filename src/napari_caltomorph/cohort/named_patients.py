"""The patients that a person names one by one, as arguments; a shell makes many images of ``P01/*.tif``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from napari_caltomorph.cohort.patients import FoundPatient
from napari_caltomorph.diagnosis.prediction_files import refuse_repeated_ids
from napari_caltomorph.errors import SmearUnreadable, printable
from napari_caltomorph.smear import patient_id, read_smear
from napari_caltomorph.smear.images import is_image
from napari_caltomorph.storage import StrPath, place_of


def named_patients(places: Sequence[StrPath], *, slides: bool = False) -> dict[str, FoundPatient]:
    """Return the patient of each folder, archive, stack or image, by id; all images of one folder are one patient.

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
    refuse_repeated_ids([patient_id(path) for path in paths])
    return {patient_id(path): FoundPatient(path, place=place_of([path]) if slides else None) for path in paths}


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
