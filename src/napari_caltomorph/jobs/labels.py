"""A folder of labelled cells as laboratories publish them, or a table of images and labels -> labels in our types."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from napari_caltomorph.cohort import CohortOptions, find_patients
from napari_caltomorph.cohort.column_names import normalised
from napari_caltomorph.cohort.table_file import read_table
from napari_caltomorph.diagnosis.prediction_files import refuse_repeated_ids
from napari_caltomorph.differential.import_labels import ImportedLabels, import_labels
from napari_caltomorph.differential.labels import FOLDER
from napari_caltomorph.errors import CohortUnreadable, LabelsUnreadable, LooksLikeCohort, SmearUnreadable, counted
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.smear import Smear, check_smear, read_smear
from napari_caltomorph.storage import StrPath

# Usual names of columns, the most specific first
_FILES = (
    *("path", "file path", "image path", "file", "file name", "filename"),
    *("image", "image name", "img name", "img", "image id", "cell", "name", "id"),
)
_LABELS = ("cell type", "type", "label", "class label", "class", "category", "labels", "annotation")
_NAMES = ("folder", "name", "label", "from")
_BOXES = frozenset({"x min", "xmin", "x1", "bbox"})


@dataclass(frozen=True)
class LabelledSmears:
    """What was found at some places: graded smears where they are to be, and why others cannot be read."""

    smears: tuple[Smear, ...]
    unread: tuple[str, ...]


def open_labelled(places: Sequence[StrPath], types: Collection[str] = ()) -> LabelledSmears:
    """Open folders or archives of labelled cells; one that holds several patients is read patient by patient.

    Parameters
    ----------
    places : sequence of str or Path
    types : collection of str
        Names of folders that are types for this user.

    Raises
    ------
    SmearUnreadable
        Nothing can be read.
    OutputRefused
        Two patients have one id.
    """
    smears, unread = list[Smear](), list[str]()
    for place in map(Path, places):
        try:
            smears.append(read_smear(place, types=types))
        except LooksLikeCohort:
            for name, patient in find_patients(place).items():
                try:
                    smears.append(replace(patient.read(), patient_id=name))
                except SmearUnreadable as error:
                    unread.append(str(error))
    if not smears:
        raise SmearUnreadable(unread[0] if unread else "No folder was named; name one with labelled cells.")
    refuse_repeated_ids([smear.patient_id for smear in smears])
    return LabelledSmears(tuple(smears), tuple(unread))


def import_label_folder(
    place: StrPath, types: StrPath | None = None, table: StrPath | None = None, *, progress: OnProgress = ignore
) -> ImportedLabels:
    """Read the labels of a folder, or a zip archive of one, in our types.

    Parameters
    ----------
    place : str or Path
        Cells in sub-folders that are named after types, of one patient or in a folder a patient.
    types : str or Path, optional
        A table of names and our types, which overrules what is known of names; without a type, cells are left out.
    table : str or Path, optional
        A table of images and labels, in the place of the names of sub-folders.
    progress : callable
        See `OnProgress`.

    Raises
    ------
    SmearUnreadable
        There is no image, or none of a patient is usable.
    LabelsUnreadable
        No cell has a label, or a table cannot be read.
    """
    chosen = None if types is None else read_type_map(types)
    rows = None if table is None else _pairs(Path(table), _FILES, _LABELS)
    found = open_labelled([place], chosen or ())
    smears, unread = list[Smear](), list(found.unread)
    for smear in found.smears:
        try:
            smears.append(check_smear(smear, progress=progress))
        except SmearUnreadable as error:
            unread.append(str(error))
    if not smears:
        raise SmearUnreadable(unread[0])
    matched = None if rows is None else _matched(rows, smears)
    given = None if matched is None else matched.labels
    imported = import_labels(smears, chosen, given, by=FOLDER if table is None else Path(table).name)
    if not imported.names:
        raise LabelsUnreadable(
            f"{place}: no cell has a label; name its folders after cell types, map their names to types with --types, "
            "or name a table of images and labels with --label-table."
        )
    return replace(imported, notes=(*imported.notes, *(() if matched is None else matched.notes), *unread))


def read_type_map(path: StrPath) -> dict[str, str]:
    """Read a table with the columns name and type; `LabelsUnreadable` where it has none."""
    return dict(_pairs(Path(path), _NAMES, ("type",)))


def _pairs(path: Path, first: Sequence[str], second: Sequence[str]) -> list[tuple[str, str]]:
    """Return the rows of two columns of a table, each the first of some usual names; an empty cell is an empty text."""
    try:
        rows, _ = read_table(path, CohortOptions())
    except CohortUnreadable as error:
        raise LabelsUnreadable(str(error)) from error
    columns = {normalised(str(name)): name for name in rows.columns}
    if not _BOXES.isdisjoint(columns):
        raise LabelsUnreadable(f"{path} has boxes in fields; cut the cells out with `caltomorph cut`, and sort them.")
    found = [next((columns[name] for name in names if name in columns), None) for names in (first, second)]
    if None in found:
        names = " nor ".join(map(repr, first if found[0] is None else second))
        raise LabelsUnreadable(f"{path} has no column {names}; name one so.")
    return list(rows[found].fillna("").astype(str).itertuples(index=False, name=None))


@dataclass(frozen=True)
class _Matched:
    labels: Mapping[tuple[str, str], str]  # Patient's id and cell -> label
    notes: tuple[str, ...]


def _matched(rows: Sequence[tuple[str, str]], smears: Sequence[Smear]) -> _Matched:
    """Find the cell of each row: by as many parts of its path as it takes to be the only one."""
    by_name: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for smear in smears:
        for cell in smear.cells:
            name = PurePosixPath(cell)
            for spelling in {name.name.casefold(), name.stem.casefold()}:
                by_name[spelling].append((smear.patient_id, cell))
    labels: dict[tuple[str, str], str] = {}
    unknown, unclear, twice = list[str](), list[str](), set[tuple[str, str]]()
    for file, label in rows:
        parts = _parts(file)
        places = by_name.get(parts[-1], []) if parts else []
        place = _best(parts, places)
        if place is None:
            (unclear if places else unknown).append(file)
        elif label and labels.setdefault(place, label) != label:
            twice.add(place)
    for place in twice:
        del labels[place]
    said = (
        (unknown, "row", "of the table is of no image here"),
        (unclear, "row", "of the table fits several images"),
        ([cell for _, cell in sorted(twice)], "image", "has two labels in the table"),
    )
    return _Matched(labels, tuple(f"{counted(len(w), n)}: {why} (first: {w[0]})" for w, n, why in said if w))


def _parts(path: str) -> list[str]:
    return [part for part in path.casefold().replace("\\", "/").split("/") if part]


def _best(parts: Sequence[str], places: Collection[tuple[str, str]]) -> tuple[str, str] | None:
    """Return the place whose path ends as a row's does for the longest, if it is the only one."""
    shared = {place: sum(1 for _ in _same_end(parts[:-1], _parts("/".join(place))[:-1])) for place in places}
    best = [place for place, count in shared.items() if count == max(shared.values())]
    return best[0] if len(best) == 1 else None


def _same_end(one: Sequence[str], other: Sequence[str]) -> Iterator[str]:
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            return
        yield a
