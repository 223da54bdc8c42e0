"""The patients at a place: every folder is one, below diagnoses too, and labels are not asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_caltomorph.cohort import CohortOptions, FoundPatient, find_patients, named_patients, read_cohort
from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.errors import CohortUnreadable, OutputRefused, SmearUnreadable


@pytest.fixture
def write_patients(make_export, tmp_path):
    """Make a folder with these patients, two cells each."""

    def make(*places):
        for seed, place in enumerate(places):
            make_export(tmp_path / "here" / place, cells=2, seed=seed)
        return tmp_path / "here"

    return make


def paths(place):
    return {name: one.path for name, one in find_patients(place).items()}


def test_every_folder_is_one_patient(write_patients):
    here = write_patients("p2", "p10", "p1")
    assert paths(here) == {name: here / name for name in ("p1", "p2", "p10")}


def test_patients_are_found_below_their_diagnoses(write_patients):
    here = write_patients("AML/p1", "AML/p2", "MDS/p3")
    assert paths(here) == {"p1": here / "AML/p1", "p2": here / "AML/p2", "p3": here / "MDS/p3"}


def test_an_export_in_a_folder_of_its_own_is_one_patient(write_patients):
    here = write_patients("p1/Export", "p2/Export")
    assert list(find_patients(here)) == ["p1", "p2"]


def test_a_table_and_a_saved_cohort_name_their_patients_also_those_that_a_cohort_leaves_out(write_patients, tmp_path):
    here = write_patients("a", "b", "c")
    table = pd.DataFrame({"patient_id": ["1", "2", "3"], "path": ["a", "b", "c"], "diagnosis": ["AML", "MDS", "?"]})
    table.to_csv(here / "table.csv", index=False)
    result = paths(here / "table.csv")
    assert {name: path.name for name, path in result.items()} == {"1": "a", "2": "b", "3": "c"}
    options = CohortOptions(min_cells=1, min_patients=1)
    read_cohort(here / "table.csv", options).save(tmp_path / "cohort.json")
    assert {name: path.name for name, path in paths(tmp_path / "cohort.json").items()} == {"1": "a", "2": "b"}


@pytest.mark.parametrize("place", ["", "table.csv"])
def test_columns_of_the_table_are_kept(write_patients, place):
    here = write_patients("p1", "p2", "p3")
    table = pd.DataFrame({"patient_id": ["p1", "p2"], "path": ["p1", "p2"], "diagnosis": ["AML", "MDS"]})
    table.assign(age=[61, None], sex=["f", "m"], hemoglobin_g_dl=[9.3, 12]).to_csv(here / "table.csv", index=False)
    result = find_patients(here / place)
    assert result["p1"].facts["diagnosis given"] == "AML"
    assert result["p1"].facts["age"] == "61"
    assert result["p1"].facts["hemoglobin measured"] == "9.3 g/dl"
    assert "age" not in result["p2"].facts
    assert place or not result["p3"].facts


def test_two_patients_of_one_name_are_refused(write_patients):
    with pytest.raises(OutputRefused, match="Two smears are called p1"):
        find_patients(write_patients("AML/p1", "AML/p2", "MDS/p1", "MDS/p2"))


def test_a_place_without_patients_is_refused(tmp_path):
    with pytest.raises(CohortUnreadable, match="is no known cohort"):
        find_patients(tmp_path)
    with pytest.raises(CohortUnreadable, match="does not exist"):
        find_patients(tmp_path / "gone")


def test_the_folder_of_one_patient_is_called_so(write_patients):
    with pytest.raises(CohortUnreadable, match="is one patient's smear; name the folder above it"):
        find_patients(write_patients("p1") / "p1")


def test_a_folder_named_like_a_feature_file_is_a_patient(write_patients):
    here = write_patients("p1.h5", "p2")
    assert paths(here) == {"p1.h5": here / "p1.h5", "p2": here / "p2"}


@pytest.mark.parametrize("table", ["", "patient_id,diagnosis\np1,AML\np9,MDS\n"])
def test_each_feature_file_is_a_patient_with_or_without_a_row(tmp_path, table):
    for name in ("p1", "p2"):
        Features(name, np.zeros((2, 4), np.float32), ("a", "b"), FeatureOrigin()).save(tmp_path / "f" / f"{name}.h5")
    if table:
        (tmp_path / "f" / "table.csv").write_text(table)
    found = find_patients(tmp_path / "f")
    problem = found.pop("p9").problem if table else "not on disk"
    assert "not on disk" in problem
    assert {name: one.features for name, one in found.items()} == {p: (tmp_path / "f" / f"{p}.h5",) for p in found}
    assert list(found) == ["p1", "p2"]
    assert found["p1"].facts == ({"diagnosis given": "AML"} if table else {})
    assert named_patients([tmp_path / "f" / "p2.h5"]) == {"p2": found["p2"]}
    with pytest.raises(SmearUnreadable, match=r"p2\.h5 .*no images"):
        found["p2"].read()


def test_patients_in_an_archive_are_those_of_the_folder_and_keep_their_labels(write_patients, tmp_path):
    here = write_patients("cohort/AML/p1", "cohort/AML/p2", "cohort/MDS/p3", "cohort/__MACOSX/p4")
    archive = Path(shutil.make_archive(str(tmp_path / "cohort"), "zip", here))
    assert paths(archive) == {"p1": archive / "AML/p1", "p2": archive / "AML/p2", "p3": archive / "MDS/p3"}
    cohort = read_cohort(archive, CohortOptions(min_cells=1, min_patients=1))
    assert dict(zip(cohort.table["patient_id"], cohort.table["raw_label"], strict=True)) == {
        "p1": "AML",
        "p2": "AML",
        "p3": "MDS",
    }


def test_a_table_of_our_own_results_is_not_the_table_of_the_patients(write_patients):
    here = write_patients("AML/p1", "MDS/p2")
    for name in ("predictions.csv", "cells.csv"):
        (here / name).write_text("patient_id,predicted_class\np1,MDS\n")
    cohort = read_cohort(here, CohortOptions(min_cells=1, min_patients=1))
    assert list(cohort.table["raw_label"]) == ["AML", "MDS"]


def test_all_images_of_one_folder_are_its_patient(write_patients):
    here = write_patients("p1", "p2")
    (here / "p1" / "Thumbs.db").write_bytes(b"x")
    images = sorted((here / "p1").glob("*.TIF"))
    assert named_patients(images) == {"p1": FoundPatient(here / "p1")}
    assert list(named_patients([here / "p1", here / "p2"])) == ["p1", "p2"]
    assert list(named_patients(images[:1])) == ["Gal-000001"]


def test_stacks_of_one_folder_are_a_patient_each(tmp_path, make_cell):
    for name in ("p1.tif", "p2.tif"):
        tifffile.imwrite(tmp_path / name, np.stack([make_cell(0), make_cell(1)]), photometric="rgb")
    assert list(named_patients([tmp_path / "p1.tif", tmp_path / "p2.tif"])) == ["p1", "p2"]


def test_images_of_which_nobody_knows_whose_they_are_are_refused_with_the_folders(write_patients):
    here = write_patients("p1", "p2", "p3/Signed slides/Lymphocyte")
    one, other = (sorted((here / patient).glob("*.TIF")) for patient in ("p1", "p2"))
    for places in ([*one, *other], [*one, here / "p2"], [one[0], here / "p2"]):
        with pytest.raises(SmearUnreadable, match=f"{here / 'p1'}"):
            named_patients(places)
    (here / "p1" / "overview.png").write_bytes(b"x")
    with pytest.raises(SmearUnreadable, match="2 of the 3 images"):
        named_patients(one)


def test_what_is_wrong_with_an_archive_is_told_for_a_cohort_too(write_patients, tmp_path):
    here = write_patients("p1/AML/a", "p1/AML/b", "p2/MDS/c")
    archive = Path(shutil.make_archive(str(tmp_path / "cohort"), "zip", here))
    assert list(find_patients(archive / "p1" / "AML")) == ["a", "b"]
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(CohortUnreadable, match=r"cohort\.zip is not a zip archive that can be read"):
        find_patients(archive)
