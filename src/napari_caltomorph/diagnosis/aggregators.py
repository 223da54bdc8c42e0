"""Aggregators without layers, and their base class: a bag of cells in, one vector and the attention to each cell out.

A bag has no order, and a batch is padded to its longest bag. Padding is set to zero here, once for all kinds, because
a NaN in it would pass any mask; each kind leaves it out of what it pools. Attention is computed from what `forward`
kept, so it cannot change the logits and costs no second pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from napari_caltomorph.diagnosis.options import AbmilOptions, MaxOptions, MeanOptions, WbcmilOptions

# Called after each layer of a forward pass with what `Aggregator.attention` needs of it; what it raises ends the pass.
Kept = tuple[Tensor, ...]
Keep = Callable[[Kept], None]


class Aggregator(nn.Module, ABC):
    """Pools bags of cells into one vector each.

    A kind is constructed as ``Kind(feature_width, classes, options, dropout=0.0)``, with its own class of options.
    """

    width: int  # Of the vector
    layers: int = 1  # How often `keep` is called

    def forward(self, bags: Tensor, mask: Tensor | None = None, *, keep: Keep | None = None) -> Tensor:
        """Pool B bags (B, N, D) into (B, width).

        `mask` (B, N) bool is True for a cell, at least one in each bag, and False for padding, which may have any
        value. `keep` gets what `attention` needs, layer by layer.
        """
        if mask is not None:
            if mask.dtype != torch.bool:  # ones and zeros would be added to logits, and let the padding through
                raise TypeError(f"a mask of cells is boolean, not {mask.dtype}")
            bags = bags.masked_fill(~mask[..., None], 0)
        return self.pool(bags, mask, keep)

    @abstractmethod
    def pool(self, bags: Tensor, mask: Tensor | None, keep: Keep | None) -> Tensor:
        """Pool B bags, whose padding is zero, into (B, width)."""

    @abstractmethod
    def attention(self, kept: Sequence[Kept]) -> Tensor | None:
        """How much each cell of one bag mattered, (N,) and not negative; None for kinds without attention.

        `kept` is what `forward` gave to `keep`, of a single, unpadded bag.
        """

    def classifier(self, hidden: int, classes: int, *, dropout: float = 0.0) -> nn.Module:
        """Build the head that turns the vector (B, width) into logits (B, classes)."""
        return mlp(self.width, hidden, classes, dropout=dropout)


class _Pooling(Aggregator):
    """The baselines, which work feature by feature and attend to no cell."""

    def __init__(
        self, feature_width: int, classes: int, options: MeanOptions | MaxOptions, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.width = feature_width

    def attention(self, kept: Sequence[Kept]) -> None:
        return None


class MeanAggregator(_Pooling):
    """The mean of the cells' features."""

    def pool(self, bags: Tensor, mask: Tensor | None, keep: Keep | None) -> Tensor:
        return masked_mean(bags, mask)


class MaxAggregator(_Pooling):
    """The largest value of each feature among the cells."""

    def pool(self, bags: Tensor, mask: Tensor | None, keep: Keep | None) -> Tensor:
        if mask is not None:
            bags = bags.masked_fill(~mask[..., None], float("-inf"))
        return bags.amax(1)


class AbmilAggregator(Aggregator):
    """Gated attention: one weight a cell, and the weighted mean of the cells (Ilse, Tomczak and Welling 2018).

    Attention is w . (tanh(V h) * sigmoid(U h)), their equation 9. Keeps the weights, (B, N).
    """

    def __init__(self, feature_width: int, classes: int, options: AbmilOptions, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.width = options.width
        self.project = nn.Sequential(nn.Linear(feature_width, options.width), nn.ReLU(), Dropout(dropout))
        self.content = nn.Sequential(nn.Linear(options.width, options.attention_width), nn.Tanh())
        self.gate = nn.Sequential(nn.Linear(options.width, options.attention_width), nn.Sigmoid())
        self.score = nn.Linear(options.attention_width, 1)

    def pool(self, bags: Tensor, mask: Tensor | None, keep: Keep | None) -> Tensor:
        cells = self.project(bags)  # (B, N, width)
        weights = _softmax_over_cells(self.score(self.content(cells) * self.gate(cells))[..., 0], mask)  # (B, N)
        if keep is not None:
            keep((weights,))
        pooled: Tensor = (weights[:, None] @ cells)[:, 0]
        return pooled

    def attention(self, kept: Sequence[Kept]) -> Tensor:
        """Return the weights of one bag's cells, which sum to 1: (N,)."""
        return kept[0][0][0]


class WbcmilAggregator(Aggregator):
    """Class-wise attention as in SCEMILA (Hehr et al. 2023): each class pools the cells with its own weights.

    D -> 128 -> tanh -> C scores a cell for each class, and a softmax over the cells makes weights of the scores. The
    vector is the C pooled vectors in a row, (B, C * D); each has its own head. Keeps the weights, (B, C, N).
    """

    def __init__(self, feature_width: int, classes: int, options: WbcmilOptions, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.width = classes * feature_width
        self.scores = nn.Sequential(
            nn.Linear(feature_width, options.attention_width), nn.Tanh(), nn.Linear(options.attention_width, classes)
        )

    def pool(self, bags: Tensor, mask: Tensor | None, keep: Keep | None) -> Tensor:
        weights = _softmax_over_cells(self.scores(bags).transpose(1, 2), mask)  # (B, C, N)
        if keep is not None:
            keep((weights,))
        pooled: Tensor = (weights @ bags).flatten(1)
        return pooled

    def attention(self, kept: Sequence[Kept]) -> Tensor:
        """Return the mean of the classes' weights of one bag's cells, which sums to 1: (N,)."""
        return kept[0][0][0].mean(0)

    def classifier(self, hidden: int, classes: int, *, dropout: float = 0.0) -> nn.Module:
        return _ClasswiseHeads(self.width // classes, hidden, classes, dropout=dropout)


class _ClasswiseHeads(nn.Module):
    """C heads, each of which turns the vector of its own class into one logit."""

    def __init__(self, width: int, hidden: int, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = nn.ModuleList(mlp(width, hidden, 1, dropout=dropout) for _ in range(classes))

    def forward(self, pooled: Tensor) -> Tensor:
        """Turn the pooled vectors (B, C * D) into logits (B, C)."""
        own = pooled.reshape(len(pooled), len(self.heads), -1).unbind(1)  # C times (B, D)
        return torch.cat([head(vector) for head, vector in zip(self.heads, own, strict=True)], dim=1)


class Dropout(nn.Dropout):
    """Dropout that takes a tenth of the time on a CPU, where torch draws a number for each element, one by one.

    Here a number of 64 bits serves four elements; so the share is a multiple of 1 / 65,536.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.p) or x.device.type != "cpu":
            return super().forward(x)
        numbers = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = numbers.view(torch.int16)[: x.numel()].view(x.shape)
        dropped = min(round(self.p * 2**16), 2**16 - 1)
        # Straight to integers: conversions from bool are as slow as what this avoids.
        kept = torch.ge(bits, dropped - 2**15, out=torch.empty_like(bits))
        return x * kept.to(x.dtype).mul_(2**16 / (2**16 - dropped))


def mlp(width: int, hidden: int, outputs: int, *, dropout: float = 0.0) -> nn.Sequential:
    """Build a head as the paper describes it: "2 layered", with one hidden layer."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), Dropout(dropout), nn.Linear(hidden, outputs))


def masked_mean(cells: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of finite cells (B, N, D) over the N that the mask (B, N) names: (B, D)."""
    if mask is None:
        return cells.mean(1)
    return cells.masked_fill(~mask[..., None], 0).sum(1) / mask.sum(1, keepdim=True)


def _softmax_over_cells(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax of scores (B, ..., N) over the cells; the weight of padding is exactly 0."""
    if mask is not None:
        mask = mask.reshape(len(mask), *[1] * (scores.ndim - 2), -1)  # (B, ..., N)
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1)
