"""What is around a table in its file: titles, a workbook's merged cells, wrong suffixes, files of other kinds."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from napari_caltomorph.cohort import CohortOptions, read_cohort
from napari_caltomorph.errors import CohortUnreadable

ONE = CohortOptions(min_cells=1, min_patients=1)
TABLE = "id;diagnosis;Hb g/dl\na;AML;9,5\nb;MDS;10,1\nc;AML;12,0\n"


@pytest.fixture
def bags(make_bags: Callable[..., Path], tmp_path: Path) -> Path:
    return make_bags(tmp_path / "bags", {name: 3 for name in "abc"})


def workbook(rows: list[list[object]], *merged: str) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for area in merged:
        book.active.merge_cells(area)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


ROWS = [["id", "diagnosis"], ["a", "AML"], ["b", "MDS"], ["c", "AML"]]


@pytest.mark.parametrize(
    ("content", "skipped"),
    [
        (f"sep=;\r\n{TABLE}", "1 line"),
        (f"\ufeffsep=;\n{TABLE}", "1 line"),
        (f"Cohort export 2024;;\r\n;;\r\n{TABLE}", "1 line"),
        (f"# exported from LIS, on 5 May, by K.\n{TABLE}", "1 line"),
        (f"Exported;5 May\nBy;K.\n\n{TABLE}", "2 lines"),
        ("".join(f"{line};\n" for line in TABLE.splitlines()), ""),
        (TABLE.replace(";9,5", ";9,5;").replace(";12,0", ";12,0;;"), ""),
    ],
)
def test_lines_above_the_header_and_delimiters_at_the_end_do_no_harm(bags: Path, content: str, skipped: str) -> None:
    (bags / "t.csv").write_text(content, "utf-8", newline="")
    cohort = read_cohort(bags, ONE)
    assert list(cohort.table["hemoglobin_g_dl"]) == [9.5, 10.1, 12.0]
    assert list(cohort.table["patient_id"]) == ["a", "b", "c"]
    assert any("above the header" in note and skipped in note for note in cohort.notes) == bool(skipped)


def test_values_that_are_names_of_columns_are_no_header(bags: Path) -> None:
    rows = "".join(f"{patient},AML,case,patient\n" for patient in "abc")
    (bags / "t.csv").write_text(f"pid,Dx,status,role\n{rows}")
    assert len(read_cohort(bags, ONE.model_copy(update={"label_column": "Dx"}))) == 3
    (bags / "t.csv").write_text(f"Class,\nCase,May 2024,,\npid,Dx,status,role\n{rows}")
    assert len(read_cohort(bags, ONE.model_copy(update={"label_column": "Dx"}))) == 3


def test_a_header_of_named_columns_is_found_below_a_title(bags: Path) -> None:
    (bags / "t.csv").write_text("Our patients,,\nMRN,Final,note\na,AML,\nb,MDS,\nc,AML,\n")
    named = ONE.model_copy(update={"id_column": "MRN", "label_column": "Final"})
    assert len(read_cohort(bags, named)) == 3


def test_named_columns_without_a_value_do_no_harm(bags: Path) -> None:
    (bags / "t.csv").write_text("id,diagnosis,remarks,x\na,AML,,\nb,MDS,,\nc,AML,,\n")
    assert len(read_cohort(bags, ONE)) == 3


def test_an_open_quotation_mark_is_named_with_its_line(bags: Path) -> None:
    (bags / "t.csv").write_text('id,diagnosis\na,AML\nb,"MDS\nc,AML\n')
    with pytest.raises(CohortUnreadable, match=r"t\.csv.* line 3 "):
        read_cohort(bags, ONE)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.xlsx", TABLE.encode()),
        ("t.csv", workbook(ROWS)),
        ("t.tsv", workbook([["A title"], [], *ROWS])),
        ("t.xls", TABLE.replace(";", "\t").encode("utf-16")),
    ],
)
def test_a_table_is_read_by_its_content(bags: Path, name: str, content: bytes) -> None:
    (bags / name).write_bytes(content)
    assert len(read_cohort(bags, ONE.model_copy(update={"table": name}))) == 3


def test_the_sheet_with_a_header_is_read(bags: Path) -> None:
    with pd.ExcelWriter(bags / "t.xlsx") as book:
        pd.DataFrame([["Read me"], ["first"]]).to_excel(book, sheet_name="legend", header=False, index=False)
        pd.DataFrame(ROWS).to_excel(book, sheet_name="patients", header=False, index=False)
    cohort = read_cohort(bags, ONE)
    assert len(cohort) == 3
    assert any("'patients'" in note for note in cohort.notes)


def test_merged_cells_are_repeated_and_reported(bags: Path) -> None:
    rows = [["Cohort of 2024", None], ["id", "diagnosis"], ["a", "AML"], ["b", None], ["c", "MDS"]]
    (bags / "t.xlsx").write_bytes(workbook(rows, "A1:B1", "B3:B4"))
    cohort = read_cohort(bags, ONE)
    assert list(cohort.table["raw_label"]) == ["AML", "AML", "MDS"]
    assert any("merged" in note and "'diagnosis'" in note for note in cohort.notes)


def edited(content: bytes, old: str, new: str) -> bytes:
    """Return a workbook with another text in its first sheet."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            part = before.read(name).decode()
            after.writestr(name, part.replace(old, new) if name.endswith("sheet1.xml") else part)
    return changed.getvalue()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("</sheetData>", '<row r="1048576"><c r="XFD1048576" s="0"/></row></sheetData>'),  # a border, say
        ("</sheetData>", '<row r="99999999999"><c r="A1"/></row></sheetData>'),
        ("</worksheet>", '<mergeCells><mergeCell ref="A1:XFD1048576"/></mergeCells></worksheet>'),
        ("<v>61</v>", f"<v>{'9' * 400}</v>"),
    ],
)
def test_nothing_far_from_a_workbooks_table_is_read(bags: Path, old: str, new: str) -> None:
    rows = [[*row, age] for row, age in zip(ROWS, ["age", 61, 62, 63], strict=True)]
    (bags / "t.xlsx").write_bytes(edited(workbook(rows), old, new))
    assert len(read_cohort(bags, ONE)) == 3


def test_a_value_far_from_a_workbooks_table_is_refused(bags: Path) -> None:
    far = '<row r="1048576"><c r="XFD1048576" t="n"><v>1</v></c></row></sheetData>'
    (bags / "t.xlsx").write_bytes(edited(workbook(ROWS), "</sheetData>", far))
    with pytest.raises(CohortUnreadable, match=r"t\.xlsx has 1048576 rows and 16384 columns"):
        read_cohort(bags, ONE)


OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", OLD, "save it as .xlsx without a password"),
        ("t.xlsx", OLD, "save it as .xlsx without a password"),
        ("t.csv", b"<html><table><tr><td>id", "web page"),
        ("t.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("t.csv", b"\x1f\x8b\x08" + bytes(99), "unpack"),
        ("t.csv", bytes(range(256)), "no text"),
        ("t.xlsx", workbook(ROWS)[:900], "damaged"),
        ("t.parquet", b"PAR1" + bytes(99), "damaged"),
        ("t.csv", b"id,diagnosis\na," + b"x" * 140_000, "line 2"),
    ],
)
def test_a_file_of_another_kind_is_named_with_the_fix(bags: Path, name: str, content: bytes, message: str) -> None:
    (bags / name).write_bytes(content)
    with pytest.raises(CohortUnreadable, match=message) as raised:
        read_cohort(bags, ONE)
    text = str(raised.value)
    assert name in text
    assert text.isprintable()
    assert len(text) < 300


def test_a_workbook_that_is_not_read_is_mentioned(bags: Path) -> None:
    (bags / "patients.xls").write_bytes(OLD)
    with pytest.raises(CohortUnreadable, match=r"patients\.xls is not read"):
        read_cohort(bags, ONE)


@pytest.mark.parametrize("place", [r"D:\data\{}", "//server/share/{}", "nowhere/{}"])
def test_a_path_that_leads_nowhere_is_shown(tmp_path: Path, place: str) -> None:
    table = tmp_path / "t.csv"
    rows = "".join(f"{name},AML,{place.format(name)}\n" for name in "ab")
    table.write_text(f"id,diagnosis,path\n{rows}")
    with pytest.raises(CohortUnreadable, match=r"no patient is left of 2: 2 missing files \(first: a, ") as raised:
        read_cohort(table, ONE)
    assert place.format("a") in str(raised.value)


@pytest.mark.parametrize("cell", ["AML\\{}", "~/{home}/AML/{}", "file://{root}/AML/{}", '"AML\\{}"'])
def test_paths_are_found_however_they_are_written(
    make_bags: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str
) -> None:
    root = tmp_path / "our data"
    make_bags(root / "AML", {"a": 3, "b": 3})
    monkeypatch.setenv("HOME", str(tmp_path))
    uri = root.as_uri().removeprefix("file://")
    paths = [cell.format(f"{name}.h5", home=root.name, root=uri) for name in "ab"]
    pd.DataFrame({"id": ["a", "b"], "diagnosis": "AML", "path": paths}).to_csv(root / "t.csv", index=False)
    assert len(read_cohort(root / "t.csv", ONE)) == 2
