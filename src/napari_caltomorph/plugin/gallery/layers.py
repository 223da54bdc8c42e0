"""Smears and predictions as napari layers: a stack of cells; the ranked cells as one picture, with a square on each."""

from __future__ import annotations

from typing import Any

import napari
import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.plugin.gallery.over_picture import hide_idle_sliders
from napari_caltomorph.plugin.gallery.pictures import CellPictures, CellStack, Grid, read_pictures
from napari_caltomorph.plugin.napari_versions import fit_to
from napari_caltomorph.plugin.session.cell_columns import BY_CLASS, BY_LABEL, AnyCells, cell_columns, colors_by
from napari_caltomorph.smear import Smear

LayerData = tuple[Any, dict[str, Any], str]

# Keys of the `Smear`, the `Prediction`, and a microscope field's name in the metadata of the layers that show them.
SMEAR_KEY, PREDICTION_KEY, FIELD_KEY = "caltomorph_smear", "caltomorph_prediction", "caltomorph_field"


def smear_layer(smear: Smear) -> LayerData:
    """Return the layer that shows a smear: (N, H, W, 3) uint8, each cell decoded when shown."""
    metadata = {SMEAR_KEY: smear, "cells": smear.cells, "labels": smear.labels}
    return CellStack(smear), {"name": smear.patient_id, **stack_options(smear, "cell", metadata)}, "image"


def stack_options(smear: Smear, axis: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return napari's options for a stack of a smear's cells."""
    options = {"rgb": True, "interpolation2d": "linear", "axis_labels": (axis, "y", "x"), "metadata": metadata}
    if smear.pixel_size_um is not None:
        options |= {"scale": (1.0, smear.pixel_size_um, smear.pixel_size_um), "units": ("pixel", "um", "um")}
    return options


def agree_on_scale(viewer: napari.viewer.Viewer, smear: Smear) -> None:
    """Give all layers of a smear its pixel size, which may have been stated or found since they were opened."""
    options = stack_options(smear, "cell", {})
    for layer in viewer.layers:
        if "scale" in options and layer.ndim == 3 and _is_of(layer, smear):
            layer.scale, layer.units = options["scale"], options["units"]


def ranked_order(smear: Smear, bag: AnyCells) -> NDArray[np.intp]:
    """Return indices into the smear's cells, in rank order."""
    index = {cell: i for i, cell in enumerate(smear.cells)}
    return np.array([index[bag.cells[i]] for i in bag.order], dtype=np.intp)


def ranked_layer_data(smear: Smear, bag: AnyCells, pictures: CellPictures | None = None) -> list[LayerData]:
    """Return the *ranked cells* and the *predictions* layer; `pictures` are of the cells in rank order, if decoded."""
    if pictures is None:
        pictures = read_pictures(smear, ranked_order(smear, bag))
    grid = Grid(len(bag.cells), smear.canvas)
    picture = pictures.arranged(np.arange(grid.count), grid)
    shared: dict[str, Any] = {"metadata": {PREDICTION_KEY: bag, SMEAR_KEY: smear}, "axis_labels": ("y", "x")}
    if smear.pixel_size_um is not None:
        shared |= {"scale": (smear.pixel_size_um,) * 2, "units": ("um", "um")}
    is_diagnosed = isinstance(bag, Prediction)
    look = {"rgb": True, "interpolation2d": "linear", "multiscale": isinstance(picture, list)}
    image = {"name": f"{bag.patient_id} {'ranked ' * is_diagnosed}cells", **look, **shared}
    ranked = bag.order
    start = BY_CLASS if is_diagnosed else BY_LABEL
    colors = colors_by(start, bag, tuple(label or "" for label in bag.labels))[ranked]
    table = bag.cell_table()
    features = table[[name for name in ("cell", "rank", "attention", "alone_class") if name in table]]
    features["label"] = [bag.labels[i] or "" for i in ranked]
    features["quality"] = cell_columns(bag, smear)["quality"][ranked]
    size, border_width = grid.frames(np.zeros(1, dtype=bool))
    points = {
        "name": f"{bag.patient_id} {'predictions' if is_diagnosed else 'cell types'}",
        "features": features,
        "symbol": "square",
        "size": float(size[0]),
        "canvas_size_limits": (0, 10_000),  # a cell that is filtered away has no size, and no dot either
        "face_color": "transparent",
        "border_color": colors,
        "border_width": float(border_width[0]),
        **shared,
    }
    return [(picture, image, "image"), (grid.centers(), points, "points")]


def source_of(bag: AnyCells) -> tuple[str, str | None]:
    """Return which export the cells are from: two exports may have one name, but their folders differ."""
    return bag.patient_id, bag.smear_path


def hide_all_but(viewer: napari.viewer.Viewer, *shown: Layer) -> None:
    """Hide every other smear, prediction and field: two patients' cells on top of each other would read as one."""
    for layer in viewer.layers:
        if layer not in shown and is_ours(layer):
            layer.visible = False
    hide_idle_sliders(viewer)


def is_ours(layer: Layer) -> bool:
    """Whether a layer shows a smear, a prediction or a field of one of our panels."""
    return not layer.metadata.keys().isdisjoint((SMEAR_KEY, PREDICTION_KEY, FIELD_KEY))


def show_smear(viewer: napari.viewer.Viewer, smear: Smear) -> Layer:
    """Show the layer of an export alone, opened if it is not open, and return it."""
    is_new = not any(_is_of(layer, smear) for layer in viewer.layers)
    if is_new:
        viewer.add_layer(Layer.create(*smear_layer(smear)))  # returns a proxy, which is not equal to the layer in Qt
    layer = next(layer for layer in viewer.layers if _is_of(layer, smear))
    layer.visible = True
    if is_new:
        fit_to(viewer, [layer])
    hide_all_but(viewer, layer)
    viewer.dims.set_point(0, 0)
    return layer


def _is_of(layer: Layer, smear: Smear) -> bool:
    shown = layer.metadata.get(SMEAR_KEY)
    if not isinstance(shown, Smear) or PREDICTION_KEY in layer.metadata:
        return False
    return shown is smear or (shown.place is not None and shown.place == smear.place)
