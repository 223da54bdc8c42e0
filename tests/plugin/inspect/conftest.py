"""*Inspect cells* in a window, with a leukemia of 40 cells that is predicted once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from tests.plugin.conftest import OpenWidget, Predicted

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.plugin.gallery.gallery import Gallery
from napari_caltomorph.plugin.gallery.layers import ranked_order
from napari_caltomorph.plugin.gallery.pictures import read_pictures
from napari_caltomorph.plugin.inspect.panel import InspectPanel
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.session.session import session_of
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.tasks import Task
from napari_caltomorph.smear import Smear


class Opened(NamedTuple):
    """A panel, what it shows, and the gallery of that; None without images."""

    panel: InspectPanel
    inspection: Inspection
    gallery: Gallery | None
    viewer: Viewer


OpenInspection = Callable[..., Opened]
ShowView = Callable[[InspectionView, Inspection], None]


@pytest.fixture
def show_view(qtbot: QtBot) -> Iterator[ShowView]:
    """``show_view(view, inspection)``: a view of an inspection, as wide as a dock, without a napari window."""
    views: list[InspectionView] = []

    def shown(view: InspectionView, inspection: Inspection) -> None:
        views.append(view)
        qtbot.addWidget(view)
        view.resize(360, 600)
        view.show()
        view.show_inspection(inspection)

    yield shown
    for view in views:
        view.close_inspection()
    Task.await_workers(60_000)
    qtbot.wait(20)


@pytest.fixture
def inspection(predicted: Predicted) -> Inspection:
    """The predicted leukemia under inspection."""
    smear, prediction, predictor = predicted
    return Inspection(prediction, smear, predictor=predictor)


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
