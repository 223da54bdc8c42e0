"""Real smears, where they are: they are read, and what is left out is told."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from napari_caltomorph.smear import Reason, check_smear, read_smear


@pytest.fixture
def tell(capsys):
    def write(sentence: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{sentence}\n")

    return write


@pytest.mark.parametrize("name", ["smear_a", "smear_b"])
def test_metafer_export_is_read_and_all_of_it_is_usable(shared_data, tell, name):
    smear = check_smear(read_smear(shared_data / "metafer" / name))
    tell(f"{name}: {len(smear)} cells, left out: {smear.left_out_counts()}")
    assert smear.canvas == (144, 144)
    assert len(smear.usable) == len(smear) == len(list((shared_data / "metafer" / name).iterdir()))


def test_apl_aml_patient_counts_every_image_once_and_keeps_its_label(shared_data, tell):
    folder = shared_data / "apl-aml" / "All" / "Patient_00"
    smear = check_smear(read_smear(folder))
    tell(f"Patient_00: {len(smear)} images, left out: {smear.left_out_counts()}, passed over: {smear.passed_over}")
    copies = Counter(grade.digest for grade in smear.grades)
    assert set(smear.left_out_counts()) <= {Reason.REPEAT, Reason.WHOLE_FIELD}
    assert smear.left_out_counts()[Reason.REPEAT] == sum(count - 1 for count in copies.values())
    labelled = {smear.grades[i].digest for i in range(len(smear)) if smear.labels[i]}
    for i in smear.usable:
        assert smear.labels[i] or smear.grades[i].digest not in labelled
    assert {path.rsplit("/", 1)[-1] for path in smear.passed_over} == {"Thumbs.db"}


def test_rgba_tiff_is_one_cell(shared_data):
    (path,) = (shared_data / "rgba-tiff").iterdir()
    assert read_smear(path).image(0).shape == (400, 400, 3)


def test_cell_type_folders_are_labels(shared_data):
    smear = read_smear(shared_data / "pbc-cells")
    assert len(set(smear.labels)) == 11
    assert None not in smear.labels
