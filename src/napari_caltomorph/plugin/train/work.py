"""What the worker of *Train ensemble* does: encode who is missing, train, draw the card's figure. No Qt here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.diagnosis import ModelDescription
from napari_caltomorph.errors import OutputRefused, TrainingRefused
from napari_caltomorph.plugin.torch_loading import prepare_torch_import
from napari_caltomorph.plugin.train.control import TrainingControl
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.training import KeepSoFar, TrainOptions, features_ready, training_folder

if TYPE_CHECKING:
    from napari_caltomorph.cohort import EncodeSummary
    from napari_caltomorph.training.checkpoint import FoldHistory


@dataclass(frozen=True)
class Order:
    """All that a training is started with.

    Attributes
    ----------
    cohort : Cohort
    features : Path or None
        None where the cohort names its feature files.
    encode : callable
        Encodes the cohort; asked only where features are missing.
    out : Path
        The model folder.
    resume : bool
    options : TrainOptions
    """

    cohort: Cohort
    features: Path | None
    encode: Callable[[OnProgress], EncodeSummary]
    out: Path
    resume: bool
    options: TrainOptions

    def refuse_taken(self) -> None:
        """Refuse a name that is taken before hours are spent on encoding.

        Raises
        ------
        OutputRefused
        """
        if self.out.exists():
            raise OutputRefused(f"{self.out} exists already; choose another name, or remove it first.")


@dataclass(frozen=True)
class Trained:
    """The model that came out, and what its single members said of their own folds, (C, C) patients."""

    folder: Path
    description: ModelDescription
    confusion: NDArray[np.int64]


@dataclass(frozen=True)
class EarlierEpochs(Progress):
    """What the members of a training that goes on have been through already; `folds` are theirs, from 0."""

    folds: tuple[int, ...] = ()
    histories: tuple[FoldHistory, ...] = ()


def train_as_ordered(order: Order, control: TrainingControl, progress: OnProgress) -> Trained | None:
    """Encode whose features are missing, train, and save; None where it was ended before anything was learnt."""
    prepare_torch_import()
    _encode_missing(order, progress)
    from napari_caltomorph.evaluation import out_of_fold_confusion
    from napari_caltomorph.report import save_training_curves
    from napari_caltomorph.training import train

    if order.resume:
        progress(_earlier_epochs(order))
    try:
        ensemble = train(
            order.cohort,
            order.features,
            order.options,
            out=order.out,
            resume=order.resume,
            progress=control.heard(progress),
        )
    except KeepSoFar:
        return None
    save_training_curves(ensemble.description, order.out)
    assert ensemble.patients is not None
    table, taxonomy = ensemble.patients.table, ensemble.description.taxonomy
    return Trained(order.out, ensemble.description, out_of_fold_confusion(table, taxonomy))


def _encode_missing(order: Order, progress: OnProgress) -> None:
    ready, patients = features_ready(order.cohort, order.features)
    has_images = bool(order.cohort.table["path"].notna().any())
    if ready == patients or order.options.skip_missing or not has_images:
        return
    failed = order.encode(progress).failed
    if failed and features_ready(order.cohort, order.features)[0] < patients:
        first = f"{failed[0].patient_id}: {failed[0].reason}".rstrip(".")
        raise TrainingRefused(
            f"{len(failed)} patients could not be encoded (first: {first}). Mend them, or choose Skip missing among "
            "the options."
        )


def _earlier_epochs(order: Order) -> EarlierEpochs:
    from napari_caltomorph.training.checkpoint import FoldCheckpoint

    table, work = order.cohort.table, training_folder(order.out)
    folds = sorted({int(fold) for fold in table.loc[table["split"] == "train", "fold"].dropna()})
    histories = tuple(FoldCheckpoint(work, fold).history() for fold in folds)
    return EarlierEpochs("Going on", 0, 1, "folds", folds=tuple(range(len(folds))), histories=histories)
