"""Directories and tables become cohorts; whoever is left out is counted, with the reason."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from tests.cohort.conftest import CELLS, PATIENTS

from napari_caltomorph.cohort import Cohort, CohortOptions, read_cohort
from napari_caltomorph.errors import CohortUnreadable
from napari_caltomorph.progress import Cancelled, Progress

FEW = CohortOptions(min_cells=5)


def with_options(**changes: object) -> CohortOptions:
    return FEW.model_copy(update=changes)


def edit(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], **how: object) -> None:
    change(pd.read_csv(path)).to_csv(path, index=False, **how)


def rules(cohort: Cohort) -> dict[str, int]:
    return cohort.left_out_counts()


def test_label_folders_are_read_with_the_table_beside_them(drawn: Path) -> None:
    cohort = read_cohort(drawn, FEW)
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
    with pytest.raises(CohortUnreadable, match=r"no id matches a folder .first id 'xsynthetic"):
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
    assert rules(read_cohort(flat, FEW))["few cells"] == 1
    assert len(read_cohort(flat, with_options(min_cells=2))) == PATIENTS


def test_the_same_cells_under_two_patients_are_found(flat: Path) -> None:
    shutil.rmtree(flat / "synthetic_002")
    shutil.copytree(flat / "synthetic_001", flat / "synthetic_002")
    cohort = read_cohort(flat, FEW)
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


def test_symlink_loops_and_thousands_of_empty_folders_do_no_harm(flat: Path, tmp_path: Path) -> None:
    (flat / "synthetic_001" / "loop").symlink_to(flat)
    for number in range(2_000):
        (flat / f"empty_{number}").mkdir()
    cohort = read_cohort(flat, FEW)
    assert list(cohort.left_out["patient_id"]) == ["synthetic_001"]
    assert len(cohort) == PATIENTS - 1
    empty = tmp_path / "empty"
    for number in range(100):
        (empty / str(number)).mkdir(parents=True)
    with pytest.raises(CohortUnreadable, match="holds no cohort"):
        read_cohort(empty)
    with pytest.raises(CohortUnreadable, match="does not exist"):
        read_cohort(tmp_path / "nowhere")


def test_a_cohort_is_saved_and_read_again(flat: Path, tmp_path: Path) -> None:
    shutil.rmtree(flat / "synthetic_001")
    cohort = read_cohort(flat, FEW)
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
        read_cohort(flat, FEW, progress=stop)


def test_nobody_left_says_why(flat: Path) -> None:
    with pytest.raises(CohortUnreadable, match=f"nobody is left .{PATIENTS} few cells"):
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
    assert read_cohort(flat, FEW).table.set_index("patient_id").loc["synthetic_001", "n_cells"] == CELLS - 1
    quick = read_cohort(flat, with_options(names_only=True)).table.set_index("patient_id")
    assert quick.loc["synthetic_001", "n_cells"] == CELLS
    assert quick["fingerprint"].isna().all()
