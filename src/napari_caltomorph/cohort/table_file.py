"""Reading tables of patients as labs write them: CSV, TSV, Excel or Parquet, in any encoding, with any delimiter."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_caltomorph.cohort.column_names import named_columns
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.table_rows import Sheet, read_rows
from napari_caltomorph.csv_files import unescaped
from napari_caltomorph.errors import CohortUnreadable, counted
from napari_caltomorph.smear.trees import files_in

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".xlsx", ".parquet"})
_OTHER_SUFFIXES = frozenset({".xls", ".xlsm", ".xlsb", ".ods", ".numbers"})


NOT_GIVEN = frozenset({
    "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/A N/A", "#NA", "NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN",
    "-1.#QNAN", "NULL", "null", "None",
})  # fmt: skip
"""How programs write that a value is missing, as pandas reads it; the id of a patient may be NA."""


def is_table(path: Path) -> bool:
    """Whether a file ends like a table; `read_table` says whether it is one."""
    return path.suffix.lower() in TABLE_SUFFIXES | _OTHER_SUFFIXES and not path.name.startswith((".", "~"))


def find_table(folder: Path, options: CohortOptions) -> Path | None:
    """Return the table of patients in a folder: the named one, or the only one.

    Raises `CohortUnreadable` where the named one is missing, or there are several.
    """
    if options.table is not None:
        named = Path(options.table).expanduser()
        path = named if named.is_file() else folder / named
        if not path.is_file():
            raise CohortUnreadable(f"{options.table} does not exist; check --table.")
        return path
    # A .txt next to the patients is more often a note than a table: it is read only when it is named.
    tables = _files(folder, TABLE_SUFFIXES - {".txt"}) if folder.is_dir() else []
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables[:4])
        raise CohortUnreadable(f"{folder} has {len(tables)} tables ({names}); name the one with --table.")
    return tables[0] if tables else None


def unread_tables(folder: Path) -> str:
    """Return a sentence about tables of a folder or archive that cannot be read there; empty without any."""
    if not folder.is_dir():
        names = [path.name for path in _files(folder, TABLE_SUFFIXES | _OTHER_SUFFIXES)]
        return f"{names[0]} in the archive is not read: unpack it, and name it with --table." if names else ""
    names = [path.name for path in _files(folder, _OTHER_SUFFIXES)]
    return f"{names[0]} is not read: save it as .xlsx or .csv." if names else ""


def _files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    return [path for path in files_in(folder) if path.suffix.lower() in suffixes and not path.name.startswith("~")]


def read_table(path: Path, options: CohortOptions) -> tuple[pd.DataFrame, list[str]]:
    """Read CSV, TSV, Excel or Parquet, text columns stripped of spaces.

    Returns the table, and what was assumed about its encoding, delimiter, header and decimal sign. Raises
    `CohortUnreadable` where there is no table, one column only (another delimiter), two of one name, or no rows, and
    `PackageMissing` where Parquet needs another package.
    """
    try:
        sheet = read_rows(path, named_columns(options))
    except FileNotFoundError as error:
        raise CohortUnreadable(f"{path} does not exist; check the path.") from error
    except OSError as error:
        raise CohortUnreadable(f"{path} cannot be read ({error.strerror}); check the path.") from error
    if sheet.cells.empty:
        raise CohortUnreadable(f"{path} is empty; export the table again.")
    notes = [*sheet.notes, *_skipped(sheet, path), *_repeat_merged(sheet, path)]
    _refuse_shifted(sheet, path)
    table = _with_header(sheet, path).map(_stripped)
    if table.empty:
        raise CohortUnreadable(f"{path} has no rows.")
    if sheet.lines is not None and _read_decimal_commas(table):
        notes.append(f"{path.name} writes decimal commas.")
    return table, notes


def _skipped(sheet: Sheet, path: Path) -> list[str]:
    """Return a note of the rows above the header, such as a title."""
    above = sheet.cells.iloc[: sheet.header].dropna(how="all")
    if above.empty:
        return []
    first = next(str(cell) for cell in above.iloc[0] if not pd.isna(cell))
    what = "1 line" if len(above) == 1 else f"{len(above)} lines"
    return [f"{path.name}: {what} above the header skipped (first: {first[:60]!r})."]


def _repeat_merged(sheet: Sheet, path: Path) -> list[str]:
    """Write the value of merged cells below the header into each of their rows; return a note of the columns."""
    repeated: dict[str, int] = {}
    for first, end, column in sheet.merged:
        last = min(end, len(sheet.cells) - 1)
        if sheet.header < first < last and column < sheet.cells.shape[1]:
            value: Any = sheet.cells.iloc[first, column]
            sheet.cells.iloc[first : last + 1, column] = value
            name = str(sheet.cells.iloc[sheet.header, column])
            repeated[name] = repeated.get(name, 0) + last - first
    return [
        f"{path.name}: merged cells in column {name!r} repeated in {counted(n, 'row')}." for name, n in repeated.items()
    ]


def _refuse_shifted(sheet: Sheet, path: Path) -> None:
    """Refuse a text with a row of more cells than the header has; only empty ones at its end do no harm."""
    if sheet.lines is None:
        return
    _, width = sheet.lines[sheet.header]
    below = sheet.header + 1
    shifted = np.flatnonzero(sheet.cells.iloc[below:, width:].notna().any(axis=1))
    if len(shifted):
        line, cells = sheet.lines[below + shifted[0]]
        raise CohortUnreadable(
            f"{path}: line {line} has {cells} cells, the header {width}; quote texts that contain the delimiter."
        )


def _with_header(sheet: Sheet, path: Path) -> pd.DataFrame:
    """Return the table below the row that names the columns; empty columns without a name are dropped."""
    names = ["" if pd.isna(name) else str(name).strip() for name in sheet.cells.iloc[sheet.header]]
    if repeated := [name for name, count in Counter(names).items() if name and count > 1]:
        raise CohortUnreadable(f"{path} has two columns {repeated[0]!r}; rename one.")
    table = sheet.cells.iloc[sheet.header + 1 :].reset_index(drop=True)
    table.columns = pd.Index([name or f"column {number}" for number, name in enumerate(names, 1)])
    is_kept = [bool(name) or bool(table.iloc[:, number].notna().any()) for number, name in enumerate(names)]
    return table.loc[:, is_kept].dropna(how="all").reset_index(drop=True)


def _stripped(value: Any) -> Any:
    """Return a text without spaces around it, and without the formula (="007") that keeps Excel from changing it."""
    if not isinstance(value, str):
        return value
    return re.sub(r'^="(.*)"$', r"\1", unescaped(value.strip()), flags=re.DOTALL).strip() or None


def _read_decimal_commas(table: pd.DataFrame) -> bool:
    """Turn "9,5" into "9.5" in columns of nothing but such numbers; return whether there were any."""
    has_commas = False
    for column in table.columns:
        values = table[column][~table[column].isin(NOT_GIVEN)].dropna()
        if len(values) and values.str.contains(",").any() and values.str.fullmatch(r"-?\d+(,\d+)?").all():
            table[column] = table[column].str.replace(",", ".", regex=False)
            has_commas = True
    return has_commas
