"""Tables of patients as labs write them: formats, delimiters, columns and units."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.cohort.conftest import PATIENTS
from tests.cohort.factories import FEW, edit, lines_of, rewrite, with_options

from napari_caltomorph.cohort import read_cohort
from napari_caltomorph.errors import CohortUnreadable


def test_a_table_with_paths_is_read_in_every_format(flat: Path) -> None:
    table = pd.read_csv(flat / "diagnoses.csv").assign(folder=lambda t: t["patient_id"])
    expected = set(table["patient_id"])
    table.to_csv(flat / "a.tsv", sep="\t", index=False)
    table.to_excel(flat / "a.xlsx", index=False)
    table.to_parquet(flat / "a.parquet", index=False)
    for name in ("a.tsv", "a.xlsx", "a.parquet"):
        assert set(read_cohort(flat / name, FEW).table["patient_id"]) == expected


def test_semicolons_decimal_commas_latin_1_and_a_bom_are_read_and_noted(flat: Path) -> None:
    table = pd.read_csv(flat / "diagnoses.csv")
    (flat / "diagnoses.csv").unlink()
    table["Klinik"] = "Großhadern"
    text = table.to_csv(sep=";", decimal=",", index=False)
    (flat / "d.csv").write_bytes(text.encode("latin-1"))
    cohort = read_cohort(flat, FEW)
    assert sorted(cohort.table["hemoglobin_g_dl"]) == sorted(table["hemoglobin_g_dl"])
    message = " ".join(cohort.notes)
    assert "Latin-1" in message
    assert "decimal commas" in message
    (flat / "d.csv").write_bytes(text.encode("utf-8-sig"))
    assert len(read_cohort(flat, FEW)) == PATIENTS


def test_labels_with_trailing_spaces_match(flat: Path) -> None:
    edit(flat / "diagnoses.csv", lambda t: t.assign(diagnosis=t["diagnosis"] + "  "))
    assert len(read_cohort(flat, FEW)) == PATIENTS


def test_a_wrong_delimiter_is_named(flat: Path) -> None:
    (flat / "diagnoses.csv").write_text("patient_id diagnosis\na AML\n")
    with pytest.raises(CohortUnreadable, match="one column only"):
        read_cohort(flat, FEW)


def test_an_unknown_column_lists_those_that_are_there(flat: Path) -> None:
    with pytest.raises(CohortUnreadable, match="no column 'Dx'; it has patient_id, diagnosis"):
        read_cohort(flat, with_options(label_column="Dx"))


def test_two_columns_that_fit_are_never_guessed(flat: Path) -> None:
    edit(flat / "diagnoses.csv", lambda t: t.assign(Disease=t["diagnosis"]))
    with pytest.raises(CohortUnreadable, match="both look like the label; name one with --label-column"):
        read_cohort(flat, FEW)
    assert len(read_cohort(flat, with_options(label_column="diagnosis"))) == PATIENTS


def test_where_keeps_rows_of_any_column(flat: Path) -> None:
    edit(flat / "diagnoses.csv", lambda t: t.assign(Site=["A", "B"] * (PATIENTS // 2)))
    cohort = read_cohort(flat, with_options(where=("Site=A",)))
    assert len(cohort) == PATIENTS // 2
    assert set(cohort.table["Site"]) == {"A"}
    with pytest.raises(CohortUnreadable, match="no column 'Nowhere'"):
        read_cohort(flat, with_options(where=("Nowhere=A",)))


@pytest.mark.parametrize(("unit", "factor"), [("g/l", 10.0), ("mmol/l", 1 / 1.6114)])
def test_hemoglobin_in_another_unit_is_converted_only_with_the_option(flat: Path, unit: str, factor: float) -> None:
    column = "Hb" if unit == "g/l" else "Hb mmol"
    truth = pd.read_csv(flat / "diagnoses.csv")["hemoglobin_g_dl"]
    edit(flat / "diagnoses.csv", lambda t: t.assign(**{column: truth * factor}).drop(columns="hemoglobin_g_dl"))
    untold = read_cohort(flat, with_options(hemoglobin_column=column))
    assert untold.table["hemoglobin_g_dl"].isna().all()
    assert any(f"looks like {unit}" in note for note in untold.notes)
    reported = read_cohort(flat, with_options(hemoglobin_column=column, hemoglobin_unit=unit))
    assert np.allclose(sorted(reported.table["hemoglobin_g_dl"].astype(float)), sorted(truth), atol=0.01)


@pytest.mark.parametrize("suffix", ["csv", "xlsx", "parquet"])
def test_an_id_of_digits_keeps_its_zeros(make_bags, tmp_path: Path, suffix: str) -> None:
    folder = make_bags(tmp_path / "bags", {f"00{i}": 60 for i in range(8)})
    table = pd.DataFrame({"patient_id": [f"00{i}" for i in range(8)], "diagnosis": ["AML", "CLL"] * 4})
    path = folder / f"t.{suffix}"
    {"csv": table.to_csv, "xlsx": table.to_excel, "parquet": table.to_parquet}[suffix](path, index=False)
    assert list(read_cohort(folder).table["patient_id"]) == [f"00{i}" for i in range(8)]


def test_ids_that_a_program_wrote_as_numbers_match_their_folders(make_bags, tmp_path: Path) -> None:
    folder = make_bags(tmp_path / "bags", {f"{i}": 60 for i in range(1, 9)})
    table = pd.DataFrame({"patient_id": [float(i) for i in range(1, 9)], "diagnosis": ["AML", "CLL"] * 4})
    table.to_excel(folder / "t.xlsx", index=False)
    assert len(read_cohort(folder)) == 8


def test_umlauts_match_however_they_are_composed(make_bags, tmp_path: Path) -> None:
    composed, taken_apart = "M\u00fcller 1", "Mu\u0308ller 1"
    folder = make_bags(tmp_path / "bags", {taken_apart: 60, "b c": 60, "c": 60, "d": 60})
    pd.DataFrame({"patient_id": [composed, "b c", "c", "d"], "diagnosis": ["AML", "CLL"] * 2}).to_csv(
        folder / "t.csv", index=False
    )
    assert set(read_cohort(folder).table["patient_id"]) == {composed, "b c", "c", "d"}


def test_two_columns_of_one_name_are_refused(flat: Path) -> None:
    header, *rows = lines_of(flat)
    rewrite(flat, "\n".join([f"{header},diagnosis", *(f"{row},CLL" for row in rows)]))
    with pytest.raises(CohortUnreadable, match="two columns 'diagnosis'"):
        read_cohort(flat, FEW)


def test_rows_that_end_in_a_delimiter_do_not_shift(flat: Path) -> None:
    expected = read_cohort(flat, FEW).table
    header, *rows = lines_of(flat)
    rewrite(flat, "\n".join([f"{header},", *(f"{row}," for row in rows)]))
    pd.testing.assert_frame_equal(read_cohort(flat, FEW).table, expected)
    rewrite(flat, "\n".join([header, *(f"{row},x" for row in rows)]))
    with pytest.raises(CohortUnreadable, match="line 2 has 6 cells, the header 5"):
        read_cohort(flat, FEW)


def test_columns_without_a_name_do_no_harm(flat: Path) -> None:
    edit(flat / "diagnoses.csv", lambda t: t.assign(**{"": range(len(t)), " ": "note"}))
    assert len(read_cohort(flat, FEW)) == PATIENTS


def test_commas_in_a_header_are_no_delimiters_where_rows_have_semicolons(flat: Path) -> None:
    header, *rows = (line.replace(",", ";") for line in lines_of(flat))
    header = header.replace("sex", "sex, as in the form, f, m, or d")
    rewrite(flat, "\n".join([header, *rows]))
    assert len(read_cohort(flat, FEW)) == PATIENTS


def test_utf_16_as_excel_writes_it_is_read(flat: Path) -> None:
    rewrite(flat, "\n".join(lines_of(flat)).replace(",", "\t").encode("utf-16"))
    assert len(read_cohort(flat, FEW)) == PATIENTS


def test_quoted_decimal_commas_in_a_table_of_commas_are_numbers(flat: Path) -> None:
    expected = read_cohort(flat, FEW).table["hemoglobin_g_dl"]
    edit(
        flat / "diagnoses.csv",
        lambda t: t.assign(hemoglobin_g_dl=t["hemoglobin_g_dl"].astype(str).str.replace(".", ",")),
    )
    assert read_cohort(flat, FEW).table["hemoglobin_g_dl"].equals(expected)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"\n\n", "is empty"), (b"patient_id,diagnosis\n", "has no rows")]
)
def test_an_empty_table_is_refused(flat: Path, content: bytes, message: str) -> None:
    rewrite(flat, content)
    with pytest.raises(CohortUnreadable, match=f"diagnoses.csv {message}"):
        read_cohort(flat, FEW)


def test_of_several_sheets_the_first_is_read_and_noted(flat: Path) -> None:
    table = pd.read_csv(flat / "diagnoses.csv")
    (flat / "diagnoses.csv").unlink()
    with pd.ExcelWriter(flat / "d.xlsx") as book:
        table.to_excel(book, sheet_name="patients", index=False)
        table.head(3).to_excel(book, sheet_name="draft", index=False)
    cohort = read_cohort(flat, FEW)
    assert len(cohort) == PATIENTS
    assert any("2 sheets" in note and "'patients'" in note for note in cohort.notes)


def test_rows_without_an_id_are_counted(flat: Path) -> None:
    rewrite(flat, "\n".join([*lines_of(flat), ",AML,9.0,60,male"]))
    assert any("1 row without an id" in note for note in read_cohort(flat, FEW).notes)


def test_a_text_file_next_to_the_table_is_no_second_table(flat: Path) -> None:
    (flat / "README.txt").write_text("Smears of 2019, see the paper; ask the lab.")
    assert len(read_cohort(flat, FEW)) == PATIENTS


def test_two_tables_next_to_the_folders_need_a_choice(flat: Path) -> None:
    shutil.copy(flat / "diagnoses.csv", flat / "old.csv")
    with pytest.raises(CohortUnreadable, match=r"2 tables .diagnoses.csv, old.csv.; name the one with --table"):
        read_cohort(flat, FEW)
    assert len(read_cohort(flat, with_options(table="old.csv"))) == PATIENTS


@pytest.mark.parametrize(
    "name", ["fold", "n_cells", "n_images", "twin_share", "coarse", "group", "problem", "features", "_merge", "path"]
)
def test_a_column_that_bears_one_of_our_names_stays_the_tables_own(flat: Path, name: str) -> None:
    expected = read_cohort(flat, FEW).table
    edit(flat / "diagnoses.csv", lambda t: t.assign(**{name: "some words"}))
    table = read_cohort(flat, FEW).table
    pd.testing.assert_frame_equal(table[expected.columns], expected)


def test_a_unit_in_the_columns_name_does_not_hide_it(flat: Path) -> None:
    edit(flat / "diagnoses.csv", lambda t: t.rename(columns={"hemoglobin_g_dl": "Hb (g/dL)"}))
    assert read_cohort(flat, FEW).table["hemoglobin_g_dl"].notna().all()
    edit(flat / "diagnoses.csv", lambda t: t.rename(columns={"Hb (g/dL)": "Hb [mmol/l]"}))
    cohort = read_cohort(flat, FEW)
    assert cohort.table["hemoglobin_g_dl"].isna().all()
    assert any("looks like mmol/l" in note for note in cohort.notes)


def test_low_values_without_a_unit_are_used_only_with_the_option(flat: Path) -> None:
    truth = pd.read_csv(flat / "diagnoses.csv")["hemoglobin_g_dl"]
    edit(flat / "diagnoses.csv", lambda t: t.assign(Hb=truth / 1.6114).drop(columns="hemoglobin_g_dl"))
    untold = read_cohort(flat, FEW)
    assert untold.table["hemoglobin_g_dl"].isna().all()
    assert any("may be mmol/l" in note and "--hemoglobin-unit" in note for note in untold.notes)
    reported = read_cohort(flat, with_options(hemoglobin_unit="mmol/l")).table["hemoglobin_g_dl"]
    assert np.allclose(sorted(reported.astype(float)), sorted(truth), atol=0.01)
    as_they_are = read_cohort(flat, with_options(hemoglobin_unit="g/dl")).table["hemoglobin_g_dl"]
    assert np.allclose(sorted(as_they_are.astype(float)), sorted(truth / 1.6114), atol=0.01)


def test_an_implausible_unit_is_reported(flat: Path) -> None:
    for unit in ("g/l", "mmol/l"):
        cohort = read_cohort(flat, with_options(hemoglobin_unit=unit))
        is_possible = cohort.table["hemoglobin_g_dl"].notna().any()
        assert is_possible == (unit == "mmol/l")  # 12 mmol/l is much, but not impossible
    assert any("cannot be g/l" in note for note in read_cohort(flat, with_options(hemoglobin_unit="g/l")).notes)


def test_impossible_numbers_are_left_empty_and_reported(flat: Path) -> None:
    rows = {"hemoglobin_g_dl": ["inf", "0", "999", "x"], "age": ["-1", "inf", "old", "50"], "sex": ["d", "3", "w", "m"]}
    edit(flat / "diagnoses.csv", lambda t: t.assign(**{k: [*v, *t[k].astype(str)[4:]] for k, v in rows.items()}))
    cohort = read_cohort(flat, FEW)
    first = cohort.table.head(4)
    assert first["hemoglobin_g_dl"].isna().all()
    assert list(first["age"].isna()) == [True, True, True, False]
    message = " ".join(cohort.notes)
    for column, lost in (("hemoglobin_g_dl", 4), ("age", 3), ("sex", 2)):
        assert f"{lost} values of '{column}'" in message


@pytest.mark.parametrize("option", [{"where": ("sex=female",)}, {"label_column": "Dx"}, {"group_column": "site"}])
def test_columns_without_a_table_are_refused(drawn: Path, tmp_path: Path, option: dict[str, object]) -> None:
    cohort = shutil.copytree(drawn, tmp_path / "cohort")
    (cohort / "patients.csv").unlink()
    with pytest.raises(CohortUnreadable, match="no table next to the patients; name it with --table"):
        read_cohort(cohort, with_options(**option))
