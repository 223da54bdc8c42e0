"""What an aggregator is: a bag of cells in, one vector out, and on request how much each cell mattered.

A bag has no order, and a batch is padded to its longest bag. Padding is emptied here, once for all kinds, because a NaN
in it would pass any mask; leaving it out of what is pooled is each kind's own work. Attention comes from what `forward`
kept aside, so asking for it cannot change the logits and costs no second pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from napari_caltomorph.diagnosis.aggregator_options import AttentionKind


class Aggregator(nn.Module, ABC):
    """Pools bags of cells into one vector each.

    A kind is constructed as ``Kind(feature_width, classes, options, dropout=0.0)``, with its own class of options.

    Attributes
    ----------
    width : int
        Of the vector.
    attention_kind : {"rollout", "weights", "none"}
        Where `attention` comes from.
    """

    attention_kind: ClassVar[AttentionKind]
    width: int

    def forward(self, bags: Tensor, mask: Tensor | None = None, *, keep: list[Tensor] | None = None) -> Tensor:
        """Pool B bags into (B, width).

        Parameters
        ----------
        bags : (B, N, D)
        mask : (B, N) bool, optional
            True for a cell, at least one in each bag; False for padding, whatever stands there.
        keep : list, optional
            Filled with what `attention` needs.
        """
        if mask is not None:
            if mask.dtype != torch.bool:  # ones and zeros would be added to logits, and let the padding through
                raise TypeError(f"a mask of cells is boolean, not {mask.dtype}")
            bags = bags.masked_fill(~mask[..., None], 0)
        return self.pool(bags, mask, keep)

    @abstractmethod
    def pool(self, bags: Tensor, mask: Tensor | None, keep: list[Tensor] | None) -> Tensor:
        """Pool B bags, whose padding holds zeros, into (B, width)."""

    @abstractmethod
    def attention(self, kept: list[Tensor]) -> Tensor | None:
        """How much each cell of one bag mattered, (N,) and not negative; None where `attention_kind` is "none".

        Parameters
        ----------
        kept : list of tensors
            What `forward` kept of a single, unpadded bag.
        """

    def classifier(self, hidden: int, classes: int, *, dropout: float = 0.0) -> nn.Module:
        """Build the head that turns the vector (B, width) into logits (B, classes)."""
        return mlp(self.width, hidden, classes, dropout=dropout)


def mlp(width: int, hidden: int, outputs: int, *, dropout: float = 0.0) -> nn.Sequential:
    """Build a head as the paper describes it: "2 layered", with one hidden layer."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, outputs))


def softmax_over_cells(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax of scores (B, ..., N) over the cells; padding gets exactly nothing."""
    if mask is not None:
        mask = mask.reshape(len(mask), *[1] * (scores.ndim - 2), -1)  # (B, ..., N)
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1)
