"""An encoder with its weights in it, ready to turn a batch of cells into features."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_caltomorph.encoding.checkpoints import read_checkpoint, tensors_sha256
from napari_caltomorph.encoding.device import (
    cells_at_once,
    find_device,
    find_precision,
    full_float32,
    is_out_of_memory,
    on_the_way,
    to_device,
)
from napari_caltomorph.encoding.encoders import Encoder, find_encoder, find_network
from napari_caltomorph.encoding.key_names import adapted_to, misfit, named_as, resembles, vit_arguments
from napari_caltomorph.encoding.options import AS_IT_IS, EncodeOptions, Preparation
from napari_caltomorph.encoding.perturbation import STAIN_VIEWS, with_views
from napari_caltomorph.encoding.preprocessing import AtScale, Preprocessing
from napari_caltomorph.errors import WeightsRefused, first_line

Images = Sequence[NDArray[np.uint8]]

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
    field_of_view_um: float | None = None  # Width of a cell's image as the user states it
    views: int = 0  # K, of each cell, besides the cell as it is

    @property
    def width(self) -> int:
        """Length D of a feature."""
        # `num_features` is that of the last map; some networks widen it once more.
        return int(cast(int, self.module.head_hidden_size))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the features of a cell: (D,), or (1 + K, D) with views."""
        return (1 + self.views, self.width) if self.views else (self.width,)

    @property
    def views_in_words(self) -> str | None:
        """How many views there are of each cell, and how they differ, as features record it; None without views."""
        return f"{self.views} of {STAIN_VIEWS}" if self.views else None

    @property
    def precision(self) -> str:
        return _PRECISION_NAMES[self.dtype]

    @property
    def at_scale(self) -> AtScale:
        """What gives a smear the width that the user states."""
        return AtScale(self.encoder.name, self.preprocessing.field_um, self.field_of_view_um)

    def features(self, images: Images) -> NDArray[np.float32]:
        """Encode B images (H, W, 3) uint8, of any sizes, as (B, D) float32, or (B, 1 + K, D) with views.

        A vision transformer's feature is its normalised CLS token, as DinoBloom's authors use it (Koch et al.
        2024); a convolutional network's is the mean of its last map.
        """
        return self.submit(images)()

    def stream(self, batches: Iterable[Images]) -> Iterator[NDArray[np.float32]]:
        """Encode batches of images in pieces that fit, and yield the features of each piece, in order.

        On CUDA the features come one piece behind: while the device computes a piece, the next images are read. Out of
        memory halves the pieces for good, down to one cell, which is an error. A batch without images, while none are
        there, yields what is on the way, or nothing: (0, D).
        """
        limit, behind = max(1, cells_at_once(self.device) // (1 + self.views)), 1 if self.device.type == "cuda" else 0
        pending: deque[Callable[[], NDArray[np.float32]]] = deque()
        for images in batches:
            if not len(images):
                yield pending.popleft()() if pending else np.empty((0, *self.shape), np.float32)
            start = 0
            while start < len(images):
                piece = images[start : start + limit]
                features = self._submit_if_it_fits(piece)
                if features is None:
                    limit = len(piece) // 2
                    continue
                start += len(piece)
                pending.append(features)
                if len(pending) > behind:
                    yield pending.popleft()()
        for features in pending:
            yield features()

    @torch.inference_mode()
    def submit(self, images: Images) -> Callable[[], NDArray[np.float32]]:
        """Begin to encode images, and return a function that waits for their features.

        What does not fit into memory is an error here, not when the features are fetched.
        """
        batch = self.preprocess(images).to(self.dtype)
        if self.device.type != "mps":
            batch = batch.contiguous(memory_format=torch.channels_last)
        with full_float32(self.device):
            features: Tensor = self.module(batch)
        return on_the_way(features.float().reshape(len(images), *self.shape))

    def _submit_if_it_fits(self, images: Images) -> Callable[[], NDArray[np.float32]] | None:
        """Return None when memory ran out; one cell that does not fit is an error."""
        try:
            return self.submit(images)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(images) == 1:
                raise
        # Not in the handler: there, the error still holds the tensors that filled the memory.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def preprocess(self, images: Images) -> Tensor:
        """Resize and normalise: (B, 3, size, size) float32 on the device, or (B (1 + K), 3, size, size) with views.

        Equal sizes are resized together.

        Images go to the device as uint8. CUDA's pixels differ from those of a CPU by rounding, below 1e-5. Metal's are
        made on the CPU: torch before 2.7 cannot resize with antialiasing there.
        """
        where, size = torch.device("cpu") if self.device.type == "mps" else self.device, self.preprocessing.size
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            groups.setdefault(image.shape, []).append(index)
        batch = torch.empty((len(images), 3, size, size), device=where)
        for indices in groups.values():
            pixels = _stacked([images[i] for i in indices], where).permute(0, 3, 1, 2).float() / 255
            batch.index_copy_(0, to_device(torch.tensor(indices), where), self.preprocessing.resized(pixels))
        scales = to_device(torch.tensor([self.preprocessing.mean, self.preprocessing.std]), where)
        mean, std = scales.view(2, 3, 1, 1)
        if self.views:
            batch = with_views(batch, images, self.views).flatten(0, 1)
        normalised: Tensor = (batch - mean) / std
        return normalised.to(self.device)


def _stacked(images: Images, device: torch.device) -> Tensor:
    """Return images of one size as (B, H, W, 3) uint8 on a device; for CUDA they are stacked in pinned memory."""
    is_cuda = device.type == "cuda"
    host = torch.empty((len(images), *images[0].shape), dtype=torch.uint8, pin_memory=is_cuda)
    np.stack(images, out=host.numpy())
    return host.to(device, non_blocking=is_cuda)


def load_encoder(options: EncodeOptions, preparation: Preparation = AS_IT_IS) -> LoadedEncoder:
    """Build the encoder and load its weights, strictly.

    Parameters
    ----------
    options : EncodeOptions
    preparation : Preparation
        A crop and views, where they are not the encoder's own.

    Returns
    -------
    LoadedEncoder
        On the device of `options`.

    Raises
    ------
    WeightsMissing, WeightsRefused, DeviceMissing
    """
    encoder, path = find_network(find_encoder(options.encoder), options.weights)
    device = find_device(options.device)
    dtype = find_precision(options.precision, device)
    network = read_network(encoder, path)
    for note in network.notes if encoder.width is None else ():  # those of the table are known
        logging.getLogger(__name__).warning("%s: %s", path, note)
    module = network.module.eval().requires_grad_(False).to(device, dtype)
    if device.type != "mps":
        module = module.to(memory_format=torch.channels_last)
    preprocessing = replace(network.preprocessing, field_um=preparation.crop_um or network.preprocessing.field_um)
    weights_sha256, width = network.weights_sha256, options.field_of_view
    return LoadedEncoder(encoder, module, preprocessing, weights_sha256, device, dtype, width, preparation.views)


@dataclass(frozen=True)
class Network:
    """An encoder's network with the weights of a file in it."""

    module: nn.Module
    preprocessing: Preprocessing
    weights_sha256: str
    notes: tuple[str, ...]  # What of the file was left out or changed


def read_network(encoder: Encoder, path: Path) -> Network:
    """Build the network of an encoder and load a file into it, strictly; `WeightsRefused` where it misfits.

    Any timm model is built as its weights need it (image size, LayerScale, register tokens), where nothing states them.
    """
    weights = encoder.translate(read_checkpoint(path))
    plan = _plan(encoder)
    try:
        weights, notes = named_as(plan, weights)
        if encoder.width is None:
            if type(plan) is timm.models.VisionTransformer:
                encoder = replace(encoder, arguments={**vit_arguments(plan, weights), **encoder.arguments})
                plan = _plan(encoder)
            weights, resampled = adapted_to(plan, weights)
            notes += resampled
    except WeightsRefused as error:
        raise WeightsRefused(f"{path} does not fit {encoder.name}: {str(error).rstrip('.')}.") from error
    if problem := misfit(weights, plan):
        other = resembles(weights)
        raise WeightsRefused(
            f"{path} does not fit {encoder.name}: {problem}. {f'It holds {other}. ' if other else ''}"
            "Choose the file made for this encoder."
        )
    module = build_module(encoder)
    module.load_state_dict(weights, strict=True)
    return Network(module, _preprocessing(encoder, module), tensors_sha256(weights), notes)


def _plan(encoder: Encoder) -> nn.Module:
    """Build the network without memory: a config.json may claim one that is larger than any machine."""
    with torch.device("meta"):
        return build_module(encoder)


def build_module(encoder: Encoder) -> nn.Module:
    """Build the network with random weights; `WeightsRefused` when timm knows no such architecture."""
    # Asked first, because timm would look for names such as "hf-hub:..." on the network.
    if not timm.is_model(encoder.architecture):
        raise WeightsRefused(f"timm knows no architecture {encoder.architecture!r}; see timm.list_models().")
    try:
        module: nn.Module = timm.create_model(
            encoder.architecture, pretrained=False, num_classes=0, **encoder.arguments
        )
    except Exception as error:  # arguments of a config.json may raise anything in there
        raise WeightsRefused(
            f"timm cannot build {encoder.architecture} with {dict(encoder.arguments)} ({first_line(error)}); "
            "a newer timm may, or the config.json is damaged."
        ) from error
    return module


def _preprocessing(encoder: Encoder, module: nn.Module) -> Preprocessing:
    """Return how images are prepared; for any timm model at the size that its network takes."""
    if encoder.width is not None and encoder.preprocessing is not None:
        return encoder.preprocessing
    known = encoder.preprocessing
    if known is None:
        config = timm.data.resolve_data_config({}, model=module)
        known = Preprocessing(size=config["input_size"][-1], mean=config["mean"], std=config["std"])
    sides = getattr(getattr(module, "patch_embed", None), "img_size", None) or (known.size,) * 2
    if sides[0] != sides[1]:
        raise WeightsRefused(f"{encoder.name} takes images of {sides[1]} x {sides[0]} px, no squares.")
    return replace(known, size=sides[0])
