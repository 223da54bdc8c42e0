"""The algorithmic unit tests for multiple-instance learning of Raff and Holt (NeurIPS 2023), for every aggregator.

Each is a cohort of feature files that `train` makes an ensemble of. Who passes what is a table.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks.mil_unit_tests import unit_test_bags
from sklearn.metrics import roc_auc_score
from tests.training.factories import read, save_features

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.diagnosis.inference import run_bags, softmax
from napari_caltomorph.training import TrainOptions, train

# Test -> AUROC of the ensemble on the test patients that passes.
LIMITS = {"false_frequency": 0.99, "multi_concept": 0.95, "single_concept": 0.9, "unpoisoned_multi_concept": 0.94}
# Small networks, with a rate for them; all else is the default.
SMALL: dict[str, Any] = {
    "width": 32,
    "heads": 4,
    "mlp_width": 64,
    "classifier_width": 32,
    "learning_rate": 3e-3,
    "batch_size": 32,
    "epochs": 40,
    "device": "cpu",
    "precision": "float32",
}
# Name -> what differs from these, and whether it passes tests: here those in which aggregators differ, docs/method.md
# has all.
AGGREGATORS: dict[str, tuple[dict[str, Any], dict[str, bool]]] = {
    # It may learn that a bag is negative because of a cell, so it learns the poison.
    "cls": ({"epochs": 14}, {"unpoisoned_multi_concept": True, "single_concept": False}),
    "mean of tokens": ({"pooling": "mean", "epochs": 25}, {"unpoisoned_multi_concept": True}),
    "abmil": (
        {"aggregator": "abmil", "learning_rate": 1e-2, "epochs": 40, "dropout": 0, "batch_size": 16},
        {"unpoisoned_multi_concept": True},
    ),
    "wbcmil": ({"aggregator": "wbcmil"}, {"false_frequency": True, "unpoisoned_multi_concept": True}),
    # The negative class has no evidence, and no cell is ever counted against the other.
    "concepts": ({"aggregator": "concepts"}, {"unpoisoned_multi_concept": True, "multi_concept": True}),
    # No negative training bag is without poison, so its absence is learned as a sign of a positive, and outweighs the
    # concepts on the test bags, which show it the other way round.
    "mean": ({"aggregator": "mean", "epochs": 25}, {"unpoisoned_multi_concept": True, "multi_concept": False}),
    # Sees the largest values only, and one concept is below the background.
    "max": ({"aggregator": "max"}, {"single_concept": True, "false_frequency": False}),
}
CASES = [(name, test) for name, (_, tests) in AGGREGATORS.items() for test in tests]


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def of(test: str) -> Cohort:
        folder = tmp_path_factory.mktemp(test)
        bags, labels = unit_test_bags(test, 300, is_training=True, seed=0)
        return write(folder, bags, ["aml" if label else "stem_cell_donor" for label in labels])

    return of


def write(folder: Path, bags: list[Any], diagnoses: list[str]) -> Cohort:
    (folder / "features").mkdir()
    ids = [f"p{number:03d}" for number in range(len(bags))]
    for patient, bag in zip(ids, bags, strict=True):
        save_features(folder, patient, bag)
    pd.DataFrame({"patient_id": ids, "diagnosis": diagnoses}).to_csv(folder / "patients.csv", index=False)
    return read(folder, folds=2)


@pytest.mark.parametrize(("name", "test"), CASES)
def test_unit_test_of_raff_and_holt(cohorts: Any, name: str, test: str) -> None:
    differing, passes = AGGREGATORS[name]
    ensemble = train(cohorts(test), None, TrainOptions(**SMALL | differing))
    auroc = auroc_on_test_patients(ensemble, test)
    assert (auroc >= LIMITS[test]) == passes[test], f"AUROC {auroc:.3f}, passed from {LIMITS[test]}"


def auroc_on_test_patients(ensemble: Ensemble, test: str) -> float:
    bags, labels = unit_test_bags(test, 300, is_training=False, seed=1000)
    outputs = [softmax(run_bags(member, bags, 50, torch.device("cpu")).logits) for member in ensemble.members]
    malignant = ensemble.description.taxonomy.is_malignant
    return float(roc_auc_score(labels, np.mean(outputs, axis=0)[:, malignant].sum(axis=1)))
