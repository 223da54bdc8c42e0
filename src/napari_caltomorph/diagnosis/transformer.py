"""Transformer layers over the cells of a bag, read at a CLS token or as the mean of the cells.

There are no positions. With mean pooling there is no CLS token: nothing reads it, and the attention on it would be
lost to the cells. Every query row then belongs to a cell, so rollout is their plain average.
"""

from __future__ import annotations

from functools import partial

import torch
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn

from napari_caltomorph.diagnosis.aggregators import Aggregator, masked_mean
from napari_caltomorph.diagnosis.options import TransformerOptions

# Stated here, because releases of timm differ in what they add to the variance; the CLS token starts at one of 4e-4.
_layer_norm = partial(nn.LayerNorm, eps=1e-6)

# Rows of an attention matrix held at once while it is rolled out: 8 heads x 512 x 5,000 cells are 80 MB.
_QUERIES = 512


class TransformerAggregator(Aggregator):
    """Pre-norm transformer layers (paper, section 2.4). Keeps the input of each layer, (B, T, width)."""

    def __init__(self, feature_width: int, classes: int, options: TransformerOptions, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.width = options.width
        self.project = nn.Linear(feature_width, options.width)
        self.cls_token = nn.Parameter(torch.empty(1, 1, options.width)) if options.pooling == "cls" else None
        self.blocks = nn.ModuleList(
            Block(
                dim=options.width,
                num_heads=options.heads,
                # timm rounds width times ratio down; without the half, 56 times 488/56 would be 487.
                mlp_ratio=(options.mlp_width + 0.5) / options.width,
                qkv_bias=True,
                proj_drop=dropout,
                norm_layer=_layer_norm,
            )
            for _ in range(options.depth)
        )
        self.norm = _layer_norm(options.width)
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=0.02)

    def pool(self, bags: Tensor, mask: Tensor | None, keep: list[Tensor] | None) -> Tensor:
        x = self.project(bags)  # (B, N, width)
        tokens = mask
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)  # (B, 1 + N, width)
            tokens = None if mask is None else nn.functional.pad(mask, (1, 0), value=True)
        keys = None
        if tokens is not None:
            # Added to the attention's logits: some releases of timm add a boolean mask as 0 and 1.
            keys = x.new_zeros(tokens.shape).masked_fill(~tokens, float("-inf"))[:, None, None, :]  # (B, 1, 1, T)
        for block in self.blocks:
            if keep is not None:
                keep.append(x)
            x = block(x, attn_mask=keys)
        if self.cls_token is not None:
            pooled: Tensor = self.norm(x[:, 0])
            return pooled
        return masked_mean(self.norm(x), mask)

    @torch.inference_mode()
    def attention(self, kept: list[Tensor]) -> Tensor:
        """How much of the pooled vector comes from each cell of one bag, by attention rollout: (N,).

        Abnar and Zuidema 2020: A = mean over heads, A' = (A + I) / 2, R = A'_L ... A'_1, read at R[CLS, cells]; for
        mean pooling, the mean of R over its rows, because every cell's row is read with the same weight.
        Only one row is wanted, so a row vector is carried from the last layer to the first, which is exact and needs
        no matrix product. With CLS the row does not sum to 1: part of the mass never leaves the CLS token.
        """
        row = torch.zeros(kept[0].shape[1], device=kept[0].device)  # (T,)
        if self.cls_token is None:
            row[:] = 1 / len(row)
        else:
            row[0] = 1
        for block, x in zip(reversed(self.blocks), reversed(kept), strict=True):
            assert isinstance(block, Block)
            row = (row + through_attention(block.attn, block.norm1(x), row)) / 2
        return row if self.cls_token is None else row[1:]


def through_attention(attention: Attention, x: Tensor, row: Tensor) -> Tensor:
    """Return ``row @ A`` where A is the head mean of a layer's attention on its normalised input x (1, T, width).

    The attention is computed again here, because fused attention keeps none; the layer itself is not changed.
    """
    _, tokens, _ = x.shape
    qkv = attention.qkv(x).reshape(tokens, 3, attention.num_heads, attention.head_dim).permute(1, 2, 0, 3)
    queries, keys = attention.q_norm(qkv[0]), attention.k_norm(qkv[1])  # (heads, T, head width)
    result = torch.zeros_like(row)
    # In the last layer only the CLS token has weight; rows without weight add nothing.
    for some in torch.split(torch.nonzero(row)[:, 0], _QUERIES):
        weights = (queries[:, some] * attention.scale @ keys.transpose(1, 2)).softmax(
            -1, dtype=row.dtype
        )  # (heads, some, T)
        result += (row[some] @ weights).mean(0)  # (heads, T) -> (T,)
    return result
