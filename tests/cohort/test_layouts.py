"""Arrangements of patients on disk: each is recognised, and what does not belong to it is left out."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.cohort.conftest import CELLS, PATIENTS
from tests.cohort.factories import CHECKED, FEW, edit, rules, with_options

from napari_caltomorph.cohort import CohortOptions, feature_files, read_cohort
from napari_caltomorph.errors import CohortUnreadable


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
    relabelled = (root / "metadata.csv").read_text("utf-8").replace(",SCD,", ",NPM1,")
    (tmp_path / "mine.csv").write_text(relabelled, "utf-8")
    named = read_cohort(root, with_options(table=str(tmp_path / "mine.csv")))
    assert set(named.table["coarse"]) == {"acute_leukemia"}, "a table that is named is not ignored"


def test_feature_files_alone_make_a_cohort(make_bags, tmp_path: Path) -> None:
    folder = make_bags(tmp_path / "bags", {f"p{i}": 50 + i for i in range(8)})
    pd.DataFrame({"patient": [f"p{i}" for i in range(8)], "label": ["AML", "CLL"] * 4}).to_csv(
        folder / "t.csv", index=False
    )
    cohort = read_cohort(folder)
    assert cohort.layout == "features"
    assert list(cohort.table["n_cells"]) == [50 + i for i in range(8)]
    assert set(cohort.table["coarse"]) == {"acute_leukemia", "lymphoma"}


def eight_bags(folder: Path, suffix: str = ".h5") -> None:
    folder.mkdir(parents=True)
    for number in range(8):
        with h5py.File(folder / f"S{number}{suffix}", "w") as file:
            file["features"] = np.random.default_rng(number).normal(size=(60, 8))


def table_of_eight(folder: Path) -> Path:
    rows = pd.DataFrame({"slide_id": [f"S{number}" for number in range(8)], "label": ["AML", "CLL"] * 4})
    rows.to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.mark.parametrize(
    "place", ["h5_files", "features_uni_v1", "20x_256px_0px_overlap/features_uni_v1", "features", "."]
)
@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".H5"])
def test_feature_files_in_the_folder_of_their_software_have_the_labels_of_the_table(tmp_path, place, suffix) -> None:
    eight_bags(tmp_path / "cohort" / place, suffix)
    cohort = read_cohort(table_of_eight(tmp_path / "cohort"))
    assert dict(cohort.table["coarse"].value_counts()) == {"acute_leukemia": 4, "lymphoma": 4}
    assert any(place in note for note in cohort.notes) or place == "."


def test_what_trident_writes_next_to_features_is_no_patient(tmp_path) -> None:
    patches = tmp_path / "20x_256px_0px_overlap"
    eight_bags(patches / "features_uni_v1")
    eight_bags(patches / "slide_features_titan")
    for folder in (patches / "patches", patches / "visualization", tmp_path / "thumbnails"):
        folder.mkdir()
    for number in range(8):
        with h5py.File(patches / "patches" / f"S{number}_patches.h5", "w") as file:
            file["coords"] = np.zeros((60, 2))
        for folder in (patches / "visualization", tmp_path / "thumbnails"):
            Image.new("RGB", (64, 64)).save(folder / f"S{number}.jpg")
    for place in (table_of_eight(tmp_path), table_of_eight(patches)):
        cohort = read_cohort(place)
        assert (len(cohort), len(cohort.left_out)) == (8, 0)
    eight_bags(patches / "features_virchow")
    with pytest.raises(CohortUnreadable, match=r"features_uni_v1.*features_virchow.*name one"):
        read_cohort(tmp_path)


def test_images_of_patients_are_read_before_features_next_to_them(flat: Path) -> None:
    eight_bags(flat / "features_uni_v1")
    assert read_cohort(flat, FEW).layout == "folders"


def test_a_feature_folder_may_have_files_of_another_suffix(tmp_path) -> None:
    eight_bags(tmp_path / "cohort", ".hdf5")
    eight_bags(tmp_path / "features", ".H5")
    cohort = read_cohort(table_of_eight(tmp_path / "cohort"))
    assert feature_files(cohort, tmp_path / "features")["S3"] == (tmp_path / "features" / "S3.H5",)
    assert feature_files(cohort, None)["S3"] == (tmp_path / "cohort" / "S3.hdf5",)


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
    assert cohort.left_out.empty
    assert len(cohort) == PATIENTS
    empty = tmp_path / "empty"
    for number in range(100):
        (empty / str(number)).mkdir(parents=True)
    with pytest.raises(CohortUnreadable, match="is no known cohort"):
        read_cohort(empty)
    with pytest.raises(CohortUnreadable, match="does not exist"):
        read_cohort(tmp_path / "nowhere")


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


def test_folders_of_cell_types_are_no_classes(flat: Path) -> None:
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


def test_feature_files_that_a_table_names_and_that_are_gone_say_where_they_were_expected(tmp_path: Path) -> None:
    rows = [("P0", "moved/P0.h5", "AML"), ("P1", "moved/P1.h5", "MDS")]
    pd.DataFrame(rows, columns=["patient", "path", "diagnosis"]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(CohortUnreadable, match=r"none of 2 .*moved/P0.h5 .*check the path"):
        read_cohort(tmp_path / "t.csv", FEW)


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


def test_a_thousand_empty_folders_next_to_a_table_are_reported(tmp_path: Path) -> None:
    for number in range(1_000):
        (tmp_path / str(number)).mkdir()
    (tmp_path / "t.csv").write_text("patient_id,diagnosis\n1,AML\n")
    with pytest.raises(CohortUnreadable, match="1000 folders, none of them with cell images"):
        read_cohort(tmp_path)
