"""Names of cell types as labs write them on folders; a folder so named holds labelled cells, not a patient."""

from __future__ import annotations

import re

_LABEL_ROOTS = frozenset({"signed slides", "unsigned slides"})

_CELL_TYPES = frozenset(
    """
    artefact; artifact; atypical lymphocyte; band neutrophil; basophil; basophilic erythroblast; blast;
    blast no lineage spec; eosinophil; erythroblast; faggot cell; giant platelet; giant thrombocyte; hairy cell;
    immature granulocyte; large granular lymphocyte; lymphoblast; lymphocyte; lymphocyte variant; megakaryocyte;
    metamyelocyte; monoblast; monocyte; myeloblast; myelocyte; neoplastic lymphocyte; neutrophil; neutrophil band;
    neutrophil segmented; normoblast; plasma cell; platelet; platelet clump; proerythroblast; prolymphocyte;
    promonocyte; promyelocyte; promyelocyte bilobed; reactive lymphocyte; segmented neutrophil; smudge cell;
    thrombocyte; thrombocyte aggregation; typical lymphocyte; dysplastic neutrophil
    """.replace("\n", " ").split(";")
)


def is_label_root(folder: str) -> bool:
    """Whether a folder is APL-AML's ``Signed slides`` or ``Unsigned slides``."""
    return _normalised(folder) in _LABEL_ROOTS


def is_cell_type(folder: str) -> bool:
    """Whether a folder bears the name of a cell type, in any case, number or spelling of the gaps."""
    name = _normalised(folder)
    return name in _KNOWN or name.removesuffix("s") in _KNOWN


def _normalised(name: str) -> str:
    return " ".join(re.findall(r"[a-z]+", name.lower()))


_KNOWN = frozenset(_normalised(name) for name in _CELL_TYPES)
