"""A damaged file of a training is refused in one sentence that says what to remove."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from tests.training.factories import tiny

from napari_caltomorph.diagnosis import Ensemble, installed_models
from napari_caltomorph.encoding import EncodeOptions
from napari_caltomorph.encoding.load import load_encoder
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.training import FoldHistory, TrainOptions
from napari_caltomorph.training.compare import _read
from napari_caltomorph.training.folder import begin_or_resume
from napari_caltomorph.training.members import FoldCheckpoint
from napari_caltomorph.training.variants import Variant


@pytest.mark.parametrize(
    "history",
    [
        None,
        "[" * 5000,
        "[]",
        {"train_loss": 1.0},
        {"train_loss": ["x"]},
        {"train_loss": [1.0], "best_epoch": 2},
        {"train_loss": [1.0], "validation_loss": [1.0, 2.0]},
        {"train_loss": [10**400]},
        {"train_loss": [1.0], "stopped_by": "nobody"},
    ],
)
def test_a_history_that_cannot_be_is_refused(tmp_path, history):
    text = history if isinstance(history, str) else json.dumps(history)
    save_file({"a": np.zeros(1)}, tmp_path / "fold_0.state.safetensors", metadata={"history": text} if history else {})
    with pytest.raises(TrainingRefused, match=r"remove .*fold_0\.state\.safetensors to train this fold again"):
        FoldCheckpoint(tmp_path, 0).history()


def test_a_history_with_losses_that_are_not_finite_is_read(tmp_path):
    history = FoldHistory(train_loss=(1.0, float("nan")), best_epoch=1, seconds=2.0, stopped_by="not finite")
    metadata = {"history": json.dumps(vars(history))}
    save_file({"a": np.zeros(1)}, tmp_path / "fold_0.state.safetensors", metadata=metadata)
    read = FoldCheckpoint(tmp_path, 0).history()
    assert (read.epochs, read.best_epoch, read.stopped_by) == (2, 1, "not finite")
    assert np.isnan(read.train_loss[1])


@pytest.mark.parametrize("content", ["[" * 5000, "{}", '{"options": [], "bags": "f"}', '{"options": {}, "bags": 1}'])
def test_a_damaged_begin_of_a_training_is_refused(tmp_path, content):
    (tmp_path / "training.json").write_text(content)
    with pytest.raises(TrainingRefused, match=r"training\.json .*remove"):
        begin_or_resume(tmp_path, SimpleNamespace(fingerprint="f"), tiny(), resume=True)


def test_options_of_another_training_are_not_repeated_at_length(tmp_path):
    bags = SimpleNamespace(fingerprint="f")
    begin_or_resume(tmp_path, bags, tiny(), resume=False)
    content = json.loads((tmp_path / "training.json").read_text())
    content["options"]["depth"] = "x" * 100_000
    (tmp_path / "training.json").write_text(json.dumps(content))
    with pytest.raises(TrainingRefused, match="--depth") as error:
        begin_or_resume(tmp_path, bags, tiny(), resume=True)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("changes", [{"epochs": [1]}, {"metrics": {"auroc": [0.5]}}, {"folds": "x"}])
def test_a_result_of_a_variant_with_other_folds_is_refused(tmp_path, changes):
    result = {
        "folds": [0, 1],
        "patients": [4, 4],
        "own_patients": [2, 2],
        "epochs": [1, 1],
        "seconds": 1,
        "metrics": {},
    }
    path = tmp_path / "mean.json"
    path.write_text(json.dumps(result))
    variant = Variant("aggregator", "mean", TrainOptions())
    assert _read(path, variant).folds == (0, 1)
    path.write_text(json.dumps(result | changes))
    with pytest.raises(TrainingRefused, match=r"mean\.json .*remove it"):
        _read(path, variant)


MAPS = Path("/proc/self/maps")


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux lists what is mapped")
def test_a_model_an_encoder_and_a_resumed_training_keep_no_file_mapped(tmp_path):
    """Windows neither replaces nor removes a file that is."""
    ensemble = Ensemble.load(installed_models()["demo"])
    encoder = load_encoder(EncodeOptions(encoder="demo-vit", device="cpu"))
    member = ensemble.members[0].requires_grad_(True)
    optimizer = torch.optim.AdamW(member.parameters())
    sum(weights.sum() for weights in member.parameters()).backward()
    optimizer.step()
    checkpoint = FoldCheckpoint(tmp_path, 0)
    checkpoint.save_best(member)
    checkpoint.save(FoldHistory(), member, optimizer)
    checkpoint.restore(member, optimizer)
    best = checkpoint.best()
    assert best
    assert encoder
    assert not [line for line in MAPS.read_text("utf-8").splitlines() if line.endswith(".safetensors")]
