"""napari's writer for our own ranked layers, and no others: the cells as a stack in rank order, and their table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_caltomorph.diagnosis.prediction_files import cell_table
from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.plugin.gallery.layers import PREDICTION_KEY, ranked_order
from napari_caltomorph.plugin.gallery.stack import CellStack
from napari_caltomorph.plugin.reader import SMEAR_KEY
from napari_caltomorph.storage import replacing


def write_ranked(path: str, layers: list[tuple[Any, dict[str, Any], str]]) -> list[str]:
    """Write ``<path>.tif``, one page a cell, most attended first, and ``<path>.csv``.

    Raises
    ------
    OutputRefused
        The layers are not a prediction's, or the files cannot be written.
    """
    metadata = next((meta["metadata"] for _, meta, _ in layers if PREDICTION_KEY in meta["metadata"]), None)
    if metadata is None:
        raise OutputRefused(f"{path}: only the ranked cells of a prediction are saved so; predict a patient first.")
    prediction, smear = metadata[PREDICTION_KEY], metadata[SMEAR_KEY]
    stack = CellStack(smear, ranked_order(smear, prediction))
    target = Path(path).with_suffix(".tif")
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
    table = target.with_suffix(".csv")
    with replacing(table) as part:
        cell_table(prediction).to_csv(part, index=False)
    return [str(target), str(table)]
