"""From a judged patient to *Predict patient*: the smear opened there, and predicted by the model that was judged."""

from __future__ import annotations

import napari

from napari_caltomorph.names import path_of
from napari_caltomorph.plugin.reader import SMEAR_KEY
from napari_caltomorph.smear import Smear, read_smear


def open_in_predict(viewer: napari.viewer.Viewer, place: str, model: str) -> None:
    """Open a smear in *Predict patient*, which is opened if it is not, and predict it.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    place : str
        Path of the smear.
    model : str
        Name of an installed model, or a model folder.

    Raises
    ------
    SmearUnreadable
        It is gone, or cannot be read.
    """
    smear = read_smear(path_of(place))
    dock, panel = viewer.window.add_plugin_dock_widget("napari-caltomorph", "Predict patient", tabify=True)
    dock.show()
    dock.raise_()
    panel.bind()  # it may be behind another tab, where Qt has not shown it yet
    panel.models.choose(model)
    shown = next((layer for layer in viewer.layers if _is_of(layer.metadata.get(SMEAR_KEY), smear)), None)
    if shown is None:
        panel.smears.open(place)
    else:
        panel.smears.choose(shown)
    panel.predict()


def _is_of(shown: object, smear: Smear) -> bool:
    return isinstance(shown, Smear) and shown.path == smear.path
