"""Folds side by side with Dask: each task is one member, and writes its own checkpoints into the training's folder.

A worker that dies has its member gone on with by another, from the last finished epoch. How far the members are is read
from their checkpoints, so nothing but the task and its end passes through the scheduler.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.dask_workers import dask_client, device_of
from napari_caltomorph.errors import ClusterMissing, TrainingRefused
from napari_caltomorph.progress import Cancelled, OnProgress
from napari_caltomorph.training.bags import load_bags
from napari_caltomorph.training.checkpoint import FoldCheckpoint, FoldHistory
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import MemberSplit, member_split
from napari_caltomorph.training.options import TrainOptions
from napari_caltomorph.training.step_progress import Steps

_POLL_SECONDS = 0.2
# Its presence in the training's folder tells workers to stop: a task that runs cannot be cancelled.
_STOP = "stop"
# Torch has one stream of random numbers a process: two members in two threads would draw each other's.
_ONE_AT_A_TIME = threading.Lock()


def fit_on_cluster(
    cohort: Cohort,
    features: Path | None,
    splits: list[MemberSplit],
    options: TrainOptions,
    work: Path,
    *,
    progress: OnProgress,
) -> None:
    """Train all members on the workers of a cluster. However it ends, no worker writes to the folder any more.

    Raises
    ------
    ClusterMissing
        Nothing answers at the address, or the workers do not see the training's folder.
    """
    steps = Steps(splits, options, work, progress)
    (work / _STOP).unlink(missing_ok=True)
    with dask_client(options.scheduler, min(options.workers, len(splits))) as client:
        futures = [
            client.submit(_fit_on_worker, cohort, features, split.fold, options, work, pure=False) for split in splits
        ]
        try:
            _watch(splits, futures, steps, work)
        except ClusterMissing:  # nobody is there to be told
            raise
        except BaseException:
            (work / _STOP).touch()
            while not all(future.done() for future in futures):
                time.sleep(_POLL_SECONDS)
            raise
        finally:
            client.cancel(futures)
            (work / _STOP).unlink(missing_ok=True)


def _watch(splits: list[MemberSplit], futures: list[Any], steps: Steps, work: Path) -> None:
    """Report what the checkpoints say until all members are trained."""
    while True:
        are_done = [future.done() for future in futures]
        for split in splits:
            steps.report(split, FoldCheckpoint(work, split.fold).history(), 0)
        for split, future in zip(splits, futures, strict=True):
            if future.done():
                _raise_what_went_wrong(split, future, work)
        if all(are_done):
            return
        time.sleep(_POLL_SECONDS)


def _raise_what_went_wrong(split: MemberSplit, future: Any, work: Path) -> None:
    from distributed import KilledWorker

    if future.status not in ("finished", "error"):
        raise ClusterMissing("The Dask scheduler has gone away; start it again and go on with --resume.")
    try:
        future.result()
    except KilledWorker as error:
        raise TrainingRefused(
            f"Every worker that took fold {split.fold + 1} died; it may need more memory. Go on with --resume."
        ) from error
    if FoldCheckpoint(work, split.fold).history().stopped_by is None:
        raise ClusterMissing(f"A worker wrote {work} where this process does not see it; share the folder.")


def _fit_on_worker(cohort: Cohort, features: Path | None, fold: int, options: TrainOptions, work: Path) -> FoldHistory:
    from distributed import get_worker

    options = options.model_copy(update={"device": device_of(get_worker().name, options.device)})

    def stop_when_told(history: FoldHistory, step: int) -> None:
        if (work / _STOP).exists():
            raise Cancelled

    with _ONE_AT_A_TIME:
        stop_when_told(FoldHistory(), 0)
        bags = load_bags(cohort, features, options)
        split = member_split(bags, fold, options)
        return fit_member(bags, split, options, FoldCheckpoint(work, fold), on_step=stop_when_told)
