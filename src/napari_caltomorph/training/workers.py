"""Folds in parallel with Dask: each task trains one member, and writes its checkpoints into the training's folder.

When a worker dies, another resumes its member from the last finished epoch. Progress is read from the checkpoints, so
only the task and its end pass through the scheduler.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.dask_workers import dask_client, device_of
from napari_caltomorph.errors import ClusterMissing, TrainingRefused
from napari_caltomorph.progress import Cancelled
from napari_caltomorph.training.bags import load_bags
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.members import FoldCheckpoint
from napari_caltomorph.training.options import TrainOptions
from napari_caltomorph.training.progress import FoldHistory, StepCounter

_POLL_SECONDS = 0.2
# This file in the training's folder makes workers stop: a running task cannot be cancelled.
_STOP = "stop"
# Torch has one random generator per process: members in two threads would change each other's random numbers.
_ONE_AT_A_TIME = threading.Lock()


def fit_on_workers(
    cohort: Cohort,
    features: Path | None,
    splits: list[MemberSplit],
    options: TrainOptions,
    work: Path,
    steps: StepCounter,
) -> None:
    """Train all members on Dask workers. When it returns or raises, no worker writes to the folder any more.

    `ClusterMissing` where nothing answers at the address, or the workers do not see the training's folder.
    """
    (work / _STOP).unlink(missing_ok=True)
    with dask_client(options.scheduler, min(options.workers, len(splits))) as client:
        futures = [
            client.submit(_fit_on_worker, cohort, features, split, options, work, pure=False) for split in splits
        ]
        try:
            _watch(splits, futures, steps, work)
        except ClusterMissing:  # no worker is left
            raise
        except BaseException:
            (work / _STOP).touch()
            while not all(future.done() for future in futures):
                time.sleep(_POLL_SECONDS)
            raise
        finally:
            client.cancel(futures)
            (work / _STOP).unlink(missing_ok=True)


def _watch(splits: list[MemberSplit], futures: list[Any], steps: StepCounter, work: Path) -> None:
    """Report the histories in the checkpoints until all members are trained."""
    while True:
        are_done = [future.done() for future in futures]
        for split in splits:
            steps.report(split, FoldCheckpoint(work, split.fold).history(), 0)
        for split, future in zip(splits, futures, strict=True):
            if future.done():
                _raise_failure(split, future, work)
        if all(are_done):
            return
        time.sleep(_POLL_SECONDS)


def _raise_failure(split: MemberSplit, future: Any, work: Path) -> None:
    from distributed import KilledWorker

    if future.status not in ("finished", "error"):
        raise ClusterMissing("The Dask scheduler has stopped; start it again and continue with --resume.")
    try:
        future.result()
    except KilledWorker as error:
        raise TrainingRefused(
            f"Every worker that took fold {split.fold + 1} died; it may need more memory. Continue with --resume."
        ) from error
    if not FoldCheckpoint(work, split.fold).history().has_ended:
        raise ClusterMissing(f"A worker wrote {work} where this process does not see it; share the folder.")


def _fit_on_worker(
    cohort: Cohort, features: Path | None, split: MemberSplit, options: TrainOptions, work: Path
) -> FoldHistory:
    from distributed import get_worker

    options = options.model_copy(update={"device": device_of(get_worker().name, options.device)})

    def stop_if_requested(history: FoldHistory, step: int) -> None:
        if (work / _STOP).exists():
            raise Cancelled

    with _ONE_AT_A_TIME:
        stop_if_requested(FoldHistory(), 0)
        bags = load_bags(cohort, features, options)
        return fit_member(bags, split, options, FoldCheckpoint(work, split.fold), on_step=stop_if_requested)
