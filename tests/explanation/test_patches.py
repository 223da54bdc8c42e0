"""Attention over the patches of one cell: the full product of matrices, on the image's own pixels, touching nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from napari_caltomorph.encoding import EncodeOptions, load_encoder
from napari_caltomorph.encoding.encoders import Encoder
from napari_caltomorph.encoding.load import LoadedEncoder
from napari_caltomorph.encoding.locations import WeightsFolder
from napari_caltomorph.encoding.preprocessing import Preprocessing
from napari_caltomorph.errors import ExplanationRefused
from napari_caltomorph.explanation.patches import patch_attention
from napari_caltomorph.smear.smear import on_canvas

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4}


def encoder_of(architecture="vit_tiny_patch16_224", dtype=torch.float32, **arguments):
    torch.manual_seed(0)
    module = timm.create_model(architecture, num_classes=0, **arguments).eval().requires_grad_(False)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 2:
                parameter.mul_(6)  # random weights of timm attend evenly
    row = Encoder("small", architecture, None, WeightsFolder(), "For these tests")
    return LoadedEncoder(row, module.to(dtype), Preprocessing(size=32), "0" * 64, torch.device("cpu"), dtype)


def full_rollout(encoder, image):
    """(T, T) by the product of whole matrices, with timm's own unfused attention."""
    module, product = encoder.module, None
    kept = []
    for block in module.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _, __, output: kept.append(output[0].mean(0)))
    encoder.features([image])
    for attention in kept:
        mixed = (attention.double() + torch.eye(len(attention))) / 2
        product = mixed if product is None else mixed @ product
    return product


@pytest.mark.parametrize(
    "arguments",
    [
        SMALL,
        SMALL | {"reg_tokens": 3},
        SMALL | {"qk_norm": True, "init_values": 1.0},
        SMALL | {"global_pool": "avg", "class_token": False},
    ],
    ids=["cls", "registers", "qk norm and layer scale", "averaged patches"],
)
def test_patches_are_those_of_the_full_product(make_cell, arguments):
    image = make_cell(1, 40)
    result = patch_attention(encoder_of(**arguments), image)
    encoder = encoder_of(**arguments)
    rollout, prefix = full_rollout(encoder, image), encoder.module.num_prefix_tokens
    row = rollout[:, prefix:].mean(0) if arguments.get("global_pool") == "avg" else rollout[0, prefix:]
    expected = (row / row.mean()).reshape(4, 4).numpy()
    assert result.patches == pytest.approx(expected, rel=1e-4)
    assert np.ptp(expected) > 0.05  # or the comparison would say nothing


def test_pixels_lie_on_the_image(make_cell):
    encoder, image = encoder_of(**SMALL), make_cell(2, 48, 96)
    result = patch_attention(encoder, image)
    assert result.pixels.shape == image.shape[:2]
    assert result.pixels.dtype == np.float32
    # Resized to a square, each of 4 x 4 patches covers 12 x 24 of these pixels; in its centre stands its own number.
    for y in range(4):
        for x in range(4):
            centre = result.pixels[12 * y + 5 : 12 * y + 7, 24 * x + 11 : 24 * x + 13].mean()
            assert centre == pytest.approx(result.patches[y, x], abs=0.02)
    assert result.patches.mean() == pytest.approx(1)


@pytest.mark.parametrize(("height", "width", "box"), [(20, 30, (10, 5, 20, 30)), (80, 40, (0, 10, 40, 20))])
def test_on_a_canvas_the_map_has_the_place_of_the_image(make_cell, height, width, box):
    """Smaller images stand in the middle of the canvas of 40 x 40, larger ones are shrunk into it."""
    top, left, high, wide = box
    shown = patch_attention(encoder_of(**SMALL), make_cell(7, height, width)).on_canvas((40, 40))
    inside = np.zeros((40, 40), bool)
    inside[top : top + high, left : left + wide] = True
    np.testing.assert_array_equal(np.isfinite(shown), inside)
    white = on_canvas(np.zeros((height, width, 3), np.uint8), (40, 40))[..., 0] > 0
    np.testing.assert_array_equal(white, ~inside)


def test_a_single_different_patch_is_in_its_place():
    """The map is not transposed: a network that looks at what is dark finds the dark patch in the image's own place."""
    encoder = encoder_of(**SMALL | {"depth": 1, "num_heads": 1})
    image = np.full((32, 32, 3), 255, np.uint8)
    image[24:32, 8:16] = 0  # row 3, column 1
    values = patch_attention(encoder, image).patches
    others = np.delete(values.ravel(), 3 * 4 + 1)
    assert abs(values[3, 1] - others.mean()) > 3 * others.std()


def test_features_are_the_same_before_and_after(make_cell):
    encoder, image = encoder_of(**SMALL), make_cell(3)
    before = encoder.features([image])
    fused = [block.attn.fused_attn for block in encoder.module.blocks]
    patch_attention(encoder, image)
    np.testing.assert_array_equal(encoder.features([image]), before)
    assert [block.attn.fused_attn for block in encoder.module.blocks] == fused
    assert not any(block.attn._forward_pre_hooks for block in encoder.module.blocks)


def test_half_precision_gives_nearly_the_same(make_cell):
    image = make_cell(4)
    exact = patch_attention(encoder_of(**SMALL), image).patches
    half = patch_attention(encoder_of(dtype=torch.bfloat16, **SMALL), image).patches
    assert half == pytest.approx(exact, rel=0.1)


def test_the_demo_encoder_and_a_dinobloom_have_one(make_cell, tmp_path):
    demo = load_encoder(EncodeOptions(encoder="demo-vit", device="cpu"))
    assert patch_attention(demo, make_cell(5)).patches.shape == (8, 8)
    weights = timm.create_model("vit_small_patch14_dinov2", num_classes=0, img_size=224).state_dict()
    save_file(weights, tmp_path / "small.safetensors")
    options = EncodeOptions(encoder="dinobloom-s", weights=tmp_path / "small.safetensors", device="cpu")
    result = patch_attention(load_encoder(options), make_cell(5, 144))
    assert result.patches.shape == (16, 16)
    assert result.pixels.shape == (144, 144)


def test_a_convolutional_network_is_refused(make_cell):
    with pytest.raises(ExplanationRefused, match="no attention over the parts of an image"):
        patch_attention(encoder_of("tf_efficientnet_lite0"), make_cell(6))


def test_an_encoder_that_cuts_the_border_off_is_refused(make_cell):
    encoder = encoder_of(**SMALL)
    cropped = replace(encoder, preprocessing=replace(encoder.preprocessing, crop=0.9))
    with pytest.raises(ExplanationRefused, match="centre of an image"):
        patch_attention(cropped, make_cell(8))
