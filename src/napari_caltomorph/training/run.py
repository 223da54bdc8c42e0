"""Train an ensemble on a cohort and its features, or plan it: the same steps, timed and checked but not finished."""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.encoding.device import find_device, wait_for
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.storage import StrPath
from napari_caltomorph.training.assemble import assemble
from napari_caltomorph.training.bags import LabelledBags, load_bags
from napari_caltomorph.training.elsewhere import estimate_elsewhere
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folder import begin_or_resume, open_training
from napari_caltomorph.training.folds import MemberSplit, member_splits, notes_of
from napari_caltomorph.training.members import FoldCheckpoint, TrainedMember, new_member, trained_member
from napari_caltomorph.training.options import TrainOptions
from napari_caltomorph.training.progress import FinishEarly, FoldHistory, StepCounter
from napari_caltomorph.training.recalibrate import recalibrate

# The first steps load libraries and fill caches.
_WARM_UP, _TIMED = 2, 4


def train(
    cohort: Cohort,
    features: StrPath | None,
    options: TrainOptions | None = None,
    *,
    out: StrPath | None = None,
    resume: bool = False,
    progress: OnProgress = ignore,
) -> Ensemble:
    """Train one member per fold on a cohort's training patients, and make an ensemble of them.

    Parameters
    ----------
    cohort : Cohort
        Its test split is not used; each member is trained without the patients of its own fold.
    features : str, Path or None
        Feature folder of `encode_cohort`; None where the cohort names feature files.
    out : str or Path, optional
        New model folder. While members are trained, ``<out>.training`` next to it contains what is needed to resume.
        Without it only the returned ensemble remains.
    resume : bool
        Resume from the last finished epoch of each fold; the result is that of an uninterrupted training.
    progress : callable
        Called with a `TrainProgress` after every step; see `OnProgress`. Raising `FinishEarly` in it ends the training,
        and the members that have finished theirs make the ensemble.

    Returns
    -------
    Ensemble
        Its description records the training, with the out-of-fold numbers of its single members.

    Raises
    ------
    TrainingRefused
        There is nothing to train on, features are missing, or the training to resume is a different one.
    FeaturesRefused, OutputRefused, DeviceMissing, CalibrationRefused, ClusterMissing, PackageMissing

    Notes
    -----
    Five-fold cross-validation, AdamW, cross entropy and mean squared error: paper, section 2.4. docs/training.md
    explains what differs in the recipe `robust`, and why.
    """
    options, start = options or TrainOptions(), time.monotonic()
    with open_training(out, resume=resume) as (model_folder, work):
        place = None if features is None else Path(features).absolute()
        bags = load_bags(cohort, place, options, progress=progress)
        begin_or_resume(work, bags, options, resume=resume)
        trained, earlier = _train_members(cohort, place, bags, options, work, progress)
        elsewhere, traits = estimate_elsewhere(cohort, bags, trained, options, progress)
        seconds = earlier + time.monotonic() - start
        name = cohort.name if model_folder is None else model_folder.name
        ensemble = assemble(name, cohort, bags, trained, options, traits=traits, elsewhere=elsewhere, seconds=seconds)
        # A process killed while it saves leaves partial files in the training's folder, which a resumed one removes.
        return ensemble if model_folder is None else ensemble.save(model_folder, scratch=work)


def _train_members(
    cohort: Cohort,
    features: Path | None,
    bags: LabelledBags,
    options: TrainOptions,
    work: Path,
    progress: OnProgress,
) -> tuple[list[TrainedMember], float]:
    """Train the member of each fold; return those that have weights, and the seconds spent in earlier runs."""
    splits = member_splits(bags, options)
    checkpoints = {split.fold: FoldCheckpoint(work, split.fold) for split in splits}
    histories = {fold: checkpoint.history() for fold, checkpoint in checkpoints.items()}
    steps = StepCounter(splits, histories, options, progress)
    try:
        if options.workers > 1 or options.scheduler is not None:
            from napari_caltomorph.training.workers import fit_on_workers

            fit_on_workers(cohort, features, splits, options, work, steps)
        else:
            for split in splits:
                fit_member(bags, split, options, checkpoints[split.fold], on_step=steps.of(split))
    except FinishEarly as early:
        kept = [checkpoints[split.fold].is_kept(keep_unfinished=early.keep_unfinished) for split in splits]
        splits = [split for split, is_kept in zip(splits, kept, strict=True) if is_kept]
        if not splits:
            raise
    members = [trained_member(bags, split, options, checkpoints[split.fold]) for split in splits]
    recalibrate(members, bags, options)
    return members, sum(history.seconds for history in histories.values())


@dataclass(frozen=True)
class TrainPlan:
    """What a training would do."""

    patients: dict[str, int]  # Class name -> training patients
    splits: tuple[MemberSplit, ...]  # One per member
    epochs: tuple[int, ...]  # The most epochs of each member
    steps: int  # The most optimizer steps of all members
    parameters: int  # Of one member, that are trained
    seconds: float  # Estimate for all these steps on this device, from a few timed ones
    memory: int  # Bytes of the features and of one member with its optimizer; activations need more
    notes: tuple[str, ...]


def plan_training(
    cohort: Cohort, features: StrPath | None, options: TrainOptions, *, progress: OnProgress = ignore
) -> TrainPlan:
    """Check all that `train` would check, and time a few real steps; nothing is written.

    Parameters
    ----------
    cohort : Cohort
    features : str or Path or None
        Feature folder; None where the cohort names its feature files.
    options : TrainOptions
    progress : callable
        See `OnProgress`.

    Returns
    -------
    TrainPlan

    Raises
    ------
    TrainingRefused, FeaturesRefused, DeviceMissing
        As `train` would.
    """
    bags = load_bags(cohort, None if features is None else Path(features), options, progress=progress)
    splits = member_splits(bags, options)
    steps = sum(split.steps_per_epoch(options) * split.epochs(options) for split in splits)
    parameters = sum(p.numel() for p in new_member(bags, splits[0], options).parameters() if p.requires_grad)
    return TrainPlan(
        patients={name: int((bags.classes == index).sum()) for index, name in enumerate(bags.taxonomy.names)},
        splits=tuple(splits),
        epochs=tuple(split.epochs(options) for split in splits),
        steps=steps,
        parameters=parameters,
        seconds=steps * _seconds_per_step(bags, splits[0], options, progress),
        # Weights, gradients and AdamW's two moments, in float32.
        memory=sum(values.nbytes for values in bags.views or bags.values) + 16 * parameters,
        notes=(*bags.notes, *notes_of(splits)),
    )


class _EnoughSteps(Exception):
    """Ends a training of which only some steps are timed."""


def _seconds_per_step(bags: LabelledBags, split: MemberSplit, options: TrainOptions, progress: OnProgress) -> float:
    """Time a few steps of a member that is then thrown away."""
    moments: list[float] = []
    device = find_device(options.device)

    def record(history: FoldHistory, step: int) -> None:
        wait_for(device)
        moments.append(time.monotonic())
        progress(Progress("Timing a few steps", min(len(moments), _WARM_UP + _TIMED), _WARM_UP + _TIMED, "steps"))
        if len(moments) >= _WARM_UP + _TIMED:
            raise _EnoughSteps

    with tempfile.TemporaryDirectory(prefix="caltomorph-") as scratch, contextlib.suppress(_EnoughSteps):
        fit_member(bags, split, options, FoldCheckpoint(Path(scratch), split.fold), on_step=record)
    later = np.diff(moments[min(_WARM_UP, len(moments) - 1) :])
    return float(np.mean(later)) if len(later) else 0.0
