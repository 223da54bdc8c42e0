"""Several slides of one patient: which folders are slides by their names, and how their cells become one smear."""

from __future__ import annotations

import os
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from napari_caltomorph.errors import SmearUnreadable, printable
from napari_caltomorph.smear.smear import Smear
from napari_caltomorph.smear.sources import JoinedSource
from napari_caltomorph.taxonomy import load_label_map

# A patient has a few slides; more folders, however they are named, are more likely patients.
_MOST = 6
_SLIDE = re.compile(r"(slide|scan)([\W_\d].*|[a-z])?|sl?[\W_]*\d+", re.IGNORECASE)


def are_slides(patient: str, folders: Sequence[str]) -> bool:
    """Whether folders below a patient's are slides by their names, such as ``slide_1``, or ``P7_b`` of ``P7``."""
    parents, names = {folder.rpartition("/")[0] for folder in folders}, [one.rpartition("/")[2] for one in folders]
    if len(parents) != 1 or len(names) > _MOST or is_diagnosis(patient):
        return False
    # ``cohort/cohort_a`` has no number: it is no patient's name.
    own = patient.casefold() if re.search(r"\d", patient) else None
    return all(_SLIDE.fullmatch(name) or (own is not None and name.casefold().startswith(own)) for name in names)


def is_diagnosis(name: str) -> bool:
    """Whether a folder is named after a diagnosis, so that the folders in it are patients."""
    label_map = load_label_map("caltomorph")
    assert label_map is not None
    return label_map.match(name).kind == "matched"


def join_slides(places: Sequence[Path], smears: Sequence[Smear]) -> Smear:
    """Return one smear with the cells of several, each read from one of the places and named by it: ``slide/cell``.

    Raises `SmearUnreadable` where two cells would have one name.
    """
    try:
        folder = Path(os.path.commonpath([place.absolute().parent for place in places]))
    except ValueError as error:
        raise SmearUnreadable(f"{places[0]} and {places[-1]} are slides on two drives; copy them to one.") from error
    within = [place.absolute().relative_to(folder) for place in places]
    names = [_name(place, smear) for place, smear in zip(within, smears, strict=True)]
    cells = [f"{name}{cell}" for name, smear in zip(names, smears, strict=True) for cell in smear.cells]
    if twice := [cell for cell, count in Counter(cells).items() if count > 1]:
        raise SmearUnreadable(f"{folder}: two slides have a cell {twice[0]}; rename one of the slides.")
    sizes = [smear.pixel_size_um for smear in smears if smear.pixel_size_um is not None]
    # One image a place is one cell each, not one slide each.
    slides = [printable(str(place)) for place, smear in zip(within, smears, strict=True) if not _is_image(place, smear)]
    return replace(
        smears[0],
        path=folder,
        paths=tuple(place.absolute() for place in places),
        cells=tuple(cells),
        labels=tuple(label for smear in smears for label in smear.labels),
        source=JoinedSource([(smear.source, len(smear)) for smear in smears]),
        canvas=(max(smear.canvas[0] for smear in smears), max(smear.canvas[1] for smear in smears)),
        pixel_size_um=statistics.median(sizes) if sizes else None,
        passed_over=tuple(f"{name}{file}" for name, one in zip(names, smears, strict=True) for file in one.passed_over),
        slides=tuple(slides) if len(slides) > 1 else (),
        notes=tuple(dict.fromkeys(note for smear in smears for note in smear.notes)),
    )


def _name(place: Path, smear: Smear) -> str:
    """Return what is in front of the cells' names; images and stacks are named by their files already."""
    is_file = smear.cells[0].split("#")[0] == printable(place.name)
    name = place.parent.as_posix() if is_file else re.sub(r"\.zip$", "", place.as_posix(), flags=re.IGNORECASE)
    return "" if name == "." else printable(f"{name}/")


def _is_image(place: Path, smear: Smear) -> bool:
    return smear.cells == (printable(place.name),)
