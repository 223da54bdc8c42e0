"""Reading a table of patients as labs write them, and finding out which column means what."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.errors import CohortUnreadable

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".xlsx", ".parquet"})

# Column names, normalised, by what they mean. Where two columns of a table fit, the user must say which.
_NAMES: Mapping[str, frozenset[str]] = {
    "id": frozenset({"patient id", "patient", "patientid", "pid", "id", "case", "case id", "slide id", "slide"}),
    "label": frozenset({"diagnosis", "label", "bag label", "class", "disease", "diagnose", "subtype"}),
    "path": frozenset({"path", "folder", "directory", "dir", "cells", "file", "filename"}),
    "hemoglobin": frozenset(
        {"hemoglobin", "haemoglobin", "hb", "hgb", "hamoglobin", "hemoglobin g dl", "haemoglobin g dl", "hb g dl"}
    ),
    "age": frozenset({"age", "age at diagnosis", "alter", "age years"}),
    "sex": frozenset({"sex", "gender", "geschlecht", "sex 1f 2m"}),
    "split": frozenset({"split"}),
    "group": frozenset(),
}
_SEXES = {"f": "female", "w": "female", "female": "female", "m": "male", "male": "male"}
_PER_G_DL = {"g/dl": 1.0, "g/l": 0.1, "mmol/l": 1.6114}
# Nobody lives with more than 25 g/dl; a median above it is g/l.
_HIGHEST_MEDIAN = 25.0


@dataclass(frozen=True)
class Found:
    """What a layout found: patients with canonical and own columns, who is not usable and why, and what to tell.

    `left_out` holds (patient_id, raw_label, rule, reason).
    """

    table: pd.DataFrame
    left_out: list[tuple[str, str | None, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def is_table(path: Path) -> bool:
    """Whether a file ends like a table."""
    return path.suffix.lower() in TABLE_SUFFIXES and not path.name.startswith((".", "~"))


def read_table(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read CSV, TSV, Excel or Parquet, text columns stripped of spaces.

    Returns
    -------
    pandas.DataFrame, list of str
        The table, and what was assumed about its encoding, delimiter and decimal sign.

    Raises
    ------
    CohortUnreadable
        No table, one column only (another delimiter), or no rows.
    """
    notes: list[str] = []
    try:
        if path.suffix.lower() == ".xlsx":
            table = pd.read_excel(path)
        elif path.suffix.lower() == ".parquet":
            table = pd.read_parquet(path)
        else:
            table, notes = _read_text(path)
    except CohortUnreadable:
        raise
    except Exception as error:
        raise CohortUnreadable(f"{path} is no table that can be read ({str(error).splitlines()[0][:120]}).") from error
    table.columns = pd.Index([str(column).strip() for column in table.columns])
    for column in table.columns:
        if pd.api.types.is_string_dtype(table[column]) or table[column].dtype == object:
            table[column] = table[column].map(lambda value: value.strip() if isinstance(value, str) else value)
            table[column] = table[column].replace("", None)
    if twice := [column for column in table.columns if list(table.columns).count(column) > 1]:
        raise CohortUnreadable(f"{path} has two columns {twice[0]!r}; rename one.")
    if table.empty:
        raise CohortUnreadable(f"{path} has no rows.")
    return table, notes


def canonical(table: pd.DataFrame, path: Path, options: CohortOptions) -> tuple[pd.DataFrame, list[str]]:
    """Add the cohort's own columns to a table, from those that were named or whose names say what they are.

    Returns
    -------
    pandas.DataFrame, list of str
        The table with ``patient_id``, ``raw_label``, ``path`` and so on, and what was guessed.

    Raises
    ------
    CohortUnreadable
        A named column is not there, two fit, there is no id, or a ``--where`` cannot be followed.
    """
    table = _keep_where(table, path, options)
    found = {role: _find_column(table, role, getattr(options, f"{role}_column"), path) for role in _NAMES}
    if found["id"] is None:
        raise CohortUnreadable(
            f"{path}: no column looks like the patient's id (it has {_listed(table)}); name it with --id-column."
        )
    guessed = [f"{role} = {column!r}" for role, column in found.items() if column is not None]
    notes = [f"{path.name}: {', '.join(guessed)}."]
    targets = {"id": "patient_id", "label": "raw_label", "hemoglobin": "hemoglobin_g_dl"}
    own = table.rename(columns={column: column for column in table.columns})
    for role, column in found.items():
        if column is not None:
            own[targets.get(role, role)] = table[column]
    own["patient_id"] = own["patient_id"].map(_as_id)
    own = own.loc[own["patient_id"].notna()].reset_index(drop=True)
    if "sex" in own:
        coded = {"1": "female", "2": "male"} if found["sex"] == "sex_1f_2m" else {}
        own["sex"] = own["sex"].map(lambda value: (_SEXES | coded).get((_as_id(value) or "").lower()))
    if "age" in own:
        own["age"] = pd.to_numeric(own["age"], errors="coerce")
    if "split" in own:
        own["split"] = own["split"].map(lambda value: str(value).strip().lower())
        if unknown := set(own["split"]) - {"train", "test"}:
            raise CohortUnreadable(
                f"{path}: column {found['split']!r} says {min(unknown)!r}; it must say train or test."
            )
    if found["hemoglobin"] is not None:
        own["hemoglobin_g_dl"], note = _hemoglobin(own["hemoglobin_g_dl"], found["hemoglobin"], options)
        notes += note
    return own, notes


def find_table(folder: Path, options: CohortOptions) -> Path | None:
    """Return the table of patients in a folder: the named one, or the only one.

    Raises
    ------
    CohortUnreadable
        The named one is not there, or there are several.
    """
    if options.table is not None:
        path = Path(options.table) if Path(options.table).is_file() else folder / options.table
        if not path.is_file():
            raise CohortUnreadable(f"{options.table} does not exist; check --table.")
        return path
    tables = sorted(path for path in folder.iterdir() if path.is_file() and is_table(path))
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables[:4])
        raise CohortUnreadable(f"{folder} holds {len(tables)} tables ({names}); name the one with --table.")
    return tables[0] if tables else None


def _read_text(path: Path) -> tuple[pd.DataFrame, list[str]]:
    notes = []
    raw = path.read_bytes()
    encoding = "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        encoding = "latin-1"
        text = raw.decode(encoding)
        notes.append(f"{path.name} is no UTF-8; it was read as Latin-1.")
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t|", key=header.count)
    if header.count(delimiter) == 0:
        raise CohortUnreadable(
            f"{path} has one column only ({header.strip()[:60]!r}); separate columns with , ; or tab."
        )
    if delimiter not in (",", "\t"):
        notes.append(f"{path.name} is separated by {delimiter!r}.")
    table = pd.read_csv(
        path, sep=delimiter, encoding=encoding, dtype=str, keep_default_na=True, quoting=csv.QUOTE_MINIMAL
    )
    has_commas = False
    for column in table.columns:
        values = table[column].dropna()
        if delimiter != "," and len(values) and values.str.fullmatch(r"\s*-?\d+,\d+\s*|\s*-?\d+\s*").all():
            has_commas = has_commas or bool(values.str.contains(",").any())
            table[column] = table[column].str.replace(",", ".", regex=False)
    if has_commas:
        notes.append(f"{path.name} writes decimal commas.")
    return table, notes


def _keep_where(table: pd.DataFrame, path: Path, options: CohortOptions) -> pd.DataFrame:
    for condition in options.where:
        column, equals, value = condition.partition("=")
        if not equals:
            raise CohortUnreadable(f"--where {condition} is not COLUMN=VALUE.")
        if column not in table:
            raise CohortUnreadable(f"{path} has no column {column!r} (--where); it has {_listed(table)}.")
        table = table.loc[table[column].map(_as_id) == value.strip()]
        if table.empty:
            raise CohortUnreadable(f"{path}: no row has {condition}.")
    return table.reset_index(drop=True)


def _find_column(table: pd.DataFrame, role: str, named: str | None, path: Path) -> str | None:
    if named is not None:
        if named not in table:
            raise CohortUnreadable(f"{path} has no column {named!r}; it has {_listed(table)}.")
        return named
    fitting = [column for column in table.columns if _normalised(column) in _NAMES[role]]
    if len(fitting) > 1:
        exact = [column for column in fitting if _normalised(column) == f"patient {role}"]
        if len(exact) == 1:
            return exact[0]
        both = " and ".join(repr(column) for column in fitting[:2])
        raise CohortUnreadable(f"{path}: columns {both} both look like the {role}; name one with --{role}-column.")
    return fitting[0] if fitting else None


def _hemoglobin(values: pd.Series, column: str, options: CohortOptions) -> tuple[pd.Series, list[str]]:
    numbers = pd.to_numeric(values, errors="coerce")
    lost = int(numbers.isna().sum() - values.isna().sum())
    notes = [f"{lost} values of {column!r} are no numbers and were left empty."] if lost else []
    numbers = numbers * _PER_G_DL[options.hemoglobin_unit]
    says_mmol = "mmol" in column.lower() and options.hemoglobin_unit == "g/dl"
    if numbers.median() > _HIGHEST_MEDIAN or says_mmol:
        unit = "mmol/l" if says_mmol else "g/l"
        median = f"{numbers.median():.1f}"
        notes.append(f"{column!r} looks like {unit} (median {median}): not used; say --hemoglobin-unit {unit}.")
        numbers = pd.Series(float("nan"), index=numbers.index)
    return numbers, notes


def _as_id(value: Any) -> str | None:
    """Return what identifies a patient as text; a number read as 12.0 is "12"."""
    if pd.isna(value):
        return None
    text = str(value).strip()
    return re.sub(r"^(\d+)\.0$", r"\1", text)


def _normalised(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return " ".join(re.findall(r"[a-z0-9]+", plain))


def _listed(table: pd.DataFrame) -> str:
    names = [str(column) for column in table.columns]
    return ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")
