"""A small synthetic cohort on disk, in the layouts that labs and publications use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.cohort import factories

from napari_caltomorph.encoding import EncodeOptions, FeatureOrigin, Features, encode
from napari_caltomorph.smear import read_smear
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort

PATIENTS, CELLS = 24, 4

# Two of torch's threads on a machine that does other work as well wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``<coarse slug>/<patient>/cells`` and patients.csv, as `caltomorph synth` writes them."""
    folder = tmp_path_factory.mktemp("cohorts") / "drawn"
    synthesize_cohort(folder, SynthOptions(patients=PATIENTS, cells=CELLS, seed=3))
    return folder


@pytest.fixture
def flat(drawn: Path, tmp_path: Path) -> Path:
    """``<patient>/cells`` beside diagnoses.csv."""
    folder = tmp_path / "flat"
    for patient in sorted(drawn.glob("*/*")):
        if patient.is_dir():
            shutil.copytree(patient, folder / patient.name)
    table = pd.read_csv(drawn / "patients.csv")
    table[["patient_id", "diagnosis", "hemoglobin_g_dl", "age", "sex"]].to_csv(folder / "diagnoses.csv", index=False)
    return folder


@pytest.fixture
def make_bags() -> Callable[..., Path]:
    """``make_bags(folder, {"p1": 60}, width=8)``: feature files of so many cells, which differ between calls."""
    rng = np.random.default_rng(0)

    def make(folder: Path, cells: dict[str, int], width: int = 8, encoder: str = "dinobloom-b") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for patient, count in cells.items():
            values = rng.normal(size=(count, width)).astype(np.float32)
            names = tuple(f"cell_{i}" for i in range(count))
            Features(patient, values, names, FeatureOrigin(encoder=encoder)).save(folder / f"{patient}.h5")
        return folder

    return make


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort to encode: `factories.PATIENTS` of `factories.CELLS` cells."""
    folder = tmp_path_factory.mktemp("images") / "cohort"
    synthesize_cohort(folder, SynthOptions(patients=factories.PATIENTS, cells=factories.CELLS, seed=5))
    return folder


@pytest.fixture
def own_images(images: Path, tmp_path: Path) -> Path:
    """A copy of `images` that a test may spoil."""
    return shutil.copytree(images, tmp_path / "cohort")


@pytest.fixture(scope="session")
def reference(images: Path) -> dict[str, np.ndarray]:
    """Patient -> features of `images`, each encoded by itself."""
    options = EncodeOptions(**factories.OPTIONS.model_dump(include=set(EncodeOptions.model_fields)))
    return {p.name: encode(read_smear(p), options).values for p in factories.patient_folders(images)}
