"""A cohort and its features -> an ensemble: one member a fold, and what each says of the fold it never learnt from."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.diagnose import Ensemble
from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.locks import only_run
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.storage import refuse_unwritable
from napari_caltomorph.train.assemble import assemble
from napari_caltomorph.train.bags import LabelledBags, load_bags
from napari_caltomorph.train.checkpoint import FoldCheckpoint, has_begun
from napari_caltomorph.train.fit import fit_member
from napari_caltomorph.train.folds import MemberSplit, member_split
from napari_caltomorph.train.journal import begin_or_resume, training_folder
from napari_caltomorph.train.options import TrainOptions
from napari_caltomorph.train.progress import KeepSoFar
from napari_caltomorph.train.steps import Steps

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
    FeaturesRefused, OutputRefused, DeviceMissing, CalibrationRefused, ClusterMissing

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
        if options.workers > 1 or options.scheduler is not None:
            from napari_caltomorph.train.cluster import fit_on_cluster

            splits = fit_on_cluster(cohort, place, splits, options, work, progress=progress)
        else:
            splits = _fit_here(bags, splits, options, work, progress)
        ensemble = assemble(cohort, bags, splits, options, work, seconds=time.monotonic() - start)
        return ensemble if model_folder is None else ensemble.save(model_folder)


def _fit_here(
    bags: LabelledBags, splits: list[MemberSplit], options: TrainOptions, work: Path, progress: OnProgress
) -> list[MemberSplit]:
    """Train one member after the other; return the splits of those that there are in the end."""
    steps = Steps(splits, options, work, progress)
    for number, split in enumerate(splits):
        try:
            fit_member(bags, split, options, FoldCheckpoint(work, split.fold), on_step=steps.of(split))
        except KeepSoFar:  # this member has no finished epoch
            if not number:
                raise
            return splits[:number]
        if steps.is_over:
            return splits[: number + 1]
    return splits


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
    if not resume and work.exists():
        raise OutputRefused(
            f"{work} keeps a training that was stopped; go on with --resume, or remove it to start anew."
        )
    try:
        with only_run(work, _LOCK, "another folder for the model"):
            yield model_folder, work
    except BaseException:
        if not has_begun(work):
            shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)
