"""Attention of its own for each class: every class pools the cells by itself, and judges what it pooled.

As in SCEMILA (Hehr et al. 2023): D -> 128 -> tanh -> C scores a cell for each class, a softmax over the cells makes
weights of the scores, and C heads each turn their class's pooled vector into one logit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_caltomorph.diagnosis.aggregator_options import WbcmilOptions
from napari_caltomorph.diagnosis.aggregators.base import Aggregator, mlp, softmax_over_cells


class WbcmilAggregator(Aggregator):
    """Class-wise attention. Its vector is the C pooled vectors in a row, (B, C * D). Keeps the weights, (B, C, N)."""

    attention_kind = WbcmilOptions.attention_kind

    def __init__(self, feature_width: int, classes: int, options: WbcmilOptions, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.width = classes * feature_width
        self.scores = nn.Sequential(
            nn.Linear(feature_width, options.attention_width), nn.Tanh(), nn.Linear(options.attention_width, classes)
        )

    def pool(self, bags: Tensor, mask: Tensor | None, keep: list[Tensor] | None) -> Tensor:
        """Pool B bags into (B, C * D)."""
        weights = softmax_over_cells(self.scores(bags).transpose(1, 2), mask)  # (B, C, N)
        if keep is not None:
            keep.append(weights)
        pooled: Tensor = (weights @ bags).flatten(1)
        return pooled

    def attention(self, kept: list[Tensor]) -> Tensor:
        """Return the mean of the classes' weights of one bag's cells, which sums to 1: (N,)."""
        return kept[0][0].mean(0)

    def classifier(self, hidden: int, classes: int, *, dropout: float = 0.0) -> nn.Module:
        """Build one head a class."""
        return ClasswiseHeads(self.width // classes, hidden, classes, dropout=dropout)


class ClasswiseHeads(nn.Module):
    """C heads, each of which turns the vector of its own class into one logit."""

    def __init__(self, width: int, hidden: int, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = nn.ModuleList(mlp(width, hidden, 1, dropout=dropout) for _ in range(classes))

    def forward(self, pooled: Tensor) -> Tensor:
        """Judge the pooled vectors (B, C * D): logits (B, C)."""
        own = pooled.reshape(len(pooled), len(self.heads), -1).unbind(1)  # C times (B, D)
        return torch.cat([head(vector) for head, vector in zip(self.heads, own, strict=True)], dim=1)
