"""A saved evaluation that is damaged is refused when it is read, not when its numbers are computed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.evaluation.factories import evaluation_of, simulated

from napari_caltomorph.errors import EvaluationUnreadable
from napari_caltomorph.evaluation import Embeddings, Evaluation
from napari_caltomorph.storage import file_sha256


@pytest.fixture
def saved(tmp_path):
    """A saved evaluation of 12 patients, with embeddings."""
    one = evaluation_of(*simulated((3, 3, 3, 3)))
    embeddings = Embeddings(0, np.zeros((12, 4), np.float32), np.ones((2, 4), np.float32), ("mds", "healthy"))
    Evaluation(**{**vars_of(one), "embeddings": embeddings}).save(tmp_path)
    return tmp_path


def vars_of(evaluation):
    return {name: getattr(evaluation, name) for name in Evaluation.__dataclass_fields__}


def put(column, value):
    def change(content):
        content["patients"]["rows"][1][content["patients"]["columns"].index(column)] = value

    return change


def test_an_evaluation_is_read_as_it_was_saved(saved):
    read = Evaluation.load(saved)
    assert read.headline == evaluation_of(*simulated((3, 3, 3, 3))).headline
    assert read.embeddings.training_classes == ("mds", "healthy")


def test_a_file_without_later_columns_is_read_with_the_same_numbers(saved):
    path, columns = saved / "evaluation.json", ("far_aspects", "has_other_scale")
    content = json.loads(path.read_text("utf-8"))
    patients = content["patients"]
    places = [patients["columns"].index(name) for name in columns]
    for row in (patients["columns"], *patients["rows"]):
        row[:] = [value for place, value in enumerate(row) if place not in places]
    path.write_text(json.dumps(content), "utf-8")
    read = Evaluation.load(saved)
    assert read.headline == evaluation_of(*simulated((3, 3, 3, 3))).headline
    assert read.patients[list(columns)].isna().all(axis=None)


@pytest.mark.parametrize(
    "change",
    [
        put("truth", "nonsense"),
        put("coarse_set", "mds|nonsense"),
        put("p_mds", None),
        put("p_mds", -0.1),
        put("p_mds", 1.5),
        put("p_mds", "much"),
        put("fold", 7),
        put("far_aspects", "cells|smell"),
        put("n_cells", -1),
        put("hemoglobin_g_dl", "low"),
        lambda content: content["patients"]["rows"][0].append(1),
        lambda content: content["patients"]["rows"].append([]),
        lambda content: content["patients"]["rows"].pop(),
        lambda content: content["patients"]["columns"].__setitem__(0, "other"),
        lambda content: content["patients"]["columns"].__setitem__(0, "truth"),
        lambda content: content["taxonomy"]["classes"].pop(),
        lambda content: content["covariates"].update(columns=["age"], rows=[[1]]),
        lambda content: content["unjudged"].update(columns=[]),
        lambda content: content["provenance"].update(seconds=10**400),
    ],
)
def test_impossible_content_is_refused(saved, change):
    path = saved / "evaluation.json"
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(EvaluationUnreadable, match="evaluate again"):
        Evaluation.load(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"judged": np.zeros((11, 4), np.float32)},
        {"judged": np.zeros(12, np.float32)},
        {"judged": np.zeros((), np.float32)},
        {"judged": np.zeros((12, 4), np.int64)},
        {"judged": np.full((12, 4), np.nan, np.float32)},
        {"training": np.zeros((3, 4), np.float32)},
        {"training": np.zeros((2, 5), np.float32)},
    ],
)
def test_embeddings_of_other_patients_or_without_numbers_are_refused(saved, changes):
    place, path = saved / "embeddings.safetensors", saved / "evaluation.json"
    save_file(load_file(place) | changes, place, metadata={"training_classes": '["mds", "healthy"]'})
    content = json.loads(path.read_text("utf-8")) | {"embeddings_sha256": file_sha256(place)}
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(EvaluationUnreadable, match=r"embeddings\.safetensors .*evaluate again"):
        Evaluation.load(saved)
