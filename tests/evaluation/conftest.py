"""A trained model and its cohort, small enough for every test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.evaluation.factories import FAST
from tests.training.factories import read, tiny, write_cohort

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.evaluation import Evaluation, evaluate

# Two of torch's threads on a machine that does other work as well wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


class Trained(NamedTuple):
    """A model folder, the cohort it was trained on (with a test split), and the features."""

    model: Path
    cohort: Cohort
    features: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Three members with hemoglobin, trained on three quarters of 48 patients of 3 classes."""
    from napari_caltomorph.training import train

    folder = tmp_path_factory.mktemp("evaluate")
    data = write_cohort(folder / "cohort", {"aml": 16, "cll": 16, "stem_cell_donor": 16})
    cohort = read(data, test_fraction=0.25)
    train(cohort, data / "features", tiny(hemoglobin=True), out=folder / "model")
    return Trained(folder / "model", cohort, data / "features")


@pytest.fixture(scope="session")
def ensemble(trained: Trained) -> Ensemble:
    """The trained model."""
    return Ensemble.load(trained.model)


@pytest.fixture(scope="session")
def evaluation(ensemble: Ensemble, trained: Trained) -> Evaluation:
    """The model evaluated on the test split."""
    return evaluate(ensemble, trained.cohort, trained.features, FAST)
