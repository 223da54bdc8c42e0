"""One of an ensemble's models: scales, an aggregator, and a head for each target.

The scales, and the shares of the classes, are those of the member's own training patients, and are saved with its
weights. So no other patient, and none of its own held-out fold, influences its outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from napari_caltomorph.diagnosis.aggregators import (
    AbmilAggregator,
    Aggregator,
    MaxAggregator,
    MeanAggregator,
    WbcmilAggregator,
    mlp,
)
from napari_caltomorph.diagnosis.concepts import ConceptsAggregator
from napari_caltomorph.diagnosis.options import AggregatorOptions
from napari_caltomorph.diagnosis.transformer import TransformerAggregator

AGGREGATORS: dict[str, type[Aggregator]] = {
    "transformer": TransformerAggregator,
    "abmil": AbmilAggregator,
    "wbcmil": WbcmilAggregator,
    "concepts": ConceptsAggregator,
    "mean": MeanAggregator,
    "max": MaxAggregator,
}


class Outputs(NamedTuple):
    """What a member returns for B bags: logits (B, C), standardised hemoglobin (B,) or None, embedding (B, width)."""

    logits: Tensor
    hemoglobin: Tensor | None
    embedding: Tensor


class Member(nn.Module):
    """An aggregator, a class head and, if trained for it, a hemoglobin head.

    The paper's "2 layered" MLP with 128 hidden units (`classifier_width`) reads the pooled vector, once for each
    target, so that a model without hemoglobin is the same network for the classes. `dropout` is for training, and is
    not saved.
    """

    # (D,): features are shifted and scaled by these first; 0 and 1 unless training sets them
    feature_mean: Tensor
    feature_std: Tensor
    # (D,): the mean of the training cells, in raw features, whatever the scaling; 0 where it is not known
    average_cell: Tensor
    # (C,): added to the logits in evaluation mode. A balanced training is towards equal classes; this moves its logits
    # to the classes' shares among the training patients. 0 where training was not balanced, and in older models
    log_prior_shift: Tensor
    # Scale of the hemoglobin head, in g/dl; only with that head
    hemoglobin_mean: Tensor
    hemoglobin_std: Tensor

    def __init__(
        self,
        feature_width: int,
        classes: int,
        options: AggregatorOptions,
        *,
        classifier_width: int,
        hemoglobin: bool,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("feature_mean", torch.zeros(feature_width))
        self.register_buffer("feature_std", torch.ones(feature_width))
        self.register_buffer("average_cell", torch.zeros(feature_width))
        self.register_buffer("log_prior_shift", torch.zeros(classes))
        self.aggregator = AGGREGATORS[options.kind](feature_width, classes, options, dropout=dropout)
        self.classifier = self.aggregator.classifier(classifier_width, classes, dropout=dropout)
        self.hemoglobin = mlp(self.aggregator.width, classifier_width, 1, dropout=dropout) if hemoglobin else None
        if hemoglobin:
            self.register_buffer("hemoglobin_mean", torch.zeros(()))
            self.register_buffer("hemoglobin_std", torch.ones(()))

    def forward(self, bags: Tensor, mask: Tensor | None = None, *, keep: list[Tensor] | None = None) -> Outputs:
        """Diagnose B bags (B, N, D); `mask` and `keep` as in `Aggregator.forward`."""
        scaled = (bags - self.feature_mean) / self.feature_std
        embedding = self.aggregator(scaled, mask, keep=keep)
        hemoglobin = None if self.hemoglobin is None else self.hemoglobin(embedding)[:, 0]
        logits = self.classifier(embedding)
        return Outputs(logits if self.training else logits + self.log_prior_shift, hemoglobin, embedding)

    @property
    def knows_average_cell(self) -> bool:
        """Whether `average_cell` is one: models of earlier versions without scales have none."""
        return bool(self.average_cell.any())

    def hemoglobin_g_dl(self, outputs: Outputs) -> Tensor | None:
        """Hemoglobin of B bags in g/dl, (B,) float64 on the CPU; None without that head."""
        if outputs.hemoglobin is None:
            return None
        standardised, std, mean = (
            x.cpu().double() for x in (outputs.hemoglobin, self.hemoglobin_std, self.hemoglobin_mean)
        )
        return standardised * std + mean
