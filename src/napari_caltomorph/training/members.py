"""Members before and after training: with the scales of their patients, and with the weights of their best epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.inference import are_finite, run_bags
from napari_caltomorph.diagnosis.member import Member, Outputs
from napari_caltomorph.encoding.device import find_device, is_out_of_memory
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.checkpoint import FoldCheckpoint
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.options import TrainOptions
from napari_caltomorph.training.progress import FoldHistory

_LEAST_SPREAD = 1e-6


def new_member(bags: LabelledBags, split: MemberSplit, options: TrainOptions) -> Member:
    """Return a member with random weights, and the scales of its own training patients.

    Scales and weights depend on no patient outside `split.train`, so a member's own fold cannot influence it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(options, split.fold, 0))
        member = Member(
            bags.width,
            len(bags.taxonomy.classes),
            options.aggregator_options(),
            classifier_width=options.classifier_width,
            hemoglobin=options.hemoglobin,
            dropout=options.dropout,
        )
    if options.scaling == "standardise":
        mean, std = _feature_scale(bags, split)
        member.feature_mean.copy_(torch.from_numpy(mean))
        member.feature_std.copy_(torch.from_numpy(std))
    if options.hemoglobin:
        values = bags.hemoglobin[split.train]
        member.hemoglobin_mean.fill_(float(np.nanmean(values)))
        member.hemoglobin_std.fill_(float(np.nanstd(values)))
    return member


@dataclass(frozen=True)
class TrainedMember:
    """A member with the weights of its best epoch, in evaluation mode, and how it came to them."""

    member: Member
    split: MemberSplit
    history: FoldHistory


def trained_member(
    bags: LabelledBags, split: MemberSplit, options: TrainOptions, checkpoint: FoldCheckpoint
) -> TrainedMember:
    """Read the member that `fit_member` has trained; `TrainingRefused` where its checkpoint is damaged."""
    member = new_member(bags, split, options)
    member.load_state_dict(checkpoint.best())
    return TrainedMember(member.eval().requires_grad_(False), split, checkpoint.history())


def predict_bags(member: Member, bags: LabelledBags, patients: NDArray[np.intp], options: TrainOptions) -> Outputs:
    """Return a member's outputs for patients with all their cells, in float32 and in their order."""
    device = find_device(options.device)
    with memory_explained(options):
        outputs = run_bags(member.to(device), [bags.values[p] for p in patients], options.batch_size, device)
    member.cpu()
    if not are_finite(outputs):
        raise TrainingRefused("The outputs of a member are not finite; train again with a smaller --learning-rate.")
    return outputs


@contextmanager
def memory_explained(options: TrainOptions) -> Iterator[None]:
    """Raise `TrainingRefused`, with the options that need less, where memory runs out in the block."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingRefused(
            f"Memory ran out with {options.batch_size} patients of up to {options.max_cells} cells at once; use a "
            "smaller --batch-size (with --accumulate for steps of the same size), or fewer --max-cells."
        ) from error


def _feature_scale(bags: LabelledBags, split: MemberSplit) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (D,) mean and standard deviation over all cells of the training patients; 1 for a constant feature."""
    count = sum(len(bags.values[p]) for p in split.train)
    mean = sum(bags.values[p].sum(axis=0, dtype=np.float64) for p in split.train) / count
    variance = sum(((bags.values[p] - mean) ** 2).sum(axis=0) for p in split.train) / count
    std = np.sqrt(variance)
    std = np.where(std > _LEAST_SPREAD * np.maximum(1, np.abs(mean)), std, 1)
    return mean.astype(np.float32), std.astype(np.float32)


def seed_of(options: TrainOptions, fold: int, epoch: int) -> int:
    """Return the seed of an epoch of a fold; epoch 0 is for the weights before training."""
    return int(np.random.default_rng([options.seed, fold, epoch]).integers(2**31))
