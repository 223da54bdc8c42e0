"""Several slides of a patient are one bag, or with --bag slide one bag each; no patient that is there disappears."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.cohort.factories import CHECKED, rules, with_options

from napari_caltomorph.cohort import Cohort, CohortOptions, encode_cohort, feature_files, find_patients, read_cohort
from napari_caltomorph.cohort.encode import EncodeSummary
from napari_caltomorph.cohort.options import EncodeCohortOptions
from napari_caltomorph.encoding import Features, load_bag
from napari_caltomorph.errors import CohortUnreadable, FeaturesRefused
from napari_caltomorph.smear import check_smear, open_place

FEW = CohortOptions(min_cells=1, min_patients=1, names_only=True)
DEMO = EncodeCohortOptions(encoder="demo-vit", device="cpu", precision="float32")


@pytest.fixture
def place(make_export, tmp_path: Path):
    """``place("AML/p1/slide_1", ...)``: a folder with these folders of three cells, each unlike all others."""

    def make(*folders: str) -> Path:
        for seed, folder in enumerate(folders):
            make_export(tmp_path / "here" / folder, cells=3, seed=seed)
        return tmp_path / "here"

    return make


def mixed(place) -> Path:
    """One patient with two slides, one with one, one without a folder for it, in each of two classes."""
    patients = [f"{label}/{label}_{n}" for label in ("AML", "MDS") for n in range(3)]
    return place(*(p + s for p, n in zip(patients, [2, 1, 0] * 2, strict=True) for s in ["/a", "/b"][:n] or [""]))


def cells_of(cohort: Cohort) -> dict[str, int]:
    return dict(zip(cohort.table["patient_id"], cohort.table["n_cells"], strict=True))


SIX = {"AML_0": 6, "AML_1": 3, "AML_2": 3, "MDS_0": 6, "MDS_1": 3, "MDS_2": 3}


def test_slides_of_a_patient_are_one_bag_and_the_note_counts_them(place) -> None:
    cohort = read_cohort(mixed(place), CHECKED)
    assert cells_of(cohort) == SIX
    assert [note for note in cohort.notes if "Patients with several slides: 2 " in note and "--bag slide" in note]
    smear = open_place(cohort.table.set_index("patient_id").at["AML_0", "path"])
    assert {cell.split("/")[0] for cell in smear.cells} == {"a", "b"} == set(smear.slides)


def test_slides_are_found_next_to_a_table_by_its_ids(place) -> None:
    here = mixed(place)
    for patient in list(here.glob("*/*")):
        patient.rename(here / patient.name)
    pd.DataFrame({"patient": sorted(SIX), "diagnosis": [one[:3] for one in sorted(SIX)]}).to_csv(here / "t.csv")
    for label in ("AML", "MDS"):
        (here / label).rmdir()
    assert cells_of(read_cohort(here, CHECKED)) == SIX
    assert {name: len(one.read()) for name, one in find_patients(here).items()} == SIX


def test_one_bag_a_slide_keeps_the_slides_of_a_patient_in_one_part(place) -> None:
    cohort = read_cohort(mixed(place), with_options(min_cells=3, names_only=False, bag="slide", test_fraction=0.4))
    table = cohort.table.set_index("patient_id")
    assert len(cohort) == 8
    assert {"AML_0_a", "AML_0_b", "AML_1"} <= set(table.index)
    for patient in ("AML_0", "MDS_0"):
        first, second = (table.loc[f"{patient}_{slide}"] for slide in "ab")
        assert first["slide_of"] == second["slide_of"] == patient
        assert (first["split"], str(first["fold"])) == (second["split"], str(second["fold"]))


def test_slides_stay_in_one_part_whatever_their_groups(place) -> None:
    slides = [(f"P{i}", label, f"{i}/{slide}", slide) for i, label in enumerate(["AML", "MDS"] * 6) for slide in "ab"]
    here = place(*(where for *_, where, _ in slides))
    table = pd.DataFrame(slides, columns=["patient", "diagnosis", "path", "site"])
    table.to_csv(here / "u.csv", index=False)
    # Half of the slides are of a hospital with other patients, and some of none.
    hospitals = [f"a{i % 3}" if site == "a" else f"b{i}" if i % 4 else None for i, site in enumerate(table["site"])]
    table.assign(site=hospitals).to_csv(here / "t.csv", index=False)
    read = read_cohort(here / "t.csv", with_options(bag="slide", group_column="site", test_fraction=0.4, folds=2)).table
    parts = read.assign(part=read["split"] + read["fold"].astype("string").fillna(""))
    assert len(read) == 24
    for together in ("slide_of", "group"):
        assert parts.groupby(together)["part"].nunique().max() == 1
    cohort = read_cohort(here / "u.csv", with_options(bag="slide", group_column="site"))
    assert set(cohort.table["split"]) == {"train"}
    assert any("too few are independent" in note for note in cohort.notes)


@pytest.mark.parametrize("column", ["case_id", "Patient ID"])
def test_slides_that_a_table_lists_as_ids_stay_with_their_patient(make_bags, tmp_path: Path, column: str) -> None:
    make_bags(tmp_path / "h5_files", {f"p{i:02}": 5 for i in range(24)})
    rows = [(f"{i // 2:03}", f"p{i:02}", ("AML", "MDS")[i // 2 % 2]) for i in range(24)]
    pd.DataFrame(rows, columns=[column, "slide_id", "label"]).to_csv(tmp_path / "t.csv", index=False)
    cohort = read_cohort(tmp_path, with_options(id_column="slide_id", test_fraction=0.4))
    assert len(cohort) == 24
    assert cohort.table["slide_of"].tolist() == [patient for patient, *_ in rows]
    parts = cohort.table["split"] + cohort.table["fold"].astype("string").fillna("")
    assert parts.groupby(cohort.table["slide_of"]).nunique().max() == 1
    assert any(column in note and "slides of one patient" in note for note in cohort.notes)


@pytest.mark.parametrize("bag", ["patient", "slide"])
def test_a_diagnosis_given_once_for_a_patient_is_that_of_all_rows(place, bag: str) -> None:
    here = place("x/1", "x/2", "y", "z", "w")
    rows = [("P0", "x/1", "AML"), ("P0", "x/2", ""), ("P1", "y", "MDS"), ("P2", "z", ""), ("P2", "w", "")]
    pd.DataFrame(rows, columns=["patient", "path", "diagnosis"]).to_csv(here / "t.csv", index=False)
    cohort = read_cohort(here / "t.csv", with_options(bag=bag, min_patients=1))
    assert cells_of(cohort) == ({"P0": 6, "P1": 3} if bag == "patient" else {"P0_1": 3, "P0_2": 3, "P1": 3})
    assert set(cohort.left_out["rule"]) == {"no label"}
    assert any("Rows without a diagnosis: 1" in note and "P0" in note for note in cohort.notes)


@pytest.mark.parametrize("bag", ["patient", "slide"])
def test_a_row_without_a_path_takes_no_slide_from_its_patient(place, bag: str) -> None:
    here = place("x/1", "x/2", "y")
    rows = [("P0", "x/1", "AML"), ("P0", "x/2", "AML"), ("P0", "", "AML"), ("P1", "y", "MDS")]
    pd.DataFrame(rows, columns=["patient", "path", "diagnosis"]).to_csv(here / "t.csv", index=False)
    cohort = read_cohort(here / "t.csv", with_options(bag=bag, min_patients=1))
    assert cells_of(cohort) == ({"P0": 6, "P1": 3} if bag == "patient" else {"P0_1": 3, "P0_2": 3, "P1": 3})
    assert cohort.left_out[["patient_id", "rule"]].to_numpy().tolist() == [["P0", "missing files"]]


def test_ids_of_slides_are_unique_whatever_the_case(place) -> None:
    here = place("AML/p/s1", "AML/p/s2", "AML/P_S1", "MDS/q", "MDS/r")
    ids = read_cohort(here, with_options(min_cells=1, bag="slide")).table["patient_id"]
    assert len({one.casefold() for one in ids}) == len(ids) == 5


def test_rows_of_a_patient_with_different_paths_are_slides_unless_their_labels_differ(place) -> None:
    here = place("x/1", "x/2", "y/1", "z", "v", "w")
    rows = [("P0", "x/1", "AML"), ("P0", "x/2", "AML"), ("P1", "y/1", "MDS"), ("P1", "y/1", "MDS")]
    rows += [("P2", "z", "AML"), ("P2", "v", "MDS"), ("P3", "w", "AML")]
    pd.DataFrame(rows, columns=["patient", "path", "diagnosis"]).to_csv(here / "t.csv", index=False)
    cohort = read_cohort(here / "t.csv", FEW)
    assert cells_of(cohort) == {"P0": 6, "P1": 3, "P3": 3}
    assert list(cohort.left_out["patient_id"]) == ["P2", "P2", "P1"]
    smear = open_place(cohort.table["path"].iloc[0])
    assert {cell.split("/")[0] for cell in smear.cells} == {"1", "2"}
    found = find_patients(here / "t.csv")
    assert len(found["P0"].read()) == 6
    assert "different diagnoses" in found["P2"].problem


def test_several_places_are_kept_by_a_saved_cohort_and_old_files_load(place, tmp_path: Path) -> None:
    here = place("x|y/1", "x|y/2", "w")
    rows = [("P0", "x|y/1", "AML"), ("P0", "x|y/2", "AML"), ("P3", "w", "MDS")]
    pd.DataFrame(rows, columns=["patient", "path", "diagnosis"]).to_csv(here / "t.csv", index=False)
    file = tmp_path / "cohort.json"
    read_cohort(here / "t.csv", FEW).save(file)
    loaded = read_cohort(file)
    assert len(open_place(loaded.table["path"].iloc[0])) == 6
    assert len(find_patients(file)["P0"].read()) == 6
    file.write_text(file.read_text().replace('"bag": "patient",', ""))  # as it was before there was the option
    assert read_cohort(file).options.bag == "patient"


def test_a_joined_bag_is_encoded_once_and_again_only_where_a_slide_changes(place, make_export, tmp_path: Path) -> None:
    here = place("AML/p/s1", "AML/p/s2", "MDS/q")
    cohort, folder = read_cohort(here, CHECKED.model_copy(update={"min_patients": 1})), tmp_path / "features"

    def encoded() -> EncodeSummary:
        return encode_cohort(cohort, folder, DEMO)

    assert encoded().encoded == 2
    bag = load_bag(feature_files(cohort, folder)["p"])
    assert {cell.split("/")[0] for cell in bag.cells} == {"s1", "s2"}
    assert bag.origin.smear_fingerprint == check_smear(open_place(cohort.table["path"].iloc[0])).fingerprint
    assert encoded().skipped == 2
    make_export(here / "AML/p/s2", cells=4, seed=9)
    assert (encoded().encoded, encoded().skipped) == (1, 2)


def test_feature_files_of_slides_are_one_bag(make_bags, tmp_path: Path) -> None:
    folder = make_bags(tmp_path, {f"S{n}": 4 for n in range(6)})
    make_bags(folder, {"wide": 4}, width=9)
    rows = [(f"P{n // 2}", f"S{n}.h5", ["AML", "MDS"][n // 2 % 2]) for n in range(6)]
    rows += [("P3", "S0.h5", "AML"), ("P3", "wide.h5", "AML")]
    pd.DataFrame(rows, columns=["patient", "path", "diagnosis"]).to_csv(folder / "t.csv", index=False)
    cohort = read_cohort(folder / "t.csv", CohortOptions(min_cells=1, min_patients=1))
    assert cells_of(cohort) == {"P0": 8, "P1": 8, "P2": 8}
    assert list(cohort.left_out["patient_id"]) == ["P3"]
    first, second = feature_files(cohort, None)["P1"]
    bag = load_bag([first, second])
    assert bag.cells[0] == "S2/cell_0"
    assert bag.values.tolist() == [*Features.load(first).values.tolist(), *Features.load(second).values.tolist()]
    with pytest.raises(FeaturesRefused, match=r"S2\.h5.*wide\.h5"):
        load_bag([first, folder / "wide.h5"])


def test_patients_without_readable_images_are_left_out_with_what_was_found(place) -> None:
    here = place("AML/a", "AML/b", "MDS/c", "MDS/d")
    (here / "AML/empty").mkdir()
    (here / "MDS/odd").mkdir()
    (here / "MDS/odd/c0.czi").write_bytes(b"x")
    cohort = read_cohort(here, FEW)
    reasons = cohort.left_out.set_index("patient_id")["reason"]
    assert rules(cohort) == {"missing files": 2}
    assert "found nothing" in reasons["empty"]
    assert "c0.czi" in reasons["odd"]
    assert set(find_patients(here)) == {"a", "b", "c", "d", "empty", "odd"}


def test_slides_of_the_real_patient_in_a_folder_of_its_own(shared_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "apl"
    for patient in ("Patient_73", "Patient_00"):
        shutil.copytree(shared_data / "apl-aml" / "All" / patient, root / "All" / patient)
    (slide,) = (root / "All" / "Patient_73").iterdir()
    shutil.copytree(root / "All" / "Patient_00" / "Signed slides", slide.with_name("100") / "Signed slides")
    shutil.copy(shared_data / "apl-aml" / "master.csv", root)
    cohort = read_cohort(root, FEW.model_copy(update={"keep_unmatched": True}))
    assert {"Patient_73", "Patient_00"} == set(cohort.table["patient_id"])
    smear = open_place(cohort.table.set_index("patient_id").at["Patient_73", "path"])
    assert smear.slides == ("100", slide.name)
    assert "Lymphocyte" in smear.labels


def test_folders_of_diagnoses_a_level_lower_are_named(place) -> None:
    here = place("site/AML/p1", "site/AML/p2", "site/MDS/q1", "site/MDS/q2")
    for read in (lambda: read_cohort(here, FEW), lambda: find_patients(here)):
        with pytest.raises(CohortUnreadable, match=f"level lower.*{here / 'site'}"):
            read()


def test_one_patients_slides_are_no_cohort(place) -> None:
    here = place("p7/slide_1", "p7/slide_2") / "p7"
    with pytest.raises(CohortUnreadable, match=r"one patient's smear.*without --each"):
        find_patients(here)
    assert {name: len(one.read()) for name, one in find_patients(here.parent, slides=True).items()} == {"p7": 6}


def test_slides_that_are_archives_or_stacks_are_joined_too(place, make_cell) -> None:
    here = place("AML/p/a", "AML/p/b")
    for slide in ("a", "b"):
        shutil.make_archive(str(here / "AML/p" / slide), "zip", here / "AML/p" / slide)
        shutil.rmtree(here / "AML/p" / slide)
    (here / "MDS/q").mkdir(parents=True)
    for slide in range(2):
        pages = np.stack([make_cell(100 + 4 * slide + page) for page in range(4)])
        tifffile.imwrite(here / f"MDS/q/s{slide}.tif", pages, photometric="rgb")
    cohort = read_cohort(here, FEW)
    assert cells_of(cohort) == {"p": 6, "q": 8}
    assert open_place(cohort.table["path"].iloc[0]).cells[0].startswith("a/")
    assert open_place(cohort.table["path"].iloc[1]).cells[0] == "s0.tif#1"
    assert len(read_cohort(here, FEW.model_copy(update={"bag": "slide"}))) == 4


def test_slides_of_one_name_in_many_patients_are_no_patients(place) -> None:
    here = place(*(f"p{n}/{slide}" for n in range(3) for slide in ("left", "right")))
    assert {name: len(one.read()) for name, one in find_patients(here).items()} == {"p0": 6, "p1": 6, "p2": 6}
    with pytest.raises(CohortUnreadable, match="3 patients without labels"):
        read_cohort(here, FEW)


KINDS = ("cells", "slides", "wrapped", "slides in dates", "unreadable", "empty", "zip")


def _write(folder: Path, kind: str) -> None:
    """Write a patient, or nothing, of one kind; one image a slide."""
    slides = {"cells": [""], "slides": ["u", "v"], "wrapped": ["w"], "slides in dates": ["d/u", "e/v"], "zip": [""]}
    folder.mkdir(parents=True)
    for number, slide in enumerate(slides.get(kind, [])):
        (folder / slide).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / slide / "c.png")
    if kind == "unreadable":
        (folder / "c.czi").write_bytes(b"x")
    if kind == "zip":
        shutil.make_archive(str(folder), "zip", folder)
        shutil.rmtree(folder)


@settings(max_examples=8)
@given(st.lists(st.lists(st.sampled_from(KINDS), max_size=4), min_size=1, max_size=3), st.booleans(), st.booleans())
def test_no_patient_of_a_random_tree_disappears(tmp_path_factory, labels, has_table, by_slide) -> None:
    here = tmp_path_factory.mktemp("tree") / "here"
    here.mkdir()
    patients = {}
    for number, kinds in enumerate(labels):
        label = ("AML", "MDS", "CLL")[number]
        for kind in kinds:
            patient = f"p{len(patients)}"
            patients[patient] = label
            _write(here / (patient if has_table else f"{label}/{patient}"), kind)
    if has_table:
        table = pd.DataFrame({"patient": list(patients), "diagnosis": list(patients.values())})
        table.to_csv(here / "t.csv", index=False)
    options = FEW.model_copy(update={"bag": "slide" if by_slide else "patient"})
    readable = {"cells", "slides", "wrapped", "slides in dates", "zip"}
    if not readable & {kind for kinds in labels for kind in kinds}:
        with pytest.raises(CohortUnreadable):
            read_cohort(here, options)
        return
    cohort = read_cohort(here, options)
    ids = [*cohort.table["patient_id"], *cohort.left_out["patient_id"]]
    assert {one.split("_")[0] for one in ids} == set(patients)
    assert len(set(ids)) == len(ids)
    assert cohort.left_out["reason"].str.len().gt(0).all()
    count = {"slides": 2, "slides in dates": 2, "unreadable": 0, "empty": 0}
    expected = sum(count.get(kind, 1) for kinds in labels for kind in kinds)
    assert cohort.table["n_cells"].sum() == expected
    assert len(cohort) == (expected if by_slide else sum(kind in readable for kinds in labels for kind in kinds))
    found = find_patients(here)
    assert set(found) == set(patients)
