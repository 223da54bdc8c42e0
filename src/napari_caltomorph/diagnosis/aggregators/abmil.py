"""Gated attention: one weight a cell, and the weighted mean of the cells (Ilse, Tomczak and Welling 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from napari_caltomorph.diagnosis.aggregator_options import AbmilOptions
from napari_caltomorph.diagnosis.aggregators.base import Aggregator, softmax_over_cells


class AbmilAggregator(Aggregator):
    """Attention w . (tanh(V h) * sigmoid(U h)), their equation 9. Keeps the weights, (B, N)."""

    attention_kind = AbmilOptions.attention_kind

    def __init__(self, feature_width: int, classes: int, options: AbmilOptions, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.width = options.width
        self.project = nn.Sequential(nn.Linear(feature_width, options.width), nn.ReLU(), nn.Dropout(dropout))
        self.content = nn.Sequential(nn.Linear(options.width, options.attention_width), nn.Tanh())
        self.gate = nn.Sequential(nn.Linear(options.width, options.attention_width), nn.Sigmoid())
        self.score = nn.Linear(options.attention_width, 1)

    def pool(self, bags: Tensor, mask: Tensor | None, keep: list[Tensor] | None) -> Tensor:
        """Pool B bags into (B, width)."""
        cells = self.project(bags)  # (B, N, width)
        weights = softmax_over_cells(self.score(self.content(cells) * self.gate(cells))[..., 0], mask)  # (B, N)
        if keep is not None:
            keep.append(weights)
        pooled: Tensor = (weights[:, None] @ cells)[:, 0]
        return pooled

    def attention(self, kept: list[Tensor]) -> Tensor:
        """Return the weights of one bag's cells, which sum to 1: (N,)."""
        return kept[0][0]
