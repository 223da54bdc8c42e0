"""Encoders with random weights: DinoBloom-S at full size, and a ViT so small that a test may run it often."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from napari_caltomorph.encoding import ENCODERS, EncodeOptions, Encoder, LoadedEncoder, load_encoder
from napari_caltomorph.encoding.locations import WeightsFolder
from napari_caltomorph.encoding.preprocessing import Preprocessing

TINY = Encoder(
    name="tiny",
    architecture="vit_tiny_patch16_224",
    width=32,
    location=WeightsFolder(),
    about="For these tests",
    preprocessing=Preprocessing(size=32),
    arguments={"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2},
)


def random_weights(architecture: str, seed: int, **arguments) -> dict[str, torch.Tensor]:
    """Random weights under timm's names, large enough that every entry matters (LayerScale about 1)."""
    torch.manual_seed(seed)
    model = timm.create_model(architecture, num_classes=0, **arguments)
    weights = {}
    for key, value in model.state_dict().items():
        noise = torch.randn(value.shape)
        if "gamma" in key or ("norm" in key and key.endswith("weight")):
            weights[key] = 1 + 0.1 * noise
        elif value.ndim < 2 or "embed" in key or "token" in key:
            weights[key] = 0.2 * noise if value.ndim < 4 else 0.05 * noise
        else:
            weights[key] = noise / value.shape[1] ** 0.5
    return weights


@pytest.fixture(scope="session")
def dinobloom_s() -> dict[str, torch.Tensor]:
    """Weights of DinoBloom-S under timm's names."""
    return random_weights("vit_small_patch14_dinov2", 0, img_size=224)


@pytest.fixture(scope="session")
def dinobloom_s_file(tmp_path_factory, dinobloom_s) -> Path:
    path = tmp_path_factory.mktemp("weights") / "dinobloom_s.safetensors"
    save_file(dinobloom_s, path)
    return path


@pytest.fixture(scope="session")
def dinobloom_s_pth(tmp_path_factory, dinobloom_s) -> Path:
    """The same in the form that DinoBloom's authors publish: a training checkpoint."""
    path = tmp_path_factory.mktemp("weights") / "DinoBloom-S.pth"
    teacher = {f"backbone.{key}": value for key, value in dinobloom_s.items()}
    teacher["backbone.mask_token"] = torch.zeros(1, 384)
    teacher["dino_head.mlp.0.weight"] = torch.zeros(3, 3)
    teacher["ibot_head.last_layer.weight_v"] = torch.zeros(3, 3)
    torch.save({"teacher": teacher, "iteration": 4}, path)
    return path


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(random_weights(TINY.architecture, 1, **TINY.arguments), path)
    return path


@pytest.fixture(scope="session")
def tiny_row() -> Encoder:
    """The row of the table of encoders for the small ViT."""
    return TINY


@pytest.fixture
def tiny(tiny_file, monkeypatch) -> EncodeOptions:
    """Options that encode with the small ViT, in float32 on the CPU."""
    monkeypatch.setitem(ENCODERS, "tiny", TINY)
    return EncodeOptions(encoder="tiny", weights=tiny_file, device="cpu", precision="float32")


@pytest.fixture
def tiny_encoder(tiny) -> LoadedEncoder:
    return load_encoder(tiny)
