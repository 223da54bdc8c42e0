"""Directories and tables become cohorts; patients that are left out are counted, with the reason."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cohort.conftest import CELLS, PATIENTS

from napari_caltomorph.cohort import Cohort, CohortOptions, read_cohort
from napari_caltomorph.errors import CohortUnreadable
from napari_caltomorph.progress import Cancelled, Progress

FEW = CohortOptions(min_cells=3, names_only=True)
CHECKED = CohortOptions(min_cells=3)


@pytest.fixture
def make_bags(make_bags: Callable[..., Path]) -> Callable[..., Path]:
    """The same, with other cells in every call: bags of two calls must not look like one patient."""
    calls = count(1)

    def make(folder: Path, cells: dict[str, int], **how: object) -> Path:
        shift = next(calls)
        make_bags(folder, cells, **how)
        for patient in cells:
            with h5py.File(folder / f"{patient}.h5", "a") as file:
                file["features"][...] += shift
        return folder

    return make


def with_options(**changes: object) -> CohortOptions:
    return FEW.model_copy(update=changes)


def edit(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], **how: object) -> None:
    change(pd.read_csv(path)).to_csv(path, index=False, **how)


def rules(cohort: Cohort) -> dict[str, int]:
    return cohort.left_out_counts()


def test_label_folders_are_read_with_the_table_beside_them(drawn: Path) -> None:
    cohort = read_cohort(drawn, CHECKED)
    truth = pd.read_csv(drawn / "patients.csv").set_index("patient_id")
    assert cohort.layout == "folders"
    assert len(cohort) == PATIENTS
    assert set(cohort.table["n_cells"]) == {CELLS}
    names = dict(zip(cohort.taxonomy.slugs, cohort.taxonomy.names, strict=True))
    for row in cohort.table.itertuples():
        assert names[row.coarse] == truth.loc[row.patient_id, "coarse_class"]
        assert row.hemoglobin_g_dl == truth.loc[row.patient_id, "hemoglobin_g_dl"]
        assert row.split == truth.loc[row.patient_id, "split"]


def test_patients_beside_a_table_get_its_detailed_diagnoses(flat: Path) -> None:
    cohort = read_cohort(flat, FEW)
    truth = pd.read_csv(flat / "diagnoses.csv").set_index("patient_id")
    names = {d.slug: d.name for c in cohort.taxonomy.classes for d in c.detailed}
    assert len(cohort) == PATIENTS
    assert all(names[row.detailed] == truth.loc[row.patient_id, "diagnosis"] for row in cohort.table.itertuples())
    assert any("label = 'diagnosis'" in note for note in cohort.notes)


def test_a_table_with_paths_is_read_in_every_format(flat: Path) -> None:
    table = pd.read_csv(flat / "diagnoses.csv").assign(folder=lambda t: t["patient_id"])
    expected = set(table["patient_id"])
    table.to_csv(flat / "a.tsv", sep="\t", index=False)
    table.to_excel(flat / "a.xlsx", index=False)
    table.to_parquet(flat / "a.parquet", index=False)
    for name in ("a.tsv", "a.xlsx", "a.parquet"):
        assert set(read_cohort(flat / name, FEW).table["patient_id"]) == expected


def test_semicolons_decimal_commas_latin_1_and_a_bom_are_understood_and_said(flat: Path) -> None:
    table = pd.read_csv(flat / "diagnoses.csv")
    (flat / "diagnoses.csv").unlink()
    table["Klinik"] = "Großhadern"
    text = table.to_csv(sep=";", decimal=",", index=False)
    (flat / "d.csv").write_bytes(text.encode("latin-1"))
    cohort = read_cohort(flat, FEW)
    assert sorted(cohort.table["hemoglobin_g_dl"]) == sorted(table["hemoglobin_g_dl"])
    said = " ".join(cohort.notes)
    assert "Latin-1" in said
    assert "decimal commas" in said
    (flat / "d.csv").write_bytes(text.encode("utf-8-sig"))
    assert len(read_cohort(flat, FEW)) == PATIENTS


def test_labels_with_trailing_spaces_match(flat: Path) -> None:
    edit(flat / "diagnoses.csv", lambda t: t.assign(diagnosis=t["diagnosis"] + "  "))
    assert len(read_cohort(flat, FEW)) == PATIENTS


def test_a_wrong_delimiter_is_named(flat: Path) -> None:
    (flat / "diagnoses.csv").write_text("patient_id diagnosis\na AML\n")
    with pytest.raises(CohortUnreadable, match="one column only"):
        read_cohort(flat, FEW)


def test_ids_that_match_no_folder_are_said_with_an_example_of_both(flat: Path) -> None:
    edit(flat / "diagnoses.csv", lambda t: t.assign(patient_id="x" + t["patient_id"]))
    with pytest.raises(CohortUnreadable, match=r"no id matches a folder or file .first id 'xsynthetic"):
        read_cohort(flat, FEW)


def test_rows_without_folder_and_folders_without_row_are_counted(flat: Path) -> None:
    shutil.rmtree(flat / "synthetic_001")
    edit(flat / "diagnoses.csv", lambda t: t[t["patient_id"] != "synthetic_002"])
    cohort = read_cohort(flat, FEW)
    assert rules(cohort) == {"missing files": 1, "no row": 1}
    assert len(cohort) == PATIENTS - 2


def test_two_rows_of_one_patient_with_different_labels_are_left_out(flat: Path) -> None:
    def twice(table: pd.DataFrame) -> pd.DataFrame:
        first = table[table["patient_id"] == "synthetic_001"].assign(diagnosis="CML")
        second = table[table["patient_id"] == "synthetic_002"]
        return pd.concat([table, first, second])

    edit(flat / "diagnoses.csv", twice)
    cohort = read_cohort(flat, FEW)
    assert "synthetic_001" not in set(cohort.table["patient_id"])
    assert list(cohort.table["patient_id"]).count("synthetic_002") == 1
    assert set(rules(cohort)) == {"the same patient twice"}


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
def test_hemoglobin_in_another_unit_is_converted_only_when_told(flat: Path, unit: str, factor: float) -> None:
    column = "Hb" if unit == "g/l" else "Hb mmol"
    truth = pd.read_csv(flat / "diagnoses.csv")["hemoglobin_g_dl"]
    edit(flat / "diagnoses.csv", lambda t: t.assign(**{column: truth * factor}).drop(columns="hemoglobin_g_dl"))
    untold = read_cohort(flat, with_options(hemoglobin_column=column))
    assert untold.table["hemoglobin_g_dl"].isna().all()
    assert any(f"looks like {unit}" in note for note in untold.notes)
    told = read_cohort(flat, with_options(hemoglobin_column=column, hemoglobin_unit=unit))
    assert np.allclose(sorted(told.table["hemoglobin_g_dl"].astype(float)), sorted(truth), atol=0.01)


def test_unmatched_labels_are_listed_and_left_out_or_kept_as_other(flat: Path) -> None:
    edit(
        flat / "diagnoses.csv",
        lambda t: t.assign(diagnosis=t["diagnosis"].where(t["patient_id"] != "synthetic_001", "Gaucher's xyz")),
    )
    cohort = read_cohort(flat, FEW)
    assert rules(cohort) == {"label of no class": 1}
    assert any("'Gaucher's xyz' (1)" in note or '"Gaucher\'s xyz" (1)' in note for note in cohort.notes)
    kept = read_cohort(flat, with_options(keep_unmatched=True)).table.set_index("patient_id")
    assert pd.isna(kept.loc["synthetic_001", "coarse"])


def test_without_a_taxonomy_each_label_is_a_class(flat: Path) -> None:
    cohort = read_cohort(flat, with_options(taxonomy="none", min_patients=1))
    assert set(cohort.taxonomy.names) == set(pd.read_csv(flat / "diagnoses.csv")["diagnosis"])
    assert cohort.table["coarse"].notna().all()


def test_few_cells_and_classes_of_one_patient_are_left_out(flat: Path) -> None:
    for cell in sorted((flat / "synthetic_001").glob("*.TIF"))[2:]:
        cell.unlink()
    assert rules(read_cohort(flat, CHECKED))["few cells"] == 1
    assert len(read_cohort(flat, with_options(min_cells=2, names_only=False))) == PATIENTS


def test_the_same_cells_under_two_patients_are_found(flat: Path) -> None:
    shutil.rmtree(flat / "synthetic_002")
    shutil.copytree(flat / "synthetic_001", flat / "synthetic_002")
    cohort = read_cohort(flat, CHECKED)
    assert rules(cohort) == {"the same cells under two patients": 1}
    assert cohort.left_out["reason"].iloc[0] == "has the images of synthetic_001"


def test_the_aml_hehr_cohort_reads_without_options(flat: Path, tmp_path: Path) -> None:
    labels = ["PML_RARA", "NPM1", "CBFB_MYH11", "RUNX1_RUNX1T1", "SCD"]
    patients = sorted(p for p in flat.iterdir() if p.is_dir())[:15]
    root = tmp_path / "aml-hehr"
    with_rows = []
    for number, patient in enumerate(patients):
        label = labels[number % 5]
        target = root / "data" / label / patient.name
        target.mkdir(parents=True)
        for index, cell in enumerate(sorted(patient.glob("*.TIF"))):
            shutil.copy(cell, target / f"image_{index}.tif")
        with_rows.append([patient.name, 1 + number % 2, 40 + number, label, CELLS, 7000, 12.5])
    header = ["patient_id", "sex_1f_2m", "age", "bag_label", "instance_count", "leucocytes_per_µl", "pb_myeloblast"]
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *with_rows])
    cohort = read_cohort(root, FEW)
    assert cohort.layout == "aml-hehr"
    assert len(cohort) == 15
    assert set(cohort.table["coarse"]) == {"acute_leukemia", "healthy"}
    assert set(cohort.table["sex"]) == {"female", "male"}
    assert list(cohort.table["pb_myeloblast"].astype(float)) == [12.5] * 15
    own = read_cohort(root, with_options(taxonomy="aml-hehr"))
    assert len(own.taxonomy.classes) == 5


def test_feature_files_alone_make_a_cohort(make_bags, tmp_path: Path) -> None:
    folder = make_bags(tmp_path / "bags", {f"p{i}": 50 + i for i in range(8)})
    pd.DataFrame({"patient": [f"p{i}" for i in range(8)], "label": ["AML", "CLL"] * 4}).to_csv(
        folder / "t.csv", index=False
    )
    cohort = read_cohort(folder)
    assert cohort.layout == "features"
    assert list(cohort.table["n_cells"]) == [50 + i for i in range(8)]
    assert set(cohort.table["coarse"]) == {"acute_leukemia", "lymphoma"}


def test_bags_of_others_are_read_and_odd_ones_left_out_with_the_reason(make_bags, tmp_path: Path) -> None:
    aml = make_bags(tmp_path / "bags" / "AML", {f"a{i}": 60 for i in range(4)})
    cll = make_bags(tmp_path / "bags" / "CLL", {f"c{i}": 60 for i in range(4)})
    with h5py.File(aml / "stamp.h5", "w") as file:
        file["feats"] = np.zeros((55, 8), np.float16)
        file.attrs["encoder"] = "dinobloom-b"
    with h5py.File(aml / "nan.h5", "w") as file:
        file["features"] = np.full((55, 8), np.nan, np.float32)
        file.attrs["encoder"] = "dinobloom-b"
    make_bags(cll, {"wide": 60}, width=9)
    make_bags(cll, {"other": 60}, encoder="uni")
    (cll / "truncated.h5").write_bytes((cll / "c0.h5").read_bytes()[:300])
    cohort = read_cohort(tmp_path / "bags")
    assert len(cohort) == 9
    reasons = cohort.left_out.set_index("patient_id")["rule"].to_dict()
    assert reasons == {
        "wide": "features of another encoder",
        "other": "features of another encoder",
        "truncated": "unreadable features",
        "nan": "missing files",
    }


def test_symlink_loops_and_hundreds_of_empty_folders_do_no_harm(flat: Path, tmp_path: Path) -> None:
    (flat / "synthetic_001" / "loop").symlink_to(flat)
    for number in range(500):
        (flat / f"empty_{number}").mkdir()
    cohort = read_cohort(flat, CHECKED)
    assert list(cohort.left_out["patient_id"]) == ["synthetic_001"]
    assert len(cohort) == PATIENTS - 1
    empty = tmp_path / "empty"
    for number in range(100):
        (empty / str(number)).mkdir(parents=True)
    with pytest.raises(CohortUnreadable, match="is no known cohort"):
        read_cohort(empty)
    with pytest.raises(CohortUnreadable, match="does not exist"):
        read_cohort(tmp_path / "nowhere")


def test_a_cohort_is_saved_and_read_again(flat: Path, tmp_path: Path) -> None:
    shutil.rmtree(flat / "synthetic_001")
    cohort = read_cohort(flat, CHECKED)
    cohort.save(tmp_path / "cohort.json")
    again = read_cohort(tmp_path / "cohort.json")
    pd.testing.assert_frame_equal(again.table, cohort.table, check_dtype=False)
    pd.testing.assert_frame_equal(again.left_out, cohort.left_out, check_dtype=False)
    assert (again.taxonomy, again.options, again.notes) == (cohort.taxonomy, cohort.options, cohort.notes)
    (tmp_path / "cohort.json").write_text("{}")
    with pytest.raises(CohortUnreadable, match="no cohort that can be read"):
        read_cohort(tmp_path / "cohort.json")


def test_looking_at_cells_can_be_cancelled(flat: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        read_cohort(flat, CHECKED, progress=stop)


def test_nobody_left_says_why(flat: Path) -> None:
    with pytest.raises(CohortUnreadable, match=f"no patient is left .{PATIENTS} few cells"):
        read_cohort(flat, CohortOptions(min_cells=500))


def test_the_apl_aml_cohort_is_counted_right(shared_data: Path) -> None:
    import hashlib

    from PIL import Image

    root = shared_data / "apl-aml"
    cohort = read_cohort(root, CohortOptions(min_cells=20, where=("Cohort=Discovery",), keep_unmatched=True))
    everyone = len(cohort) + len(cohort.left_out)
    assert cohort.layout == "apl-aml"
    assert everyone == 82
    for row in cohort.table.sample(12, random_state=0).itertuples():
        files = [f for f in Path(row.path).rglob("*.jpg")]
        digests, sizes = {}, {}
        for file in files:
            try:
                with Image.open(file) as image:
                    image.load()
                    sizes[file] = max(image.size)
            except OSError:
                continue
            digests.setdefault(hashlib.sha256(file.read_bytes()).hexdigest(), file)
        usual = float(np.median(list(sizes.values())))
        cells = [file for file in digests.values() if sizes[file] <= 3 * usual]
        assert row.n_images == len(files)
        assert row.n_cells == len(cells)


def test_names_only_counts_without_looking(flat: Path) -> None:
    (flat / "synthetic_001" / "Gal-000001.RGB.TIF").write_bytes(b"damaged")
    assert read_cohort(flat, CHECKED).table.set_index("patient_id").loc["synthetic_001", "n_cells"] == CELLS - 1
    quick = read_cohort(flat, FEW).table.set_index("patient_id")
    assert quick.loc["synthetic_001", "n_cells"] == CELLS
    assert quick["fingerprint"].isna().all()


def rewrite(flat: Path, text: str | bytes) -> Path:
    path = flat / "diagnoses.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines_of(flat: Path) -> list[str]:
    return (flat / "diagnoses.csv").read_text().splitlines()


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
    with pytest.raises(CohortUnreadable, match="Expected 5 fields in line 2, saw 6"):
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
    ("content", "said"), [(b"", "is empty"), (b"\n\n", "is empty"), (b"patient_id,diagnosis\n", "has no rows")]
)
def test_an_empty_table_is_said(flat: Path, content: bytes, said: str) -> None:
    rewrite(flat, content)
    with pytest.raises(CohortUnreadable, match=f"diagnoses.csv {said}"):
        read_cohort(flat, FEW)


def test_of_several_sheets_the_first_is_read_and_said(flat: Path) -> None:
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


def test_a_text_file_beside_the_table_is_no_second_table(flat: Path) -> None:
    (flat / "README.txt").write_text("Smears of 2019, see the paper; ask the lab.")
    assert len(read_cohort(flat, FEW)) == PATIENTS


def test_two_tables_beside_the_folders_must_be_chosen_from(flat: Path) -> None:
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


def test_low_values_of_no_named_unit_may_be_mmol_and_are_used_only_when_told(flat: Path) -> None:
    truth = pd.read_csv(flat / "diagnoses.csv")["hemoglobin_g_dl"]
    edit(flat / "diagnoses.csv", lambda t: t.assign(Hb=truth / 1.6114).drop(columns="hemoglobin_g_dl"))
    untold = read_cohort(flat, FEW)
    assert untold.table["hemoglobin_g_dl"].isna().all()
    assert any("may be mmol/l" in note and "--hemoglobin-unit" in note for note in untold.notes)
    told = read_cohort(flat, with_options(hemoglobin_unit="mmol/l")).table["hemoglobin_g_dl"]
    assert np.allclose(sorted(told.astype(float)), sorted(truth), atol=0.01)
    as_they_are = read_cohort(flat, with_options(hemoglobin_unit="g/dl")).table["hemoglobin_g_dl"]
    assert np.allclose(sorted(as_they_are.astype(float)), sorted(truth / 1.6114), atol=0.01)


def test_a_unit_that_cannot_be_right_is_said(flat: Path) -> None:
    for unit in ("g/l", "mmol/l"):
        cohort = read_cohort(flat, with_options(hemoglobin_unit=unit))
        is_possible = cohort.table["hemoglobin_g_dl"].notna().any()
        assert is_possible == (unit == "mmol/l")  # 12 mmol/l is much, but not impossible
    assert any("cannot be g/l" in note for note in read_cohort(flat, with_options(hemoglobin_unit="g/l")).notes)


def test_impossible_numbers_are_left_empty_and_said(flat: Path) -> None:
    rows = {"hemoglobin_g_dl": ["inf", "0", "999", "x"], "age": ["-1", "inf", "old", "50"], "sex": ["d", "3", "w", "m"]}
    edit(flat / "diagnoses.csv", lambda t: t.assign(**{k: [*v, *t[k].astype(str)[4:]] for k, v in rows.items()}))
    cohort = read_cohort(flat, FEW)
    first = cohort.table.head(4)
    assert first["hemoglobin_g_dl"].isna().all()
    assert list(first["age"].isna()) == [True, True, True, False]
    said = " ".join(cohort.notes)
    for column, lost in (("hemoglobin_g_dl", 4), ("age", 3), ("sex", 2)):
        assert f"{lost} values of '{column}'" in said


def test_patients_whose_cells_lie_in_folders_of_their_types_are_no_classes(flat: Path) -> None:
    for patient in [p for p in flat.iterdir() if p.is_dir()]:
        for kind in ("Blasts", "Lymphocytes"):
            (patient / kind).mkdir()
        for number, cell in enumerate(sorted(patient.glob("*.TIF"))):
            shutil.move(cell, patient / ("Blasts", "Lymphocytes")[number % 2] / cell.name)
    cohort = read_cohort(flat, CHECKED)
    assert len(cohort) == PATIENTS
    assert set(cohort.table["n_cells"]) == {CELLS}


def test_patients_in_one_folder_more_match_the_table(flat: Path) -> None:
    for patient in [p for p in flat.iterdir() if p.is_dir()]:
        cells = list(patient.iterdir())
        (patient / "export").mkdir()
        for cell in cells:
            shutil.move(cell, patient / "export")
    assert len(read_cohort(flat, FEW)) == PATIENTS


def test_a_link_back_to_the_cohort_does_not_hide_its_patients(flat: Path) -> None:
    (flat / "loop").symlink_to(flat)
    cohort = read_cohort(flat, FEW)
    assert len(cohort) == PATIENTS


def test_archives_are_patients_by_their_names(flat: Path) -> None:
    patient = flat / "synthetic_001"
    shutil.make_archive(str(patient), "zip", patient)
    shutil.rmtree(patient)
    cohort = read_cohort(flat, CHECKED)
    assert len(cohort) == PATIENTS
    assert rules(cohort) == {}


def test_a_named_label_column_wins_over_the_folders_names(drawn: Path) -> None:
    by_folder, by_column = read_cohort(drawn, FEW), read_cohort(drawn, with_options(label_column="diagnosis"))
    assert by_folder.table["detailed"].isna().any()
    assert any("'diagnosis' is not used" in note and "--label-column" in note for note in by_folder.notes)
    assert by_column.table["detailed"].notna().all()
    assert by_column.table["coarse"].equals(by_folder.table["coarse"])


def test_features_kept_inside_the_cohort_are_no_class(drawn: Path, make_bags, tmp_path: Path) -> None:
    cohort = shutil.copytree(drawn, tmp_path / "cohort")
    make_bags(cohort / "features", {"synthetic_001": 60})
    assert read_cohort(cohort, FEW).layout == "folders"


@pytest.mark.parametrize("option", [{"where": ("sex=female",)}, {"label_column": "Dx"}, {"group_column": "site"}])
def test_columns_without_a_table_are_refused(drawn: Path, tmp_path: Path, option: dict[str, object]) -> None:
    cohort = shutil.copytree(drawn, tmp_path / "cohort")
    (cohort / "patients.csv").unlink()
    with pytest.raises(CohortUnreadable, match="no table next to the patients; name it with --table"):
        read_cohort(cohort, with_options(**option))


def test_folders_without_row_are_counted_when_rows_are_chosen_too(flat: Path) -> None:
    edit(
        flat / "diagnoses.csv",
        lambda t: t.assign(Site=["A", "B"] * (PATIENTS // 2))[t["patient_id"] != "synthetic_002"],
    )
    cohort = read_cohort(flat, with_options(where=("Site=A",)))
    assert rules(cohort) == {"no row": 1}
    assert len(cohort) == PATIENTS // 2


def test_damaged_features_of_a_patient_in_the_table_are_counted_once(make_bags, tmp_path: Path) -> None:
    folder = make_bags(tmp_path / "bags", {f"p{i}": 60 for i in range(8)})
    (folder / "p0.h5").write_bytes(b"")
    make_bags(folder, {"p1": 60}, width=9)
    pd.DataFrame({"patient": [f"p{i}" for i in range(8)], "label": ["AML", "CLL"] * 4}).to_csv(
        folder / "t.csv", index=False
    )
    for place in (folder, folder / "t.csv"):
        if place.suffix:
            edit(place, lambda t: t.assign(path=t["patient"] + ".h5"))
        cohort = read_cohort(place)
        assert rules(cohort) == {"unreadable features": 1, "features of another encoder": 1}
        assert set(cohort.left_out["raw_label"]) == {"AML", "CLL"}
        assert len(cohort) == 6


def test_features_of_other_weights_of_the_encoder_are_not_mixed_in(make_bags, tmp_path: Path) -> None:
    folder = make_bags(tmp_path / "bags" / "AML", {f"p{i}": 60 for i in range(4)})
    make_bags(tmp_path / "bags" / "CLL", {f"c{i}": 60 for i in range(4)})
    with h5py.File(folder / "p0.h5", "a") as file:
        file.attrs["weights_sha256"] = "0" * 64
    assert rules(read_cohort(tmp_path / "bags")) == {"features of another encoder": 1}


@pytest.mark.parametrize("fill", ["a group", "a number", "nothing"])
def test_files_that_only_look_like_features_are_left_out(make_bags, tmp_path: Path, fill: str) -> None:
    folder = make_bags(tmp_path / "bags" / "AML", {f"p{i}": 60 for i in range(4)})
    make_bags(tmp_path / "bags" / "CLL", {f"c{i}": 60 for i in range(4)})
    with h5py.File(folder / "odd.h5", "w") as file:
        if fill == "a group":
            file.create_group("features")
        else:
            file["features"] = 3.0 if fill == "a number" else h5py.Empty("f")
    assert rules(read_cohort(tmp_path / "bags")) == {"unreadable features": 1}


def test_the_published_cohorts_columns_can_be_chosen_too(flat: Path, tmp_path: Path) -> None:
    root = tmp_path / "apl"
    shutil.copytree(flat, root / "All")
    table = pd.read_csv(root / "All" / "diagnoses.csv")
    table = table.rename(columns={"patient_id": "Patient_ID", "diagnosis": "Final"}).assign(Diagnosis="AML")
    table.to_csv(root / "master.csv", index=False)
    cohort = read_cohort(root, with_options(label_column="Final"))
    assert cohort.layout == "apl-aml"
    assert cohort.table["coarse"].nunique() > 1


def test_an_unknown_layout_lists_those_that_there_are(flat: Path) -> None:
    with pytest.raises(CohortUnreadable, match="no layout 'tcga'; there are auto, table, aml-hehr"):
        read_cohort(flat, with_options(layout="tcga"))


def test_a_thousand_empty_folders_beside_a_table_are_said(tmp_path: Path) -> None:
    for number in range(1_000):
        (tmp_path / str(number)).mkdir()
    (tmp_path / "t.csv").write_text("patient_id,diagnosis\n1,AML\n")
    with pytest.raises(CohortUnreadable, match="1000 folders, none of them with cell images"):
        read_cohort(tmp_path)


def test_a_class_of_one_patient_is_left_out_or_kept_when_told(make_bags, tmp_path: Path) -> None:
    make_bags(tmp_path / "bags" / "AML", {f"p{i}": 60 for i in range(6)})
    make_bags(tmp_path / "bags" / "CLL", {"c": 60})
    assert rules(read_cohort(tmp_path / "bags")) == {"other or rare diagnosis": 1}
    kept = read_cohort(tmp_path / "bags", CohortOptions(min_patients=1))
    assert len(kept) == 7
    assert any("fewer training patients than folds" in note for note in kept.notes)


def test_one_path_under_two_patients_is_found_by_names_alone(flat: Path) -> None:
    table = pd.read_csv(flat / "diagnoses.csv").assign(folder=lambda t: t["patient_id"])
    table.loc[1, "folder"] = f"../{flat.name}/{table.loc[0, 'folder']}"
    table.to_csv(flat / "paths.csv", index=False)
    for names_only in (True, False):
        cohort = read_cohort(flat / "paths.csv", with_options(names_only=names_only))
        assert rules(cohort) == {"the same cells under two patients": 1}


def test_the_same_features_under_two_patients_are_found(make_bags, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for label in ("AML", "CLL"):
        folder = make_bags(tmp_path / "bags" / label, {})
        for number in range(4):
            with h5py.File(folder / f"{label}{number}.h5", "w") as file:
                file["features"] = rng.normal(size=(60, 8)).astype(np.float16)
    shutil.copy(folder / "CLL0.h5", folder / "again.h5")
    cohort = read_cohort(tmp_path / "bags")
    assert rules(cohort) == {"the same cells under two patients": 1}


def test_images_shared_with_one_who_is_left_out_still_tie_the_others(flat: Path) -> None:
    edit(
        flat / "diagnoses.csv",
        lambda t: t.assign(
            diagnosis=[
                "AML in remission" if p == "synthetic_001" else d
                for p, d in zip(t.patient_id, t.diagnosis, strict=True)
            ]
        ),
    )
    cell = sorted((flat / "synthetic_001").glob("*.TIF"))[0]
    for other in ("synthetic_004", "synthetic_009", "synthetic_015"):
        shutil.copy(cell, flat / other / "stray.TIF")
    for seed in range(5):
        cohort = read_cohort(flat, with_options(split_seed=seed, names_only=False))
        assert rules(cohort) == {"follow-up after therapy": 1}
        three = cohort.table.set_index("patient_id").loc[["synthetic_004", "synthetic_009", "synthetic_015"]]
        assert three["split"].nunique() == 1
        assert three["fold"].nunique(dropna=False) == 1
        assert any("3 patients share images" in note for note in cohort.notes)


KINDS = ("AML", "CLL", "AML in remission", "AML/CLL", "suspected AML", "nonsense xyz", None)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 11), st.sampled_from(KINDS), st.sampled_from([3, 60])), min_size=1, max_size=14
    ),
    on_disk=st.sets(st.integers(0, 11), min_size=1),
)
def test_everybody_who_was_found_is_in_or_left_out_under_one_rule(
    make_bags, tmp_path_factory, rows: list[tuple[int, str | None, int]], on_disk: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("bags")
    sizes = {number: size for number, _, size in rows}
    make_bags(folder, {"always": 60, "also": 60} | {f"p{n}": sizes.get(n, 60) for n in on_disk})
    labels = [("always", "AML"), ("also", "AML"), *((f"p{n}", label) for n, label, _ in rows)]
    pd.DataFrame(labels, columns=["patient_id", "diagnosis"]).to_csv(folder / "t.csv", index=False)
    cohort = read_cohort(folder)
    without_row = {f"p{n}" for n in on_disk} - {patient for patient, _ in labels}
    assert len(cohort) + len(cohort.left_out) == len(labels) + len(without_row)
    assert sum(cohort.left_out_counts().values()) == len(cohort.left_out)
    everybody = set(cohort.table["patient_id"]) | set(cohort.left_out["patient_id"])
    assert everybody == {patient for patient, _ in labels} | without_row
    assert cohort.table["patient_id"].is_unique
    for patient, rule in zip(cohort.left_out["patient_id"], cohort.left_out["rule"], strict=True):
        if rule == "missing files":
            assert int(patient[1:]) not in on_disk


def test_a_saved_cohort_can_be_used_from_another_folder(
    flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(flat.parent)
    read_cohort(flat.name, FEW).save(tmp_path / "cohort.json")
    monkeypatch.chdir("/")
    assert all(Path(path).is_dir() for path in read_cohort(tmp_path / "cohort.json").table["path"])


def test_saving_changes_no_column_of_the_table(flat: Path, tmp_path: Path) -> None:
    edit(flat / "diagnoses.csv", lambda t: t.assign(sampled_at="2020-01-01", **{"17": "007"}))
    cohort = read_cohort(flat, FEW)
    cohort.save(tmp_path / "cohort.json")
    again = read_cohort(tmp_path / "cohort.json").table
    assert list(again.columns) == list(cohort.table.columns)
    assert set(again["sampled_at"]) == {"2020-01-01"}
    assert set(again["17"]) == {"007"}


def test_options_that_a_saved_cohort_does_not_follow_are_said(flat: Path, tmp_path: Path) -> None:
    read_cohort(flat, FEW).save(tmp_path / "cohort.json")
    again = read_cohort(tmp_path / "cohort.json", CohortOptions(min_cells=70, folds=3))
    assert len(again) == PATIENTS
    assert any("taken as it is" in note and "--min-cells, --folds" in note for note in again.notes)
    assert read_cohort(tmp_path / "cohort.json").notes == read_cohort(flat, FEW).notes


@pytest.mark.parametrize("content", ["[]", "null", '{"schema_version": 1}', "{", "\xff"])
def test_what_is_no_saved_cohort_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "cohort.json").write_text(content, "latin-1")
    with pytest.raises(CohortUnreadable, match="no cohort that can be read"):
        read_cohort(tmp_path / "cohort.json")
