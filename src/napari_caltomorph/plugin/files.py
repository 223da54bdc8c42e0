"""What napari opens, saves and runs through this plugin: the commands of the manifest that are no panels.

A folder, archive or Metafer image opens as one RGB stack, a folder or archive of patients in the panel for them, and a
saved prediction as its layers. The ranked cells of a prediction are saved as a TIFF stack with their table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import tifffile
from napari.utils.notifications import show_error

from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.cohort.layouts import find_layout
from napari_caltomorph.csv_files import write_csv
from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.prediction_files import find_smear
from napari_caltomorph.errors import CaltomorphError, CohortUnreadable, LooksLikeCohort, OutputRefused
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
Reader = Callable[[Paths], list[LayerData]]

# npe2: the file was dealt with, and there is nothing to show.
NO_LAYERS: list[Any] = [(None,)]


def get_reader(path: Paths) -> Reader:
    """Return a reader for a smear, or for several patients (npe2's contract)."""
    return lambda _: _or_why_not(lambda: _read_smear(path))


def get_prediction_reader(path: Paths) -> Reader | None:
    """Return a reader for a saved prediction, or None if there are several."""
    return (lambda _: _or_why_not(lambda: _read_prediction(path))) if isinstance(path, str) else None


def predict_selected(viewer: napari.viewer.Viewer) -> None:
    """Predict the smear of the selected layer in *Predict patient*, which says what it needs of another layer."""
    _panel(viewer, "Predict patient").predict_layer(viewer.layers.selection.active)


def _read_smear(path: Paths) -> list[LayerData]:
    try:
        return [smear_layer(read_smear(path))]
    except LooksLikeCohort:
        viewer = napari.current_viewer()
        if viewer is None or not isinstance(path, str):
            raise
        _open_patients(viewer, Path(path))
        return NO_LAYERS


def _open_patients(viewer: napari.viewer.Viewer, place: Path) -> None:
    """Open a cohort in *Open cohort*; patients without a diagnosis in *Predict patients*."""
    try:
        find_layout(place, "auto").find(place, CohortOptions())  # names only
    except CohortUnreadable:
        _panel(viewer, "Predict patients").add(place)
    else:
        _panel(viewer, "Open cohort").open(place)


def _panel(viewer: napari.viewer.Viewer, name: str) -> Any:
    from napari_caltomorph.plugin.widgets.dock_panel import open_panel  # it imports matplotlib; readers need none

    return open_panel(viewer, name)


def _read_prediction(path: str) -> list[LayerData]:
    prediction = Prediction.load(path)
    return ranked_layer_data(find_smear(prediction), prediction)


def _or_why_not(read: Callable[[], list[LayerData]]) -> list[LayerData]:
    """Return layers; where there is nothing to read, e.g. in an empty folder, show why.

    Without a reader, napari only says that the file was refused, and for an exception it recommends other plugins. It
    asks these readers if a person chose them, or if no other reads such a file.
    """
    try:
        return read()
    except CaltomorphError as error:
        show_error(str(error))
        return NO_LAYERS


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
