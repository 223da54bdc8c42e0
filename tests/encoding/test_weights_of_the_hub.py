"""What must hold for timm models of the Hub: downloaded when asked, pinned to a commit, used without a network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save
from tests.hub_server import Hub

from napari_caltomorph.encoding import (
    ENCODERS,
    EncodeOptions,
    download_weights,
    find_encoder,
    find_weights,
    known_encoders,
    load_encoder,
)
from napari_caltomorph.errors import CaltomorphError, WeightsMissing
from napari_caltomorph.progress import Cancelled, Progress

NAME = "ours/cells"
ARGUMENTS = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32, "num_classes": 3}


def files(seed: int) -> dict[str, bytes]:
    torch.manual_seed(seed)
    model = timm.create_model("vit_tiny_patch16_224", **ARGUMENTS)
    config = {"architecture": "vit_tiny_patch16_224", "model_args": ARGUMENTS, "pretrained_cfg": {"crop_pct": 0.9}}
    return {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": save(model.state_dict()),
        "pytorch_model.bin": b"not asked for",
    }


@pytest.fixture(autouse=True)
def repository(hub: Hub) -> Hub:
    hub.repositories[NAME] = files(0)
    return hub


def options(name: str) -> EncodeOptions:
    return EncodeOptions(encoder=name, device="cpu", precision="float32")


def kept(home: Path) -> list[str]:
    folder = home / "weights"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_downloaded_model_is_pinned_to_its_commit_and_used_without_a_network(hub, home, make_cell, monkeypatch):
    with pytest.raises(WeightsMissing, match=rf"caltomorph weights download hf-hub:{NAME}"):
        load_encoder(options(f"hf-hub:{NAME}"))
    assert not hub.asked
    first = download_weights(find_encoder(f"hf-hub:{NAME}"))
    assert first.encoder == f"hf-hub:{NAME}@{hub.commit(NAME)}"
    assert any("licence" in note for note in first.notes)
    transfers = hub.ranges()
    assert download_weights(find_encoder(f"hf-hub:{NAME}")) == first
    assert hub.ranges() == transfers
    hub.repositories[NAME] = files(1)
    second = download_weights(find_encoder(f"hf-hub:{NAME}"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for name, report in ((first.encoder, first), (second.encoder, second), (f"hf-hub:{NAME}", second)):
        encoder = load_encoder(options(name))
        assert (encoder.encoder.name, encoder.weights_sha256) == (report.encoder, report.weights_sha256)
        assert find_weights(find_encoder(name)) == report.path
        assert str(encoder.preprocessing) == report.preprocessing
        assert np.isfinite(encoder.features([make_cell(0)])).all()
    assert {encoder.name for encoder in known_encoders()} >= {first.encoder, second.encoder}
    assert all(name.rpartition("/")[2] in {"config.json", "model.safetensors", "origin.json"} for name in kept(home))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda hub: hub.repositories[NAME].pop("config.json"), "config.json"),
        (lambda hub: hub.repositories[NAME].update({"config.json": b'{"model_type": "dinov2"}'}), "architecture"),
        (lambda hub: hub.repositories[NAME].update({"model.safetensors": b"x" * 300}), "no weights file"),
        (lambda hub: hub.wrong.add("model.safetensors"), "checksum"),
        (lambda hub: hub.gated.add(NAME), "accept its conditions"),
        (lambda hub: hub.repositories.pop(NAME), "ours/cells"),
    ],
)
def test_what_cannot_be_used_is_explained_and_nothing_is_kept(spoil, words, hub, home):
    spoil(hub)
    with pytest.raises(CaltomorphError, match=words):
        download_weights(find_encoder(f"hf-hub:{NAME}"))
    assert kept(home) == []


def test_cancelled_download_leaves_nothing_and_the_next_one_works(hub, home):
    def cancel(progress: Progress) -> None:
        if progress.stage == "Downloading":
            raise Cancelled

    with pytest.raises(Cancelled):
        download_weights(find_encoder(f"hf-hub:{NAME}"), progress=cancel)
    assert kept(home) == []
    assert download_weights(find_encoder(f"hf-hub:{NAME}")).path.is_file()


def test_repository_of_the_table_is_the_tables_encoder(hub, dinobloom_s):
    repository = "1aurent/vit_small_patch14_224.dinobloom"
    hub.repositories[repository] = {"config.json": b"{}", "model.safetensors": save(dinobloom_s)}
    report = download_weights(find_encoder(f"hf-hub:{repository}"))
    assert (report.encoder, report.path) == ("dinobloom-s", find_weights(ENCODERS["dinobloom-s"]))
    assert find_encoder("hf-hub:Snarcy/RedDino-base") == ENCODERS["reddino-b"]
