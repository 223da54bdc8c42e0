"""The rows of a table's file and which of them is the header, by what the file contains: its suffix may be another.

A file of a kind that is not read is named with the way to make it readable; none of its bytes are in the message.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from napari_caltomorph.cohort.column_names import known_names
from napari_caltomorph.errors import CohortUnreadable, import_optional

# Rows among which the header is searched for, and characters of a text in which its delimiter is.
_ROWS, _SAMPLE = 50, 100_000
# Appended to a text: where it is not the last row, a quotation mark before it was never closed.
_END = "\N{END OF TRANSMISSION}"

# Of a workbook, unpacked; a row in a file may have any number, so that one cell makes a sheet endless.
_MOST_BYTES, _MOST_CELLS, _EXCEL_ROWS = 1_000_000_000, 20_000_000, 2**20

_NOT_READ = {
    b"\xd0\xcf\x11\xe0": "an old .xls workbook, or protected with a password; save it as .xlsx without a password",
    b"%pdf": "a PDF; export the table as .xlsx or .csv",
    b"{\\rtf": "a text document (RTF); export the table as .xlsx or .csv",
    b"<": "a web page or XML, as some systems write under the name .xls; open it in Excel and save it as .xlsx",
    b"version https://git-lfs": "a pointer of Git LFS, not the table; run `git lfs pull`",
    b"\x1f\x8b": "compressed; unpack it",
    b"7z\xbc\xaf": "compressed; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed; unpack it",
    b"sqlite format 3": "a database; export the table as .xlsx or .csv",
}
"""What no table begins with, in lower case: what it is, and what to do."""


@dataclass(frozen=True)
class Sheet:
    """The rows of a text, or of one sheet of a workbook."""

    cells: pd.DataFrame  # of objects; missing where a cell is empty
    header: int  # the row that names the columns
    notes: list[str] = field(default_factory=list)
    lines: list[tuple[int, int]] | None = None  # of a text: of each row, its line and how many cells it has
    merged: list[tuple[int, int, int]] = field(default_factory=list)  # first row, last row and column of merged cells


def read_rows(path: Path, named: Collection[str]) -> Sheet:
    """Read the rows of a table's file; `named` are columns that a person has named.

    Raises `CohortUnreadable` where the file is empty, damaged or of a kind that is not read, and `PackageMissing` where
    Parquet needs another package.
    """
    content = path.read_bytes()
    if not content.strip():
        raise CohortUnreadable(f"{path} is empty; export the table again.")
    if content.startswith(b"PAR1"):
        return _parquet(path)
    if content.startswith(b"PK\x03\x04"):
        return _workbook(path, named)
    begin = content[:200].removeprefix(codecs.BOM_UTF8).lstrip().lower()
    for start, kind in _NOT_READ.items():
        if begin.startswith(start):
            raise CohortUnreadable(f"{path} is {kind}.")
    return _text(path, content, named)


def _parquet(path: Path) -> Sheet:
    import_optional("pyarrow", "parquet", "A Parquet table")
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # damaged files make the library raise all kinds of errors
        raise CohortUnreadable(f"{path} is a damaged Parquet file; write it again.") from error
    if table.index.name is not None:
        table = table.reset_index()
    header = pd.DataFrame([[str(column) for column in table.columns]], dtype=object)
    return Sheet(
        pd.concat([header, table.astype(object).set_axis(range(table.shape[1]), axis=1)], ignore_index=True), 0
    )


def _workbook(path: Path, named: Collection[str]) -> Sheet:
    """Read the first sheet in which a row names columns, or else the first."""
    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(path) as archive:
            is_excel = "xl/workbook.xml" in archive.namelist()
            size = sum(part.file_size for part in archive.infolist())
        if not is_excel:
            raise CohortUnreadable(f"{path} is an archive, but no Excel workbook; export the table as .xlsx.")
        if size > _MOST_BYTES:
            raise CohortUnreadable(f"{path} unpacks to {size / 1e6:,.0f} MB; save its table alone, as CSV.")
        # A file, not its name: openpyxl takes no workbook by another suffix.
        with path.open("rb") as file, closing(load_workbook(file, True, data_only=True, keep_links=False)) as book:
            read: dict[str, pd.DataFrame] = {}
            for sheet in book.worksheets:
                read[sheet.title] = _cells(path, sheet)
                if _header(read[sheet.title].head(_ROWS).to_numpy().tolist(), named)[1]:
                    break
            else:
                sheet = book.worksheets[0]
            name, merged, count = sheet.title, _merged(sheet), len(book.worksheets)
    except CohortUnreadable:
        raise
    except Exception as error:  # damaged files make the library raise all kinds of errors
        raise CohortUnreadable(f"{path} is a damaged workbook; open it in Excel and save it as .xlsx again.") from error
    notes = [f"{path.name} has {count} sheets; {name!r} was read."] if count > 1 else []
    header, _ = _header(read[name].head(_ROWS).to_numpy().tolist(), named)
    return Sheet(read[name], header, notes, merged=merged)


def _cells(path: Path, sheet: Any) -> pd.DataFrame:
    """Return the cells of a sheet, up to the last row and column with a value.

    A row far below, which has a colour or a border but no value, is nothing; pandas and openpyxl fill up to it.
    """
    sheet.reset_dimensions()  # what a file says of its own size may be wrong
    filled: dict[int, list[Any]] = {}
    for number, row in enumerate(islice(sheet.rows, _EXCEL_ROWS)):
        values = [_value(cell) for cell in row] if row else []
        while values and values[-1] is None:
            values.pop()
        if values:
            filled[number] = values
    height, width = max(filled, default=-1) + 1, max(map(len, filled.values()), default=0)
    if height * width > _MOST_CELLS:
        raise CohortUnreadable(f"{path} has {height} rows and {width} columns; delete what does not belong to a table.")
    rows = [filled.get(number, []) for number in range(height)]
    return pd.DataFrame([row + [None] * (width - len(row)) for row in rows], dtype=object)


def _value(cell: Any) -> Any:
    """Return the value of a cell of a workbook: Excel knows no integers, and its errors (#N/A) are no value."""
    value = cell.value
    if value == "" or cell.data_type == "e":
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and abs(value) >= 2**63 else value


def _merged(sheet: Any) -> list[tuple[int, int, int]]:
    """Return first row, last row and column of merged cells.

    openpyxl itself would make a cell of every one that is merged: 17 billion where all of a sheet is.
    """
    from openpyxl.utils import range_boundaries

    found = []
    with sheet._get_source() as xml:
        for _, element in ElementTree.iterparse(xml):
            if element.tag.endswith("}mergeCell"):
                column, first, _, last = range_boundaries(element.get("ref", ""))
                found.append((first - 1, last - 1, column - 1))
            element.clear()
    return found


def _text(path: Path, content: bytes, named: Collection[str]) -> Sheet:
    text, notes = _decoded(path, content)
    lines = [line for line in text[:_SAMPLE].splitlines() if line.strip()][:_ROWS]
    if not lines:
        raise CohortUnreadable(f"{path} is empty; export the table again.")
    delimiter = _delimiter(lines, named)
    if delimiter is None:
        raise CohortUnreadable(
            f"{path} has one column only ({lines[0].strip()[:60]!r}); separate columns with , ; or tab."
        )
    if delimiter not in (",", "\t"):
        notes.append(f"{path.name} is separated by {delimiter!r}.")
    rows, places = _cut(path, text, delimiter)
    header, _ = _header(rows[:_ROWS], named)
    return Sheet(pd.DataFrame(rows, dtype=object), header, notes, lines=places)


def _decoded(path: Path, content: bytes) -> tuple[str, list[str]]:
    """Return a text, and a note where it is in no encoding that says so itself."""
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding, name in {
        "utf-16" if is_utf_16 else "utf-8-sig": None,
        # Bytes from 80 to 9f are quotation marks, dashes and so on in Windows, and control characters in Latin-1.
        **({"cp1252": "Windows-1252"} if re.search(rb"[\x80-\x9f]", content) else {}),
        "latin-1": "Latin-1",
    }.items():
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text, [f"{path.name} is no UTF-8; it was read as {name}."] if name else []
    raise CohortUnreadable(f"{path} is no text and no workbook; export the table as .xlsx or as CSV in UTF-8.")


def _delimiter(lines: Sequence[str], named: Collection[str]) -> str | None:
    """Return the delimiter: the one that cuts out most names of columns, then most lines into equally many cells."""
    best: tuple[int, float, int, str] | None = None
    for delimiter in ",;\t|":
        rows = list(csv.reader(lines, delimiter=delimiter))
        cells, count = max(Counter(map(len, rows)).items(), key=lambda one: (one[1], one[0]))
        if cells > 1:
            best = max(best or (0, 0.0, 0, ""), (_header(rows, named)[1], count / len(rows), cells, delimiter))
    return best[-1] if best else None


def _cut(path: Path, text: str, delimiter: str) -> tuple[list[list[str | None]], list[tuple[int, int]]]:
    """Return the rows of a text, all of one width, and of each its line and how many cells it has."""
    reader = csv.reader(io.StringIO(f"{text}\n{_END}", newline=""), delimiter=delimiter)
    rows: list[list[str | None]] = []
    lines = []
    begin = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append([cell if cell.strip() else None for cell in row])
                lines.append((begin, len(row)))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise CohortUnreadable(
            f"{path}: line {begin} has a cell of more than {csv.field_size_limit()} characters; "
            "close its quotation mark, or export the table again."
        ) from error
    if rows.pop() != [_END]:
        line, _ = lines[-1]
        raise CohortUnreadable(f"{path}: a quotation mark in line {line} is never closed; export the table again.")
    lines.pop()
    width = max(map(len, rows))
    return [row + [None] * (width - len(row)) for row in rows], lines


def _header(rows: Sequence[Sequence[Any]], named: Collection[str]) -> tuple[int, int]:
    """Return the row that names the columns, among the first ones, and how many names in it are recognised.

    It is the first that has such a name and is no title: more than half as many cells as the longest row. Where none
    has, it is the first with two cells.
    """
    known = [known_names(row, named) for row in rows]
    filled = [sum(not pd.isna(cell) for cell in row) for row in rows]
    title = max(1, max(filled, default=0) / 2)
    fits = (number for number, count in enumerate(filled) if known[number] and count > title)
    header = next(fits, None)
    if header is None:
        header = next((number for number, count in enumerate(filled) if count > 1), 0)
    return header, known[header] if known else 0
