"""Every command of docs/first-real-model.md runs, one after the other, against a local server of the Hub's protocol."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tests.hub_server import EMBEDDINGS, Hub, embeddings
from tests.training.factories import tiny

from napari_caltomorph.cli import main
from napari_caltomorph.cohort import Cohort
from napari_caltomorph.diagnosis import read_description
from napari_caltomorph.synthetic import synthesize_patient, write_smear

PAGE = Path(__file__).parents[1] / "docs" / "first-real-model.md"
COMMANDS = [line.strip() for line in PAGE.read_text("utf-8").splitlines() if line.startswith("    caltomorph ")]

# The command of the page -> what is added, so that it takes less time.
QUICK = {"train": ["--config", "tiny.json"], "evaluate": ["--resamples", "5"]}
NEEDS_WEIGHTS = "caltomorph predict smear_a --model my_model --out results"
NOT_RUN = "caltomorph weights download dinobloom-b"
PATIENTS = [f"{name}{label}" for label in range(5) for name in ("AQ", "BH", "CI", "DH", "EC", "FK")]


@pytest.fixture
def folder(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a smear, and a server with patients; nobody has them yet."""
    names = ["AQK" if name == "AQ0" else name for name in PATIENTS]
    hub.repositories[EMBEDDINGS] = {
        f"patient_embeddings/aml_hehr/{name}.h5": embeddings(number // 6, cells=50, seed=number)
        for number, name in enumerate(names)
    }
    write_smear(synthesize_patient("aml", cells=6, seed=1), tmp_path / "smear_a")
    (tmp_path / "tiny.json").write_text(json.dumps(tiny(epochs=2).given))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_of_the_page_runs(folder, hub, capsys):
    assert len(COMMANDS) == 12
    assert {NEEDS_WEIGHTS, NOT_RUN} <= {*COMMANDS}
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        if "OWNER/NAME" in command:
            given = folder / "aml-subtypes-for-the-hub"
            hub.repositories["OWNER/NAME"] = {path.name: path.read_bytes() for path in given.iterdir()}
        if words[:2] == ["cohort", "get"]:
            _get_in_processes(words, hub)
        elif command != NOT_RUN:
            code, (out, err) = main([*words, *QUICK.get(words[0], [])]), capsys.readouterr()
            expected = 2 if command == NEEDS_WEIGHTS else 0
            assert code == expected, f"{command}: {out}{err}"
            if command == NEEDS_WEIGHTS:
                assert NOT_RUN in err
    assert len(Cohort.load("aml-hehr-embeddings/cohort.json")) == 30
    model = read_description("my_model")
    assert (model.encoder.name, model.taxonomy.name, len(model.members)) == ("dinobloom-b", "aml-hehr", 5)
    predicted = pd.read_csv("one_patient/predictions.csv")["predicted_class"].tolist()
    assert predicted[0] in model.taxonomy.names
    assert Path("evaluation/report.html").is_file()
    head = Path("aml-subtypes-for-the-hub/README.md").read_text(encoding="utf-8").split("---")[1]
    assert "license: apache-2.0" in head
    assert not Path("aml-subtypes-for-the-hub/private").exists()


def _get_in_processes(words: list[str], hub: Hub) -> None:
    """Run the command as a person does: the connection breaks off, and the same command continues."""
    command = [sys.executable, "-m", "napari_caltomorph.cli", *words]
    hub.cut_after = [2**16] * 4 + [0] * 99
    broken = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (broken.returncode, broken.stderr.count("\n")) == (2, 1)
    assert "continues" in broken.stderr
    assert not Path(words[-1]).exists()
    hub.cut_after, hub.asked = [], []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"bytes={2**16}-" in hub.ranges()
    assert "caltomorph train" in done.stdout
