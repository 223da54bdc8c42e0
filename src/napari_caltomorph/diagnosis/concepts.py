"""Concepts that are found cell by cell; a class is called by what is there, never by what is missing.

A concept is a kind of cell that the network learns to recognise. Three things make the network monotone: each cell is
read without the others, a concept grows with each cell that shows it, and no weight from concepts to classes is
negative. So further cells never lower the logit of a class, and never make the reference class more probable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_caltomorph.diagnosis.aggregators import Aggregator, Dropout, Keep, Kept
from napari_caltomorph.diagnosis.options import ConceptsOptions

# At the start of training, from the first concept to the last: the exponent, from a count of cells to nearly the
# clearest cell alone; and the norm that makes a concept half present.
_EXPONENT, _NEEDED = (1, 16), (30, 0.2)
# How often a cell shows a concept at the start, in log-odds, and how much cells differ in this. Where all show a bit of
# each, every concept is present in any bag of 500 cells, and learning does not begin.
_RARE, _CONTRAST = -2, 3
# How unequal the concepts of a pattern are at the start. With equal ones, all patterns are alike and none learns first.
_UNEQUAL = 1.5


class ConceptsAggregator(Aggregator):
    """How much of each of K concepts is in a bag: log(n / t), where n = (sum of q^s)^(1/s) and t is what is needed.

    q is a cell's probability of the concept. With s = 1, n counts cells; the larger s, the more does the clearest cell
    decide alone. Both s and t are learned. Keeps each cell's share in n, (B, N, K), and the vector itself, (B, K).
    """

    def __init__(self, feature_width: int, classes: int, options: ConceptsOptions, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.width = options.concepts
        self.reference = options.reference
        last = nn.Linear(options.width, options.concepts)
        with torch.no_grad():
            last.weight.mul_(_CONTRAST)
            last.bias.fill_(_RARE)
        self.read = nn.Sequential(nn.Linear(feature_width, options.width), nn.GELU(), Dropout(dropout), last)
        self.log_exponent, self.log_needed = (
            nn.Parameter(torch.linspace(math.log(first), math.log(final), options.concepts))
            for first, final in (_EXPONENT, _NEEDED)
        )

    def pool(self, bags: Tensor, mask: Tensor | None, keep: Keep | None) -> Tensor:
        exponent = self.log_exponent.exp()
        raised = exponent * functional.logsigmoid(self.read(bags))  # (B, N, K): log of q^s
        if mask is not None:
            raised = raised.masked_fill(~mask[..., None], float("-inf"))
        found = raised.logsumexp(1) / exponent - self.log_needed  # (B, K)
        if keep is not None:
            keep((raised.softmax(1), found))
        return found

    def attention(self, kept: Sequence[Kept]) -> Tensor:
        """Return each cell's share in what was found in one bag, which sums to 1: (N,).

        Concepts weigh as much as they are present.
        """
        shares, found = (one[0] for one in kept[0])  # (N, K), (K,)
        return shares @ functional.logsigmoid(found).softmax(0)

    def classifier(self, hidden: int, classes: int, *, dropout: float = 0.0) -> nn.Module:
        return MonotoneClassifier(self.width, hidden, classes, self.reference)


class MonotoneClassifier(nn.Module):
    """Logits of the classes from the presence of concepts, n / (n + t); no weight is negative.

    A pattern is a product of powers of presences, so it needs all of its concepts; the evidence for a class is a sum of
    patterns, so any of them will do. The reference class has none: it is called where nothing else is found.
    """

    def __init__(self, concepts: int, patterns: int, classes: int, reference: int | None) -> None:
        super().__init__()
        self.reference = reference
        self.powers = nn.Parameter(torch.exp(_UNEQUAL * torch.randn(patterns, concepts)) / (3 * concepts))
        self.evidence = nn.Linear(patterns, classes)
        with torch.no_grad():  # near zero where the patterns are half there
            nn.init.normal_(self.evidence.weight, std=2 / math.sqrt(patterns))
            self.evidence.bias.copy_(-self.weights().sum(1) / 2)

    def weights(self) -> Tensor:
        """Return (C, patterns): how much each pattern adds to the logit of a class."""
        weights = self.evidence.weight.abs()
        if self.reference is not None:
            weights = weights * (torch.arange(len(weights), device=weights.device) != self.reference)[:, None]
        return weights

    def forward(self, found: Tensor) -> Tensor:
        """Turn log(n / t) of the concepts (B, K) into logits (B, C); where it rises, no logit falls."""
        patterns = functional.linear(functional.logsigmoid(found), self.powers.abs()).exp()  # (B, patterns), 0 to 1
        return functional.linear(patterns, self.weights(), self.evidence.bias)
