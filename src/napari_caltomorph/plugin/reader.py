"""napari's readers: a folder, archive or Metafer image becomes one RGB stack; a saved prediction becomes its layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.prediction_files import find_smear
from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.plugin.gallery.stack import CellStack
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
    from napari_caltomorph.plugin.gallery.layers import ranked_layer_data

    if not isinstance(path, str):
        return None
    try:
        prediction = Prediction.load(Path(path))
        smear = find_smear(prediction)
    except CaltomorphError:
        return None
    return lambda _: ranked_layer_data(smear, prediction)


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
