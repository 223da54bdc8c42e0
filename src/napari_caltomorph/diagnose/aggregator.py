"""The networks between features and diagnosis: a transformer that pools a bag of cells, and its heads.

A bag has no order, so there are no positions. Padding is emptied, and masked as keys, which lets nothing of it reach a
cell or the CLS token. Attention is recomputed from the layers' inputs when somebody asks, so asking cannot change the
logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn

from napari_caltomorph.diagnose.model_file import AggregatorOptions

# Said here, because releases of timm differ in what they add to the variance; the CLS token starts at one of 4e-4.
_layer_norm = partial(nn.LayerNorm, eps=1e-6)

# Rows of an attention matrix held at once while it is rolled out: 8 heads x 512 x 5,000 cells are 80 MB.
_QUERIES = 512


class TransformerAggregator(nn.Module):
    """Pool a bag of cells with a CLS token through pre-norm transformer layers (paper, section 2.4)."""

    def __init__(self, feature_width: int, options: AggregatorOptions) -> None:
        super().__init__()
        self.project = nn.Linear(feature_width, options.width)
        self.cls_token = nn.Parameter(torch.empty(1, 1, options.width))
        self.blocks = nn.ModuleList(
            Block(
                dim=options.width,
                num_heads=options.heads,
                # timm rounds width times ratio down; without the half, 56 times 488/56 would be 487.
                mlp_ratio=(options.mlp_width + 0.5) / options.width,
                qkv_bias=True,
                norm_layer=_layer_norm,
            )
            for _ in range(options.depth)
        )
        self.norm = _layer_norm(options.width)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def forward(self, bags: Tensor, mask: Tensor | None = None, *, keep: list[Tensor] | None = None) -> Tensor:
        """Pool B bags into (B, width).

        Parameters
        ----------
        bags : (B, N, D)
        mask : (B, N) bool, optional
            True for a cell, False for padding, whatever stands there.
        keep : list, optional
            Filled with the input of each layer, (B, 1 + N, width), for `attention_rollout`.
        """
        if mask is not None:
            bags = bags.masked_fill(~_boolean(mask)[..., None], 0)  # a NaN would pass any mask of the keys
        x = self.project(bags)  # (B, N, width)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)  # (B, 1 + N, width)
        keys = None
        if mask is not None:
            # Added to the attention's logits: some releases of timm add a boolean mask as 0 and 1.
            padding = nn.functional.pad(~mask, (1, 0), value=False)
            keys = x.new_zeros(padding.shape).masked_fill(padding, float("-inf"))[:, None, None, :]  # (B, 1, 1, 1 + N)
        for block in self.blocks:
            if keep is not None:
                keep.append(x)
            x = block(x, attn_mask=keys)
        pooled: Tensor = self.norm(x[:, 0])
        return pooled

    @torch.inference_mode()
    def attention_rollout(self, kept: list[Tensor]) -> Tensor:
        """How much of the CLS token's final state comes from each cell of one bag: (N,).

        Parameters
        ----------
        kept : list of (1, 1 + N, width)
            What `forward` kept of a single, unpadded bag.

        Notes
        -----
        Abnar and Zuidema 2020: A = mean over heads, A' = (A + I) / 2, R = A'_L ... A'_1, read at R[CLS, cells].
        Only that row is wanted, so a row vector is carried from the last layer to the first, which is exact and
        needs no matrix product. The row does not sum to 1: part of the mass never leaves the CLS token.
        """
        row = torch.zeros(kept[0].shape[1], device=kept[0].device)  # (1 + N,)
        row[0] = 1
        for block, x in zip(reversed(self.blocks), reversed(kept), strict=True):
            assert isinstance(block, Block)
            row = (row + _through_attention(block.attn, block.norm1(x), row)) / 2
        return row[1:]


def _through_attention(attention: Attention, x: Tensor, row: Tensor) -> Tensor:
    """Return ``row @ A`` where A is the head mean of a layer's attention on x (1, T, width)."""
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


def _boolean(mask: Tensor) -> Tensor:
    if mask.dtype != torch.bool:  # ones and zeros would be added to the attention, and let the padding through
        raise TypeError(f"a mask of cells is boolean, not {mask.dtype}")
    return mask


@dataclass(frozen=True)
class Outputs:
    """What a member says of B bags: logits (B, C), standardised hemoglobin (B,) or None, embedding (B, width)."""

    logits: Tensor
    hemoglobin: Tensor | None
    embedding: Tensor


class Member(nn.Module):
    """One of an ensemble's models: an aggregator, a class head and, if trained for it, a hemoglobin head.

    The paper's "2 layered" MLP with 128 hidden units stands on the pooled vector, once for each target, so that a
    model without hemoglobin is the same network for the classes.
    """

    def __init__(
        self, feature_width: int, classes: int, options: AggregatorOptions, *, classifier_width: int, hemoglobin: bool
    ) -> None:
        super().__init__()
        self.aggregator = TransformerAggregator(feature_width, options)
        self.classifier = _head(options.width, classifier_width, classes)
        self.hemoglobin = _head(options.width, classifier_width, 1) if hemoglobin else None

    def forward(self, bags: Tensor, mask: Tensor | None = None, *, keep: list[Tensor] | None = None) -> Outputs:
        """Diagnose B bags (B, N, D); `mask` and `keep` as in `TransformerAggregator.forward`."""
        embedding = self.aggregator(bags, mask, keep=keep)
        hemoglobin = None if self.hemoglobin is None else self.hemoglobin(embedding)[:, 0]
        return Outputs(self.classifier(embedding), hemoglobin, embedding)


def _head(width: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, outputs))
