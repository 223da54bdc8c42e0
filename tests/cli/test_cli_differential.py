"""`caltomorph differential`: label tables in, differentials out."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from napari_caltomorph.differential import Probe, cell_type, read_labels
from napari_caltomorph.synthetic import synthesize_patient, write_smear

COMPUTE = ("--encoder", "demo-vit", "--device", "cpu")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Three patients of 30 cells, and labels.csv with the truth of the first two."""
    folder = tmp_path_factory.mktemp("drawn")
    lines = ["patient_id,cell,label"]
    for number in range(3):
        patient = synthesize_patient("aml", cells=30, seed=number, patient_id=f"p{number}")
        write_smear(patient, folder / "smears" / patient.patient_id)
        if number < 2:
            with (folder / "smears" / patient.patient_id / "truth.csv").open() as file:
                lines += [f"p{number},{row['cell']},{row['type']}" for row in csv.DictReader(file)]
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def smears(drawn) -> list[Path]:
    return sorted((drawn / "smears").iterdir())


def test_labels_make_a_probe_that_counts_other_smears(run, drawn, smears, tmp_path):
    code, out, err = run("differential", *smears, "--labels", drawn / "labels.csv", "--out", tmp_path / "a", *COMPUTE)
    assert (code, err) == (0, "")
    assert "p2: " in out
    assert "Blasts: " in out
    assert "Research use only" in out
    types = pd.read_csv(tmp_path / "a" / "differential.csv")
    assert set(types["patient_id"]) == {"p0", "p1", "p2"}
    cells = pd.read_csv(tmp_path / "a" / "cell_types.csv")
    assert cells.groupby("patient_id")["by_hand"].sum().to_dict() == {"p0": 30, "p1": 30, "p2": 0}
    assert len(read_labels(tmp_path / "a" / "labels.csv")) == 60
    probe = Probe.load(tmp_path / "a" / "probe.safetensors")

    code, out, err = run(
        "differential", smears[2], "--probe", tmp_path / "a" / "probe.safetensors", "--out", tmp_path / "b"
    )
    assert (code, err) == (0, "")
    again = pd.read_csv(tmp_path / "b" / "differential.csv")
    assert again["cells"].tolist() == types.loc[types["patient_id"] == "p2", "cells"].tolist()
    assert not (tmp_path / "b" / "probe.safetensors").exists()
    assert probe.description.patients == 2

    # `train` makes the same probe, and nothing else.
    saved = tmp_path / "train" / "probe.safetensors"
    code, out, err = run("differential", "train", *smears, "--labels", drawn / "labels.csv", "--out", saved, *COMPUTE)
    assert (code, err) == (0, "")
    assert (Probe.load(saved).weights == probe.weights).all()
    assert list(saved.parent.iterdir()) == [saved]
    assert re.search(r"segmented neutrophil +\d+ +\d+", out)

    # The probe on a fine-tuned encoder needs the weights that were written with it.
    tuned = ("--fine-tune-encoder", "--minutes", "0.001", "--min-cells-per-type", "2", "--overwrite")
    code, out, err = run(
        "differential", "train", *smears, "--labels", drawn / "labels.csv", "--out", saved, *COMPUTE, *tuned
    )
    assert (code, err) == (0, "")
    assert "were called as labelled before" in " ".join(out.split())
    weights = saved.with_name("probe_encoder.safetensors")
    count = ("differential", smears[2], "--probe", saved, "--out", tmp_path / "tuned")
    assert "--weights" in run(*count).err
    assert run(*count, "--weights", weights).code == 0

    # The same probe fills the report of a prediction on the same encoder.
    saved = tmp_path / "a" / "probe.safetensors"
    requested = ("predict", smears[2], "--model", "demo", "--device", "cpu", "--probe", saved, "--out", tmp_path / "c")
    assert "add --report" in run(*requested).err
    assert run(*requested, "--report").code == 0
    leukocytes = f"{cells[cells['patient_id'] == 'p2']['type'].map(lambda name: cell_type(name).is_counted).sum()}"
    assert re.search(
        rf"\b{leukocytes} leukocytes, 0 cells \w+ by a person", (tmp_path / "c" / "report.html").read_text()
    )


def test_without_labels_the_shipped_probe_counts(run, smears, tmp_path):
    code, out, err = run("differential", smears[0], "--device", "cpu", "--open", "--out", tmp_path)
    assert (code, "display" in err) == (1, True)  # the count is shown and written where no window can be
    assert "blood-lite" in out
    assert "Blasts: not counted" in out
    assert len(pd.read_csv(tmp_path / "cell_types.csv")) == 30
    with Image.open(tmp_path / "cells_p0.png") as sheet:
        assert sheet.height > 84
    assert not (tmp_path / "probe.safetensors").exists()
    assert "name one" in run("differential", *smears, "--open").err

    # Its encoder is not the model's: the cells are encoded for it, and only where it was asked for.
    requested = ("predict", smears[0], "--model", "demo", "--device", "cpu", "--report", "--out", tmp_path / "r")
    assert run(*requested, "--probe", "blood-cells").code == 0
    assert "Blasts: not counted" in (tmp_path / "r" / "report.html").read_text()


def test_nothing_labelled_is_one_line(run, smears, tmp_path):
    code, _, err = run("differential", smears[0], "--out", tmp_path / "a", *COMPUTE)
    assert code == 2
    assert "No cell of these smears is labelled" in err
    assert not (tmp_path / "a").exists()


def test_an_encoder_that_is_not_the_probes_is_refused(run, smears):
    code, _, err = run("differential", smears[0], "--probe", "blood-cells", *COMPUTE)
    assert code == 2
    assert "blood-cells takes the features of blood-lite, and not of demo-vit" in " ".join(err.split())


def test_a_bad_table_is_named_before_anything_is_read(run, tmp_path):
    (tmp_path / "bad.csv").write_text("cell\nc1\n")
    code, _, err = run("differential", tmp_path / "none", "--labels", tmp_path / "bad.csv", "--out", tmp_path / "a")
    assert code == 2
    assert "no column 'patient_id' nor 'label'" in " ".join(err.split())
