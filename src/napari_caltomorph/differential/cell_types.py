"""The types of cells in a differential: names, keys and colours, and which are not leukocytes.

A type has several spellings (`smear/cell_types.py`); any other name is a type of the user's own, and counted as a
leukocyte.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from functools import cache

from napari_caltomorph.errors import printable
from napari_caltomorph.smear.cell_types import folded, known_type

OTHER = "other"
"""The type of a cell that is unlike every type of a probe: a blast that it never saw, a smudge cell, an artefact."""


@dataclass(frozen=True)
class CellType:
    """One type of cell."""

    name: str  # As it is shown and written in tables
    # ``#rrggbb``. Granulocytes run from blue (mature) to red (blast); grey is left to cells without a type.
    color: str
    key: str = ""  # The letter that labels a selected cell; empty for none
    # Whether it is in the denominator of percentages. Nucleated red cells, smudge cells, platelets and artefacts are
    # not (see `Differential`).
    is_counted: bool = True
    # Whether it counts as a blast: blasts of any lineage, and promonocytes, which are blast equivalents (WHO)
    is_blast: bool = False


_ROWS = (
    CellType("segmented neutrophil", "#4c78a8", "n"),
    CellType("band neutrophil", "#72a3d4", "b"),
    CellType("metamyelocyte", "#9d8bd0", "t"),
    CellType("myelocyte", "#b06fc0", "y"),
    CellType("promyelocyte", "#d6569b", "p"),
    CellType("blast", "#d62728", "k", is_blast=True),
    CellType("promonocyte", "#a8323a", "o", is_blast=True),
    CellType("monocyte", "#2f9e6e", "m"),
    CellType("eosinophil", "#f28e2b", "e"),
    CellType("basophil", "#4b3a8f", "a"),
    CellType("lymphocyte", "#17a2b8", "l"),
    CellType("reactive lymphocyte", "#7fd0c8", "r"),
    CellType("plasma cell", "#8c564b", "c"),
    CellType(OTHER, "#c2b280"),
    CellType("erythroblast", "#f0a6b8", "x", is_counted=False),
    CellType("smudge cell", "#7d7f3a", "u", is_counted=False),
    CellType("platelet", "#d8d04e", "g", is_counted=False),
    CellType("artefact", "#5d7a6a", "z", is_counted=False),
    CellType("lymphoblast", "#e4573d", is_blast=True),
    CellType("monoblast", "#b5473a", is_blast=True),
    CellType("megakaryocyte", "#9fd18b", is_counted=False),
)

GROUPS = {
    "neutrophils": ("segmented neutrophil", "band neutrophil"),
    "immature granulocytes": ("metamyelocyte", "myelocyte", "promyelocyte"),
}
"""Types that are also given together, next to each other in `CELL_TYPES`."""

CELL_TYPES = {row.name: row for row in _ROWS}
"""Name -> type, in the usual order of a differential: granulocytes by maturity, then the others."""

# Of the user's own types; chosen by the name, so that one type has one colour everywhere.
_OWN_COLORS = ("#bcbd22", "#e377c2", "#7b9e3b", "#c49a3a", "#5f9ea0", "#9c755f", "#d4a6c8", "#6b8e23")


@cache
def cell_type(name: str) -> CellType:
    """Return the type of this name, in any case, number, order of words or spelling of the gaps; or one of its own."""
    own = known_type(name) or " ".join(re.sub(r"[_\s]+", " ", printable(name)).split())
    if (known := own.casefold()) in CELL_TYPES:
        return CELL_TYPES[known]
    return CellType(own, _OWN_COLORS[zlib.crc32(folded(own).encode()) % len(_OWN_COLORS)])


def in_reading_order(names: set[str]) -> tuple[str, ...]:
    """Return names of types in the order of a differential: those of `CELL_TYPES`, then the user's own, sorted."""
    return (*(name for name in CELL_TYPES if name in names), *sorted(names - CELL_TYPES.keys()))
