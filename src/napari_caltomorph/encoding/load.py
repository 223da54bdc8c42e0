"""An encoder with its weights in it, ready to turn a batch of cells into features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from napari_caltomorph.encoding.checkpoints import read_checkpoint, tensors_sha256
from napari_caltomorph.encoding.device import find_device, find_precision
from napari_caltomorph.encoding.encoders import Encoder, Preprocessing, find_encoder, find_weights
from napari_caltomorph.encoding.options import EncodeOptions
from napari_caltomorph.errors import WeightsRefused

_PRECISION_NAMES = {torch.float32: "float32", torch.bfloat16: "bf16"}


@dataclass(frozen=True)
class LoadedEncoder:
    """An `Encoder` on a device."""

    encoder: Encoder
    module: nn.Module  # In evaluation mode, in `dtype`, on `device`
    preprocessing: Preprocessing
    weights_sha256: str  # Sum of the weights themselves, the same for every file form (`checkpoints.tensors_sha256`)
    device: torch.device
    dtype: torch.dtype

    @property
    def width(self) -> int:
        """Length D of a feature."""
        # `num_features` is that of the last map; some networks widen it once more.
        return int(cast(int, self.module.head_hidden_size))

    @property
    def precision(self) -> str:
        return _PRECISION_NAMES[self.dtype]

    @torch.inference_mode()
    def features(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Encode B images (H, W, 3) uint8, of any sizes, as (B, D) float32.

        A vision transformer's feature is its normalised CLS token, as DinoBloom's authors use it (Koch et al.
        2024); a convolutional network's is the mean of its last map.
        """
        batch = self.preprocess(images).to(self.dtype)
        if self.device.type == "cpu":
            batch = batch.contiguous(memory_format=torch.channels_last)
        features: Tensor = self.module(batch)
        return np.asarray(features.float().cpu().numpy())

    def preprocess(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Resize and normalise on the device: (B, 3, size, size) float32. Equal sizes are resized together."""
        size = self.preprocessing.size
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            groups.setdefault(image.shape, []).append(index)
        batch = torch.empty((len(images), 3, size, size), device=self.device)
        for indices in groups.values():
            same = torch.from_numpy(np.stack([images[i] for i in indices])).to(self.device)
            pixels = same.permute(0, 3, 1, 2).float() / 255
            batch[indices] = functional.interpolate(
                pixels, (size, size), mode="bilinear", antialias=True, align_corners=False
            )
        mean = torch.tensor(self.preprocessing.mean, device=self.device).view(3, 1, 1)
        std = torch.tensor(self.preprocessing.std, device=self.device).view(3, 1, 1)
        return (batch - mean) / std


def load_encoder(options: EncodeOptions) -> LoadedEncoder:
    """Build the encoder and load its weights, strictly; raises `WeightsMissing`, `WeightsRefused`, `DeviceMissing`."""
    encoder = find_encoder(options.encoder)
    path = find_weights(encoder, options.weights)
    device = find_device(options.device)
    dtype = find_precision(options.precision, device)
    module = build_module(encoder)
    weights_sha256 = load_weights(module, encoder, path)
    module = module.eval().requires_grad_(False).to(device, dtype)
    if device.type == "cpu":
        module = module.to(memory_format=torch.channels_last)
    preprocessing = encoder.preprocessing or _timm_preprocessing(module)
    return LoadedEncoder(encoder, module, preprocessing, weights_sha256, device, dtype)


def build_module(encoder: Encoder) -> nn.Module:
    """Build the network with random weights; `WeightsRefused` when timm knows no such architecture."""
    # Asked first, because timm would look for names such as "hf-hub:..." on the network.
    if not timm.is_model(encoder.architecture):
        raise WeightsRefused(f"timm knows no architecture {encoder.architecture!r}; see timm.list_models().")
    module: nn.Module = timm.create_model(encoder.architecture, pretrained=False, num_classes=0, **encoder.arguments)
    return module


def load_weights(module: nn.Module, encoder: Encoder, path: Path) -> str:
    """Load a file into the network, strictly, and return the sum of the weights; `WeightsRefused` where it misfits."""
    weights = encoder.translate(read_checkpoint(path))
    if problem := misfit(weights, module):
        raise WeightsRefused(f"{path} does not fit {encoder.name}: {problem}. Choose the file made for this encoder.")
    module.load_state_dict(weights, strict=True)
    return tensors_sha256(weights)


def misfit(weights: dict[str, Tensor], module: nn.Module) -> str:
    """Return the first reason why weights do not fit a network, or an empty string."""
    expected = module.state_dict()
    for key, value in expected.items():
        if key not in weights:
            return f"{key} is missing"
        if weights[key].shape != value.shape:
            return f"{key} has shape {tuple(weights[key].shape)}, expected {tuple(value.shape)}"
    extra = next((key for key in weights if key not in expected), None)
    return f"{extra} has no place in it" if extra else ""


def _timm_preprocessing(module: nn.Module) -> Preprocessing:
    config = timm.data.resolve_data_config({}, model=module)
    return replace(Preprocessing(), size=config["input_size"][-1], mean=config["mean"], std=config["std"])
