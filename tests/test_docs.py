"""Every block of README.md and docs/ runs as a reader would run it: Python, and the commands of `caltomorph`.

The blocks of a page run one after the other, in a folder with the files that the pages name. `doc_blocks` says how a
block is left out.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import re
import shlex
import shutil
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from PIL import Image
from tests.doc_blocks import FILES, PAGES, ROOT
from tests.fields.drawn import draw_field
from tests.training.factories import tiny

from napari_caltomorph import Ensemble, PredictOptions, Predictor, read_cohort, read_smear, save_predictions, train
from napari_caltomorph.cli import main
from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.synthetic import (
    SynthOptions,
    synthesize_cohort,
    synthesize_patient,
    synthetic_features,
    write_smear,
)

RUN_ELSEWHERE = {
    "audit.md": "cli/test_cli_evaluate.py",
    "evaluation.md": "cli/test_cli_evaluate.py",
    "first-real-model.md": "test_first_real_model.py",
}
"""Page -> the tests that run its commands; here they would take long."""

MADE = {
    "README.md": ["my_model", "smear_b"],
    "fields.md": ["smear_b"],
    "training.md": ["my_model"],
    "tutorial-cohort.md": ["cohort", "features", "my_model"],
    "tutorial-fields.md": ["smear_b"],
}
"""Page -> what it makes itself; for the others it is there."""

QUICK = {
    "TrainOptions(hemoglobin=True)": "TrainOptions(hemoglobin=True, **tiny)",
    'CompareOptions(what=("aggregators",))': 'CompareOptions(what=("aggregators",)), TrainOptions(**tiny)',
    "SynthOptions(patients=48, cells=12, seed=1)": "SynthOptions(patients=24, cells=12, seed=1)",
    'aggregator="mean", epochs=80': 'aggregator="mean", epochs=4',
    "resamples=200": "resamples=5",
    "SynthOptions(patients=100, cells=500)": "SynthOptions(patients=10, cells=2)",
    'EvaluateOptions(lab="same")': 'EvaluateOptions(lab="same", resamples=5)',
    "smear_b --labels": "smear_b --encoder blood-lite --field-of-view 45 --labels",
    "--pixel-size 0.1": "--pixel-size 0.25",
    "--patients 80 --cells 200": "--patients 24 --cells 4",
    "--patients 8 --cells 60": "--patients 2 --cells 20",
    "--views 4": "--views 1",
    "P17 --agree": "P17 --cannot-tell",  # a model that is trained so quickly shows no class to agree with
    " --open": "",
    "COHORT": "cohort",
    "/mnt/scanner": "ward",
    "/data/": "",
}
"""Part of a block -> what takes less time, and changes nothing else."""

ADDED = {
    "encode": "--encoder demo-vit --min-cells 2",
    "cohort show": "--min-cells 2 --folds 2 --overwrite",
    "train": "--config tiny.json --min-cells 2 --folds 2",
    "compare": "--config tiny.json --what depths --depths 1 --depths 2 --min-cells 2 --folds 2",
    "evaluate": "--resamples 5 --min-cells 2 --numbers-only",
    "validate our_cases": "--min-cells 2",
    "watch": "--once --settle 0 --every 0.1",
    "synth": "--patients 8 --cells 2",
}
"""Command -> what a test adds to it, unless it is there: small cohorts have few cells, and take less time."""

CELLS = 60

NOTEBOOKS = {
    path: [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    for path in sorted(ROOT.glob("docs/notebooks/*.ipynb"))
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cohort, its features, a model, smears, labels and a prediction, under the names of the pages."""
    folder = tmp_path_factory.mktemp("docs")
    write_smear(synthesize_patient("pml_rara", cells=24, seed=1), folder / "smear_a")
    shutil.copytree(folder / "smear_a", folder / "smears" / "P017")
    predictor = Predictor(PredictOptions(model="demo", device="cpu"))
    _, prediction = predictor.predict(read_smear(folder / "smear_a"))
    save_predictions([prediction], folder / "results")
    types = ["blast", "promyelocyte", "segmented neutrophil"] * 8
    labels = pd.DataFrame({"patient_id": "smear_a", "cell": sorted(prediction.cells), "label": types})
    labels.to_csv(folder / "labels.csv", index=False)
    origin = predictor.features_of(prediction).origin
    rows = []
    for number, detailed in enumerate(["aml", "mds", "stem_cell_donor"] * 10):
        patient = synthesize_patient(detailed, cells=CELLS, seed=number, patient_id=f"P{number:03d}")
        own = replace(origin, smear_fingerprint=f"{number:064x}")
        _write_features(folder / "features", patient.patient_id, synthetic_features(patient, 128), own)
        rows.append((patient.patient_id, detailed, patient.hemoglobin_g_dl))
    table = pd.DataFrame(rows, columns=["patient_id", "diagnosis", "hemoglobin_g_dl"])
    table.to_csv(folder / "features" / "patients.csv", index=False)
    shutil.copytree(folder / "features", folder / "cohort")
    shutil.copyfile(folder / "features" / "P002.h5", folder / "features" / "D003.h5")
    cohort = read_cohort(folder / "cohort", CohortOptions(folds=2))
    cohort.save(folder / "cohort.json")
    train(cohort, folder / "features", tiny(hemoglobin=True), out=folder / "my_model")
    assert Ensemble.load(folder / "my_model").domain is not None
    return folder


def _write_features(folder: Path, patient: str, values: object, origin: FeatureOrigin) -> None:
    names = tuple(f"Gal-{cell:06d}.RGB.TIF" for cell in range(CELLS))
    Features(patient, values, names, origin).save(folder / f"{patient}.h5")


@pytest.fixture(scope="module")
def laboratory(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands of the pages name: images of patients and fields, and a model of them."""
    folder = tmp_path_factory.mktemp("laboratory")
    for number in (17, 18, 19):
        write_smear(synthesize_patient("aml", cells=8, seed=number), folder / "ward" / f"P{number}")
    shutil.copytree(folder / "ward", folder / "patients")
    for name in ("smear_a", "smear_b", "smear_c"):
        shutil.copytree(files / "smear_a", folder / name)
    for name, seed in (("cohort", 0), ("clinic_b", 1)):
        synthesize_cohort(folder / name, SynthOptions(patients=24, cells=4, seed=seed))
    _rename_patients(folder / "clinic_b", "synthetic", "clinic_b")
    shutil.copytree(folder / "clinic_b", folder / "our_cases")
    (folder / "fields").mkdir()
    Image.fromarray(draw_field([(30, 30), (60, 70)])).save(folder / "fields" / "field_1.png")
    shutil.copytree(folder / "fields", folder / "patients_fields" / "P20")
    (folder / "labels.csv").write_bytes((files / "labels.csv").read_bytes())
    (folder / "tiny.json").write_text(json.dumps(tiny(epochs=2).given))
    (folder / "key.txt").write_text("0123456789abcdef" * 4)
    (folder / "criteria.toml").write_text(
        next(b.code for b in PAGES["laboratory.md"] if "judged_by" in b.code), "utf-8"
    )
    (folder / "policy.toml").write_text(next(b.code for b in PAGES["trust.md"] if b.language == "toml"), "utf-8")
    with contextlib.chdir(folder):
        _run("caltomorph encode cohort --features features")
        _run("caltomorph encode clinic_b --features features_b")
        _run("caltomorph cohort show cohort --save cohort.json")
        _run("caltomorph train cohort.json --features features --out my_model")
    shutil.copytree(folder / "features_b", folder / "features", dirs_exist_ok=True)
    return folder


def _rename_patients(cohort: Path, old: str, new: str) -> None:
    for patient in [*cohort.glob("*/*/")]:
        patient.rename(patient.with_name(patient.name.replace(old, new)))
    table = cohort / "patients.csv"
    table.write_text(table.read_text("utf-8").replace(old, new), "utf-8")


def _run(command: str) -> int:
    words = shlex.split(_quick(command), comments=True)[1:]
    return main([*words, *_added(words)])


def test_what_takes_long_is_in_the_pages():
    text = "".join(block.code for blocks in PAGES.values() for block in blocks)
    text += "".join("".join(cell["source"]) for cells in NOTEBOOKS.values() for cell in cells)
    assert [part for part in QUICK if part not in text] == []


PYTHON = [page for page, blocks in PAGES.items() if any(b.language == "python" and not b.not_run for b in blocks)]
COMMANDS = [page for page, blocks in PAGES.items() if any(b.commands and not b.not_run for b in blocks)]


@pytest.mark.parametrize("page", PYTHON)
def test_the_python_blocks_of_a_page_run(files, tmp_path, monkeypatch, page):
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    for name in MADE.get(page, []):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"tiny": tiny().given}
    for block in PAGES[page]:
        if block.language == "python" and not block.not_run:
            exec(compile(_quick(block.code), page, "exec"), names)


@pytest.mark.parametrize("page", [page for page in COMMANDS if page not in RUN_ELSEWHERE])
def test_the_commands_of_a_page_run(laboratory, tmp_path, monkeypatch, capsys, page):
    shutil.copytree(laboratory, tmp_path, dirs_exist_ok=True)
    for name in MADE.get(page, []):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    monkeypatch.chdir(tmp_path)
    for command in dict.fromkeys(one for block in PAGES[page] if not block.not_run for one in block.commands):
        code, (out, err) = _run(command), capsys.readouterr()
        assert code == 0, f"{command}: {out}{err}"


def _quick(code: str) -> str:
    for part, quick in QUICK.items():
        code = code.replace(part, quick)
    return code


def _added(words: list[str]) -> list[str]:
    for command, more in ADDED.items():
        if words[: len(command.split())] == command.split():
            pairs = re.findall(r"(--\S+)(?: ([^-]\S*))?", more)
            return [word for pair in pairs if pair[0] not in words for word in pair if word]
    return []


def test_a_block_that_is_not_run_imports_what_there_is():
    for block in (block for blocks in PAGES.values() for block in blocks if block.language == "python"):
        for statement in ast.walk(ast.parse(block.code)):
            if isinstance(statement, ast.ImportFrom) and statement.module.startswith("napari_caltomorph"):
                module = importlib.import_module(statement.module)
                assert all(hasattr(module, alias.name) for alias in statement.names)


def test_every_extra_that_is_shown_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    shown = {extra for path in FILES for extra in re.findall(r"napari-caltomorph\[([\w,]+)\]", path.read_text("utf-8"))}
    assert {one for several in shown for one in several.split(",")} <= extras.keys()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_has_the_outputs_of_a_run(tmp_path, monkeypatch, path):
    cells = NOTEBOOKS[path]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    assert outputs
    assert all(output["output_type"] != "error" and output.get("name") != "stderr" for output in outputs)
    assert path.stat().st_size < 300_000
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    plt.switch_backend("agg")
    names: dict[str, object] = {}
    for cell in cells:
        exec(compile(_quick("".join(cell["source"])), path.name, "exec"), names)
    plt.close("all")
