"""From smears on disk to their differentials in one call, on the shipped encoder."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from napari_caltomorph.differential import CellLabels, Probe
from napari_caltomorph.differential.run import count_smears
from napari_caltomorph.encoding import EncodeOptions
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.smear import Smear, check_smear, read_smear
from napari_caltomorph.synthetic import synthesize_patient, write_smear

COMPUTE = EncodeOptions(encoder="demo-vit", device="cpu")


@pytest.fixture(scope="module")
def smears(tmp_path_factory) -> list[Smear]:
    """Three synthetic patients of 40 cells each."""
    folder = tmp_path_factory.mktemp("smears")
    for number in range(3):
        patient = synthesize_patient("aml", cells=40, seed=number, patient_id=f"p{number}")
        write_smear(patient, folder / patient.patient_id)
    return [check_smear(read_smear(folder / f"p{number}")) for number in range(3)]


def truth_of(smear: Smear) -> dict[str, str]:
    assert isinstance(smear.path, Path)
    with (smear.path / "truth.csv").open() as file:
        return {row["cell"]: row["type"] for row in csv.DictReader(file)}


def test_a_probe_is_trained_on_some_smears_and_counts_all(smears):
    labels = CellLabels()
    for smear in smears[:2]:
        labels = labels.labelled(smear, truth_of(smear))
    counted = count_smears(smears, labels, None, COMPUTE)
    assert [one.patient_id for one in counted.differentials] == ["p0", "p1", "p2"]
    assert [len(one.by_hand) for one in counted.differentials] == [40, 40, 0]
    assert counted.probe.description.encoder == "demo-vit"
    assert counted.failed == {}
    again = count_smears(smears[2:], CellLabels(), counted.probe, EncodeOptions(encoder="dinobloom-b", device="cpu"))
    assert again.differentials[0].called == counted.differentials[2].called
    assert isinstance(again.probe, Probe)


def test_a_smear_that_cannot_be_read_does_not_stop_the_others(smears, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "cell.tif").write_bytes(b"no image")
    labels = CellLabels().labelled(smears[0], truth_of(smears[0]))
    counted = count_smears([read_smear(tmp_path / "bad"), smears[0]], labels, None, COMPUTE)
    assert list(counted.failed) == ["bad"]
    assert len(counted.differentials) == 1


def test_without_labels_nothing_is_trained(smears):
    with pytest.raises(TrainingRefused, match="label some cells"):
        count_smears(smears, CellLabels(), None, COMPUTE)


def test_mixed_sizes_and_a_width_that_contradicts_a_known_export_are_said(smears, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number in range(6):
        cell = Image.fromarray(smears[0].image(number)).resize((360, 363) if number else (200, 200))
        cell.save(folder / f"{number}.jpg", quality=95)
    labels = CellLabels().labelled(smears[0], truth_of(smears[0]))
    compute = COMPUTE.model_copy(update={"field_of_view": 25})
    notes = count_smears([smears[0], read_smear(folder)], labels, None, compute).notes
    assert [note for note in notes if note.startswith("mixed: ") and "200 to 363 pixels" in note]
    assert [note for note in notes if note.startswith("mixed: CellaVision") and "45 micro" in note and "25 is" in note]
    assert not [note for note in notes if note.startswith("p0")]
