"""Names that other laboratories give to labelled cells -> our types, with an account of what became of every name.

A name is that of a sub-folder, or a label in a table. Where a folder is vague (PBC's ``ig``), a code in front of the
file's name (``MMY_123.jpg``) says more.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from napari_caltomorph.differential.cell_types import cell_type
from napari_caltomorph.differential.labels import FOLDER, CellLabels
from napari_caltomorph.errors import counted
from napari_caltomorph.smear import Smear
from napari_caltomorph.smear.cell_types import VAGUE, folded, is_untyped, known_type, vague_type
from napari_caltomorph.smear.read import UNLISTED

_CODE = re.compile(r"[^\W\d_]+(?=_)")
_SIZES = 64  # Cells of a smear whose sizes are compared
_ONE_SIZE = 1.1  # Exports of one scale differ by a few pixels

_Place = tuple[str, str]  # Patient's id and cell


@dataclass(frozen=True)
class ImportedName:
    """One name, and what became of its cells."""

    name: str
    type: str | None  # None where its cells are left out
    cells: int
    note: str = ""  # Why they are left out, or what was guessed


@dataclass(frozen=True)
class ImportedLabels:
    """The labels of some smears in our types."""

    labels: CellLabels
    names: tuple[ImportedName, ...]  # The most frequent first
    notes: tuple[str, ...]  # What else a person must know: sentences without a full stop

    @property
    def left_out(self) -> int:
        """How many labelled cells have no type of ours."""
        return sum(one.cells for one in self.names if one.type is None)


def import_labels(
    smears: Sequence[Smear],
    types: Mapping[str, str] | None = None,
    table: Mapping[tuple[str, str], str] | None = None,
    *,
    by: str = FOLDER,
) -> ImportedLabels:
    """Give the labelled cells of some smears our types.

    Parameters
    ----------
    smears : sequence of Smear
        Graded (`check_smear`).
    types : mapping of str to str, optional
        Name -> its type, in any spelling; an empty one leaves its cells out. It overrules what is known of names.
    table : mapping, optional
        Patient's id and cell -> label, in the place of the names of sub-folders.
    by : str
        The author of the labels.

    Returns
    -------
    ImportedLabels
        Cells are left out where their label says no type; where it is vague (``neutrophil``, ``ig``) and others of
        these cells are told apart; and where one image has labels of two types. Any other name is a type of its own.
    """
    chosen = {folded(name): kind for name, kind in (types or {}).items()}
    names: dict[_Place, _Name] = {}
    for smear in smears:
        for cell, folder in zip(smear.cells, smear.labels, strict=True):
            if table is not None and (label := table.get((smear.patient_id, cell))) is not None:
                names[smear.patient_id, cell] = _Name(label)
            elif table is None and folder is not None:
                names[smear.patient_id, cell] = _Name(folder, _code(folder, cell))
    counts = Counter(names.values())
    told_apart = {_became(name, 0, chosen).type for name in counts if not vague_type(name.said)}
    became = {name: _became(name, count, chosen, told_apart) for name, count in counts.most_common()}
    found = {place: kind for place, name in names.items() if (kind := became[name].type) is not None}
    contradicted = _contradicted(smears, found)
    labels = CellLabels()
    for smear in smears:
        places = {cell: (smear.patient_id, cell) for cell in smear.cells}
        kept = {cell: found[one] for cell, one in places.items() if one in found and one not in contradicted}
        labels = labels.labelled(smear, kept, by=by, when="")
    known = {spelling for name in counts for spelling in name.spellings}
    unused = [f"no cell is named {name!r}" for name in types or {} if folded(name) not in known]
    notes = (*_contradictions(contradicted, found), *_notes(smears, len(names)), *_sizes(smears), *unused)
    return ImportedLabels(labels, tuple(became.values()), notes)


class _Name(NamedTuple):
    """A label, or the name of a folder with the code in front of a file's name where that is less vague."""

    label: str
    code: str = ""

    @property
    def said(self) -> str:
        return self.code or self.label

    @property
    def spellings(self) -> list[str]:
        return [folded(str(self)), folded(self.label)]

    def __str__(self) -> str:
        return f"{self.label}/{self.code}" if self.code else self.label


def _code(folder: str, cell: str) -> str:
    vague, code = vague_type(folder), _CODE.match(cell.rsplit("/", 1)[-1])
    if vague is None or code is None or vague_type(code[0]):
        return ""
    return code[0] if known_type(code[0]) in VAGUE[vague] else ""


def _became(
    name: _Name, cells: int, chosen: Mapping[str, str], told_apart: Collection[str | None] = ()
) -> ImportedName:
    for spelling in name.spellings:
        if spelling in chosen:
            kind = cell_type(chosen[spelling]).name if chosen[spelling] else None
            return ImportedName(str(name), kind, cells, "as the map says")
    if is_untyped(name.said):
        return ImportedName(str(name), None, cells, "names no type of white cell")
    kind, vague = cell_type(name.said).name, vague_type(name.said)
    if vague and not set(VAGUE[vague]).isdisjoint(told_apart):
        return ImportedName(str(name), None, cells, "vague: its stages are told apart here")
    own = "" if known_type(name.said) else "in no list: a type of its own"
    return ImportedName(str(name), kind, cells, "vague: its stages are not told apart" if vague else own)


def _contradicted(smears: Sequence[Smear], found: Mapping[_Place, str]) -> set[_Place]:
    """Return the labelled cells whose image has labels of two types."""
    places: dict[str, list[_Place]] = defaultdict(list)
    for smear in smears:
        for cell, grade in zip(smear.cells, smear.grades or (), strict=True):
            if grade.digest and (smear.patient_id, cell) in found:
                places[grade.digest].append((smear.patient_id, cell))
    return {place for same in places.values() if len({found[place] for place in same}) > 1 for place in same}


def _contradictions(places: set[_Place], found: Mapping[_Place, str]) -> Iterator[str]:
    if places:
        examples = " and ".join(
            f"{cell} of {patient} is {found[patient, cell]}" for patient, cell in sorted(places)[:2]
        )
        yield f"{counted(len(places), 'label')} left out, as one image has two types: {examples}"


def _notes(smears: Sequence[Smear], labelled: int) -> Iterator[str]:
    if without := sum(map(len, smears)) - labelled:
        yield f"{counted(without, 'cell')} without a label"
    unused = [(left.reason, f"{left.cell} of {smear.patient_id}") for smear in smears for left in smear.left_out]
    for reason, count in Counter(reason for reason, _ in unused).most_common():
        yield f"{counted(count, 'image')} not used, {reason} (first: {dict(reversed(unused))[reason]})"
    # Names that are in no list are in the account of names.
    yield from dict.fromkeys(note for one in smears for note in one.notes if not note.startswith(UNLISTED))


def _sizes(smears: Iterable[Smear]) -> Iterator[str]:
    """Say where images differ in size: their scale may differ too."""
    widths = Counter[int]()
    for smear in smears:
        usable = smear.usable
        widths.update(smear.image(int(index)).shape[1] for index in usable[:: -(-len(usable) // _SIZES)])
    if widths and max(widths) > _ONE_SIZE * min(widths):
        yield (
            f"the images are {min(widths)} to {max(widths)} pixels wide: a stated width in micrometres is that of the "
            "widest of a smear, and all are taken to have its scale"
        )
