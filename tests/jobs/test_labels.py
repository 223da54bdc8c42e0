"""Folders and tables of labelled cells, as public sets have them: each name becomes a type or is left out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from napari_caltomorph.differential import CellLabels, ImportedLabels, read_labels, save_labels
from napari_caltomorph.errors import LabelsUnreadable, SmearUnreadable
from napari_caltomorph.jobs import import_label_folder
from napari_caltomorph.smear import check_smear, read_smear


@pytest.fixture
def make(make_cell, tmp_path):
    """``make(*files)``: a folder with an image at each of these paths; the folder is returned."""

    def write(*files: str, name: str = "cells") -> Path:
        for number, file in enumerate(files):
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(make_cell(number, 48)).save(path)
        return tmp_path / name

    return write


def account(imported: ImportedLabels) -> dict[str, str | None]:
    return {one.name: one.type for one in imported.names}


def of(imported: ImportedLabels) -> dict[str, str]:
    """Cell -> label."""
    return {row.cell: row.label for row in imported.labels.rows}


def test_files_of_a_vague_folder_say_the_stage(make):
    files = ("ig/MMY_1.png", "ig/MY_2.png", "ig/IG_3.png", "neutrophil/BNE_4.png", "neutrophil/NEUTROPHIL_5.png")
    imported = import_label_folder(make(*files, "basophil/BA_6.png"))
    assert account(imported) == {
        "ig/MMY": "metamyelocyte",
        "ig/MY": "myelocyte",
        "ig": None,
        "neutrophil/BNE": "band neutrophil",
        "neutrophil": None,
        "basophil": "basophil",
    }
    assert set(of(imported)) == {*files, "basophil/BA_6.png"} - {"ig/IG_3.png", "neutrophil/NEUTROPHIL_5.png"}
    assert imported.left_out == 2
    assert all("told apart" in one.note for one in imported.names if one.type is None)


def test_a_vague_name_has_its_usual_type_where_no_stage_is_told_apart(make):
    imported = import_label_folder(make("Neutrophil/1.png", "ig/IG_2.png", "Monocyte/3.png"))
    assert account(imported) == {
        "Neutrophil": "segmented neutrophil",
        "ig": "immature granulocyte",
        "Monocyte": "monocyte",
    }
    assert {one.name for one in imported.names if one.note} == {"Neutrophil", "ig"}


def test_names_that_say_no_type_are_left_out_and_unknown_ones_are_types_of_their_own(make):
    folder = make("Basophil/1.png", "eosi/2.png", "lymp/3.png", "mixt/4.png", "my odd cells/5.png", "RBC/6.png")
    imported = import_label_folder(folder)
    assert account(imported) == {
        "Basophil": "basophil",
        "eosi": "eosinophil",
        "lymp": "lymphocyte",
        "mixt": None,
        "my odd cells": "my odd cells",
        "RBC": None,
    }
    assert "own" in next(one.note for one in imported.names if one.name == "my odd cells")


def test_a_map_of_ones_own_overrules_and_what_is_in_no_folder_is_named(make, tmp_path):
    folder = make("basophil/1.png", "ig/MMY_2.png", "ig/IG_3.png", "odd/4.png")
    (tmp_path / "types.csv").write_text("Name;Type\nig;promyelocyte\nODD;LYA\nbasophil;\nnone here;blast\n")
    imported = import_label_folder(folder, tmp_path / "types.csv")
    assert account(imported) == {
        "ig/MMY": "promyelocyte",
        "ig": "promyelocyte",
        "odd": "reactive lymphocyte",
        "basophil": None,
    }
    assert [note for note in imported.notes if "none here" in note]


def test_folders_of_ones_own_types_only_are_read_where_the_map_names_one(make, tmp_path):
    folder = make("kind A/1.png", "kind B/2.png")
    with pytest.raises(LabelsUnreadable, match=r"no cell has a label.*--types"):
        import_label_folder(folder)
    (tmp_path / "types.csv").write_text("name,type\nkind A,basophil\n")
    assert account(import_label_folder(folder, tmp_path / "types.csv")) == {"kind A": "basophil", "kind B": "kind B"}


def test_one_image_of_two_types_has_no_label_and_what_is_not_used_is_counted(make, make_cell):
    folder = make("basophil/1.png", "basophil/2.png", "monocyte/3.png")
    shutil.copy(folder / "basophil/1.png", folder / "monocyte/4.png")
    Image.fromarray(make_cell(9, 96)).save(folder / "monocyte/large.png")
    (folder / "monocyte/5.png").write_bytes(b"no image")
    (folder / "eosinophil").mkdir()
    imported = import_label_folder(folder)
    assert set(of(imported)) == {"basophil/2.png", "monocyte/3.png", "monocyte/5.png", "monocyte/large.png"}
    notes = "\n".join(imported.notes)
    assert "basophil/1.png of cells is basophil and monocyte/4.png of cells is monocyte" in notes
    assert "1 image not used, unreadable (first: monocyte/5.png of cells)" in notes
    assert "48 to 96 pixels" in notes
    assert "without an image: eosinophil" in notes


def test_labels_of_a_folder_a_patient_and_of_a_zip_are_found_again(make, tmp_path):
    folder = make("P1/basophil/1.png", "P1/monocyte/2.png", "P2/basophil/3.png", "P2/4.png")
    for place in (folder, Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", folder))):
        imported = import_label_folder(place)
        assert [(row.patient_id, row.label) for row in imported.labels.rows] == [
            ("P1", "basophil"),
            ("P1", "monocyte"),
            ("P2", "basophil"),
        ]
        assert "1 cell without a label" in imported.notes
    save_labels(imported.labels, tmp_path / "labels.csv")
    smear = check_smear(read_smear(folder / "P2"))
    assert read_labels(tmp_path / "labels.csv").of(smear) == {"basophil/3.png": "basophil"}
    assert CellLabels.of_folders(smear).of(smear) == {"basophil/3.png": "basophil"}


def test_a_table_labels_images_by_as_much_of_their_paths_as_it_takes(make, tmp_path):
    folder = make("P1/a.png", "P1/b.png", "P2/a.png", "P2/c.png", "P2/d.png")
    rows = (
        "P1\\A.png,BA",
        "somewhere/P2/a.png,EO",
        "b,SNE",
        "c.png,MO",
        "c.png,LY",
        "a.png,BA",
        "gone.png,BA",
        "d.png,",
    )
    (tmp_path / "table.csv").write_text("\n".join(["img_name,Label", *rows]))
    imported = import_label_folder(folder, table=tmp_path / "table.csv")
    assert {row.by for row in imported.labels.rows} == {"table.csv"}
    assert [(row.patient_id, row.cell, row.label) for row in imported.labels.rows] == [
        ("P1", "a.png", "basophil"),
        ("P1", "b.png", "segmented neutrophil"),
        ("P2", "a.png", "eosinophil"),
    ]
    notes = "\n".join(imported.notes)
    for note in (
        "no image here (first: gone.png)",
        "several images (first: a.png)",
        "two labels in the table (first: c.png)",
    ):
        assert note in notes


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("field,x_min,y_min,type\na.png,1,2,BA\n", "boxes"),
        ("file,colour\na.png,red\n", r"table\.csv has no column .*'label'"),
        ("word\nx\n", "one column"),
    ],
)
def test_a_table_that_labels_no_image_is_named(make, tmp_path, table, message):
    (tmp_path / "table.csv").write_text(table)
    with pytest.raises(LabelsUnreadable, match=message):
        import_label_folder(make("a.png"), table=tmp_path / "table.csv")


def test_a_folder_without_a_label_or_an_image_is_one_sentence(make, tmp_path):
    with pytest.raises(LabelsUnreadable, match=r"no cell has a label.*--label-table"):
        import_label_folder(make("a.png"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SmearUnreadable, match="empty"):
        import_label_folder(tmp_path / "empty")
