"""*Inspect cells* in a window, with a leukemia of 40 cells that is predicted once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from napari.viewer import Viewer
from tests.plugin.conftest import OpenWidget

from napari_caltomorph.diagnosis import Prediction, PredictOptions, Predictor
from napari_caltomorph.plugin.gallery.gallery import Gallery
from napari_caltomorph.plugin.gallery.layers import ranked_order
from napari_caltomorph.plugin.gallery.pictures import read_pictures
from napari_caltomorph.plugin.inspect.panel import InspectPanel
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.session.session import session_of
from napari_caltomorph.smear import Smear, read_smear

Predicted = tuple[Smear, Prediction, Predictor]


class Opened(NamedTuple):
    """A panel, what it shows, and the gallery of that; None without images."""

    panel: InspectPanel
    inspection: Inspection
    gallery: Gallery | None
    viewer: Viewer


OpenInspection = Callable[..., Opened]


@pytest.fixture(scope="package")
def predicted(drawn_smear: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predicted]:
    """The smear, its prediction, and the predictor, which keeps the features in memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CALTOMORPH_HOME", str(tmp_path_factory.mktemp("home")))
        predictor = Predictor(PredictOptions(model="demo"))
        smear, prediction = predictor.predict(read_smear(drawn_smear))
    return smear, prediction, predictor


@pytest.fixture
def open_inspection(open_widget: OpenWidget, predicted: Predicted) -> OpenInspection:
    """``open_inspection(images=True, smear=None, prediction=None)``: the panel in a window."""
    smear, prediction, predictor = predicted

    def opened(*, images: bool = True, smear: Smear = smear, prediction: Prediction = prediction) -> Opened:
        viewer, panel = open_widget("Inspect cells")
        inspection = Inspection(prediction, smear if images else None, predictor=predictor)
        gallery = None
        if images:
            gallery = Gallery(viewer, inspection, read_pictures(smear, ranked_order(smear, prediction)))
        session_of(panel).show(inspection)
        return Opened(panel, inspection, gallery, viewer)

    return opened
