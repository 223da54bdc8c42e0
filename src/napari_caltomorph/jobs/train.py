"""Train an ensemble: what *Train ensemble* and ``caltomorph train`` both run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.cohort import Cohort, EncodeCohortOptions
from napari_caltomorph.diagnosis import ModelDescription
from napari_caltomorph.errors import OutputRefused, TrainingRefused
from napari_caltomorph.jobs.encode import encode_missing
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.training import TrainOptions, features_ready, training_folder

if TYPE_CHECKING:
    from napari_caltomorph.training import FoldHistory


@dataclass(frozen=True)
class TrainRequest:
    """What a training starts with."""

    cohort: Cohort
    features: Path | None  # Feature folder; None where the cohort names its feature files
    out: Path  # New model folder
    options: TrainOptions
    resume: bool = False  # Continue a training that was stopped
    encoding: EncodeCohortOptions | None = None  # How patients without features are encoded first, if at all

    def refuse_existing(self) -> None:
        """Raise `OutputRefused` where the model folder exists, before hours are spent on encoding."""
        if self.out.exists():
            raise OutputRefused(f"{self.out} exists already; choose another name, or remove it first.")


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, and the out-of-fold confusion of its members: (C, C) patients, rows are true classes."""

    folder: Path
    description: ModelDescription
    confusion: NDArray[np.int64]


@dataclass(frozen=True)
class EarlierEpochs(Progress):
    """The losses of a resumed training so far; `folds` are numbers from 0, in the order of `histories`."""

    folds: tuple[int, ...] = ()
    histories: tuple[FoldHistory, ...] = ()


def train_model(request: TrainRequest, *, progress: OnProgress = ignore) -> TrainedModel:
    """Encode patients without features, train, and save the model with its card and loss curves.

    Parameters
    ----------
    request : TrainRequest
    progress : callable
        See `OnProgress`; gets `EarlierEpochs` where a training is resumed, and `TrainProgress`.

    Returns
    -------
    TrainedModel

    Raises
    ------
    FinishEarly
        `progress` asked to end before any member was finished: there is no model, and the training can be resumed.
    CaltomorphError
        Any other obstacle; the message names the fix.
    """
    request.refuse_existing()
    ready, patients = features_ready(request.cohort, request.features)
    if ready < patients and not request.options.skip_missing:
        encode_missing(
            request.cohort,
            request.features,
            request.encoding,
            can_continue=lambda: features_ready(request.cohort, request.features)[0] == patients,
            refused=TrainingRefused,
            progress=progress,
        )
    from napari_caltomorph.evaluation import out_of_fold_confusion
    from napari_caltomorph.report import save_training_curves
    from napari_caltomorph.training import train

    if request.resume:
        progress(_earlier_epochs(request))
    ensemble = train(
        request.cohort, request.features, request.options, out=request.out, resume=request.resume, progress=progress
    )
    save_training_curves(ensemble.description, request.out)
    assert ensemble.patients is not None
    table, taxonomy = ensemble.patients.table, ensemble.description.taxonomy
    return TrainedModel(request.out, ensemble.description, out_of_fold_confusion(table, taxonomy))


def _earlier_epochs(request: TrainRequest) -> EarlierEpochs:
    from napari_caltomorph.training.members import FoldCheckpoint

    table, work = request.cohort.table, training_folder(request.out)
    folds = sorted({int(fold) for fold in table.loc[table["split"] == "train", "fold"].dropna()})
    histories = tuple(FoldCheckpoint(work, fold).history() for fold in folds)
    return EarlierEpochs("Resuming", 0, 1, "folds", folds=tuple(range(len(folds))), histories=histories)
