"""What must hold for weights as others publish them: prefixes, heads, names and folders; each as timm computes it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from napari_caltomorph.encoding import ENCODERS, EncodeOptions, add_weights, find_encoder, load_encoder, verify_weights
from napari_caltomorph.encoding.key_names import resembles
from napari_caltomorph.errors import WeightsMissing, WeightsRefused

SMALL_VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2, "patch_size": 14}


def network(architecture: str = "test_vit", **arguments):
    torch.manual_seed(0)
    model = timm.create_model(architecture, num_classes=7, **arguments).eval()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def options(weights: Path, encoder: str = "timm:test_vit") -> EncodeOptions:
    return EncodeOptions(encoder=encoder, weights=weights, device="cpu", precision="float32")


def folder_of(model, path: Path, architecture: str, pretrained_cfg: dict | None = None, **model_args) -> Path:
    path.mkdir()
    save_file(model.state_dict(), path / "model.safetensors")
    config = {
        "architecture": architecture,
        "num_classes": 7,
        "model_args": {"num_classes": 7, **model_args},
        "pretrained_cfg": {"input_size": [3, 56, 56], "crop_pct": 1.0, **(pretrained_cfg or {})},
    }
    (path / "config.json").write_text(json.dumps(config))
    return path


FORMS = {
    "with a head": (lambda w: w, ["head"]),
    "DataParallel": (lambda w: {"state_dict": {f"module.{k}": v for k, v in w.items()}}, ["head"]),
    "Lightning": (
        lambda w: {
            "epoch": 3,
            "state_dict": {f"model.encoder.{k}": v for k, v in w.items()}
            | {"model.classifier.weight": torch.ones(2, 2)},
        },
        ["head", "model.classifier"],
    ),
    "teacher": (
        lambda w: {"teacher": {f"backbone.{k}": v for k, v in w.items()} | {"dino_head.mlp.0.weight": torch.ones(3)}},
        ["dino_head", "head"],
    ),
    "student and teacher": (
        lambda w: {
            "model": {f"student.backbone.{k}": 0 * v for k, v in w.items()}
            | {f"teacher.backbone.{k}": v for k, v in w.items()}
        },
        ["head", "student"],
    ),
    "average of weights": (lambda w: {"state_dict": {"a": torch.ones(1)}, "state_dict_ema": w}, ["head"]),
}


@pytest.mark.parametrize("form", FORMS)
def test_prefixes_and_heads_of_training_scripts_are_taken_off_and_named(form, tmp_path, make_cell):
    model, (wrapped, left_out) = network(), FORMS[form]
    torch.save(wrapped(model.state_dict()), tmp_path / "a.pth")
    report = verify_weights(find_encoder("timm:test_vit"), tmp_path / "a.pth")
    assert report.notes[0].endswith(f": {', '.join(left_out)}")
    encoder = load_encoder(options(tmp_path / "a.pth"))
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(encoder.preprocess([make_cell(0)])), pre_logits=True)
    assert np.abs(encoder.features([make_cell(0)]) - expected.numpy()).max() < 1e-4


def test_two_networks_in_one_file_are_not_guessed_between(tmp_path):
    weights = network().state_dict()
    torch.save({f"{name}.{k}": v for k, v in weights.items() for name in ("left", "right")}, tmp_path / "a.pth")
    with pytest.raises(WeightsRefused, match=r"a\.pth.*left.*right.*save the one"):
        load_encoder(options(tmp_path / "a.pth"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"init_values": 0.1},
        {"reg_tokens": 4, "no_embed_class": True},
        {"reg_tokens": 4, "no_embed_class": False, "init_values": 0.1},
        {"img_size": 224},
    ],
)
def test_network_is_built_as_its_weights_need_it(arguments, tmp_path, make_cell):
    model = network(**arguments)
    save_file(model.state_dict(), tmp_path / "a.safetensors")
    encoder = load_encoder(options(tmp_path / "a.safetensors"))
    assert encoder.preprocessing.size == arguments.get("img_size", 160)
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(encoder.preprocess([make_cell(0)])), pre_logits=True)
    assert np.abs(encoder.features([make_cell(0)]) - expected.numpy()).max() < 1e-4


def transformers_forward(weights: dict[str, Tensor], images: Tensor, layers: int, heads: int) -> Tensor:
    """Dinov2WithRegistersModel of transformers, from its documentation: the CLS row of `last_hidden_state`."""

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def split(x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], heads, -1).transpose(1, 2)

    x = functional.conv2d(images, weights["embeddings.patch_embeddings.projection.weight"], stride=14)
    x = (x + weights["embeddings.patch_embeddings.projection.bias"][:, None, None]).flatten(2).transpose(1, 2)
    x = torch.cat([weights["embeddings.cls_token"].expand(len(x), -1, -1), x], 1)
    x = x + weights["embeddings.position_embeddings"]
    x = torch.cat([x[:, :1], weights["embeddings.register_tokens"].expand(len(x), -1, -1), x[:, 1:]], 1)
    for i in range(layers):
        layer = f"encoder.layer.{i}"
        y = norm(x, f"{layer}.norm1")
        q, k, v = (split(linear(y, f"{layer}.attention.attention.{part}")) for part in ("query", "key", "value"))
        mixed = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1) @ v
        mixed = linear(mixed.transpose(1, 2).flatten(2), f"{layer}.attention.output.dense")
        x = x + weights[f"{layer}.layer_scale1.lambda1"] * mixed
        hidden = functional.gelu(linear(norm(x, f"{layer}.norm2"), f"{layer}.mlp.fc1"))
        x = x + weights[f"{layer}.layer_scale2.lambda1"] * linear(hidden, f"{layer}.mlp.fc2")
    return norm(x, "layernorm")[:, 0]


def test_names_of_transformers_give_what_a_second_forward_pass_gives(tmp_path, make_cell):
    torch.manual_seed(0)
    width, shapes = 32, {}
    for part, shape in {
        "cls_token": (1, 1, width),
        "mask_token": (1, width),
        "register_tokens": (1, 4, width),
        "position_embeddings": (1, 17, width),
        "patch_embeddings.projection.weight": (width, 3, 14, 14),
        "patch_embeddings.projection.bias": (width,),
    }.items():
        shapes[f"embeddings.{part}"] = shape
    for i in range(2):
        for part, length in {
            **dict.fromkeys(("attention.attention.query", "attention.attention.key"), (width, width)),
            **dict.fromkeys(("attention.attention.value", "attention.output.dense"), (width, width)),
            "mlp.fc1": (4 * width, width),
            "mlp.fc2": (width, 4 * width),
            "norm1": (width,),
            "norm2": (width,),
        }.items():
            shapes |= {f"encoder.layer.{i}.{part}.weight": length, f"encoder.layer.{i}.{part}.bias": length[:1]}
        shapes |= {f"encoder.layer.{i}.layer_scale{k}.lambda1": (width,) for k in (1, 2)}
    shapes |= {"layernorm.weight": (width,), "layernorm.bias": (width,)}
    weights = {key: torch.randn(shape) * 0.3 for key, shape in shapes.items()}
    for prefix in ("", "dinov2_with_registers."):
        named = {prefix + key: value for key, value in weights.items()}
        path = folder_of(network(), tmp_path / f"a{prefix}", "vit_tiny_patch16_224", **SMALL_VIT)
        save_file(named, path / "model.safetensors")
        encoder = load_encoder(options(path, "timm:vit_tiny_patch16_224"))
        assert encoder.preprocessing.size == 56
        expected = transformers_forward(weights, encoder.preprocess([make_cell(0), make_cell(1)]), 2, 2)
        assert np.abs(encoder.features([make_cell(0), make_cell(1)]) - expected.numpy()).max() < 1e-5


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(200, 200), (150, 211)])
@pytest.mark.parametrize(("crop_mode", "crop_pct"), [("center", 0.875), ("center", 1.0), ("squash", 0.9)])
def test_images_are_prepared_as_timm_prepares_them(interpolation, shape, crop_mode, crop_pct, tmp_path, make_cell):
    config = {"interpolation": interpolation, "crop_mode": crop_mode, "crop_pct": crop_pct, "mean": [0.4, 0.5, 0.6]}
    path = folder_of(network("resnet10t"), tmp_path / "a", "resnet10t", config)
    encoder = load_encoder(options(path, str(path)))
    assert encoder.encoder.name == "timm:resnet10t"
    cell = np.asarray(Image.fromarray(make_cell(0)).resize(shape[::-1]))
    data = timm.data.resolve_data_config(config | {"input_size": (3, 56, 56)})
    expected = timm.data.create_transform(**data)(Image.fromarray(cell))
    # Pillow rounds to whole grey values after each of two passes.
    assert (encoder.preprocess([cell])[0] - expected).abs().max() < 2.1 / 255 / 0.224
    assert interpolation in str(encoder.preprocessing)


def test_positions_of_another_image_size_are_resampled_as_timm_does_and_named(tmp_path, make_cell):
    model = network("vit_tiny_patch16_224", img_size=56, **SMALL_VIT)
    path = folder_of(model, tmp_path / "a", "vit_tiny_patch16_224", img_size=84, **SMALL_VIT)
    encoder = load_encoder(options(path, str(path)))
    assert encoder.preprocessing.size == 84
    (_, note) = verify_weights(find_encoder(str(path))).notes
    assert "pos_embed 17x32 -> 37x32" in note
    own = timm.create_model(
        "vit_tiny_patch16_224",
        pretrained=True,
        pretrained_cfg_overlay={"state_dict": model.state_dict(), "num_classes": 7},
        num_classes=0,
        img_size=84,
        **SMALL_VIT,
    ).eval()
    with torch.inference_mode():
        expected = own(encoder.preprocess([make_cell(0)]))
    assert np.abs(encoder.features([make_cell(0)]) - expected.numpy()).max() < 1e-5


@pytest.mark.parametrize(
    ("model_args", "pretrained_cfg", "words"),
    [
        ({"checkpoint_path": "/etc/passwd"}, {}, "checkpoint_path"),
        ({"depth": 10**9}, {}, "depth"),
        ({"depth": 16_000}, {}, "up to 256"),
        ({"no_such_argument": 1}, {}, "no_such_argument"),
        ({}, {"interpolation": "lanczos"}, "interpolation"),
        ({}, {"std": [0.2, 0.2, 0]}, "std"),
        ({}, {"input_size": [4, 56, 56]}, "input_size"),
        ({}, {"input_size": [3, 56, 70]}, "no squares"),
    ],
)
def test_configuration_that_cannot_be_followed_is_refused_by_name(model_args, pretrained_cfg, words, tmp_path):
    path = folder_of(network("resnet10t"), tmp_path / "a", "resnet10t", pretrained_cfg, **model_args)
    with pytest.raises(WeightsRefused, match=words) as caught:
        load_encoder(options(path, "timm:resnet10t"))
    assert "\n" not in str(caught.value)


def test_a_network_larger_than_any_machine_is_refused_before_it_is_built(tmp_path):
    config = {"embed_dim": 2**14, "depth": 24, "num_heads": 16}
    path = folder_of(network("resnet10t"), tmp_path / "a", "vit_tiny_patch16_224", **config)
    with pytest.raises(WeightsRefused, match="missing"):
        load_encoder(options(path, "timm:vit_tiny_patch16_224"))


def test_folder_names_what_is_wrong_with_it(tmp_path):
    path = folder_of(network("resnet10t"), tmp_path / "a", "resnet10t")
    with pytest.raises(WeightsRefused, match=r"weights of resnet10t, not of test_vit; use the encoder timm:resnet10t"):
        load_encoder(options(path))
    (path / "model.safetensors").unlink()
    with pytest.raises(WeightsMissing, match=r"model\.safetensors does not exist"):
        load_encoder(options(path, str(path)))
    (path / "config.json").write_text('{"model_type": "dinov2", "hidden_size": 768}')
    with pytest.raises(WeightsRefused, match=r"config\.json.*timm:ARCHITECTURE"):
        find_encoder(str(path))


@pytest.mark.parametrize(
    "changed",
    [
        {"reg_token": torch.zeros(4)},
        {"register_tokens": torch.zeros(1, 4, 3)},
        {"pos_embed": torch.zeros(1, 101)},
        {"pos_embed": torch.zeros(1, 10**6 + 1, 0)},
        {"patch_embed.proj.weight": torch.zeros(64, 3, 1, 10**5)},
        {"cls_token": torch.zeros(3)},
        {"x.attention.attention.query.weight": torch.zeros(2, 2), "x.attention.attention.key.weight": torch.zeros(3)},
    ],
)
def test_shapes_that_nobody_expects_are_refused_in_one_sentence(changed, tmp_path):
    torch.save(network().state_dict() | changed, tmp_path / "a.pth")
    with pytest.raises(WeightsRefused, match=r"a\.pth does not fit timm:test_vit") as caught:
        load_encoder(options(tmp_path / "a.pth"))
    assert "\n" not in str(caught.value)


def test_misfit_names_the_first_entries_and_the_network_that_it_looks_like(tmp_path):
    weights = network("vit_tiny_patch16_224", img_size=56, depth=2, embed_dim=192, patch_size=14).state_dict()
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(WeightsRefused, match=r"a\.pth does not fit timm:test_vit.*and \d+ more.*2 layers, 192 numbers"):
        load_encoder(options(tmp_path / "a.pth"))
    assert "vit_tiny_patch14" in resembles(weights)


def test_dinobloom_and_reddino_are_told_apart_by_the_name_of_the_file_or_not_at_all(tmp_path, dinobloom_s):
    path = tmp_path / "model.safetensors"
    save_file(dinobloom_s, path)
    with pytest.raises(WeightsRefused, match=r"dinobloom-s and reddino-s.*--encoder"):
        add_weights(path)
    assert add_weights(path, ENCODERS["reddino-s"]).path.name == "reddino-s.safetensors"
    assert add_weights(path.rename(tmp_path / "RedDino_small.safetensors")).encoder == "reddino-s"


@pytest.mark.parametrize("name", ["hf-hub:../../etc/passwd", "hf-hub:a/..", "hf-hub:name", "hf-hub:a/b@main"])
def test_address_that_is_no_repository_is_refused(name):
    with pytest.raises(WeightsMissing, match="hf-hub:OWNER/NAME"):
        find_encoder(name)
