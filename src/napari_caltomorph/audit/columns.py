"""Columns of a cohort's table: routine data, and where and how a smear was made (site, scanner, year).

Both are found by their names, and the result reports which were found: a guess that is shown can be corrected.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, fisher_exact

from napari_caltomorph.audit.patients import AuditOptions, Predicted
from napari_caltomorph.audit.result import ColumnRow, ColumnValue
from napari_caltomorph.cohort.cohort import COLUMNS, Cohort
from napari_caltomorph.statistics.interval import proportion
from napari_caltomorph.statistics.permutation import holm, share_as_large, shuffled_within

# Beginnings of words. "pb" is AML-Hehr's peripheral blood.
_BLOOD_COUNTS = (
    *("leucoc", "leukoc", "wbc", "erythroc", "rbc", "platelet", "plt", "thromboc"),
    *("hematocrit", "haematocrit", "hamatokrit", "hct", "mcv", "mch", "mchc", "mpv", "rdw"),
    *("neutro", "lymph", "mono", "eosino", "baso", "blast"),
    *("myelo", "promyelo", "metamyelo", "reticulo", "normo", "pb"),
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

# More values than this are no sites or scanners, and have too few patients each.
MOST_VALUES = 20
# Values of a column with fewer patients are shown, but not tested.
_MIN_VALUE = 5
_SHUFFLINGS_OF_COLUMNS = 2000


def routine_columns(table: pd.DataFrame, named: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the columns with ages, sexes or blood counts: those named, or those whose names look like it."""
    if named:
        return tuple(name for name in named if name in table and table[name].notna().any())
    own = [column for column in ("age", "sex", "hemoglobin_g_dl") if column in table and table[column].notna().any()]
    counts = [column for column in _others(table) if _is_count(table, column)]
    if "hemoglobin_g_dl" in own:  # the table's own column of it is a duplicate
        counts = [column for column in counts if not _begins(_words(column), _HEMOGLOBIN)]
    return (*own, *counts)


def routine_table(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return routine data as numbers, one row a patient, by patient_id; a value that is missing is NaN.

    Sex is 0 or 1 and counts are logarithms, as they spread over powers of ten. For a column that some patients lack, a
    second one marks them: a missing value can be as informative as the value.
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
    """Return the columns with where and how a smear was made: those named, or those whose names look like it."""
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


def compare_columns(
    cohort: Cohort, predicted: Predicted | None, options: AuditOptions
) -> tuple[list[ColumnRow], list[str]]:
    """Compare patients by where they come from; also return which columns were used, in words."""
    table = cohort.table if predicted is None else predicted.table
    table = table.loc[table["coarse"].notna()].reset_index(drop=True)
    names = dict(zip(cohort.taxonomy.slugs, cohort.taxonomy.names, strict=True))
    classes = table["coarse"].map(names).to_numpy(dtype=str)
    is_right = None if predicted is None else predicted.is_right
    rows = []
    notes = [f"The table has no column {name!r}." for name in (*options.columns, *options.routine) if name not in table]
    for column in origin_columns(table, options.columns):
        rows.append(_column(column, origins(table[column]).to_numpy(dtype=str), classes, is_right, options))
    within = [row.p_accuracy_within_classes for row in rows]
    tested = {i: p for i, p in enumerate(within) if p is not None}
    for i, p in zip(tested, holm(list(tested.values())), strict=True):
        rows[i] = replace(rows[i], p_accuracy_corrected=p)
    if not rows:
        notes.append("No column looks like a site, a scanner or a year; name one if there is.")
    elif not options.columns:
        notes.append(f"Compared by {', '.join(row.column for row in rows)}: found by their names.")
    return rows, notes


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


def _column(
    column: str,
    values: NDArray[np.str_],
    classes: NDArray[np.str_],
    is_right: NDArray[np.bool_] | None,
    options: AuditOptions,
) -> ColumnRow:
    rows = []
    for value in np.unique(values):
        here = values == value
        kinds, counts = np.unique(classes[here], return_counts=True)
        accuracy = None if is_right is None else proportion(int(is_right[here].sum()), int(here.sum()))
        by_class = dict(zip(kinds.tolist(), counts.tolist(), strict=True))
        rows.append(ColumnValue(str(value), int(here.sum()), by_class, accuracy))
    row = ColumnRow(column, not options.columns, tuple(rows))
    large = [one.value for one in rows if one.patients >= _MIN_VALUE]
    if len(large) < 2:
        return replace(row, note=f"Not tested: fewer than two values have {_MIN_VALUE} patients.")
    is_in = np.isin(values, large)
    rng = np.random.default_rng(options.seed)
    p_classes, how = _independence(values[is_in], classes[is_in], rng)
    note = f"Classes by {how}"
    if len(large) < len(rows):
        note += f"; values with fewer than {_MIN_VALUE} patients are not tested"
    row = replace(row, p_classes=p_classes, note=f"{note}.")
    if is_right is None:
        return row
    p_accuracy, how = _independence(values[is_in], is_right[is_in], rng)
    return replace(
        row,
        p_accuracy=p_accuracy,
        p_accuracy_within_classes=_within(values[is_in], is_right[is_in], classes[is_in], rng),
        note=f"{note}; accuracy by {how}, within classes by shuffling.",
    )


def _independence(
    rows: NDArray[np.generic], columns: NDArray[np.generic], rng: np.random.Generator
) -> tuple[float | None, str]:
    """Return the p of a test of independence, and which it was; None where one of the two does not vary."""
    row_of, column_of = (np.unique(values, return_inverse=True)[1] for values in (rows, columns))
    height, width = int(row_of.max()) + 1, int(column_of.max()) + 1
    if height < 2 or width < 2:
        return None, "no test, as they do not vary"

    def crossed(those: NDArray[np.intp]) -> NDArray[np.int64]:
        return np.bincount(row_of * width + those, minlength=height * width).reshape(height, width)

    table = crossed(column_of)
    if table.shape == (2, 2):
        return float(fisher_exact(table)[1]), "Fisher's exact test"
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    if expected.min() >= 5:
        return float(chi2_contingency(table)[1]), "chi-square test"

    def distance(those: NDArray[np.intp]) -> float:
        return float(((crossed(those) - expected) ** 2 / expected).sum())

    return _shuffled_p(distance, column_of, lambda: rng.permutation(column_of)), "shuffling, as counts are small"


def _within(
    values: NDArray[np.str_], is_right: NDArray[np.bool_], classes: NDArray[np.str_], rng: np.random.Generator
) -> float | None:
    """Return the p of the hypothesis that patients of one class are right as often whatever their value."""
    value_of, class_of = (np.unique(those, return_inverse=True)[1] for those in (values, classes))
    share = np.bincount(class_of, weights=is_right) / np.bincount(class_of)
    sizes = np.bincount(value_of)
    expected = np.bincount(value_of, weights=share[class_of])

    def distance(those: NDArray[np.intp]) -> float:
        return float(((np.bincount(value_of, weights=those) - expected) ** 2 / sizes).sum())

    right = is_right.astype(np.intp)
    if right.min() == right.max():
        return None
    return _shuffled_p(distance, right, lambda: shuffled_within(right, class_of, rng))


def _shuffled_p(
    distance: Callable[[NDArray[np.intp]], float], truth: NDArray[np.intp], draw: Callable[[], NDArray[np.intp]]
) -> float:
    return share_as_large(distance(truth), [distance(draw()) for _ in range(_SHUFFLINGS_OF_COLUMNS)])
