"""What an ensemble answers to other bags of cells that are already encoded: every number that asks "what if" is this.

All bags of one call have the same number of cells, so nothing is padded, and a bag's answer does not depend on which
others are asked beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_caltomorph.diagnosis.ensemble import Ensemble
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.errors import FeaturesRefused

# Cells of all bags that go through a member at once. More is no faster on a CPU, and cancelling comes between them.
_CELLS_AT_ONCE = 2048


@dataclass(frozen=True)
class Answers:
    """What the ensemble says of one class, for B bags.

    Attributes
    ----------
    probability : (B,)
        Softmax averaged over the members, raw: no calibration.
    log_odds : (B,)
        Log of that probability over its rest, natural; computed from the logits, so that it does not saturate.
    """

    probability: NDArray[np.float64]
    log_odds: NDArray[np.float64]


def class_index(ensemble: Ensemble, slug: str) -> int:
    """Return the number of a class; `ValueError` where the model has none of this slug."""
    return ensemble.description.taxonomy.slugs.index(slug)


def as_bag(ensemble: Ensemble, features: Features) -> Tensor:
    """Return the cells of a patient (N, D) float32; `FeaturesRefused` where they are no input of this ensemble."""
    ensemble.refuse_other_features(features)
    return torch.from_numpy(np.array(features.values, dtype=np.float32, order="C"))


@torch.inference_mode()
def ask(
    ensemble: Ensemble,
    index: int,
    cells: Tensor,
    bags: NDArray[np.intp],
    *,
    report: Callable[[int], None] = lambda done: None,
) -> Answers:
    """Ask for one class, in B bags of n cells each.

    Parameters
    ----------
    ensemble : Ensemble
    index : int
        Number of the class.
    cells : (N, D)
        Raw features.
    bags : (B, n)
        Rows of `cells` that make up each bag, n >= 1.
    report : callable
        Told after each forward pass how many bags are answered; what it raises stops the work.

    Raises
    ------
    FeaturesRefused
        A member has no finite answer.
    """
    chosen = torch.from_numpy(np.ascontiguousarray(bags))
    chance: list[NDArray[np.float64]] = []
    odds: list[NDArray[np.float64]] = []
    for some in torch.split(chosen, max(1, _CELLS_AT_ONCE // bags.shape[1])):
        asked = cells[some]  # (b, n, D)
        for_class, against = [], []  # log p and log (1 - p) of each member: (b,)
        for member in ensemble.members:
            report(sum(len(answered) for answered in chance))
            logits = member.eval()(asked.to(member.feature_mean.device)).logits.cpu().double()
            if not bool(logits.isfinite().all()):
                raise FeaturesRefused("A member answers some of these cells with no numbers; encode the smear again.")
            whole = logits.logsumexp(-1)
            for_class.append(logits[:, index] - whole)
            against.append(_without(logits, index).logsumexp(-1) - whole)
        yes, no = torch.stack(for_class).logsumexp(0), torch.stack(against).logsumexp(0)  # the mean's 1 / M cancels
        odds.append((yes - no).numpy())
        chance.append((yes - np.log(len(ensemble.members))).exp().numpy())
    report(len(bags))
    if not len(bags):
        return Answers(np.empty(0), np.empty(0))
    return Answers(np.concatenate(chance), np.concatenate(odds))


def member_log_odds(logits: Tensor, index: int) -> Tensor:
    """Log-odds (B,) of a class under one member's softmax of logits (B, C)."""
    return logits[:, index] - _without(logits, index).logsumexp(-1)


def _without(logits: Tensor, index: int) -> Tensor:
    return torch.cat([logits[:, :index], logits[:, index + 1 :]], dim=1)
