"""Folders of images in a patient's folder: slides where that is known or their names say so, otherwise a question."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_caltomorph.errors import LooksLikeCohort, SmearUnreadable
from napari_caltomorph.smear import find_slides, open_place, read_smear
from napari_caltomorph.storage import paths_of, place_of


@pytest.fixture
def patient(make_export, tmp_path: Path):
    """``patient("p7", "slide_1", ...)``: a folder with these folders of three cells; "" is the folder itself."""

    def make(name: str, *folders: str) -> Path:
        for seed, folder in enumerate(folders):
            make_export(tmp_path / name / folder, cells=3, seed=seed)
        return tmp_path / name

    return make


@pytest.mark.parametrize(
    ("name", "folders"),
    [("any", ["slide_1", "Slide 2"]), ("any", ["scan-a", "scan-b"]), ("any", ["s1", "S2"]), ("p7", ["p7_a", "P7_b"])],
)
def test_folders_named_as_slides_are_one_patient_and_this_is_a_note(patient, name, folders):
    smear = read_smear(patient(name, *folders))
    assert (len(smear), set(smear.slides)) == (6, set(folders))
    assert all(folder in smear.notes[0] for folder in folders)
    assert not read_smear(patient(name, *folders), slides=True).notes


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("cohort", ["cohort_a", "cohort_b"]),  # no number, as patients have
        ("AML", ["s1", "s2"]),  # a diagnosis
        ("NPM1", ["NPM1_01", "NPM1_02"]),
        ("any", [f"s{n}" for n in range(7)]),  # more than a patient has
        ("any", ["p1/slide_1", "p2/slide_1"]),
        ("any", ["left", "right"]),
    ],
)
def test_other_folders_are_a_question_that_names_the_option(patient, name, folders):
    with pytest.raises(LooksLikeCohort, match=r"--each.*--slides"):
        read_smear(patient(name, *folders))
    assert len(read_smear(patient(name, *folders), slides=True)) == 3 * len(folders)


def test_a_slide_next_to_the_cells_of_another_is_read_and_other_folders_are_not(patient):
    smear = read_smear(patient("p", "", "slide_2"))
    assert (len(smear), smear.slides, len(smear.notes)) == (6, (), 1)
    assert len(read_smear(patient("q", "", "old"), slides=True)) == 3


def test_slides_in_several_places_are_named_by_them_in_any_order(patient):
    places = [patient("batch_1", "p"), patient("batch_2", "p")]
    smear = read_smear([place / "p" for place in places], slides=True)
    assert smear.slides == ("batch_1/p", "batch_2/p")
    assert smear.cells[0] == "batch_1/p/Gal-000001.RGB.TIF"
    assert smear.cells == read_smear([place / "p" for place in reversed(places)], slides=True).cells
    assert open_place(smear.place).cells == smear.cells
    with pytest.raises(SmearUnreadable, match="gone"):
        read_smear([places[0] / "p", places[0] / "gone"], slides=True)


def test_places_with_the_separator_in_their_names_are_found_again(patient):
    folder = patient("p|q", "a|b", "c")
    assert paths_of(place_of([folder])) == [folder]
    assert paths_of(place_of(find_slides(folder))) == [folder / "a|b", folder / "c"]
