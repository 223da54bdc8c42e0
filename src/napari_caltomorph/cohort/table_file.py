"""Reading tables of patients as labs write them: CSV, TSV, Excel or Parquet, in any encoding, with any delimiter."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.csv_files import unescaped
from napari_caltomorph.errors import CohortUnreadable, PackageMissing, import_optional

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".xlsx", ".parquet"})

NOT_GIVEN = frozenset({
    "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/A N/A", "#NA", "NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN",
    "-1.#QNAN", "NULL", "null", "None",
})  # fmt: skip
"""How programs write that a value is missing, as pandas reads it; the id of a patient may be NA."""

# Characters of a text table from which its delimiter is found.
_SAMPLE = 100_000


def is_table(path: Path) -> bool:
    """Whether a file ends like a table."""
    return path.suffix.lower() in TABLE_SUFFIXES and not path.name.startswith((".", "~"))


def find_table(folder: Path, options: CohortOptions) -> Path | None:
    """Return the table of patients in a folder: the named one, or the only one.

    Raises `CohortUnreadable` where the named one is missing, or there are several.
    """
    if options.table is not None:
        path = Path(options.table) if Path(options.table).is_file() else folder / options.table
        if not path.is_file():
            raise CohortUnreadable(f"{options.table} does not exist; check --table.")
        return path
    # A .txt next to the patients is more often a note than a table: it is read only when it is named.
    files = (path for path in folder.iterdir() if is_table(path) and path.suffix.lower() != ".txt")
    tables = sorted(path for path in files if path.is_file())
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables[:4])
        raise CohortUnreadable(f"{folder} has {len(tables)} tables ({names}); name the one with --table.")
    return tables[0] if tables else None


def read_table(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read CSV, TSV, Excel or Parquet, text columns stripped of spaces.

    Returns the table, and what was assumed about its encoding, delimiter and decimal sign. Raises `CohortUnreadable`
    where there is no table, one column only (another delimiter), two of one name, or no rows, and `PackageMissing`
    where Parquet needs another package.
    """
    try:
        rows, notes = _read_rows(path)
    except (CohortUnreadable, PackageMissing):
        raise
    except FileNotFoundError as error:
        raise CohortUnreadable(f"{path} does not exist; check the path.") from error
    except Exception as error:  # damaged files make the libraries raise all kinds of errors
        raise CohortUnreadable(f"{path} is no table that can be read ({str(error).splitlines()[0][:120]}).") from error
    table = _with_header(rows, path).map(_stripped)
    if table.empty:
        raise CohortUnreadable(f"{path} has no rows.")
    if path.suffix.lower() not in (".xlsx", ".parquet") and _read_decimal_commas(table):
        notes.append(f"{path.name} writes decimal commas.")
    return table, notes


def _read_rows(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return all rows of a table, the header the first of them (pandas would rename its columns), and notes."""
    if path.suffix.lower() == ".parquet":
        import_optional("pyarrow", "parquet", "A Parquet table")
        table = pd.read_parquet(path)
        if table.index.name is not None:
            table = table.reset_index()
        header = pd.DataFrame([[str(column) for column in table.columns]], dtype=object)
        return pd.concat([header, table.astype(object).set_axis(range(table.shape[1]), axis=1)], ignore_index=True), []
    if path.suffix.lower() == ".xlsx":
        with pd.ExcelFile(path) as book:
            sheets = book.sheet_names
            rows = pd.read_excel(book, header=None, dtype=object, keep_default_na=False, na_values=[""])
        return rows, [f"{path.name} has {len(sheets)} sheets; {sheets[0]!r} was read."] if len(sheets) > 1 else []
    return _read_text(path)


def _read_text(path: Path) -> tuple[pd.DataFrame, list[str]]:
    notes = []
    raw = path.read_bytes()
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
        notes.append(f"{path.name} is no UTF-8; it was read as Latin-1.")
    lines = [line for line in text[:_SAMPLE].splitlines() if line.strip()]
    if not lines:
        raise CohortUnreadable(f"{path} is empty; export the table again.")
    delimiter = _delimiter(lines)
    if delimiter is None:
        raise CohortUnreadable(
            f"{path} has one column only ({lines[0].strip()[:60]!r}); separate columns with , ; or tab."
        )
    if delimiter not in (",", "\t"):
        notes.append(f"{path.name} is separated by {delimiter!r}.")
    rows = pd.read_csv(io.StringIO(text), sep=delimiter, dtype=str, header=None, keep_default_na=False, na_values=[""])
    return rows, notes


def _delimiter(lines: list[str]) -> str | None:
    """Return the delimiter: the one that gives most rows as many fields as the header, then most fields."""
    best: tuple[float, int, str] | None = None
    for delimiter in ",;\t|":
        header, *rows = (len(fields) for fields in csv.reader(lines[:50], delimiter=delimiter))
        if header > 1:
            agreeing = sum(count == header for count in rows) / max(1, len(rows))
            best = max(best or (0.0, 0, ""), (agreeing, header, delimiter))
    return best[2] if best else None


def _with_header(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the table below the first row, which names the columns; empty columns without a name are dropped."""
    if rows.empty:
        raise CohortUnreadable(f"{path} is empty; export the table again.")
    names = ["" if pd.isna(name) else str(name).strip() for name in rows.iloc[0]]
    if repeated := [name for name, count in Counter(names).items() if name and count > 1]:
        raise CohortUnreadable(f"{path} has two columns {repeated[0]!r}; rename one.")
    table = rows.iloc[1:].reset_index(drop=True)
    table.columns = pd.Index([name or f"column {number}" for number, name in enumerate(names, 1)])
    is_kept = [bool(name) or bool(table.iloc[:, number].notna().any()) for number, name in enumerate(names)]
    return table.loc[:, is_kept].dropna(how="all").reset_index(drop=True)


def _stripped(value: Any) -> Any:
    return (unescaped(value.strip()).strip() or None) if isinstance(value, str) else value


def _read_decimal_commas(table: pd.DataFrame) -> bool:
    """Turn "9,5" into "9.5" in columns of nothing but such numbers; return whether there were any."""
    has_commas = False
    for column in table.columns:
        values = table[column][~table[column].isin(NOT_GIVEN)].dropna()
        if len(values) and values.str.contains(",").any() and values.str.fullmatch(r"-?\d+(,\d+)?").all():
            table[column] = table[column].str.replace(",", ".", regex=False)
            has_commas = True
    return has_commas
