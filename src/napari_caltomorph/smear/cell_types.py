"""Names of cell types as labs write them: on folders, which then hold labelled cells and no patient, and as labels.

A name that is written out is a cell type anywhere. Codes (``MON``) could be a patient's initials or a day: on folders
they are cell types only next to others, see `listing.folders_of_cells`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_LABEL_ROOTS = frozenset({"signed slides", "unsigned slides"})

# Type -> other names for it; order of words, plural, case, gaps and a number in front do not matter.
_SPELLINGS = {
    "segmented neutrophil": ("neutrophil", "polymorphonuclear neutrophil"),
    "band neutrophil": (),
    "metamyelocyte": (),
    "myelocyte": (),
    "promyelocyte": ("promyelocyte bilobed", "faggot cell", "atypical promyelocyte", "atyp pmyel"),
    "blast": ("blast no lineage spec", "myeloblast", "undifferentiated blast"),
    "promonocyte": (),
    "monocyte": (),
    "eosinophil": (),
    "basophil": (),
    "lymphocyte": ("typical lymphocyte", "lymph typ"),
    "reactive lymphocyte": ("atypical lymphocyte", "lymphocyte variant", "lymph reaktiv"),
    "plasma cell": (),
    "erythroblast": ("normoblast", "proerythroblast", "basophilic erythroblast"),
    "smudge cell": ("basket cell", "gumprecht shadow", "kernschatten"),
    "platelet": ("giant platelet", "platelet clump", "thrombocyte", "giant thrombocyte", "thrombocyte aggregation"),
    "artefact": ("artifact",),
    "lymphoblast": (),
    "monoblast": (),
    "megakaryocyte": (),
    "dysplastic neutrophil": (),
    "hairy cell": ("haarzelle",),
    "immature granulocyte": (),
    "large granular lymphocyte": (),
    "neoplastic lymphocyte": ("lymph neo",),
    "prolymphocyte": (),
}

_CODES = {
    # PBC: Acevedo et al. 2020, doi:10.1016/j.dib.2020.105474; the folder ``ig``, and the codes of its files
    "ig": "immature granulocyte",
    "mmy": "metamyelocyte",
    "my": "myelocyte",
    "pmy": "promyelocyte",
    "bne": "band neutrophil",
    "sne": "segmented neutrophil",
    "erb": "erythroblast",
    # LISC: Rezatofighi and Soltanian-Zadeh 2011, doi:10.1016/j.compmedimag.2011.01.003
    "eosi": "eosinophil",
    "lymp": "lymphocyte",
    "neut": "segmented neutrophil",
    # AML-Cytomorphology_LMU: Matek et al. 2019, doi:10.7937/tcia.2019.36f5o9ld, abbreviations.txt
    "bas": "basophil",
    "ebo": "erythroblast",
    "eos": "eosinophil",
    "ksc": "smudge cell",
    "lya": "reactive lymphocyte",
    "lyt": "lymphocyte",
    "mmz": "metamyelocyte",
    "mob": "monoblast",
    "mon": "monocyte",
    "myb": "myelocyte",
    "myo": "blast",
    "ngb": "band neutrophil",
    "ngs": "segmented neutrophil",
    "pmb": "promyelocyte",
    "pmo": "promyelocyte",
    # The Munich Leukemia Laboratory's own folders, ``01-NORMO`` to ``22-Atyp-PMYEL``: INT-20 of Salehi et al. 2022,
    # doi:10.1007/978-3-031-16437-8_71. MLL23, doi:10.1038/s41597-025-06223-x, has the same 18 types in English.
    "normo": "erythroblast",
    "lgl": "large granular lymphocyte",
    "mono": "monocyte",
    "baso": "basophil",
    "stab": "band neutrophil",
    "mybl": "blast",
    "seg": "segmented neutrophil",
    "plz": "plasma cell",
    "pmyel": "promyelocyte",
    "myel": "myelocyte",
    "meta": "metamyelocyte",
}

# Shorter ones, in tables only: folders of these names could be days, or initials.
_TABLE_CODES = {"ba": "basophil", "eo": "eosinophil", "ly": "lymphocyte", "mo": "monocyte"}

VAGUE = {
    "neutrophil": ("band neutrophil", "segmented neutrophil"),
    "immature granulocyte": ("metamyelocyte", "myelocyte", "promyelocyte"),
}
"""Names of cells that are of one of several types."""

# Labels without a type of white cell: of several cells, of all white cells, of red cells, or of nothing that is known.
_UNTYPED = frozenset(
    [
        *("mixt", "mixed", "other", "unknown", "unlabelled", "unlabeled", "unclassified", "nan", "none"),
        *("wbc", "cell white", "blood cell white", "leukocyte", "rbc", "cell red", "blood cell red", "erythrocyte"),
    ]
)

# What else is next to the cells of a patient: derived images, and copies.
_NO_TYPES = frozenset(
    [
        *("mask", "segmentation", "annotation", "overlay", "heatmap", "thumbnail", "thumb", "preview", "overview"),
        *("figure", "plot", "result", "report", "feature", "old", "backup", "copy", "duplicate"),
    ]
)


def is_label_root(folder: str) -> bool:
    """Whether a folder is APL-AML's ``Signed slides`` or ``Unsigned slides``."""
    return " ".join(re.findall(r"[a-z]+", folder.lower())) in _LABEL_ROOTS


def is_cell_type(folder: str) -> bool:
    """Whether a folder bears the name of a cell type, written out; digits do not matter."""
    return folded(re.sub(r"\d", " ", folder)) in _TYPES


def is_cell_code(folder: str) -> bool:
    """Whether a folder bears a code that data sets use for a cell type, also with a number in front: ``04-LGL``."""
    return " ".join(_words(folder)) in _CODES


def is_no_type(folder: str) -> bool:
    """Whether a folder next to those of cell types has no cells: masks, thumbnails, old copies."""
    return folded(folder) in _NO_TYPES


def known_type(name: str) -> str | None:
    """Return the type that a name, in any spelling, or a code is for; None where it is in no list."""
    code = " ".join(_words(name))
    return _TYPES.get(folded(name)) or _CODES.get(code) or _TABLE_CODES.get(code)


def vague_type(name: str) -> str | None:
    """Return the name in `VAGUE` that a name, in any spelling, or a code is for."""
    known = "neutrophil" if folded(name) in ("neutrophil", "neut") else known_type(name)
    return known if known in VAGUE else None


def is_untyped(name: str) -> bool:
    """Whether a label names no type of white cell: several cells, red cells, or nothing that is known."""
    return folded(name) in _UNTYPED


def unlisted(labels: Iterable[str | None]) -> list[str]:
    """Return the labels that are in no list of cell types, in the order in which they occur."""
    return [label for label in dict.fromkeys(labels) if label is not None and known_type(label) is None]


def folded(name: str) -> str:
    """Return what equal names have in common: ``"15-Segmented neutrophils"`` and ``"neutrophil_segmented"`` are one."""
    return " ".join(sorted(word.removesuffix("s") for word in _words(name)))


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", re.sub(r"^\d+[\W_]+", "", name.casefold()))


_TYPES = {folded(spelling): name for name, others in _SPELLINGS.items() for spelling in (name, *others)}
