"""The patients that train a member, stop it, and are held out from it.

This split decides whether out-of-fold numbers are unbiased.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.cohort.splits import split_into_parts
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.options import TrainOptions

# Validation on fewer patients than these stops by chance: one patient more or less is then several per cent.
LEAST_VALIDATION = 30
LEAST_OF_A_CLASS = 5
# Of a member without validation patients: the more patients it has, the more steps it needs.
FIXED_EPOCHS = 20
# The inner validation patients of a member are one of so many parts.
_PARTS = 7


@dataclass(frozen=True)
class MemberSplit:
    """The patients of one member, as indices."""

    fold: int  # Its own fold
    train: NDArray[np.intp]
    validation: NDArray[np.intp]  # Empty where the number of epochs is fixed
    own: NDArray[np.intp]  # Patients of its fold, for which it makes the out-of-fold predictions
    note: str = ""  # Why the number of epochs is fixed; empty where it is not
    # Epochs for each one of `TrainOptions`: a share of the patients makes as many steps as all of them
    pace: float = 1.0

    def epochs(self, options: TrainOptions) -> int:
        """Return the most epochs of the member; without validation patients it takes all of them."""
        if len(self.validation) or not options.least_steps:
            return self.paced(options.epochs)
        return max(-(-options.least_steps // self.steps_per_epoch(options)), self.paced(FIXED_EPOCHS))

    def paced(self, epochs: int) -> int:
        """Return how many epochs of this member are so many of `TrainOptions`."""
        return math.ceil(self.pace * epochs - 1e-9)  # 1e-9: of 13 / 7 * 7 epochs there are 13

    def steps_per_epoch(self, options: TrainOptions) -> int:
        """Return the optimizer steps of an epoch."""
        batches = -(-len(self.train) // options.batch_size)
        return -(-batches // options.accumulate)


def member_splits(bags: LabelledBags, options: TrainOptions) -> list[MemberSplit]:
    """Return the split of each member, by fold (see `member_split`)."""
    return [member_split(bags, fold, options) for fold in bags.fold_numbers]


def notes_of(splits: Sequence[MemberSplit]) -> list[str]:
    """Return the notes of some splits, each once."""
    return sorted({split.note for split in splits if split.note})


def member_split(bags: LabelledBags, fold: int, options: TrainOptions, *, share: float = 1) -> MemberSplit:
    """Return the patients of the member of a fold.

    ``paper`` stops on the fold itself, so its out-of-fold numbers are optimistic. ``robust`` holds the fold out: no
    patient here, and nothing that the member is trained with, depends on the fold's labels. A `share` below 1 keeps
    that part of the training patients of each class, at least one; smaller shares are subsets of larger ones, and train
    more epochs, so that the optimizer makes as many steps (`pace`).
    Raises `TrainingRefused` where hemoglobin is a target and cannot be trained on.
    """
    split = _split(bags, fold, options)
    if share < 1:
        whole, split = split, replace(split, train=_share_of(bags, split, share, options))
        split = replace(split, pace=whole.steps_per_epoch(options) / split.steps_per_epoch(options))
    if options.hemoglobin:
        _refuse_hemoglobin(bags.hemoglobin[split.train], fold)
    return split


def _split(bags: LabelledBags, fold: int, options: TrainOptions) -> MemberSplit:
    own = np.flatnonzero(bags.folds == fold)
    others = np.flatnonzero((bags.folds != fold) & (bags.folds >= 0))
    if options.recipe == "paper":
        return MemberSplit(fold, others, own, own)
    none = np.array([], dtype=np.intp)
    inner = next(split_into_parts(bags.table.iloc[others], _PARTS, options.seed), none)
    validation = others[inner]
    counts = np.bincount(bags.classes[validation], minlength=len(bags.taxonomy.classes))
    smallest = counts[np.unique(bags.classes[others])].min()
    if len(validation) >= LEAST_VALIDATION and smallest >= LEAST_OF_A_CLASS:
        return MemberSplit(fold, np.setdiff1d(others, validation), validation, own)
    steps = options.least_steps
    duration = f"{FIXED_EPOCHS} epochs, and at least {steps} steps" if steps else f"all {options.epochs} epochs"
    note = (
        f"Members with too few patients to stop on ({LEAST_VALIDATION}, and {LEAST_OF_A_CLASS} of each class, are "
        f"needed) train {duration}."
    )
    return MemberSplit(fold, others, none, own, note)


def _share_of(bags: LabelledBags, split: MemberSplit, share: float, options: TrainOptions) -> NDArray[np.intp]:
    """Return the first of each class in an order that depends on seed and fold alone."""
    order = np.random.default_rng([options.seed, split.fold]).permutation(split.train)
    of_class = [order[bags.classes[order] == one] for one in np.unique(bags.classes[order])]
    return np.sort(np.concatenate([some[: max(1, round(share * len(some)))] for some in of_class]))


def _refuse_hemoglobin(values: NDArray[np.float64], fold: int) -> None:
    known = values[np.isfinite(values)]
    if len(known) < 2:
        raise TrainingRefused(
            f"{len(known)} of {len(values)} training patients of fold {fold + 1} have a hemoglobin value, too few to "
            "train on; name its column with --hemoglobin-column, or train without --hemoglobin."
        )
    if np.ptp(known) == 0:
        raise TrainingRefused(
            f"Hemoglobin is {known[0]:g} for all training patients of fold {fold + 1}: there is nothing to train on; "
            "train without --hemoglobin."
        )
