"""Checkpoints in the forms in which GenBloom-V and -G are published, with random weights, and a second forward pass."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

StateDict = dict[str, Tensor]


def backbone(width: int = 128, depth: int = 2, features: int = 24, layer_scale: float | None = None) -> StateDict:
    """Entries of a DINOv2 transformer; LayerScale is random where it is not given."""
    torch.manual_seed(width + depth)

    def pair(name: str, *shape: int) -> StateDict:
        weight = torch.randn(*shape) / shape[-1] ** 0.5 if len(shape) > 1 else 1 + torch.randn(*shape) / 10
        return {f"{name}.weight": weight, f"{name}.bias": torch.randn(shape[0]) / 10}

    entries = {"cls_token": torch.randn(1, 1, width), "pos_embed": torch.zeros(1, 10, width)}
    entries |= {"mask_token": torch.randn(1, width), **pair("patch_embed.project", width, features)}
    for number in range(depth):
        block = f"blocks.{number}"
        for name in ("1", "2"):
            gamma = torch.randn(width) if layer_scale is None else torch.full((width,), layer_scale)
            entries |= {f"{block}.ls{name}.gamma": gamma, **pair(f"{block}.norm{name}", width)}
        entries |= pair(f"{block}.attn.qkv", 3 * width, width) | pair(f"{block}.attn.proj", width, width)
        entries |= pair(f"{block}.mlp.fc1", 4 * width, width) | pair(f"{block}.mlp.fc2", width, 4 * width)
    return entries | pair("norm", width)


def write_genbloom(path: Path, kind: str, entries: StateDict) -> Path:
    """Write a checkpoint as it is published."""
    if kind == "genbloom-v":
        named = {f"backbone.{name}": value for name, value in entries.items()}
        heads = {f"{head}.last_layer.weight_v": torch.randn(4, 8) for head in ("dino_head", "ibot_head")}
        torch.save({"teacher": named | heads}, path)
    else:
        chunked = {name.replace("blocks.", "blocks.0.", 1): value for name, value in entries.items()}
        head = {"net.0.weight": torch.randn(64, 8), "net.1.num_batches_tracked": torch.tensor(3)}
        torch.save({"vision_tower": "transformer", "projection_head": head, "vision_model": chunked}, path)
    return path


def forward(entries: StateDict, cells: Tensor) -> Tensor:
    """Return the normalised CLS token of one bag (N, D), computed from the entries with plain functions."""

    def apply(name: str, x: Tensor) -> Tensor:
        return linear(x, entries[f"{name}.weight"], entries[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return layer_norm(x, x.shape[-1:], entries[f"{name}.weight"], entries[f"{name}.bias"], eps=1e-6)

    x = torch.cat([entries["cls_token"][0], apply("patch_embed.project", cells)])  # (1 + N, width)
    for number in range(sum(name.endswith("ls1.gamma") for name in entries)):
        block = f"blocks.{number}"
        parts = apply(f"{block}.attn.qkv", norm(f"{block}.norm1", x)).chunk(3, dim=-1)
        queries, keys, values = (part.unflatten(-1, (-1, 64)).transpose(0, 1) for part in parts)  # (heads, T, 64)
        mixed = (queries @ keys.mT / 8).softmax(-1) @ values
        x = x + entries[f"{block}.ls1.gamma"] * apply(f"{block}.attn.proj", mixed.transpose(0, 1).flatten(1))
        hidden = gelu(apply(f"{block}.mlp.fc1", norm(f"{block}.norm2", x)))
        x = x + entries[f"{block}.ls2.gamma"] * apply(f"{block}.mlp.fc2", hidden)
    return norm("norm", x)[0]
