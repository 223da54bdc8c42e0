"""A cohort and its features -> an ensemble: one member a fold, and what each says of the fold it never learnt from."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.storage import only_run, refuse_unwritable
from napari_caltomorph.training.assemble import assemble
from napari_caltomorph.training.bags import load_bags
from napari_caltomorph.training.checkpoint import FoldCheckpoint, has_begun
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import MemberSplit, member_split
from napari_caltomorph.training.journal import begin_or_resume, is_training, training_folder
from napari_caltomorph.training.options import TrainOptions
from napari_caltomorph.training.progress import KeepSoFar
from napari_caltomorph.training.step_progress import Steps

_LOCK = ".caltomorph-train.lock"


def train(
    cohort: Cohort,
    features: str | Path | None,
    options: TrainOptions | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    progress: OnProgress = ignore,
) -> Ensemble:
    """Train one member a fold on a cohort's training patients, and make an ensemble of them.

    Parameters
    ----------
    cohort : Cohort
        Its test split is not looked at; its folds say which member does not learn from whom.
    features : str, Path or None
        Feature folder of `encode_cohort`; None where the cohort names feature files.
    options : TrainOptions
    out : str or Path, optional
        Model folder to write. While members are trained, what is needed to go on stands beside it, in a folder called
        ``<out>.training``, which is removed at the end. Without it nothing is kept but the ensemble that is returned.
    resume : bool
        Go on from the last finished epoch of each fold; the end is that of a training that was never stopped.
    progress : callable
        Called with a `TrainProgress` after every step. Raising `Cancelled` in it stops cleanly; raising `KeepSoFar`
        ends the training, and the members trained so far make the ensemble.

    Returns
    -------
    Ensemble
        Its description tells how it came to be, with the out-of-fold numbers of its single members.

    Raises
    ------
    TrainingRefused
        There is nothing to learn, features are missing, or a training to be resumed was another one.
    FeaturesRefused, OutputRefused, DeviceMissing, CalibrationRefused, ClusterMissing,
    PackageMissing

    Notes
    -----
    Five-fold cross-validation, AdamW, cross entropy and mean squared error: paper, section 2.4. What differs in the
    recipe `robust`, and why, stands in docs/training.md.
    """
    options = options or TrainOptions()
    start = time.monotonic()
    with _places(out, resume) as (model_folder, work):
        place = None if features is None else Path(features).absolute()
        bags = load_bags(cohort, place, options, progress=progress)
        begin_or_resume(work, bags, options, resume=resume)
        splits = [member_split(bags, fold, options) for fold in bags.fold_numbers]
        spent = sum(FoldCheckpoint(work, split.fold).history().seconds for split in splits)
        try:
            if options.workers > 1 or options.scheduler is not None:
                from napari_caltomorph.training.cluster import fit_on_cluster

                fit_on_cluster(cohort, place, splits, options, work, progress=progress)
            else:
                steps = Steps(splits, options, work, progress)
                for split in splits:
                    fit_member(bags, split, options, FoldCheckpoint(work, split.fold), on_step=steps.of(split))
        except KeepSoFar:
            splits = _kept(splits, work)
            if not splits:
                raise
        seconds = spent + time.monotonic() - start
        name = cohort.name if model_folder is None else model_folder.name
        ensemble = assemble(name, cohort, bags, splits, options, work, seconds=seconds)
        # Half a model of a killed process stands in the training's folder, which the resumed training removes.
        return ensemble if model_folder is None else ensemble.save(model_folder, scratch=work)


def _kept(splits: list[MemberSplit], work: Path) -> list[MemberSplit]:
    """End all members that have finished an epoch; return their splits."""
    checkpoints = {split.fold: FoldCheckpoint(work, split.fold) for split in splits}
    kept = [split for split in splits if checkpoints[split.fold].history().epochs]
    for split in kept:
        checkpoints[split.fold].end_by_hand()
    return kept


@contextmanager
def _places(out: str | Path | None, resume: bool) -> Iterator[tuple[Path | None, Path]]:
    """Yield the model folder and the folder of the training, which is removed when all went well."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="caltomorph-") as scratch:
            yield None, Path(scratch)
        return
    model_folder = Path(out).absolute()
    work = training_folder(model_folder)
    if model_folder.exists():
        raise OutputRefused(f"{model_folder} exists already; choose another name, or remove it first.")
    refuse_unwritable(model_folder.parent)
    with only_run(work, _LOCK, "another folder for the model"):
        _refuse_used(work, resume)
        try:
            yield model_folder, work
        except BaseException:
            if not has_begun(work):
                shutil.rmtree(work, ignore_errors=True)
            raise
    shutil.rmtree(work, ignore_errors=True)


def _refuse_used(work: Path, resume: bool) -> None:
    """Nothing is overwritten, and nothing removed at the end, that is not of the training that is gone on with."""
    if not any(not path.name.startswith(".") for path in work.iterdir()):  # only a lock, and halves of files
        return
    if not is_training(work):
        raise OutputRefused(f"{work} holds something else than a training; choose another name for the model.")
    if not resume:
        raise OutputRefused(
            f"{work} keeps a training that was stopped; go on with --resume, or remove it to start anew."
        )
