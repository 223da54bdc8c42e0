"""The meaning of a patient table's columns, and their values."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from napari_caltomorph.cohort.cohort import COLUMNS
from napari_caltomorph.cohort.column_names import PATIENT_IDS, ROLES, normalised, without_unit
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.table_file import NOT_GIVEN, read_table
from napari_caltomorph.errors import CohortUnreadable

_TARGETS = {"id": "patient_id", "label": "raw_label", "hemoglobin": "hemoglobin_g_dl"}
_SEXES = {
    "f": "female", "w": "female", "female": "female", "weiblich": "female", "woman": "female",
    "m": "male", "male": "male", "mannlich": "male", "man": "male",
}  # fmt: skip
_PER_G_DL = {"g/dl": 1.0, "g/l": 0.1, "mmol/l": 1.6114}
# In g/dl. No patient lives with less or more; a cohort with a lower median has another unit.
_POSSIBLE = (1.0, 25.0)
_LOWEST_MEDIAN = 4.0
# Among some hundred people one has 19 g/dl, which is 11.8 mmol/l. Where no value is higher, it may be either unit.
_HIGHEST_MMOL = 12.0


def canonical(
    table: pd.DataFrame, path: Path, options: CohortOptions, *, without: Collection[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """Add the cohort's own columns to a table, from those that are named by option or recognised by name.

    Returns the table with ``patient_id``, ``raw_label``, ``path`` and so on, and what was guessed. What is in `without`
    ("label", "path") is not searched for, because the folders give it. The table's own columns stay; one with a name of
    the cohort's and another meaning gets the suffix ``_in_table``. Raises `CohortUnreadable` where a named column is
    missing, two columns fit, or there is no id. `path` is the table's, for messages.
    """
    roles = [role for role in ROLES if role not in without]
    found = {role: _find_column(table, role, getattr(options, f"{role}_column"), path) for role in roles}
    if found["id"] is None:
        raise CohortUnreadable(
            f"{path}: no column looks like the patient's id (it has {_listed(table)}); name it with --id-column."
        )
    # A patient, and a folder, may be called NA.
    others = table.columns.difference([found["id"], found.get("path")])
    table = table.assign(**{name: table[name].mask(table[name].isin(NOT_GIVEN)) for name in others})
    guessed = [f"{role} = {column!r}" for role, column in found.items() if column is not None]
    notes = [f"{path.name}: {', '.join(guessed)}."]
    own = table.rename(columns={column: f"{column}_in_table" for column in table.columns if column in COLUMNS})
    for role, column in found.items():
        if column is not None:
            own[_TARGETS.get(role, role)] = table[column]
    for name in own.columns.intersection(["patient_id", "group"]):
        own[name] = own[name].map(as_id)
    if column := _patients_of_slides(table, found["id"]):
        own["slide_of"] = table[column].map(as_id)
        notes.append(f"{path.name}: rows with the same {column!r} are slides of one patient: no split divides them.")
    if nameless := int(own["patient_id"].isna().sum()):
        notes.append(f"{path.name}: {nameless} row{'s' * (nameless > 1)} without an id ignored.")
        own = own.loc[own["patient_id"].notna()].reset_index(drop=True)
    if own.empty:
        raise CohortUnreadable(f"{path}: column {found['id']!r} is empty; name another with --id-column.")
    if column := found.get("sex"):
        coded = {"1": "female", "2": "male"} if column == "sex_1f_2m" else {}
        read = own["sex"].map(lambda value: (_SEXES | coded).get(normalised(as_id(value) or "")))
        notes += _lost(own["sex"], read, column, "neither male nor female")
        own["sex"] = read
    if column := found.get("age"):
        numbers = pd.to_numeric(own["age"], errors="coerce")
        read = numbers.where(numbers.between(0, 130))
        notes += _lost(own["age"], read, column, "no age")
        own["age"] = read
    if column := found.get("split"):
        own["split"] = _sides(own["split"], column, path)
    if column := found.get("hemoglobin"):
        own["hemoglobin_g_dl"], remarks = _hemoglobin(own["hemoglobin_g_dl"], column, options)
        notes += remarks
    return own, notes


def ids_in(path: Path, options: CohortOptions, table: pd.DataFrame | None = None) -> list[str]:
    """Return the different ids of all rows of a table, which is read from the path unless it is given."""
    table = read_table(path, options)[0] if table is None else table
    found, _ = canonical(table, path, options, without=[role for role in ROLES if role != "id"])
    return list(dict.fromkeys(found["patient_id"]))


def columns_like(table: pd.DataFrame, role: str) -> list[str]:
    """Return the columns with a name that means the id, the label, the age and so on."""
    return [column for column in table.columns if without_unit(column) in ROLES[role]]


def keep_where(table: pd.DataFrame, path: Path, options: CohortOptions) -> pd.DataFrame:
    """Return the rows that match every ``--where COLUMN=VALUE``; `CohortUnreadable` where one matches nothing."""
    for condition in options.where:
        column, equals, value = condition.partition("=")
        if not equals:
            raise CohortUnreadable(f"--where {condition} is not COLUMN=VALUE.")
        if column not in table:
            raise CohortUnreadable(f"{path} has no column {column!r} (--where); it has {_listed(table)}.")
        table = table.loc[table[column].map(as_id) == value.strip()]
        if table.empty:
            raise CohortUnreadable(f"{path}: no row has {condition}.")
    return table.reset_index(drop=True)


def refuse_column_options(path: Path, options: CohortOptions) -> None:
    """Raise `CohortUnreadable` where an option names a table's column but there is no table, instead of ignoring it."""
    named = [field for field in CohortOptions.model_fields if field.endswith("_column") or field == "where"]
    if given := [field for field in named if getattr(options, field)]:
        flag = f"--{given[0].replace('_', '-')}"
        raise CohortUnreadable(
            f"{path}: {flag} is given, but there is no table next to the patients; name it with --table."
        )


def as_id(value: Any) -> str | None:
    """Return what identifies a patient as text.

    A number that a program took for 12.0 is "12"; an umlaut is one character, however a file system writes it.
    """
    if pd.isna(value):
        return None
    text = unicodedata.normalize("NFC", str(value).strip())
    return re.sub(r"^(\d+)\.0$", r"\1", text) or None


def _find_column(table: pd.DataFrame, role: str, named: str | None, path: Path) -> str | None:
    if named is not None:
        if named not in table:
            raise CohortUnreadable(f"{path} has no column {named!r}; it has {_listed(table)}.")
        return named
    fitting = columns_like(table, role)
    if len(fitting) > 1:
        exact = [column for column in fitting if normalised(column) == f"patient {role}"]
        if len(exact) == 1:
            return exact[0]
        both = " and ".join(repr(column) for column in fitting[:2])
        raise CohortUnreadable(f"{path}: columns {both} both look like the {role}; name one with --{role}-column.")
    return fitting[0] if fitting else None


def _patients_of_slides(table: pd.DataFrame, of_ids: str) -> str | None:
    """Return the column of the patients where that of the ids is of slides, or of other parts of a patient's data."""
    if normalised(of_ids) in PATIENT_IDS:
        return None
    others = [name for name in table.columns if name != of_ids and normalised(name) in PATIENT_IDS | {"case id"}]
    return next((one for one in others if (table.groupby(one)[of_ids].nunique() > 1).any()), None)


def _sides(values: pd.Series, column: str, path: Path) -> pd.Series:
    """Return a table's own split; a test part is too important to be guessed from other values."""
    sides = values.map(lambda value: (as_id(value) or "").lower())
    if not (empty := sides == "").all() and empty.any():
        raise CohortUnreadable(
            f"{path}: column {column!r} is empty in {int(empty.sum())} of {len(sides)} rows, not train or test."
        )
    if unknown := set(sides) - {"train", "test", ""}:
        raise CohortUnreadable(f"{path}: column {column!r} has {min(unknown)[:40]!r}, not train or test.")
    return sides.where(~empty, None)


def _hemoglobin(values: pd.Series, column: str, options: CohortOptions) -> tuple[pd.Series, list[str]]:
    """Return hemoglobin in g/dl; nothing where the unit is, or may be, another one that was not named."""
    chosen = options.hemoglobin_unit
    given = pd.to_numeric(values, errors="coerce")
    numbers = given * _PER_G_DL["g/dl" if chosen == "auto" else chosen]
    low, high = _POSSIBLE
    match = re.search(r"\b(g dl|g l|mmol)\b", normalised(column))
    named = {"g dl": "g/dl", "g l": "g/l", "mmol": "mmol/l"}[match[1]] if match else None
    doubt = ""
    is_possible = _LOWEST_MEDIAN <= numbers.median() <= high
    if chosen == "auto" and (numbers.median() > high or named in ("g/l", "mmol/l")):
        unit = "g/l" if numbers.median() > high else named
        doubt = f"looks like {unit} ({{}}): not used; name it with --hemoglobin-unit {unit}."
    elif chosen == "auto" and named is None and given.max() <= _HIGHEST_MMOL:
        doubt = (
            f"may be mmol/l ({{}}, none above {_HIGHEST_MMOL:g}): not used; name it with --hemoglobin-unit "
            "mmol/l or g/dl."
        )
    elif not is_possible:
        doubt = f"({{}}) cannot be {named if chosen == 'auto' else chosen}: not used; correct --hemoglobin-unit."
    if doubt and given.notna().any():
        median = f"median {given.median():.1f}"
        return pd.Series(float("nan"), index=values.index), [f"{column!r} {doubt.format(median)}"]
    numbers = numbers.where(numbers.between(low, high))
    return numbers, _lost(values, numbers, column, f"not between {low:g} and {high:g} g/dl")


def _lost(values: pd.Series, read: pd.Series, column: str, why: str) -> list[str]:
    """Return a note of the values that could not be read."""
    lost = values.notna() & read.isna()
    if not lost.any():
        return []
    first = values[lost].iloc[0]
    return [f"{int(lost.sum())} values of {column!r} are {why} (first: {str(first)[:40]!r}) and were left empty."]


def _listed(table: pd.DataFrame) -> str:
    names = [str(column) for column in table.columns]
    return ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")
