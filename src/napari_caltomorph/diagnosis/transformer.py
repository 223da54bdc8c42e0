"""Transformer layers over the cells of a bag, read at a CLS token or as the mean of the cells.

There are no positions. With mean pooling there is no CLS token: nothing reads it, and the attention on it would be
lost to the cells. Every query row then belongs to a cell, so rollout is their plain average. With a CLS token, nothing
reads the cells' rows of the last layer, so they are not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_caltomorph.diagnosis.aggregators import Aggregator, Dropout, Keep, Kept, masked_mean
from napari_caltomorph.diagnosis.options import LayerOptions

_layer_norm = partial(nn.LayerNorm, eps=1e-6)

# Rows of an attention matrix held at once while it is rolled out: 8 heads x 512 x 5,000 cells are 80 MB.
_QUERIES = 512
# The largest attention matrices (B x heads x T x T) that a CPU keeps of each layer, for the backward pass: 64 MB in
# bf16, as of 8 bags of 700 cells.
_KEPT_MATRICES = 2**25


class TransformerAggregator(Aggregator):
    """Pre-norm transformer layers (paper, section 2.4). Keeps the queries and keys of each layer."""

    def __init__(self, feature_width: int, classes: int, options: LayerOptions, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.width = options.width
        self.layers = options.depth
        self.project = nn.Linear(feature_width, options.width)
        self.cls_token = nn.Parameter(torch.empty(1, 1, options.width)) if options.pooling == "cls" else None
        self.blocks = nn.ModuleList(Layer(options, dropout) for _ in range(options.depth))
        self.norm = _layer_norm(options.width)
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=0.02)

    def pool(self, bags: Tensor, mask: Tensor | None, keep: Keep | None) -> Tensor:
        x = self.project(bags)  # (B, N, width)
        tokens = mask
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)  # (B, 1 + N, width)
            tokens = None if mask is None else functional.pad(mask, (1, 0), value=True)
        padding = None  # Added to the attention's logits, (B, 1, 1, T)
        if tokens is not None:
            padding = x.new_zeros(tokens.shape).masked_fill(~tokens, float("-inf"))[:, None, None, :]
        for number, block in enumerate(self.blocks, start=1):
            is_read_at_cls = self.cls_token is not None and number == len(self.blocks)
            x = block(x, 1 if is_read_at_cls else x.shape[1], padding, keep)
        if self.cls_token is not None:
            pooled: Tensor = self.norm(x[:, 0])
            return pooled
        return masked_mean(self.norm(x), mask)

    @torch.inference_mode()
    def attention(self, kept: Sequence[Kept]) -> Tensor:
        """How much of the pooled vector comes from each cell of one bag, by attention rollout: (N,).

        Abnar and Zuidema 2020: A = mean over heads, A' = (A + I) / 2, R = A'_L ... A'_1, read at R[CLS, cells]; for
        mean pooling, the mean of R over its rows, because every cell's row is read with the same weight.
        Only one row is wanted, so a row vector is carried from the last layer to the first, which is exact and needs
        no matrix product. With CLS the row does not sum to 1: part of the mass never leaves the CLS token.
        """
        _, keys = kept[0]
        row = torch.zeros(keys.shape[2], device=keys.device)  # (T,)
        if self.cls_token is None:
            row[:] = 1 / len(row)
        else:
            row[0] = 1
        for queries, keys in reversed(kept):
            row = (row + through_attention(queries[0], keys[0], row)) / 2
        return row if self.cls_token is None else row[1:]


class _Attention(nn.Module):
    """The weights of a layer's attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)


class _Mlp(nn.Module):
    """The weights of a layer's MLP."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)


class Layer(nn.Module):
    """A pre-norm transformer layer; its weights have the names, and at first the values, of timm's `Block`."""

    def __init__(self, options: LayerOptions, dropout: float) -> None:
        super().__init__()
        width, hidden = options.width, options.mlp_width
        self.heads = options.heads
        self.norm1 = _layer_norm(width)
        self.attn = _Attention(width)
        self.norm2 = _layer_norm(width)
        self.mlp = _Mlp(width, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, rows: int, padding: Tensor | None, keep: Keep | None) -> Tensor:
        """Return the first rows of x (B, T, width) after this layer: (B, rows, width); they attend to all T."""
        normed = self.norm1(x)
        width, qkv = x.shape[2], self.attn.qkv
        weights, biases = (torch.split(one, [width, 2 * width]) for one in (qkv.weight, qkv.bias))
        (queries,) = self._by_head(functional.linear(normed[:, :rows], weights[0], biases[0]), 1)
        keys, values = self._by_head(functional.linear(normed, weights[1], biases[1]), 2)
        if keep is not None:
            keep((queries, keys))
        mixed = _attend(queries, keys, values, padding).transpose(1, 2).flatten(2)  # (B, rows, width)
        x = x[:, :rows] + self.dropout(self.attn.proj(mixed))
        hidden = self.dropout(functional.gelu(self.mlp.fc1(self.norm2(x))))
        changed: Tensor = x + self.dropout(self.mlp.fc2(hidden))
        return changed

    def _by_head(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Return the parts of x (B, T, parts * width), each as (B, heads, T, head width)."""
        head_width = x.shape[2] // (parts * self.heads)
        return x.reshape(*x.shape[:2], parts, self.heads, head_width).permute(2, 0, 3, 1, 4).unbind()


def _attend(queries: Tensor, keys: Tensor, values: Tensor, padding: Tensor | None) -> Tensor:
    """Attention (B, heads, rows, head width) of rows to all but the padding."""
    size = queries.shape[:3].numel() * keys.shape[2]
    if queries.device.type != "cpu" or queries.dtype != torch.bfloat16 or size > _KEPT_MATRICES:
        return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=padding)
    # On a CPU, torch's fused attention in bf16 is half as fast as its matrix products.
    scores: Tensor = (queries * queries.shape[3] ** -0.5) @ keys.transpose(2, 3)
    if padding is not None:
        scores += padding
    return scores.softmax(-1) @ values


def through_attention(queries: Tensor, keys: Tensor, row: Tensor) -> Tensor:
    """Return ``row @ A`` where A is the head mean of a layer's attention of queries and keys (heads, T, head width).

    The matrix is computed again here, because fused attention keeps none. Queries may lack rows that have no weight.
    """
    result = torch.zeros_like(row)
    scale = queries.shape[2] ** -0.5
    # In the last layer only the CLS token has weight; rows without weight add nothing.
    for some in torch.split(torch.nonzero(row)[:, 0], _QUERIES):
        weights = (queries[:, some] * scale @ keys.transpose(1, 2)).softmax(-1, dtype=row.dtype)  # (heads, some, T)
        result += (row[some] @ weights).mean(0)  # (heads, T) -> (T,)
    return result
