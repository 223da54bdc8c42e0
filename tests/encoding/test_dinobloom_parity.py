"""DinoBloom computes what its authors' network computes: checked against a second forward pass, written here."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from napari_caltomorph.encoding import EncodeOptions, find_encoder, load_encoder
from napari_caltomorph.encoding.checkpoints import tensors_sha256
from napari_caltomorph.encoding.key_names import named_as
from napari_caltomorph.encoding.load import build_module


def dinov2_forward(weights: dict[str, Tensor], images: Tensor, depth: int, heads: int, *, is_gated: bool) -> Tensor:
    """DINOv2's vision transformer from its paper and file format: normalised CLS of (B, 3, 224, 224)."""

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        unit = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
        return unit * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def attention(x: Tensor, name: str) -> Tensor:
        count, tokens, width = x.shape
        qkv = linear(x, f"{name}.qkv").view(count, tokens, 3, heads, width // heads)
        query, key, value = (qkv[:, :, i].transpose(1, 2) for i in range(3))
        scores = query @ key.transpose(-1, -2) / math.sqrt(width // heads)
        mixed = torch.softmax(scores, -1) @ value
        return linear(mixed.transpose(1, 2).reshape(count, tokens, width), f"{name}.proj")

    def mlp(x: Tensor, name: str) -> Tensor:
        if is_gated:
            gate, signal = linear(x, f"{name}.w12").chunk(2, -1)
            return linear(gate * torch.sigmoid(gate) * signal, f"{name}.w3")
        hidden = linear(x, f"{name}.fc1")
        return linear(hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))), f"{name}.fc2")

    patches = functional.conv2d(images, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=14)
    x = patches.flatten(2).transpose(1, 2)  # (B, 256, D)
    x = torch.cat([weights["cls_token"].expand(len(x), -1, -1), x], 1) + weights["pos_embed"]
    for i in range(depth):
        block = f"blocks.{i}"
        x = x + weights[f"{block}.ls1.gamma"] * attention(norm(x, f"{block}.norm1"), f"{block}.attn")
        x = x + weights[f"{block}.ls2.gamma"] * mlp(norm(x, f"{block}.norm2"), f"{block}.mlp")
    return norm(x, "norm")[:, 0]


def preprocessed(cells: list[np.ndarray]) -> Tensor:
    """Resize and normalise one by one, as DinoBloom's loader does."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    batch = []
    for cell in cells:
        pixels = torch.tensor(cell).permute(2, 0, 1)[None].float() / 255
        resized = functional.interpolate(pixels, size=(224, 224), mode="bilinear", antialias=True)
        batch.append((resized[0] - mean[:, None, None]) / std[:, None, None])
    return torch.stack(batch)


@pytest.fixture(scope="module")
def cells(make_cell) -> list[np.ndarray]:
    return [make_cell(0), make_cell(1, 181, 180), make_cell(2, 144), make_cell(3, 360)]


@pytest.fixture(scope="module")
def expected(dinobloom_s, cells) -> np.ndarray:
    double = {key: value.double() for key, value in dinobloom_s.items()}
    return dinov2_forward(double, preprocessed(cells).double(), 12, 6, is_gated=False).numpy()


def options(path, precision="float32") -> EncodeOptions:
    return EncodeOptions(encoder="dinobloom-s", weights=path, device="cpu", precision=precision)


def test_float32_features_agree_with_the_second_implementation(dinobloom_s_file, cells, expected):
    encoder = load_encoder(options(dinobloom_s_file))
    values = encoder.features(cells)
    assert values.dtype == np.float32
    assert values.shape == (4, 384)
    assert np.abs(expected).mean() > 0.3
    assert np.abs(values - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


def test_bf16_features_point_the_same_way(dinobloom_s_file, cells, expected):
    values = load_encoder(options(dinobloom_s_file, "bf16")).features(cells)
    assert values.dtype == np.float32
    cosine = (values * expected).sum(1) / np.linalg.norm(values, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() >= 0.999


def test_every_file_form_holds_the_same_weights(
    dinobloom_s, dinobloom_s_file, dinobloom_s_pth, tmp_path, cells, expected
):
    flat = tmp_path / "pytorch_model_s.bin"
    torch.save(dinobloom_s | {"mask_token": torch.zeros(1, 384)}, flat)
    shuffled = tmp_path / "shuffled.safetensors"
    save_file(dict(reversed(dinobloom_s.items())), shuffled)
    encoders = [load_encoder(options(path)) for path in (dinobloom_s_file, dinobloom_s_pth, flat, shuffled)]
    assert len({encoder.weights_sha256 for encoder in encoders}) == 1
    assert encoders[0].weights_sha256 == tensors_sha256(dinobloom_s)
    for encoder in encoders:
        assert np.abs(encoder.features(cells[:1]) - expected[:1]).max() < 1e-4


def test_one_changed_weight_changes_the_sum(dinobloom_s):
    changed = dict(dinobloom_s)
    changed["norm.bias"] = changed["norm.bias"].clone()
    changed["norm.bias"][7] += 1e-6
    assert tensors_sha256(changed) != tensors_sha256(dinobloom_s)


@torch.inference_mode()
def test_gated_mlp_of_vit_g_agrees_with_the_second_implementation(make_cell):
    """Two blocks of ViT-G at its full width, under the names of DINOv2's files."""
    import timm

    torch.manual_seed(0)
    shallow = timm.create_model("vit_giant_patch14_dinov2", num_classes=0, img_size=224, depth=2)
    original = {}
    for key, value in shallow.state_dict().items():
        name = key.replace(".mlp.fc1.", ".mlp.w12.").replace(".mlp.fc2.", ".mlp.w3.")
        original[name] = torch.randn(value.shape) * 0.02 + (1 if "gamma" in key or "norm" in key else 0)
    published = {f"backbone.{key}": value for key, value in original.items()}
    shallow.load_state_dict(named_as(shallow, published)[0], strict=True)
    images = preprocessed([make_cell(0)])
    expected = dinov2_forward(original, images, 2, 24, is_gated=True)
    assert (shallow.eval()(images) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    ("name", "width", "depth", "heads"),
    [
        ("dinobloom-s", 384, 12, 6),
        ("dinobloom-b", 768, 12, 12),
        ("dinobloom-l", 1024, 24, 16),
        ("dinobloom-g", 1536, 40, 24),
    ],
)
def test_each_size_is_the_published_one(name, width, depth, heads):
    encoder = find_encoder(name)
    with torch.device("meta"):
        module = build_module(encoder)
    assert (module.num_features, len(module.blocks), module.blocks[0].attn.num_heads) == (width, depth, heads)
    assert encoder.width == width
    assert module.pos_embed.shape == (1, 257, width)
    assert str(encoder.preprocessing) == ("resize224-bilinear-antialias-norm(0.485,0.456,0.406,0.229,0.224,0.225)")
