"""A small synthetic cohort on disk, in the layouts that labs and publications use."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_caltomorph.encode import FeatureOrigin, Features
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort

PATIENTS, CELLS = 24, 6


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
    """``make_bags(folder, {"p1": 60}, width=8)``: feature files of so many cells."""

    def make(folder: Path, cells: dict[str, int], width: int = 8, encoder: str = "dinobloom-b") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        for patient, count in cells.items():
            values = rng.normal(size=(count, width)).astype(np.float32)
            names = tuple(f"cell_{i}" for i in range(count))
            Features(patient, values, names, FeatureOrigin(encoder=encoder)).save(folder / f"{patient}.h5")
        return folder

    return make
