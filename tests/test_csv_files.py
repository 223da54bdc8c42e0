"""Tables that others' programs open: no text in them is a formula, and each is read back as it was."""

from __future__ import annotations

import csv
import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_caltomorph.csv_files import harmless, read_csv, unescaped, write_csv

FORMULAS = ["=1+1", '=HYPERLINK("http://x","P1")', "+49 30", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1"]
ORDINARY = ["P-1", "a=b", "NA", "nan", "'quoted'", "O'Neil", " =1", "007", "Müller", "患者", "a\tb", 'x,"y"\nz']


def fields_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("text", [*FORMULAS, *(f"'{one}" for one in FORMULAS), *ORDINARY])
def test_no_field_begins_like_a_formula_and_every_text_is_read_back(tmp_path, text):
    table = pd.DataFrame({"patient_id": [text, "P2"], "n": [-1, 2], text: ["a", text]})
    write_csv(table, tmp_path / "a.csv")
    fields = fields_of(tmp_path / "a.csv")
    texts = [fields[0][2], fields[1][0], fields[2][2]]
    assert not [one for one in texts if one[0] in "=+-@\t\r\n＝"]
    assert [row[1] for row in fields[1:]] == ["-1", "2"]
    read = read_csv(tmp_path / "a.csv", dtype={"patient_id": str, text: str})
    pd.testing.assert_frame_equal(read, table.astype(read.dtypes))


def test_ordinary_values_are_written_as_pandas_writes_them(tmp_path):
    table = pd.DataFrame(
        {
            "patient_id": ORDINARY[:4],
            "difference": [-0.1, math.nan, 1 / 3, -1e-30],
            "mixed": [True, None, -1, -2.5],
            "count": pd.array([1, None, -3, 4], dtype="Int64"),
            "kind": pd.Categorical(["a", "b", None, "a"]),
        }
    )
    write_csv(table, tmp_path / "ours.csv")
    table.to_csv(tmp_path / "pandas.csv", index=False)
    assert (tmp_path / "ours.csv").read_bytes() == (tmp_path / "pandas.csv").read_bytes()


def test_formula_among_other_values_changes_only_itself(tmp_path):
    table = pd.DataFrame({"kind": pd.Categorical(["=1", None]), "mixed": ["=1", -1]}, index=[0, 0])
    write_csv(table, tmp_path / "a.csv")
    assert fields_of(tmp_path / "a.csv")[1:] == [["'=1", "'=1"], ["", "-1"]]


@settings(deadline=None)
@given(st.text(alphabet="'=+-@\t\r\nax＝", max_size=6))
def test_what_is_written_means_one_text(text):
    written = harmless(text)
    assert unescaped(written) == text
    assert written[:1] not in set("=+-@\t\r\n＝")
