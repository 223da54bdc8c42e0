"""napari's readers: a folder, archive or Metafer image becomes one RGB stack; a saved prediction becomes its layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_caltomorph.diagnose import Prediction
from napari_caltomorph.errors import CaltomorphError, SmearUnreadable
from napari_caltomorph.names import path_of
from napari_caltomorph.plugin.stack import CellStack
from napari_caltomorph.smear import Smear, read_smear

LayerData = tuple[Any, dict[str, Any], str]
Paths = str | list[str]

SMEAR_KEY = "caltomorph_smear"
"""Where a layer's metadata keep the `Smear` that the layer shows."""


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return a reader for a smear, or None when there is none at the path (npe2's contract)."""
    try:
        smear = read_smear(path)
    except CaltomorphError:
        return None
    return lambda _: [smear_layer(smear)]


def get_prediction_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return a reader for a saved prediction, or None when the file is none."""
    from napari_caltomorph.plugin.layers import ranked_layer_data

    if not isinstance(path, str):
        return None
    try:
        prediction = Prediction.load(Path(path))
        smear = find_smear(prediction)
    except CaltomorphError:
        return None
    return lambda _: ranked_layer_data(smear, prediction)


def find_smear(prediction: Prediction) -> Smear:
    """Open the smear that a prediction was made of, where it still is.

    Raises
    ------
    SmearUnreadable
        It was not read from disk, or is gone; the message says where it was.
    """
    if prediction.smear_path is None:
        raise SmearUnreadable(f"{prediction.patient_id} was predicted from a layer; its images are not on disk.")
    smear = read_smear(path_of(prediction.smear_path))
    if missing := set(prediction.cells) - set(smear.cells):
        raise SmearUnreadable(
            f"{prediction.smear_path} lacks {len(missing)} of the cells that were predicted (first: {min(missing)}); "
            "bring the export back to this place."
        )
    return smear


def smear_layer(smear: Smear) -> LayerData:
    """Return the layer that shows a smear: (N, H, W, 3) uint8, each cell decoded when shown."""
    options: dict[str, Any] = {
        "name": smear.patient_id,
        "rgb": True,
        "interpolation2d": "linear",
        "axis_labels": ("cell", "y", "x"),
        "metadata": {SMEAR_KEY: smear, "cells": smear.cells, "labels": smear.labels},
    }
    if smear.pixel_size_um is not None:
        options["scale"] = (1.0, smear.pixel_size_um, smear.pixel_size_um)
        options["units"] = ("pixel", "um", "um")
    return CellStack(smear), options, "image"
