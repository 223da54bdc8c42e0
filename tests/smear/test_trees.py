"""What systems and we leave in folders and archives is no patient, cell or feature; links and pipes do no harm."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.smear import open_place, read_smear, smear_fingerprint
from napari_caltomorph.smear.entries import is_system_entry
from napari_caltomorph.smear.trees import FolderTree, folders_in, is_written_by_us
from napari_caltomorph.storage import place_of

SYSTEM_FOLDERS = ("$RECYCLE.BIN", ".Trash-1000", "@eaDir", "#recycle", "__MACOSX", ".git", "lost+found")


@pytest.mark.parametrize(
    "name", [*SYSTEM_FOLDERS, "Thumbs.db", "desktop.ini", "._1.tif", "~$list.xlsx", ".caltomorph-1"]
)
def test_names_of_systems_are_known(name):
    assert is_system_entry(name)


@pytest.mark.parametrize("name", ["P01", "@home", "#12", "~P1", "$5", "lost", "recycle", "git", "1.tif"])
def test_names_of_people_are_not_of_a_system(name):
    assert not is_system_entry(name)


def test_folders_of_systems_are_no_patients_and_their_images_no_cells(tmp_path, make_export, patients_in):
    for patient in ("p1", "p2"):
        make_export(tmp_path / patient, cells=1)
    for name in SYSTEM_FOLDERS:
        make_export(tmp_path / name, cells=1)
        make_export(tmp_path / "p1" / name, cells=1)
    (tmp_path / "p1" / "._Gal.tif").write_bytes(b"a resource fork")
    assert [smear.name for smear in patients_in(tmp_path)] == ["p1", "p2"]
    assert [folder.name for folder in folders_in(tmp_path)] == ["p1", "p2"]
    smear = read_smear(tmp_path / "p1")
    assert smear.cells == ("Gal-000001.RGB.TIF",)
    assert {*SYSTEM_FOLDERS, "._Gal.tif"} <= set(smear.passed_over)
    assert len(read_smear(tmp_path / ".git")) == 1  # named by a person


def test_system_folders_in_an_archive_are_no_cells(tmp_path, make_export):
    cell = (make_export(tmp_path / "p", cells=1) / "Gal-000001.RGB.TIF").read_bytes()
    archive = tmp_path / "p.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("p/1.tif", "p/@eaDir/1.tif", ".Trashes/1.tif", "__MACOSX/p/._1.tif"):
            file.writestr(name, cell)
    assert read_smear(archive).cells == ("1.tif",)


RESULTS = {
    "predictions": ("predictions.csv", "cells.csv", "p1/prediction.json", "p1/report.html"),
    "evaluation": (
        "evaluation.json",
        "predictions.csv",
        "figures/map.safetensors",
        "figures/map.png",
        "figures/map.pdf",
    ),
    "figures": ("flow.png", "classes.png", "preview.png"),
    "model": ("model.json", "fold_0.safetensors", "training_curves.png"),
    "comparison": ("comparison.csv", "folds.csv", "comparison.png"),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_folders_that_we_wrote_are_recognised_by_their_files(tmp_path, make_export, kind, patients_in):
    folder = tmp_path / "any name"
    for name in RESULTS[kind]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"written by us")
    make_export(tmp_path / "p1", cells=1)
    assert is_written_by_us(FolderTree(folder), FolderTree(folder).children(""))
    assert folders_in(tmp_path) == patients_in(tmp_path) == [tmp_path / "p1"]


def test_features_are_recognised_by_their_journal(tmp_path):
    with h5py.File(tmp_path / "p1.h5", "w") as file:
        file["features"] = np.ones((2, 3), np.float32)
    assert not is_written_by_us(FolderTree(tmp_path), FolderTree(tmp_path).children(""))
    (tmp_path / "run.json").write_text("{}")
    assert is_written_by_us(FolderTree(tmp_path), FolderTree(tmp_path).children(""))


def test_results_next_to_cells_do_not_make_them_ours(tmp_path, make_export, patients_in):
    make_export(tmp_path / "aml" / "p1", cells=2)
    for place in (tmp_path / "aml", tmp_path / "aml" / "p1"):
        for name in ("predictions.csv", "cells.csv", "prediction.json", "flow.png", "classes.png", "preview.png"):
            (place / name).write_bytes(b"written by us")
    assert folders_in(tmp_path) == [tmp_path / "aml"]
    assert patients_in(tmp_path / "aml") == [tmp_path / "aml" / "p1"]
    assert len(read_smear(tmp_path / "aml" / "p1")) == 2


def test_a_folder_of_a_person_that_is_called_features_is_a_patient(tmp_path, make_export, patients_in):
    make_export(tmp_path / "features", cells=1)
    assert patients_in(tmp_path) == [tmp_path / "features"]


def test_links_back_cost_nothing_and_a_link_to_another_folder_is_followed(tmp_path, make_export, patients_in):
    store = make_export(tmp_path / "store", cells=3)
    patient = make_export(tmp_path / "cohort" / "p", cells=2)
    for name in ("lymphocyte", "monocytes", "blast"):
        (patient / name).symlink_to(".")
    (patient / "eosinophil").symlink_to(store)
    (store / "basophil").symlink_to(patient)
    smear = read_smear(patient)
    assert len(smear) == 5
    assert smear.labels.count("eosinophil") == 3
    assert set(smear.passed_over) == {"lymphocyte", "monocytes", "blast", "eosinophil/basophil"}
    (tmp_path / "cohort" / "q").symlink_to(store)
    assert [place.name for place in patients_in(tmp_path / "cohort")] == ["p", "q"]


def test_a_folder_with_many_names_is_entered_once(tmp_path, make_export):
    for depth in range(40):  # 2 ** 40 ways to the last one
        (tmp_path / f"folder_{depth}").mkdir()
        if depth:
            for name in ("lymphocyte", "monocyte"):
                (tmp_path / f"folder_{depth - 1}" / name).symlink_to(tmp_path / f"folder_{depth}")
    make_export(tmp_path / "folder_2", cells=1)
    (tmp_path / "folder_0" / "prediction.json").write_text("{}")
    assert read_smear(tmp_path / "folder_0").cells == ("lymphocyte/lymphocyte/Gal-000001.RGB.TIF",)
    assert tmp_path / "folder_0" in folders_in(tmp_path)


def test_pipes_and_devices_are_never_opened(tmp_path, make_export):
    patient = make_export(tmp_path / "p", cells=1)
    os.mkfifo(patient / "pipe.tif")
    (patient / "to_pipe.tif").symlink_to("pipe.tif")
    (patient / "zeros.png").symlink_to("/dev/zero")
    smear = read_smear(patient)
    assert len(smear) == 1
    assert set(smear.passed_over) == {"pipe.tif", "to_pipe.tif", "zeros.png"}
    for name in smear.passed_over:
        with pytest.raises(SmearUnreadable, match=name):
            read_smear(patient / name)
    shutil.copytree(patient, tmp_path / "q", ignore=lambda *_: smear.passed_over)
    with pytest.raises(SmearUnreadable, match=r"pipe\.tif"):
        read_smear([tmp_path / "q" / "Gal-000001.RGB.TIF", patient / "pipe.tif"])


def test_two_different_entries_of_one_name_are_refused_and_two_equal_ones_are_one_cell(tmp_path, make_export):
    first, second = (path.read_bytes() for path in sorted(make_export(tmp_path / "p", cells=2).iterdir()))
    for name, other in (("equal", first), ("differ", second)):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as file:
            file.writestr("1.tif", first)
            with pytest.warns(UserWarning, match="Duplicate"):
                file.writestr("1.tif", other)
    assert read_smear(tmp_path / "equal.zip").cells == ("1.tif",)
    with pytest.raises(SmearUnreadable, match=r"differ.zip.*'1.tif'"):
        read_smear(tmp_path / "differ.zip")


@pytest.fixture
def cohort_zip(tmp_path, make_export) -> Path:
    for name in ("cohort/aml/p1", "cohort/aml/p2", "cohort/mds/p3"):
        make_export(tmp_path / name, cells=2)
    (tmp_path / "cohort" / "aml" / "table.csv").write_text("x")
    return Path(shutil.make_archive(str(tmp_path / "cohort"), "zip", tmp_path, "cohort"))


def test_patients_in_an_archive_are_found_and_read_as_those_in_a_folder(tmp_path, cohort_zip, patients_in):
    assert folders_in(cohort_zip) == [cohort_zip / "aml", cohort_zip / "mds"]
    assert patients_in(cohort_zip / "aml") == [cohort_zip / "aml" / "p1", cohort_zip / "aml" / "p2"]
    packed, unpacked = read_smear(cohort_zip / "aml" / "p1"), read_smear(tmp_path / "cohort" / "aml" / "p1")
    assert packed.patient_id == "p1"
    assert packed.cells == unpacked.cells
    assert smear_fingerprint(packed) == smear_fingerprint(unpacked)
    with pytest.raises(SmearUnreadable, match="nothing"):
        read_smear(cohort_zip / "aml" / "p9")
    renamed = cohort_zip.rename(tmp_path / "100%25.zip")
    assert open_place(place_of([renamed / "aml" / "p1"])).cells == packed.cells


def test_stacks_in_an_archive_are_patients_and_archives_in_it_are_not(tmp_path, make_cell, patients_in):
    stack = np.stack([make_cell(i) for i in range(3)])
    for name in ("p1.tif", "p2.tif"):
        tifffile.imwrite(tmp_path / name, stack, photometric="rgb")
    place = tmp_path / "all.zip"
    with zipfile.ZipFile(place, "w") as file:
        for name in ("p1.tif", "p2.tif"):
            file.write(tmp_path / name, name)
        file.writestr("p3.zip", b"")
    assert patients_in(place) == [place / "p1.tif", place / "p2.tif"]
    smear = read_smear(place / "p2.tif")
    assert smear.patient_id == "p2"
    assert len(smear) == 3
    assert (smear.image(1) == stack[1]).all()


def test_archives_of_patients_are_named_with_the_way_to_read_them(tmp_path, cohort_zip):
    (tmp_path / "many").mkdir()
    for name in ("p1.zip", "p2.zip"):
        shutil.copy(cohort_zip, tmp_path / "many" / name)
    with pytest.raises(SmearUnreadable, match=f"predict {tmp_path / 'many'} --each"):
        read_smear(tmp_path / "many")
    with pytest.raises(SmearUnreadable, match=r"p1\.zip, p2\.zip.*Unpack"):
        read_smear(shutil.make_archive(str(tmp_path / "nested"), "zip", tmp_path / "many"))
