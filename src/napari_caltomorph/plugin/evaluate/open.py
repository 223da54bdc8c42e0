"""From a judged patient to *Predict patient*: the smear opened there, and predicted by the model that was judged."""

from __future__ import annotations

import napari

from napari_caltomorph.names import path_of
from napari_caltomorph.smear import read_smear


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
    panel.smears.show_smear(smear)
    panel.predict()
