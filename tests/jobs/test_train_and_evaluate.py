"""Jobs on a cohort of images: patients without features are encoded first, and every face may ask for that."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.training.factories import tiny

from napari_caltomorph.cli import main
from napari_caltomorph.cohort import CohortOptions, EncodeCohortOptions, encode_cohort
from napari_caltomorph.errors import EvaluationRefused, FeaturesMissing, OutputRefused, TrainingRefused
from napari_caltomorph.evaluation import EvaluateOptions
from napari_caltomorph.jobs import (
    EvaluateModelOptions,
    EvaluateRequest,
    TrainRequest,
    evaluate_model,
    examine,
    read_patients,
    save_evaluation,
    train_model,
)
from napari_caltomorph.smear.trees import folders_in
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort

PATIENTS = CohortOptions(min_cells=1, folds=2, test_fraction=0.4, min_patients=2)
DEMO_VIT = EncodeCohortOptions(encoder="demo-vit", device="cpu")


class Made(NamedTuple):
    """A cohort of images, its features, and a model that was trained on them."""

    images: Path
    features: Path
    model: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("jobs")
    outcome = Made(folder / "images", folder / "features", folder / "model")
    synthesize_cohort(outcome.images, SynthOptions(patients=24, cells=3, seed=2, layout="aml-hehr"))
    cohort = read_patients(outcome.images, PATIENTS.model_copy(update={"taxonomy": "aml-hehr"}))
    train_model(TrainRequest(cohort, outcome.features, outcome.model, tiny(), encoding=DEMO_VIT))
    return outcome


def request(trained: Made, features: Path | None = None, **options: object) -> EvaluateRequest:
    chosen = EvaluateModelOptions(**({"split": "all", "resamples": 0, "device": "cpu", "lab": "same"} | options))
    patients = PATIENTS.model_copy(update={"taxonomy": "aml-hehr"})
    return EvaluateRequest(str(trained.model), trained.images, patients, features or trained.features, chosen)


def test_training_encodes_its_patients_first_and_only_where_it_may(trained, tmp_path):
    assert (trained.model / "training_curves.png").is_file()
    assert not {trained.model, trained.features} & set(folders_in(trained.model.parent))  # no patients of a later run
    assert len(list(trained.features.glob("*.h5"))) == 24
    cohort = read_patients(trained.images, PATIENTS.model_copy(update={"taxonomy": "aml-hehr"}))
    with pytest.raises(TrainingRefused, match="no features"):
        train_model(TrainRequest(cohort, tmp_path / "none", tmp_path / "model", tiny()))
    with pytest.raises(OutputRefused, match="exists already"):
        train_model(TrainRequest(cohort, tmp_path / "none", trained.model, tiny(), encoding=DEMO_VIT))
    assert not (tmp_path / "none").exists()


def test_a_test_patient_that_cannot_be_encoded_does_not_stop_a_training(trained, tmp_path):
    images = shutil.copytree(trained.images, tmp_path / "images")
    cohort = read_patients(images, PATIENTS.model_copy(update={"taxonomy": "aml-hehr"}))
    broken = cohort.table.loc[cohort.table["split"] == "test"].iloc[0]
    for path in Path(broken["path"]).glob("*.tif*"):
        path.write_bytes(b"no image")
    train_model(TrainRequest(cohort, tmp_path / "features", tmp_path / "model", tiny(), encoding=DEMO_VIT))
    assert (tmp_path / "model" / "model.json").is_file()
    assert len(list((tmp_path / "features").glob("*.h5"))) == 23


def test_an_evaluation_encodes_only_the_patients_of_its_split(trained, tmp_path):
    with pytest.raises(FeaturesMissing):
        evaluate_model(request(trained, tmp_path / "features", split="test"))
    result = evaluate_model(request(trained, tmp_path / "features", split="test", encode_missing=True))
    assert len(list((tmp_path / "features").glob("*.h5"))) == len(result.evaluation.patients) < 24


def test_patients_that_are_left_out_are_encoded_for_the_extended_test_set_only_where_that_is_wanted(trained, tmp_path):
    fewer = PATIENTS.model_copy(update={"taxonomy": "aml-hehr", "min_patients": 5})
    cohort = read_patients(trained.images, fewer)
    assert cohort.left_out_counts() == {"other or rare diagnosis": 4}
    skipped = [
        encode_cohort(cohort, trained.features, DEMO_VIT.model_copy(update={"extended": extended})).skipped
        for extended in (False, True)
    ]
    assert skipped == [20, 24]
    options = {"split": "extended", "out_of_fold": True, "encode_missing": True, "audit": True}
    result = evaluate_model(replace(request(trained, tmp_path / "features", **options), patients=fewer))
    assert len(list((tmp_path / "features").glob("*.h5"))) == len(result.evaluation) == 4
    assert result.evaluation.patients["fold"].notna().any()  # the model was trained on some of them
    save_evaluation(examine(result), tmp_path / "out")
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_result_keeps_its_inputs_and_saves_every_requested_file(trained, tmp_path):
    result = examine(evaluate_model(request(trained, split="train", out_of_fold=True, faithfulness=True, audit=True)))
    assert type(result.evaluation.options) is EvaluateOptions
    moved = result.at(0.25)
    files = save_evaluation(moved, tmp_path / "out", numbers_only=True)
    assert {"evaluation.json", "audit.json", "faithfulness.json"} <= {path.name for path in files}
    assert moved.evaluation.provenance.threshold.value == moved.request.options.threshold == 0.25
    assert result.at(None) is result


def test_a_rule_chooses_the_threshold_for_every_face(trained):
    result = evaluate_model(request(trained, split="train", out_of_fold=True, choose_by="sensitivity=0.9"))
    assert result.decision is not None
    assert result.evaluation.provenance.threshold.value == result.decision.threshold
    with pytest.raises(EvaluationRefused, match="--choose-by"):
        evaluate_model(request(trained, store_threshold=True))


def test_missing_patients_are_encoded_first_with_the_option(trained, tmp_path, capsys):
    cohort = (trained.images, "--taxonomy", "aml-hehr", "--min-cells", 1, "--folds", 2, "--test-fraction", 0.4)
    words = (
        "evaluate",
        *cohort,
        "--model",
        trained.model,
        "--features",
        tmp_path / "features",
        "--out",
        tmp_path / "out",
    )
    assert main([*map(str, words), "--numbers-only", "--resamples", "0"]) == 2
    assert "caltomorph encode" in capsys.readouterr().err
    assert main([*map(str, words), "--numbers-only", "--resamples", "0", "--encode-missing"]) == 0
    assert (tmp_path / "out" / "evaluation.json").is_file()
