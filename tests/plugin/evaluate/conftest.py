"""One small model and its evaluation, made once for all tests of *Evaluate ensemble*."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from tests.training.factories import tiny, write_cohort

from napari_caltomorph.cohort import Cohort, CohortOptions, read_cohort
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.evaluation import EvaluateOptions, Evaluation, evaluate
from napari_caltomorph.jobs import EvaluateModelOptions, EvaluateRequest, ModelEvaluation
from napari_caltomorph.report.patient_map import patient_map

FOLDS, RESAMPLES = 2, 10


class Trained(NamedTuple):
    """A model folder, the features that it was trained on and others, and how the cohort was read."""

    model: Path
    features: Path
    patients: CohortOptions

    def cohort(self) -> Cohort:
        return read_cohort(self.features, self.patients)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two members, trained on half of 40 patients of three classes."""
    from napari_caltomorph.training import train

    folder = tmp_path_factory.mktemp("evaluate")
    data = write_cohort(folder / "cohort", {"aml": 14, "cll": 12, "stem_cell_donor": 14})
    table = str(data / "patients.csv")
    patients = CohortOptions(table=table, min_cells=1, test_fraction=0.5, folds=FOLDS, names_only=True)
    created = Trained(folder / "model", data / "features", patients)
    train(created.cohort(), created.features, tiny(hemoglobin=True), out=created.model)
    return created


@pytest.fixture(scope="session")
def evaluated(trained: Trained) -> ModelEvaluation:
    """What the panel must show of the test split."""
    cohort, ensemble = trained.cohort(), Ensemble.load(trained.model)
    evaluation = evaluate(ensemble, cohort, trained.features, EvaluateOptions(resamples=RESAMPLES))
    patient_map(evaluation)
    options = EvaluateModelOptions(resamples=RESAMPLES)
    request = EvaluateRequest(str(trained.model), trained.features, trained.patients, trained.features, options)
    return ModelEvaluation(request, evaluation, cohort, ensemble)


@pytest.fixture(scope="session")
def evaluation(evaluated: ModelEvaluation) -> Evaluation:
    return evaluated.evaluation
