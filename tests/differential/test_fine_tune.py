"""Fine-tuning changes the last stage only, and the probe is judged on cells that it did not see."""

from __future__ import annotations

import csv

import pytest
from tests.stopping import Cancels

from napari_caltomorph.differential import CellLabels, ProbeOptions
from napari_caltomorph.differential.run import train_on_smears
from napari_caltomorph.encoding import ENCODERS, EncodeOptions, find_weights, verify_weights
from napari_caltomorph.encoding.checkpoints import read_checkpoint
from napari_caltomorph.encoding.fine_tuning import before_last_stage, save_weights
from napari_caltomorph.encoding.load import build_module
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.progress import Cancelled
from napari_caltomorph.smear import check_smear, read_smear
from napari_caltomorph.synthetic import synthesize_patient, write_smear

COMPUTE = EncodeOptions(encoder="demo-vit", device="cpu")
OPTIONS = ProbeOptions(min_cells=2)


@pytest.fixture(scope="module")
def smears(tmp_path_factory):
    """Five synthetic patients of 20 cells each, and the types of all of them."""
    folder, labels, found = tmp_path_factory.mktemp("smears"), CellLabels(), []
    for number in range(5):
        patient = synthesize_patient("aml", cells=20, seed=number, patient_id=f"p{number}")
        write_smear(patient, folder / patient.patient_id)
        found.append(check_smear(read_smear(folder / patient.patient_id)))
        with (folder / patient.patient_id / "truth.csv").open() as file:
            labels = labels.labelled(found[-1], {row["cell"]: row["type"] for row in csv.DictReader(file)})
    return found, labels


def test_the_probe_names_the_weights_and_knows_other_patients_only(smears, tmp_path):
    found, labels = smears
    stated = COMPUTE.model_copy(update={"field_of_view": 2 * found[0].field_of_view_um})
    trained = train_on_smears(found, labels, stated, OPTIONS, fine_tune_minutes=1e-3)
    assert [note[:2] for note in trained.imported.notes if "files say" in note] == ["p0", "p1", "p2", "p3", "p4"]
    assert trained.tuned is not None
    assert trained.tuned.by_patient
    assert {row.patient_id for row in trained.tuned.held_out.rows} == {"p0", "p1"}
    assert trained.probe.description.patients == 2
    assert trained.untuned.cells == trained.probe.description.cells

    save_weights(trained.tuned.weights, tmp_path / "weights.safetensors")
    report = verify_weights(ENCODERS["demo-vit"], tmp_path / "weights.safetensors")
    assert report.weights_sha256 == trained.probe.description.encoder_weights_sha256

    before = read_checkpoint(find_weights(ENCODERS["demo-vit"]))
    changed = {key for key, value in trained.tuned.weights.items() if (value != before[key].half()).any()}
    is_frozen = before_last_stage(build_module(ENCODERS["demo-vit"]))
    assert changed
    assert not any(map(is_frozen, changed))
    assert any(key.startswith("blocks.3.") for key in changed)


def test_a_fine_tuning_is_cancelled_in_any_stage(smears):
    found, labels = smears
    for stage in ("Reading cells", "Fine-tuning"):
        stop = Cancels(lambda now, stage=stage: now.stage == stage)
        with pytest.raises(Cancelled):
            train_on_smears(found, labels, COMPUTE, OPTIONS, fine_tune_minutes=1, progress=stop)


def test_one_type_is_refused(smears):
    found, labels = smears
    blasts = CellLabels(tuple(row for row in labels.rows if row.label == "blast"))
    with pytest.raises(TrainingRefused, match=r"two types.*blast"):
        train_on_smears(found, blasts, COMPUTE, OPTIONS, fine_tune_minutes=1)
