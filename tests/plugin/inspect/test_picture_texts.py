"""The picture says what it shows: outlines, legend and caption follow the cells, and the panel says what is hidden."""

from __future__ import annotations

import numpy as np
from pytestqt.qtbot import QtBot
from tests.plugin.conftest import CELLS
from tests.plugin.inspect.conftest import OpenInspection

from napari_caltomorph.plugin.gallery.layers import show_smear
from napari_caltomorph.plugin.gallery.over_picture import PictureText
from napari_caltomorph.plugin.inspect.panel import InspectPanel
from napari_caltomorph.plugin.napari_versions import camera_of
from napari_caltomorph.plugin.session.cell_columns import CellFilter
from napari_caltomorph.plugin.widgets.settings import preferences


def written(text: PictureText) -> str:
    return text.html.replace("&nbsp;", " ").replace("\u2060", "")


def test_legend_caption_outline_and_slider_follow_what_is_shown(open_inspection: OpenInspection, qtbot: QtBot) -> None:
    panel, inspection, gallery, viewer = open_inspection()
    assert isinstance(panel, InspectPanel)
    cells, texts, sliders = inspection.cells, gallery._texts, viewer.window._qt_viewer.dims
    counted = {name: count for name, _, count in inspection.legend}
    assert sum(counted.values()) == CELLS
    assert all(name.split()[-1] in written(texts.legend) for name in counted)
    cells.set_filter(CellFilter(alone_class=next(iter(counted))))
    assert [count for *_, count in inspection.legend] == [next(iter(counted.values()))]
    cells.set_filter(CellFilter())
    before = viewer.screenshot(canvas_only=True, flash=False)
    panel.controls.legend.trigger()
    assert not texts.legend.html
    assert not preferences().legend
    assert (viewer.screenshot(canvas_only=True, flash=False) != before).any()
    panel.controls.legend.trigger()
    # The outline is there at every zoom, and as wide.
    cell = int(cells.order[7])
    green = []
    for zoom in (1.0, 6.0):
        camera_of(viewer).zoom = zoom
        qtbot.wait(50)
        cells.select([])
        cells.select([cell])  # brings it into view
        shown = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
        green.append(np.count_nonzero((shown[..., 1] > 230) & (shown[..., 0] < 90) & (shown[..., 2] < 60)))
    assert green[0] > 100
    assert green[1] > green[0]
    # The caption follows the slider, which a hidden smear does not show.
    show_smear(viewer, inspection.smear)
    assert sliders.isVisible()
    assert not texts.legend.html
    assert not texts.caption.html
    panel.controls.title.linkActivated.emit("")
    assert inspection.gallery.is_in_sight
    assert not sliders.isVisible()
    gallery.show_as_stack(True)
    assert sliders.isVisible()
    cells.leave_out([int(cells.order[11])])
    viewer.dims.set_current_step(0, 11)
    assert inspection.caption[0] == f"#12 of {CELLS}"
    assert "left out" in written(texts.caption)
    cells.sort_by("attention", descending=False)
    assert f"{cells.position(cells.current) + 1} of {CELLS} as sorted" in written(texts.caption)
    viewer.layers.remove(gallery.stack)
    viewer.layers.remove(gallery.points)
    qtbot.waitUntil(lambda: not inspection.gallery.is_available)
    assert not texts.caption.html
