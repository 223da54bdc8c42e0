"""Members whose probabilities hold: each is recalibrated by what the other members predict for their own folds.

A network that knows its few training patients by heart is too certain of others, and calls rare classes too rarely.
What mends this is fitted on patients whom the predicting member has not seen. No member is recalibrated by predictions
of its own fold, so its out-of-fold numbers judge it as it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from napari_caltomorph.diagnosis.member import Recalibration
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.members import TrainedMember, predict_bags
from napari_caltomorph.training.options import TrainOptions

# Standard deviations of a normal prior on the logarithm of a scale, and on the shift of the log-odds: with few patients
# the logits stay nearly as they are.
_SCALE, _SHIFT = 0.5, 1.0


def recalibrate(trained: Sequence[TrainedMember], bags: LabelledBags, options: TrainOptions) -> None:
    """Set the recalibration of each member; of none in the paper's recipe, and of none that is alone."""
    if options.recipe == "paper" or len(trained) < 2:
        return
    is_malignant, own = bags.taxonomy.is_malignant, [one.split.own for one in trained]
    logits = [predict_bags(one.member, bags, one.split.own, options).logits.double().numpy() for one in trained]
    for number, one in enumerate(trained):
        others = [k for k in range(len(trained)) if k != number]
        classes = bags.classes[np.concatenate([own[k] for k in others])]
        found = Recalibration(len(is_malignant))
        found.values.copy_(torch.tensor(fit(np.concatenate([logits[k] for k in others]), classes, is_malignant)))
        found.is_malignant.copy_(torch.from_numpy(is_malignant))
        one.member.recalibration = found.eval()


def fit(
    logits: NDArray[np.float64], classes: NDArray[np.integer], is_malignant: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Return `Recalibration.values` of the greatest posterior probability for patients (P, C) of known classes.

    The odds stay as they are where no patient, or every patient, is malignant. Truths are softened as if one patient
    more of each side were wrong (Platt 1999): that all are right does not show that errors are as rare as one likes.
    """
    truth = is_malignant[classes]
    is_own_side = is_malignant == truth[:, None]  # (P, C)
    of_side = np.where(is_own_side, logits, -np.inf)
    mean = np.where(is_own_side, logits, 0).sum(axis=1) / is_own_side.sum(axis=1)
    soft = 1 / (len(classes) + 2)
    own = (1 - soft) * logits[np.arange(len(classes)), classes] + soft * mean

    def within(at: NDArray[np.float64]) -> float:
        scale = np.exp(at[0])
        return float((logsumexp(scale * of_side, axis=1) - scale * own).sum() + (at[0] / _SCALE) ** 2 / 2)

    (log_within,) = _least(within, 1)
    if truth.all() or not truth.any():
        return 1.0, 0.0, float(np.exp(log_within))
    count = np.bincount(truth)
    target = np.where(truth, (count[1] + 1) / (count[1] + 2), 1 / (count[0] + 2))
    odds = logsumexp(logits[:, is_malignant], axis=1) - logsumexp(logits[:, ~is_malignant], axis=1)

    def sides(at: NDArray[np.float64]) -> float:
        moved = np.exp(at[0]) * odds + at[1]
        return float((np.logaddexp(0, moved) - target * moved).sum() + ((at / (_SCALE, _SHIFT)) ** 2).sum() / 2)

    log_scale, shift = _least(sides, 2)
    return float(np.exp(log_scale)), float(shift), float(np.exp(log_within))


def _least(loss: Callable[[NDArray[np.float64]], float], count: int) -> NDArray[np.float64]:
    """Return where a smooth loss with a normal prior is least, from 0."""
    return np.asarray(minimize(loss, np.zeros(count), method="L-BFGS-B", bounds=[(-4, 4)] * count).x)
