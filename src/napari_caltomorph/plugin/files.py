"""What napari opens and saves through this plugin.

A folder, archive or Metafer image opens as one RGB stack, and a saved prediction as its layers. The ranked cells of a
prediction are saved as a TIFF stack with their table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_caltomorph.csv_files import write_csv
from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.prediction_files import find_smear
from napari_caltomorph.errors import CaltomorphError, OutputRefused
from napari_caltomorph.plugin.gallery.layers import (
    PREDICTION_KEY,
    SMEAR_KEY,
    LayerData,
    ranked_layer_data,
    ranked_order,
    smear_layer,
)
from napari_caltomorph.plugin.gallery.pictures import CellStack
from napari_caltomorph.smear import Smear, read_smear
from napari_caltomorph.storage import replacing

Paths = str | list[str]


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return a reader for a smear, or None if there is none at the path (npe2's contract)."""
    try:
        smear = read_smear(path)
    except CaltomorphError:
        return None
    return lambda _: [smear_layer(smear)]


def get_prediction_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return a reader for a saved prediction, or None if the file is none."""
    if not isinstance(path, str):
        return None
    try:
        prediction = Prediction.load(Path(path))
        smear = find_smear(prediction)
    except CaltomorphError:
        return None
    return lambda _: ranked_layer_data(smear, prediction)


def write_ranked(path: str, layers: list[tuple[Any, dict[str, Any], str]]) -> list[str]:
    """Write ``<path>.tif``, one page a cell, most attended first, and ``<path>.csv`` (npe2's contract)."""
    metadata = next((meta["metadata"] for _, meta, _ in layers if PREDICTION_KEY in meta["metadata"]), None)
    if metadata is None:
        raise OutputRefused(f"{path}: only the ranked cells of a prediction can be saved; predict a patient first.")
    prediction, smear = metadata[PREDICTION_KEY], metadata[SMEAR_KEY]
    target = Path(path).with_suffix(".tif")
    table = target.with_suffix(".csv")
    _write_stack(target, smear, prediction)
    write_csv(prediction.cell_table(), table)
    return [str(target), str(table)]


def _write_stack(target: Path, smear: Smear, prediction: Prediction) -> None:
    stack = CellStack(smear, ranked_order(smear, prediction))
    per_cm = None if smear.pixel_size_um is None else 10_000 / smear.pixel_size_um
    with replacing(target) as part, tifffile.TiffWriter(part) as tiff:
        for position in range(len(stack)):
            tiff.write(
                np.ascontiguousarray(stack.cell(position)),
                photometric="rgb",
                resolution=None if per_cm is None else (per_cm, per_cm),
                resolutionunit=None if per_cm is None else "CENTIMETER",
                contiguous=False,
                metadata=None,
            )
