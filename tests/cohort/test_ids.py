"""Ids that a program or a person has spelled differently: matched where that is certain, and said."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_caltomorph.cohort import CohortOptions, read_cohort
from napari_caltomorph.cohort.ids import match_ids
from napari_caltomorph.errors import CohortUnreadable

ONE = CohortOptions(min_cells=1, min_patients=1)


@pytest.mark.parametrize(
    ("in_table", "on_disk", "words"),
    [
        ("7", "007", "zeros"),
        ("P7", "P007", "zeros"),
        ("7.0", "007", "zeros"),
        ('="007"', "007", "quotes"),
        ("'007", "007", "quotes"),
        ("007\u200b", "007", "invisible"),
        ("\ufeff007", "007", "invisible"),
        ("Patient\u00a07", "Patient 7", "invisible"),
        (unicodedata.normalize("NFD", "Müller"), "Müller", "invisible"),
        ("patient_a", "Patient_A", "case"),
        ("Patient A", "patient_a", "spaces"),
        ("2023-01-05 00:00:00", "2023-01-05", "dates"),
        ("05.01.2023", "2023-01-05", "dates"),
        ("1/25/2023", "2023-01-25", "dates"),
        ("1.2E+05", "12e4", "numbers"),
        ("S0.svs", "S0", "suffix"),
        ("S0", "S0.h5", "suffix"),
        ("S0.SVS", "s0.ome.tif", "suffix"),
        (r"slides\S0.svs", "S0", "suffix"),
    ],
)
def test_an_id_that_was_changed_is_matched_and_said(in_table: str, on_disk: str, words: str) -> None:
    matches = match_ids([in_table, "other"], [on_disk, "third"])
    assert matches.found == {in_table: on_disk}
    assert len(matches.notes) == 1
    assert words in matches.notes[0]
    assert on_disk in matches.notes[0]


@pytest.mark.parametrize(
    ("in_table", "on_disk", "likely"),
    [
        (["7"], ["007", "0007"], "007 or 0007"),
        (["7", "07"], ["007"], "007"),
        (["7", "007"], ["007", "0007"], "007 or 0007"),
        (["patient_a"], ["Patient_A", "PATIENT_A"], "Patient_A or PATIENT_A"),
        (["1/5/2023"], ["2023-01-05", "2023-05-01"], "2023-01-05 or 2023-05-01"),
        (["1/5/2023"], ["2023-01-05"], "2023-01-05"),
        (["Case 12"], ["P12"], "P12"),
    ],
)
def test_an_id_that_may_be_several_is_not_matched_but_named(
    in_table: list[str], on_disk: list[str], likely: str
) -> None:
    matches = match_ids(in_table, on_disk)
    assert in_table[0] not in matches.found
    assert matches.likely[in_table[0]] == likely


@pytest.mark.parametrize(
    ("in_table", "on_disk"), [("1.5", "1.05"), ("10", "1"), ("2023/15", "15"), ("AB", "A-B"), ("", "\u200b")]
)
def test_other_ids_stay_apart(in_table: str, on_disk: str) -> None:
    assert not match_ids([in_table], [on_disk]).found


IDS = st.lists(st.text("aA07.-_ '=\"\u200b/é", max_size=5), max_size=8)


@given(IDS, IDS)
def test_no_id_is_matched_twice_and_equal_ids_always_are(in_table: list[str], on_disk: list[str]) -> None:
    found = match_ids(in_table, on_disk).found
    assert len(set(found.values())) == len(found)
    assert set(found) <= set(in_table)
    assert set(found.values()) <= set(on_disk)
    assert {text: text for text in set(in_table) & set(on_disk) - {""}}.items() <= found.items()


def test_a_table_that_excel_changed_keeps_all_its_patients(make_bags: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_bags(tmp_path / "bags", {"007": 3, "042": 3, "2023-01-05": 3, "NA": 3})
    rows = {
        "id": [7, 42, datetime(2023, 1, 5), "NA"],
        "diagnosis": ["AML", "MDS", "MDS", "AML"],
        "age": [50, "NA", 60, 1],
    }
    pd.DataFrame(rows).to_excel(folder / "t.xlsx", index=False)
    cohort = read_cohort(folder, ONE)
    assert list(cohort.table["patient_id"]) == ["007", "042", "2023-01-05", "NA"]
    assert cohort.table["age"].isna().tolist() == [False, True, False, False]
    assert any("7 = 007, 42 = 042" in note for note in cohort.notes)


def test_likely_pairs_are_named_where_ids_are_lost(make_bags: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_bags(tmp_path / "bags", {"007": 3, "0007": 3, "b": 3, "c": 3})
    table = folder / "t.csv"
    table.write_text("id,diagnosis\n7,AML\nb,AML\nc,MDS\n")
    cohort = read_cohort(folder, ONE)
    assert any("7 looks like 0007 or 007" in note for note in cohort.notes)
    left_out = cohort.left_out.set_index("patient_id")["reason"]
    assert "0007 or 007" in left_out["7"]
    assert "looks like 7" in left_out["007"]
    table.write_text("id,diagnosis\n7,AML\n")
    with pytest.raises(CohortUnreadable, match=r"first id '7' \(looks like 0007 or 007\)"):
        read_cohort(folder, ONE)
