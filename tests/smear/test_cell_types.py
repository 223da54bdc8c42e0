"""Cells in folders that are named after their type, whatever the name, are cells of the patient; the rest is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_caltomorph.differential.cell_types import CELL_TYPES, cell_type
from napari_caltomorph.errors import LooksLikeCohort
from napari_caltomorph.smear import Smear, read_smear

PBC = {
    "basophil": "basophil",
    "eosinophil": "eosinophil",
    "erythroblast": "erythroblast",
    "ig": "immature granulocyte",
    "lymphocyte": "lymphocyte",
    "monocyte": "monocyte",
    "neutrophil": "segmented neutrophil",
    "platelet": "platelet",
}
LMU = {
    "BAS": "basophil",
    "EBO": "erythroblast",
    "EOS": "eosinophil",
    "KSC": "smudge cell",
    "LYA": "reactive lymphocyte",
    "LYT": "lymphocyte",
    "MMZ": "metamyelocyte",
    "MOB": "monoblast",
    "MON": "monocyte",
    "MYB": "myelocyte",
    "MYO": "blast",
    "NGB": "band neutrophil",
    "NGS": "segmented neutrophil",
    "PMB": "promyelocyte",
    "PMO": "promyelocyte",
}
MLL_GERMAN = {
    "01-NORMO": "erythroblast",
    "04-LGL": "large granular lymphocyte",
    "05-MONO": "monocyte",
    "08-LYMPH-neo": "neoplastic lymphocyte",
    "11-STAB": "band neutrophil",
    "12-LYMPH-reaktiv": "reactive lymphocyte",
    "14-LYMPH-typ": "lymphocyte",
    "17-Kernschatten": "smudge cell",
    "21-Haarzelle": "hairy cell",
    "22-Atyp-PMYEL": "promyelocyte",
}
MLL23 = {
    "lymphocyte_large_granular": "large granular lymphocyte",
    "lymphocyte_neoplastic": "neoplastic lymphocyte",
    "neutrophil_band": "band neutrophil",
    "promyelocyte_atypical": "promyelocyte",
    "normoblast": "erythroblast",
}


def patient(folder: Path, *types: str) -> Path:
    for number, name in enumerate(types):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{number}.png").touch()
    return folder


def types_of(smear: Smear) -> set[str]:
    return {cell_type(label).name for label in smear.labels if label is not None}


@pytest.mark.parametrize("names", [PBC, LMU, MLL_GERMAN, MLL23])
def test_folders_of_public_data_sets_are_cell_types(tmp_path, names):
    smear = read_smear(patient(tmp_path, *names))
    assert set(smear.labels) == set(names)
    assert {name: cell_type(name).name for name in names} == names
    assert types_of(smear) == set(names.values())
    assert not smear.notes


def test_every_type_of_the_differential_may_name_a_folder(tmp_path):
    assert len(read_smear(patient(tmp_path, *CELL_TYPES))) == len(CELL_TYPES)


def test_folders_with_other_names_next_to_cell_types_are_labels_and_named_in_a_note(tmp_path):
    smear = read_smear(patient(tmp_path, "Neutrophil", "Monocyte", "Burst", "Rückstand"))
    assert set(smear.labels) == {"Neutrophil", "Monocyte", "Burst", "Rückstand"}
    (note,) = smear.notes
    assert "Burst" in note
    assert "Rückstand" in note
    assert "Neutrophil" not in note


def test_an_unknown_name_below_a_label_root_is_named_in_a_note(tmp_path):
    smear = read_smear(patient(tmp_path / "p", "Signed slides/Lymphocyte", "Signed slides/Some new type"))
    assert smear.labels == ("Lymphocyte", "Some new type")
    assert "Some new type" in smear.notes[0]


def test_folders_next_to_images_are_cells_only_if_a_type_or_code_names_them(tmp_path):
    folder = patient(tmp_path, "thumbnails", "spare")
    for name in ("1.png", "2.png"):
        (folder / name).touch()
    smear = read_smear(folder)
    assert smear.cells == ("1.png", "2.png")
    assert "thumbnails" in smear.notes[0]
    patient(folder, "ig", "lymphocyte/masks")
    (folder / "lymphocyte" / "2.png").touch()
    smear = read_smear(folder)
    assert "lymphocyte/masks" in smear.notes[-1]
    assert "thumbnails" in smear.notes[-1]
    assert set(smear.labels) == {None, "ig", "lymphocyte", "spare"}


@pytest.mark.parametrize("slides", [True, False])
@pytest.mark.parametrize("cells", [["images"], ["slide_1", "slide_2"]])
def test_masks_next_to_the_folders_of_cells_are_no_cells_and_that_is_said(tmp_path, cells, slides):
    smear = read_smear(patient(tmp_path / "P1", *cells, "masks"), slides=slides)
    assert smear.cells == tuple(f"{folder}/{number}.png" for number, folder in enumerate(cells))
    assert "masks" in smear.notes[-1]
    assert len(read_smear(patient(tmp_path / "P2", "masks"), slides=slides)) == 1  # nothing else is there


def test_results_next_to_cell_types_are_no_cells(tmp_path):
    folder = patient(tmp_path, "lymphocyte", "monocyte", "results")
    (folder / "results" / "2.png").unlink()
    for name in ("flow.png", "classes.png", "preview.png"):
        (folder / "results" / name).touch()
    assert set(read_smear(folder).labels) == {"lymphocyte", "monocyte"}


def test_patients_stay_patients_even_if_one_is_named_like_a_type(tmp_path, patients_in):
    with pytest.raises(LooksLikeCohort):
        read_smear(patient(tmp_path / "a", "P1", "P2", "P3", "MON"))
    assert [place.name for place in patients_in(tmp_path / "a")] == ["MON", "P1", "P2", "P3"]
    with pytest.raises(LooksLikeCohort):
        read_smear(patient(tmp_path / "c", "lymphocyte", "P1", "P2"))
    with pytest.raises(LooksLikeCohort):
        read_smear(patient(tmp_path / "b", "P1/ig", "P1/neutrophil", "P2/NGS", "P2/LYT", "P2/x"))
    assert [place.name for place in patients_in(tmp_path / "b")] == ["P1", "P2"]


def test_cell_types_are_no_patients(tmp_path, patients_in):
    assert patients_in(patient(tmp_path, "neutrophil", "ig", "burst")) == []
