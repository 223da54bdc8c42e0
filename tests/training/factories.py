"""What the tests of training share: small cohorts as feature folders with a table, and how they are trained."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_caltomorph.cohort import Cohort, CohortOptions, read_cohort
from napari_caltomorph.diagnosis import Ensemble, find_model, read_description
from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.synthetic import synthesize_patient, synthetic_features
from napari_caltomorph.training import TrainOptions
from napari_caltomorph.training.bags import LabelledBags, load_bags

WIDTH, FOLDS = 8, 3
ORIGIN = FeatureOrigin(encoder="dinobloom-b", weights_sha256="ab" * 32, preprocessing="224 px", field_of_view_um=25.0)

# A process that is forked from a server with torch loaded starts fast; so one test can kill many.
PROCESSES = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
if os.name == "posix":
    PROCESSES.set_forkserver_preload(["napari_caltomorph.training.run", "napari_caltomorph.cohort.read"])


def tiny(**changes: object) -> TrainOptions:
    """Options of a network that trains in a blink; as float32 on the CPU every machine computes the same."""
    values: dict[str, object] = {
        "depth": 1,
        "width": 16,
        "heads": 2,
        "mlp_width": 16,
        "classifier_width": 8,
        "epochs": 3,
        "warmup_epochs": 1,
        "learning_rate": 3e-3,
        "device": "cpu",
        "precision": "float32",
    }
    return TrainOptions(**(values | changes))


def write_cohort(
    folder: Path,
    classes: dict[str, int],
    *,
    cells: tuple[int, int] = (3, 9),
    origin: FeatureOrigin = ORIGIN,
    with_hemoglobin: bool = True,
) -> Path:
    """Write ``features/<patient>.h5`` and ``patients.csv`` of so many patients of each detailed class."""
    (folder / "features").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for detailed, count in classes.items():
        for number in range(count):
            patient = synthesize_patient(
                detailed, cells=int(rng.integers(*cells)), seed=len(rows), patient_id=f"{detailed}-{number:03d}"
            )
            save_features(folder, patient.patient_id, synthetic_features(patient, WIDTH), origin)
            rows.append((patient.patient_id, detailed, patient.hemoglobin_g_dl))
    table = pd.DataFrame(rows, columns=["patient_id", "diagnosis", "hemoglobin_g_dl"])
    table[table.columns if with_hemoglobin else table.columns[:2]].to_csv(folder / "patients.csv", index=False)
    return folder


def write_demo_cohort(folder: Path) -> Path:
    """Write what `write_cohort` writes, of patients that the demo model can predict."""
    need = read_description(find_model("demo")).encoder
    origin = replace(ORIGIN, encoder=need.name, weights_sha256=need.weights_sha256, preprocessing=need.preprocessing)
    write_cohort(folder, {"aml": 8, "cll": 8, "stem_cell_donor": 8}, with_hemoglobin=False)
    for path in (folder / "features").glob("*.h5"):
        detailed, _, number = path.stem.partition("-")
        patient = synthesize_patient(detailed, cells=8, seed=int(number), patient_id=path.stem)
        save_features(folder, path.stem, synthetic_features(patient, need.width), origin)
    return folder


def save_features(folder: Path, patient: str, values: NDArray[np.floating], origin: FeatureOrigin = ORIGIN) -> None:
    """Write or replace the features of one patient."""
    names = tuple(f"cell_{i}" for i in range(len(values)))
    Features(patient, values.astype(np.float32), names, origin).save(folder / "features" / f"{patient}.h5")


def read(folder: Path, folds: int = FOLDS, **options: object) -> Cohort:
    """Read what `write_cohort` wrote; no patient is held out."""
    chosen = {"table": str(folder / "patients.csv"), "min_cells": 1, "test_fraction": 0, "folds": folds}
    return read_cohort(folder / "features", CohortOptions(**(chosen | options)))


def with_column(cohort: Cohort, column: str, values: dict[str, object]) -> Cohort:
    """Return the cohort with other values for some patients; the folds stay as they are."""
    table = cohort.table.copy()
    for patient, value in values.items():
        table.loc[table["patient_id"] == patient, column] = value
    return replace(cohort, table=table)


def patients_of_fold(cohort: Cohort, fold: int) -> list[str]:
    return list(cohort.table.loc[cohort.table["fold"] == fold, "patient_id"])


def bags_of(folder: Path, options: TrainOptions | None = None, **read_options: object) -> LabelledBags:
    return load_bags(read(folder, **read_options), folder / "features", options or tiny())


def weights_of(ensemble: Ensemble, member: int) -> dict[str, Tensor]:
    """What was trained: without the recalibration, which is fitted on predictions of the other members."""
    weights = ensemble.members[member].state_dict()
    return {name: value for name, value in weights.items() if not name.startswith("recalibration.")}


def are_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether weights are the same to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def are_same_members(one: Ensemble, other: Ensemble) -> bool:
    return len(one.members) == len(other.members) and all(
        are_same(weights_of(one, i), weights_of(other, i)) for i in range(len(one.members))
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
