"""One of an ensemble's models: scales, an aggregator, and a head for each target.

The scales, and the shares of the classes, are those of the member's own training patients, and are saved with its
weights. So no patient of its own held-out fold influences them. `Recalibration` is fitted on what the other members
predict for their own folds.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_caltomorph.diagnosis.aggregators import (
    AbmilAggregator,
    Aggregator,
    Keep,
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
    "genbloom-v": TransformerAggregator,
    "genbloom-g": TransformerAggregator,
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


class Recalibration(nn.Module):
    """Makes logits those of probabilities that hold, in two steps: malignant or not, then which class of that side.

    The log-odds of malignancy are scaled and moved (Platt 1999); the classes of each side share its probability by a
    softmax of scaled logits (temperature scaling; Guo et al. 2017). The three numbers do not change which of two
    patients is the more malignant.
    """

    values: Tensor  # (3,): scale and shift of the log-odds, scale of the logits within a side
    is_malignant: Tensor  # (C,): 1 for a malignant class, 0 for others

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor([1.0, 0.0, 1.0]))
        self.register_buffer("is_malignant", torch.zeros(classes))

    def forward(self, logits: Tensor) -> Tensor:
        """Turn logits (B, C) into log probabilities (B, C)."""
        scale, shift, within = self.values
        sides = [self.is_malignant > 0, self.is_malignant == 0]
        if not all(bool(side.any()) for side in sides):
            shares: Tensor = (within * logits).log_softmax(-1)
            return shares
        malignant, other = (logits[..., side].logsumexp(-1, keepdim=True) for side in sides)
        odds = scale * (malignant - other) + shift
        found = torch.empty_like(logits)
        for side, log_share in zip(sides, (functional.logsigmoid(odds), functional.logsigmoid(-odds)), strict=True):
            found[..., side] = (within * logits[..., side]).log_softmax(-1) + log_share
        return found


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
        # In evaluation mode; None while it is trained, in the paper's recipe, and in older models
        self.recalibration: Recalibration | None = None
        if hemoglobin:
            self.register_buffer("hemoglobin_mean", torch.zeros(()))
            self.register_buffer("hemoglobin_std", torch.ones(()))

    def forward(self, bags: Tensor, mask: Tensor | None = None, *, keep: Keep | None = None) -> Outputs:
        """Diagnose B bags (B, N, D); `mask` and `keep` as in `Aggregator.forward`."""
        scaled = (bags - self.feature_mean) / self.feature_std
        return self.diagnose(self.aggregator(scaled, mask, keep=keep))

    def diagnose(self, embedding: Tensor) -> Outputs:
        """Diagnose B bags that the aggregator has pooled, (B, width)."""
        hemoglobin = None if self.hemoglobin is None else self.hemoglobin(embedding)[:, 0]
        logits = self.classifier(embedding)
        if not self.training:
            logits = logits + self.log_prior_shift
            logits = logits if self.recalibration is None else self.recalibration(logits)
        return Outputs(logits, hemoglobin, embedding)

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
