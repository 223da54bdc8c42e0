"""Where a vision transformer attends within a cell: attention rollout over the patches of its image.

The same rollout as over cells (`diagnosis/transformer.py`), for the encoder's own layers. It is unsigned, and about the
encoder alone: no diagnosis is part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models.vision_transformer import Attention, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from napari_caltomorph.diagnosis.transformer import through_attention
from napari_caltomorph.encoding.load import LoadedEncoder
from napari_caltomorph.errors import ExplanationRefused


@dataclass(frozen=True)
class PatchAttention:
    """Attention of an encoder over one cell's image."""

    patches: NDArray[np.float32]  # Rollout of each patch as a ratio to the mean: 1.0 is an average patch
    # (H, W) float32: the same on the image's own pixels, linear between the centres of the patches
    pixels: NDArray[np.float32]

    def on_canvas(self, canvas: tuple[int, int]) -> NDArray[np.float32]:
        """Return `pixels` where `smear.on_canvas` puts the image: centred, shrunk if larger, NaN beyond it."""
        height, width = self.pixels.shape
        scale = min(1.0, canvas[0] / height, canvas[1] / width)
        size = (max(1, int(height * scale)), max(1, int(width * scale))) if scale < 1 else (height, width)
        shown = np.full(canvas, np.nan, dtype=np.float32)
        top, left = ((full - n) // 2 for full, n in zip(canvas, size, strict=True))
        shown[top : top + size[0], left : left + size[1]] = _stretched(self.patches, size)
        return shown


def patch_attention(encoder: LoadedEncoder, image: NDArray[np.uint8]) -> PatchAttention:
    """Return where the encoder, a vision transformer of timm, attends in what it is shown of a cell, (H, W, 3) uint8.

    Raises `ExplanationRefused` where the encoder has no attention over patches, e.g. a convolutional network, or cuts
    something of the image off.

    Abnar and Zuidema 2020, as a row vector propagated from the last layer to the first: r = e_CLS, then r becomes r / 2
    + r A_l / 2 with A_l the head mean of layer l; for networks that average their patches, r starts even. Each layer's
    attention is computed again from the layer's input, so fused attention stays as it is. The whole image is resized to
    a square before it is encoded, so each patch covers an even share of its height and width.
    """
    module = encoder.module
    if not encoder.preprocessing.takes_all_of(image.shape):
        raise ExplanationRefused(
            f"{encoder.encoder.name} takes the centre of an image only: its attention is not shown on the whole image."
        )
    first = _feature_tokens(module, encoder.encoder.name)
    assert isinstance(module, VisionTransformer)
    with _inputs_of_attention(module) as inputs:
        replace(encoder, views=0).features([image])
    prefix = module.num_prefix_tokens
    row = torch.zeros(inputs[0].shape[1], device=inputs[0].device)  # (T,)
    row[first] = 1 / len(row[first])
    with torch.inference_mode():
        for block, x in zip(reversed(module.blocks), reversed(inputs), strict=True):
            row = (row + through_attention(*_queries_and_keys(block.attn, x), row)) / 2
    grid = row[prefix:].reshape(*module.patch_embed.grid_size)
    # A network may attend to its CLS token alone: then every patch matters as much as the average one.
    grid = grid / grid.mean() if grid.mean() > 0 else torch.ones_like(grid)
    patches = grid.float().cpu().numpy()
    return PatchAttention(patches, _stretched(patches, image.shape[:2]))


def _queries_and_keys(attention: Attention, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return those of a layer's input (1, T, width), each (heads, T, head width)."""
    qkv = attention.qkv(x).reshape(x.shape[1], 3, attention.num_heads, attention.head_dim).permute(1, 2, 0, 3)
    return attention.q_norm(qkv[0]), attention.k_norm(qkv[1])


def _stretched(patches: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Return patches (h, w) on (H, W) pixels, linear between their centres."""
    pixels = functional.interpolate(torch.from_numpy(patches)[None, None], size, mode="bilinear", align_corners=False)
    return np.asarray(pixels[0, 0].numpy())


def _feature_tokens(module: nn.Module, name: str) -> slice:
    """Return the tokens whose output becomes the feature."""
    plain = isinstance(module, VisionTransformer) and all(
        isinstance(getattr(block, "attn", None), Attention) for block in module.blocks
    )
    if plain and module.global_pool == "token" and module.num_prefix_tokens:
        return slice(0, 1)
    if plain and module.global_pool == "avg":
        return slice(module.num_prefix_tokens, None)
    raise ExplanationRefused(
        f"{name} has no attention over the parts of an image; encoders that do are vision transformers, "
        "such as dinobloom-b."
    )


@contextmanager
def _inputs_of_attention(module: VisionTransformer) -> Iterator[list[Tensor]]:
    """Collect what goes into each layer's attention, (1, T, width), while the context lasts."""
    inputs: list[Tensor] = []
    hooks = [block.attn.register_forward_pre_hook(lambda _, given: inputs.append(given[0])) for block in module.blocks]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()
