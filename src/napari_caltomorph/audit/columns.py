"""Which columns of a cohort's table are routine data, and which say where and how a smear was made.

Both are found by their names, and whoever calls says which were found: a guess that is shown can be corrected.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from napari_caltomorph.cohort.cohort import COLUMNS

# Beginnings of words. "pb" is AML-Hehr's peripheral blood.
_BLOOD_COUNTS = (
    *("leucoc", "leukoc", "wbc", "erythroc", "rbc", "platelet", "plt", "thromboc"),
    *("hematocrit", "haematocrit", "hamatokrit", "hct", "mcv", "mch", "mchc", "mpv", "rdw"),
    *(
        "neutro",
        "lymph",
        "mono",
        "eosino",
        "baso",
        "blast",
        "myelo",
        "promyelo",
        "metamyelo",
        "reticulo",
        "normo",
        "pb",
    ),
)
_HEMOGLOBIN = ("hb", "hgb", "hemoglobin", "haemoglobin", "hamoglobin")
_NOT_COUNTS = frozenset({"total", "id", "date", "path"})
_ORIGINS = frozenset(
    {
        *("site", "center", "centre", "hospital", "clinic", "institution", "institute", "lab", "laboratory", "source"),
        *("scanner", "microscope", "device", "camera", "instrument", "machine"),
        *("year", "date", "batch", "series", "cohort", "staining"),
    }
)

# More values than this are no sites or scanners, and with fewer patients each nothing can be said.
MOST_VALUES = 20


def routine_columns(table: pd.DataFrame, named: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the columns with age, sex and blood counts that hold something: those named, or those that look it."""
    if named:
        return tuple(name for name in named if name in table and table[name].notna().any())
    own = [column for column in ("age", "sex", "hemoglobin_g_dl") if column in table and table[column].notna().any()]
    counts = [column for column in _others(table) if _is_count(table, column)]
    if "hemoglobin_g_dl" in own:  # the table's own column of it stands beside
        counts = [column for column in counts if not _begins(_words(column), _HEMOGLOBIN)]
    return (*own, *counts)


def routine_table(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return routine data as numbers, one row a patient, by patient_id; a value that is missing is NaN.

    Sex is 0 or 1 and counts are logarithms, as they spread over powers of ten. For a column that some patients lack, a
    second one says who: that a value was not taken can tell as much as the value.
    """
    numbers: dict[str, pd.Series[float]] = {}
    for column in columns:
        if column == "sex":
            numbers[column] = table[column].map({"female": 0.0, "male": 1.0}).astype(float)
            continue
        values = pd.to_numeric(table[column], errors="coerce").astype(float)
        is_count = column not in ("age", "hemoglobin_g_dl") and (values.dropna() >= 0).all()
        numbers[column] = values.map(np.log1p) if is_count else values
    for column, values in list(numbers.items()):
        if values.isna().any():
            numbers[f"{column} is missing"] = values.isna().astype(float)
    return pd.DataFrame(numbers).set_axis(table["patient_id"].astype(str), axis=0)


def origin_columns(table: pd.DataFrame, named: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the columns that say where and how a smear was made: those named, or those that look it."""
    if named:
        return tuple(name for name in named if name in table)
    return tuple(
        column
        for column in _others(table)
        if any(word in _ORIGINS for word in _words(column)) and 2 <= origins(table[column]).nunique() <= MOST_VALUES
    )


def origins(values: pd.Series) -> pd.Series:
    """Return a column as text; of dates the year, and "(not given)" for what is missing."""
    given = values.dropna().astype(str).str.strip()
    if len(given) and given.nunique() > MOST_VALUES:
        years = given.str.extract(r"\b((?:19|20)\d\d)\b", expand=False)
        if years.notna().all():
            given = years
    if given.str.fullmatch(r"\d+(\.0)?").all():  # whole numbers that a gap made decimal ones
        given = given.str.removesuffix(".0")
    return given.reindex(values.index).fillna("(not given)")


def _others(table: pd.DataFrame) -> list[str]:
    return [str(column) for column in table.columns if column not in COLUMNS]


def _is_count(table: pd.DataFrame, column: str) -> bool:
    words = _words(column)
    if _NOT_COUNTS & set(words) or not _begins(words, (*_BLOOD_COUNTS, *_HEMOGLOBIN)) or column.endswith("_in_table"):
        return False
    numbers = pd.to_numeric(table[column], errors="coerce")
    return bool(numbers.notna().sum() * 2 >= table[column].notna().sum() > 0 and numbers.nunique() > 1)


def _begins(words: Iterable[str], beginnings: Sequence[str]) -> bool:
    # Short ones are abbreviations, and the whole word.
    return any(word == start or (len(start) > 3 and word.startswith(start)) for word in words for start in beginnings)


def _words(name: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.findall(r"[a-z]+", plain)
