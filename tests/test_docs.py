"""Every ``python`` block of README.md and docs/ runs as a reader would run it.

The blocks of a page run one after the other, in a folder with the files that the pages name.
"""

from __future__ import annotations

import ast
import importlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from tests.training.factories import tiny

from napari_caltomorph import Ensemble, PredictOptions, Predictor, read_cohort, read_smear, save_predictions, train
from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.synthetic import synthesize_patient, synthetic_features, write_smear

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python *(?P<mark>[^\n]*)\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)
TEXTS = {page.name: page.read_text("utf-8") for page in (ROOT / "README.md", *ROOT.glob("docs/*.md"))}
BLOCKS = {page: [*BLOCK.finditer(text)] for page, text in TEXTS.items()}
MARKED = {("cluster.md", "needs=cluster")}
"""Blocks that cannot run here; of these, only the names that they import are tested."""

QUICK = {
    "TrainOptions(hemoglobin=True)": "TrainOptions(hemoglobin=True, **tiny)",
    'CompareOptions(what=("aggregators",))': 'CompareOptions(what=("aggregators",)), TrainOptions(**tiny)',
    "SynthOptions(patients=100, cells=500)": "SynthOptions(patients=10, cells=2)",
    'EvaluateOptions(lab="same")': 'EvaluateOptions(lab="same", resamples=5)',
}
"""Part of a block -> what takes less time, and changes nothing else."""

CELLS = 60


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


def test_no_block_is_left_out_but_those_that_are_marked():
    assert {(page, block["mark"]) for page, blocks in BLOCKS.items() for block in blocks if block["mark"]} == MARKED
    assert sum(map(len, BLOCKS.values())) > 10
    assert {page: len(BLOCKS[page]) for page in TEXTS} == {page: text.count("```py") for page, text in TEXTS.items()}


def test_what_takes_long_is_in_the_pages():
    text = "".join(block["code"] for blocks in BLOCKS.values() for block in blocks)
    assert [part for part in QUICK if part not in text] == []


@pytest.mark.parametrize("page", [page for page, blocks in BLOCKS.items() if any(not b["mark"] for b in blocks)])
def test_the_blocks_of_a_page_run(files, tmp_path, monkeypatch, page):
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    if page == "training.md":
        shutil.rmtree(tmp_path / "my_model")  # it is made there
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"tiny": tiny().given}
    for block in BLOCKS[page]:
        code = block["code"]
        for part, quick in QUICK.items():
            code = code.replace(part, quick)
        if not block["mark"]:
            exec(compile(code, page, "exec"), names)


@pytest.mark.parametrize("page", {page for page, _ in MARKED})
def test_a_marked_block_imports_what_there_is(page):
    for block in BLOCKS[page]:
        for statement in ast.walk(ast.parse(block["code"])):
            if isinstance(statement, ast.ImportFrom) and statement.module.startswith("napari_caltomorph"):
                module = importlib.import_module(statement.module)
                assert all(hasattr(module, alias.name) for alias in statement.names)
