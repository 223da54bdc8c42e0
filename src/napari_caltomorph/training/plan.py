"""What a training would do, before it does it: who learns from whom, and what it takes in time and memory."""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.training.bags import LabelledBags, load_bags
from napari_caltomorph.training.batches import steps_per_epoch
from napari_caltomorph.training.checkpoint import FoldCheckpoint, FoldHistory
from napari_caltomorph.training.fit import fit_member, new_member
from napari_caltomorph.training.folds import MemberSplit, member_split
from napari_caltomorph.training.options import TrainOptions

# The first steps load libraries and fill caches.
_WARM_UP, _TIMED = 2, 4


@dataclass(frozen=True)
class TrainPlan:
    """What a training would do.

    Attributes
    ----------
    patients : dict
        Class name -> training patients.
    splits : tuple of MemberSplit
        One a member.
    epochs : tuple of int
        The most epochs of each member.
    steps : int
        The most optimizer steps of all members.
    parameters : int
        Of one member.
    seconds : float
        That all these steps take on this device, measured over a few of them.
    memory : int
        Bytes that features and one member with its optimizer take; the layers' own come on top.
    notes : tuple of str
    """

    patients: dict[str, int]
    splits: tuple[MemberSplit, ...]
    epochs: tuple[int, ...]
    steps: int
    parameters: int
    seconds: float
    memory: int
    notes: tuple[str, ...]


def plan_training(
    cohort: Cohort, features: str | Path | None, options: TrainOptions, *, progress: OnProgress = ignore
) -> TrainPlan:
    """Check all that `train` would check, and time a few real steps; nothing is written.

    Raises
    ------
    TrainingRefused, FeaturesRefused, DeviceMissing, CalibrationRefused
        As `train` would.
    """
    bags = load_bags(cohort, None if features is None else Path(features), options, progress=progress)
    splits = tuple(member_split(bags, fold, options) for fold in bags.fold_numbers)
    epochs = tuple(split.epochs(options) for split in splits)
    steps = sum(steps_per_epoch(len(split.train), options) * most for split, most in zip(splits, epochs, strict=True))
    member = new_member(bags, splits[0], options)
    parameters = sum(p.numel() for p in member.parameters())
    return TrainPlan(
        patients={name: int((bags.classes == index).sum()) for index, name in enumerate(bags.taxonomy.names)},
        splits=splits,
        epochs=epochs,
        steps=steps,
        parameters=parameters,
        seconds=steps * _seconds_a_step(bags, splits[0], options, progress),
        # Weights, gradients and AdamW's two moments, in float32.
        memory=sum(values.nbytes for values in bags.values) + 16 * parameters,
        notes=(*bags.notes, *sorted({split.note for split in splits if split.note})),
    )


class _Timed(Exception):
    """Enough steps were timed."""


def _seconds_a_step(bags: LabelledBags, split: MemberSplit, options: TrainOptions, progress: OnProgress) -> float:
    """Time real steps of a member that is thrown away."""
    moments: list[float] = []

    def watch(history: FoldHistory, step: int) -> None:
        moments.append(time.monotonic())
        progress(Progress("Timing a few steps", min(len(moments), _WARM_UP + _TIMED), _WARM_UP + _TIMED, "steps"))
        if len(moments) >= _WARM_UP + _TIMED:
            raise _Timed

    with tempfile.TemporaryDirectory(prefix="caltomorph-") as scratch, contextlib.suppress(_Timed):
        fit_member(bags, split, options, FoldCheckpoint(Path(scratch), split.fold), on_step=watch)
    later = np.diff(moments[min(_WARM_UP, len(moments) - 1) :])
    return float(np.mean(later)) if len(later) else 0.0
