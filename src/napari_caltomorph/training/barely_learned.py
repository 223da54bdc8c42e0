"""Which members barely learned: their training loss is near that of knowing the shares of the classes only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from napari_caltomorph.statistics.interval import percent
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.options import TrainOptions
from napari_caltomorph.training.progress import FoldHistory

# A training loss above this share of that of an ignorant member has barely moved.
_LEARNED = 0.9


def barely_learned(bags: LabelledBags, split: MemberSplit, options: TrainOptions, history: FoldHistory) -> bool:
    """Whether the training loss of a member's weights is hardly below that of knowing the classes' shares only.

    Either it was trained too little, or the features do not tell the classes apart; the loss cannot say which.
    """
    counts = np.bincount(bags.classes[split.train], minlength=len(bags.taxonomy.classes))
    seen = counts if options.balance == "none" else counts > 0  # balanced classes are seen equally often
    shares = seen / seen.sum()
    smoothed = (1 - options.label_smoothing) * shares + options.label_smoothing / len(shares)
    ignorant = -float((smoothed * np.log(np.maximum(smoothed, 1e-30))).sum())
    ignorant += options.hemoglobin_weight * options.hemoglobin  # standardised values have a variance of 1
    return history.train_loss[history.best_epoch - 1] > _LEARNED * ignorant


def little_learned(folds: Mapping[str, Sequence[int]]) -> str:
    """Return the sentence on members that barely learned: what was trained -> their folds, from 0."""
    of = {name: f"fold{'s' * (len(those) > 1)} {', '.join(str(f + 1) for f in those)}" for name, those in folds.items()}
    where = "; ".join(f"{name}: {which}" if name else which for name, which in of.items())
    return (
        f"The training loss barely moved ({where}): it is above {percent(_LEARNED, 0)} of the loss of knowing the "
        "classes' shares only. Train longer (--epochs) or with a larger --learning-rate; where that does not help, "
        "the features do not tell these classes apart."
    )
