"""Encoding on CUDA: the features of a CPU, in order, whatever fits into memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from napari_caltomorph.encoding import EncodeOptions, LoadedEncoder, load_encoder

pytestmark = pytest.mark.cuda


@pytest.fixture
def encoder_on(dinobloom_s_file):
    """``encoder_on(device, precision="float32")``: DinoBloom-S with random weights."""

    def load(device: str, precision: str = "float32") -> LoadedEncoder:
        return load_encoder(
            EncodeOptions(encoder="dinobloom-s", weights=dinobloom_s_file, device=device, precision=precision)
        )

    return load


@pytest.fixture
def cells(make_cell):
    sizes = [(144, 144), (181, 180), (144, 144), (360, 90), (144, 144)]
    return [make_cell(seed, height, width) for seed, (height, width) in enumerate(sizes)]


def test_pixels_and_float32_features_are_those_of_a_cpu(encoder_on, cells, cuda):
    there, here = encoder_on(cuda), encoder_on("cpu")
    assert (there.preprocess(cells).cpu() - here.preprocess(cells)).abs().max() <= 1e-5
    assert np.abs(there.features(cells) - here.features(cells)).max() <= 1e-4


def test_bf16_features_point_the_same_way(encoder_on, cells, cuda):
    one, other = encoder_on(cuda, "bf16").features(cells), encoder_on("cpu").features(cells)
    assert ((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)).min() >= 0.999


def test_convolutions_are_float32_and_the_settings_of_others_stay(make_cell, tmp_path, cuda):
    torch.manual_seed(0)
    path = tmp_path / "a.safetensors"
    save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), path)
    before = torch.backends.cudnn.allow_tf32
    one, other = (
        load_encoder(
            EncodeOptions(encoder="timm:resnet10t", weights=path, device=device, precision="float32")
        ).features([make_cell(0)])
        for device in (cuda, "cpu")
    )
    assert np.abs(one - other).max() <= 1e-4 * np.abs(other).max()
    assert torch.backends.cudnn.allow_tf32 == before


def test_a_stream_gives_what_each_cell_gives_alone_in_order(encoder_on, make_cell, cuda):
    encoder = encoder_on(cuda)
    images = [make_cell(seed) for seed in range(11)]
    found = list(encoder.stream([images[:4], images[4:5], images[5:]]))
    assert [len(values) for values in found] == [4, 1, 6]
    alone = np.concatenate([encoder.features([image]) for image in images])
    assert np.abs(np.concatenate(found) - alone).max() <= 1e-4


def test_a_device_that_is_full_gets_fewer_cells(encoder_on, make_cell, cuda):
    if cuda != "cuda":
        pytest.skip("only CUDA's memory can be limited")
    given: list[int] = []

    class Noting(LoadedEncoder):
        def submit(self, images):
            given.append(len(images))
            return super().submit(images)

    loaded = encoder_on(cuda)
    encoder = Noting(**{field.name: getattr(loaded, field.name) for field in dataclasses.fields(loaded)})
    images = [make_cell(0)] * 48
    torch.cuda.reset_peak_memory_stats()
    expected = np.concatenate(list(encoder.stream([images])))
    at_rest, peak = torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    given.clear()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((at_rest + (peak - at_rest) / 2) / total)
    try:
        values = np.concatenate(list(encoder.stream([images])))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert given[-1] < given[0] == 48
    assert np.abs(values - expected).max() <= 1e-4
