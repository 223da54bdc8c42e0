"""Tables of patients, labelled cells and types: valid ones, changed in cells, header, delimiter, encoding or parts."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from typing import Any

import openpyxl
from hypothesis import strategies as st
from tests.fuzz.mutations import Seed, mutated

PATIENTS = (
    ("patient", "diagnosis", "path", "hemoglobin", "age", "sex", "site"),
    ("p1", "AML", "p1", "9.5", "61", "f", "a"),
    ("p2", "MDS", "p2", "10,1", "70", "m", "a"),
    ("p3", "healthy", "p3", "14", "33", "f", "b"),
    ("p4", "CLL", "p1.h5", "12.0", "65", "m", "b"),
)
CELLS = (
    ("patient_id", "cell", "label", "by", "when", "smear_fingerprint"),
    ("p1", "a.tif", "blast", "me", "2026-01-01T00:00:00+00:00", "f" * 64),
    ("p1", "b.tif", "lymphocyte", "me", "2026-01-01T00:00:00+00:00", "f" * 64),
    ("p2", "a.tif", "smudge cell", "folder", "", ""),
)
IMAGES = (("file", "label"), ("basophil/a.png", "NGS"), ("x\\LYT\\b.png", "lymphocyte"), ("c", "my type"))
TYPES = (("name", "type"), ("basophil", "lymphocyte"), ("odd", ""), ("LYT", "my type"))
_CELLS: tuple[Any, ...] = (
    *(
        "",
        " ",
        "NA",
        "nan",
        "None",
        "0",
        "-1",
        "1e999",
        "inf",
        "9" * 400,
        "1,5",
        "1.234,5",
        "01.02.2026",
        "007",
        "=1+1",
    ),
    *(
        '="007"',
        "'007",
        "@x",
        "\t",
        "a\nb",
        'a"b',
        '"',
        "x" * 2000,
        "\u200b",
        "\u202e",
        "\x1b[31m",
        "é",
        "e\u0301",
        "?",
    ),
    *("../..", "/etc", "/dev/zero", "~", "~nobody", "C:\\x\\y", "file:///etc", "\\\\host\\share", ".", "p1/../p1", "*"),
    *("p1", "P1", "AML", "aml|mds", "train", "test", "path", "patient_id", "label", "cell", "sep=;", "\U0001f600"),
)
_CHANGES = ("cell",) * 5 + (
    "drop row",
    "repeat row",
    "drop column",
    "repeat column",
    "empty column",
    "more cells",
    "title",
)


_ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252", "utf-32", "cp037")


@st.composite
def _changed(draw: st.DrawFn, rows: tuple[tuple[str, ...], ...]) -> list[list[str]]:
    table = [list(row) for row in rows]
    for kind in draw(st.lists(st.sampled_from(_CHANGES), max_size=3)):
        if not table or not table[0]:
            break
        row = draw(st.integers(0, len(table) - 1))
        column = draw(st.integers(0, len(table[0]) - 1))
        value = draw(st.sampled_from(_CELLS))
        if kind == "cell" and column < len(table[row]):
            table[row][column] = value
        elif kind == "drop row":
            del table[row]
        elif kind == "repeat row":
            table[row:row] = [list(table[row])] * draw(st.integers(1, 3))
        elif kind == "drop column":
            table = [one[:column] + one[column + 1 :] for one in table]
        elif kind == "repeat column":
            table = [one[: column + 1] + one[column:] for one in table]
        elif kind == "empty column":
            table = [table[0]] + [[*one[:column], "", *one[column + 1 :]] for one in table[1:]]
        elif kind == "more cells":
            table[row] += [value] * draw(st.integers(1, 300))
        elif kind == "title":
            table.insert(0, [value])
    return table


@st.composite
def csv_files(draw: st.DrawFn, rows: tuple[tuple[str, ...], ...] = PATIENTS) -> bytes:
    """A table as text, in any encoding and with any delimiter."""
    delimiter = draw(st.sampled_from((",", ",", ",", ";", "\t", "|", " ")))
    newline = draw(st.sampled_from(("\n", "\r\n", "\r", "\n\n")))
    quoted = draw(st.sampled_from((_as_needed, _all, _never)))
    text = newline.join(delimiter.join(quoted(cell, delimiter) for cell in row) for row in draw(_changed(rows)))
    lead = draw(st.sampled_from(("",) * 6 + ("sep=;\n", "# note\n", "\n\n", "\ufeff", "\0")))
    encoding = draw(
        st.sampled_from(("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252", "utf-32", "cp037"))
    )
    content = (lead + text).encode(encoding, errors="replace")
    return draw(mutated(Seed("csv", content), most=2)) if draw(st.integers(0, 2)) == 0 else content


def _as_needed(cell: str, delimiter: str) -> str:
    return _all(cell, delimiter) if any(letter in cell for letter in (delimiter, '"', "\n")) else cell


def _all(cell: str, delimiter: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def _never(cell: str, delimiter: str) -> str:
    return cell


@cache
def _workbook() -> bytes:
    book = openpyxl.Workbook()
    for row in PATIENTS:
        book.active.append([float(cell) if cell.replace(".", "").isdigit() else cell for cell in row])
    book.create_sheet("other").append(["x"])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


_BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">'
    + "".join(f'<!ENTITY {name} "{f"&{before};" * 12}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>"
)
# Text in the parts of a workbook, and what it becomes.
_SWAPS = (
    *(('r="B3"', f'r="{place}"') for place in ("XFD1048576", "A1048576", "XFD2", "ZZZZZ9", "B0", "", "3", "B-1")),
    *(('r="3"', f'r="{row}"') for row in ("1048576", "0", "-1", "99999999999", "x", "")),
    *(('ref="A1:G5"', f'ref="{ref}"') for ref in ("A1:XFD1048576", "A1", "", "G5:A1", "x")),
    *(('t="s"', f't="{kind}"') for kind in ("n", "d", "b", "e", "str", "inlineStr", "x")),
    *(("<v>", f"<v>{value}") for value in ("99", "-", "1e999", "x" * 3000, "&#1;")),
    *(("<v>61</v>", f"<v>{value}</v>") for value in ("", "1e400", "nan", "-1", "TRUE", "2958466", "#REF!", "9" * 400)),
    *((f"<{tag}", f"<!-- --><{tag}x") for tag in ("sheet", "row", "si", "c ", "workbook")),
    *(('r:id="rId1"', f'r:id="{name}"') for name in ("rId2", "rId9", "", "../x")),
    *(('Target="', f'Target="{where}') for where in ("../../../", "file:///etc/passwd?", "http://localhost/")),
    *(("<worksheet", _BOMB + "<worksheet"), ("<sst", _BOMB + "<sst"), ("<t>AML</t>", "<t>&i;</t>"), ("</row>", "")),
    *(('name="Sheet"', 'name="x&#10;y"'), ('state="visible"', 'state="veryHidden"'), ("<dimension", "<d")),
    ("</sheetData>", '</sheetData><mergeCells count="1"><mergeCell ref="A1:XFD1048576"/></mergeCells>'),
    ("</sheetData>", '</sheetData><mergeCells count="1"><mergeCell ref="B2:B4"/></mergeCells>'),
)


@st.composite
def workbooks(draw: st.DrawFn) -> bytes:
    """An Excel file whose parts or bytes change."""
    swaps = draw(st.lists(st.sampled_from(_SWAPS), max_size=3))
    changed = draw(st.integers(0, 30))
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_workbook())) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for number, name in enumerate(old.namelist()):
            text = old.read(name).decode()
            for before, after in swaps:
                text = text.replace(before, after)
            content = text.encode()
            if number == changed:
                content = draw(mutated(Seed(name, content)))
            if not (number == changed and draw(st.booleans())):
                new.writestr(name, content)
    content = file.getvalue()
    return draw(mutated(Seed("xlsx", content))) if draw(st.integers(0, 3)) == 0 else content
