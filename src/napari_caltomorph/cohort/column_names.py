"""Names of a table's columns, by what they mean."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any

from napari_caltomorph.cohort.options import CohortOptions

PATIENT_IDS = frozenset({"patient id", "patient", "patientid", "pid"})
"""Names of a column with the ids of patients, and not of a slide or a case."""

# Normalised and without a unit. Where two columns of one meaning are in a table, the user must choose.
ROLES: Mapping[str, frozenset[str]] = {
    "id": PATIENT_IDS | {"id", "case", "case id", "slide id", "slide"},
    "label": frozenset({"diagnosis", "label", "bag label", "class", "disease", "diagnose", "subtype"}),
    "path": frozenset({"path", "folder", "directory", "dir", "cells", "file", "filename"}),
    "hemoglobin": frozenset({"hemoglobin", "haemoglobin", "hb", "hgb", "hamoglobin"}),
    "age": frozenset({"age", "age at diagnosis", "alter"}),
    "sex": frozenset({"sex", "gender", "geschlecht", "sex 1f 2m"}),
    "split": frozenset({"split"}),
    "group": frozenset(),
}
_UNIT = re.compile(r" (g dl|g l|mmol l|mmol|years|jahre)$")
_NAMES = frozenset().union(*ROLES.values())


def normalised(name: str) -> str:
    """Return a name in lower case, without accents and punctuation."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return " ".join(re.findall(r"[a-z0-9]+", plain))


def without_unit(name: str) -> str:
    """Return a normalised name without the unit at its end."""
    return _UNIT.sub("", normalised(name))


def named_columns(options: CohortOptions) -> frozenset[str]:
    """Return the columns that options name."""
    columns = {getattr(options, f"{role}_column") for role in ROLES} - {None}
    return frozenset(columns | {condition.partition("=")[0] for condition in options.where})


def known_names(cells: Collection[Any], named: Collection[str]) -> int:
    """Return how many cells of a row are names of columns: recognised ones, or those that options name."""
    texts = [cell.strip() for cell in cells if isinstance(cell, str)]
    return sum(text in named or without_unit(text) in _NAMES for text in texts)
