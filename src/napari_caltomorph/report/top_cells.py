"""The cells that a model looked at most in patients whom it got wrong, as thumbnails for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.diagnosis.inference import run_with_cells
from napari_caltomorph.encoding import Features
from napari_caltomorph.errors import CellUnreadable, FeaturesRefused, SmearUnreadable
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import Smear, read_smear
from napari_caltomorph.storage import path_of


def top_cells(
    ensemble: Ensemble,
    evaluation: Evaluation,
    features: Mapping[str, Path],
    *,
    patients: int = 30,
    cells: int = 8,
    progress: OnProgress = ignore,
) -> dict[str, list[NDArray[np.uint8]]]:
    """Return the images of the cells with the highest attention, of the patients who were judged wrong.

    Parameters
    ----------
    ensemble : Ensemble
        The model that was judged.
    evaluation : Evaluation
    features : mapping of str to Path
        The feature file of each patient, as `feature_files` returns them.
    patients, cells : int
        At most so many, the surest mistakes first; and of each so many.
    progress : callable
        Called with a `Progress` in patients; raising `Cancelled` in it stops cleanly.

    Returns
    -------
    dict of str to list of (H, W, 3) uint8
        Without those whose images or features are not at hand; empty for a model without attention.

    Notes
    -----
    Out of fold, the attention is that of the member that judged.
    """
    found: dict[str, list[NDArray[np.uint8]]] = {}
    if ensemble.description.aggregator.attention_kind == "none":
        return found
    rows = {row["patient_id"]: row for row in evaluation.patients.to_dict("records")}
    wrong = evaluation.wrong[:patients]
    for number, patient in enumerate(wrong):
        progress(Progress("Looking at cells", number, len(wrong), "patients"))
        place, fold = rows[patient]["path"], rows[patient]["fold"]
        if pd.isna(place) or patient not in features:
            continue
        try:
            bag = Features.load(features[patient])
            smear = read_smear(path_of(str(place)))
        except (FeaturesRefused, SmearUnreadable):
            continue  # the report is the same without thumbnails
        members = ensemble.members if pd.isna(fold) else [ensemble.members[int(fold)]]
        attention = run_with_cells(members, bag, alone=False).attention
        if images := cell_images(smear, [bag.cells[i] for i in np.argsort(-attention, kind="stable")], cells):
            found[patient] = list(images.values())
    return found


def cell_images(smear: Smear, names: Sequence[str], count: int) -> dict[str, NDArray[np.uint8]]:
    """Return the images, (H, W, 3) uint8, of the first so many of these cells that can be read."""
    places = {name: i for i, name in enumerate(smear.cells)}
    images: dict[str, NDArray[np.uint8]] = {}
    for name in names:
        if len(images) == count:
            break
        if name in places:
            try:
                images[name] = smear.image(places[name])
            except CellUnreadable:
                continue
    return images
