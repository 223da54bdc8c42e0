"""*Cut cells*, used in a real window: fields are searched, corrected with clicks, and become a smear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from napari.layers import Points
from PIL import Image
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QLabel, QPushButton
from tests.fields.drawn import draw_field
from tests.plugin.conftest import OpenWidget
from tests.plugin.gui import click, wait

from napari_caltomorph.fields import FieldImage, array_field
from napari_caltomorph.plugin.fields.layers import FieldLevel, picture_of
from napari_caltomorph.plugin.fields.panel import CutPanel
from napari_caltomorph.progress import ignore
from napari_caltomorph.smear import read_smear

CELLS = {"a.png": [(30, 30), (45, 80)], "b.png": [(40, 50)]}
SHOWN, PIXEL_UM = "cells of a.png", 0.25


@pytest.fixture(scope="module")
def drawn_fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("microscope") / "patient_3"
    folder.mkdir()
    for seed, (name, cells) in enumerate(CELLS.items()):
        Image.fromarray(draw_field(cells, seed=seed)).save(folder / name)
    (folder / "c.png").write_bytes(b"no image")
    return folder


def words(panel: CutPanel) -> str:
    return " ".join(label.text() for label in panel.findChildren(QLabel) if label.isVisible()).replace("\u200b", "")


def test_fields_are_searched_corrected_cut_and_predicted(
    open_widget: OpenWidget, qtbot: QtBot, drawn_fields: Path, tmp_path: Path
) -> None:
    viewer, panel = open_widget("Cut cells")
    assert {button.text() for button in panel.findChildren(QPushButton) if button.isVisible()} == {"Open", "Find cells"}
    panel.open([drawn_fields])
    qtbot.waitUntil(lambda: panel.view.field == "a.png", timeout=60_000)
    wait(qtbot, panel.run)
    squares = viewer.layers[SHOWN]
    assert isinstance(squares, Points)
    assert "3 cells in 2 fields" in words(panel)
    assert "red cells" in words(panel)
    assert "c.png" in words(panel)
    assert np.abs(squares.data[squares.data[:, 0].argsort()] * PIXEL_UM - [(30, 30), (45, 80)]).max() < 1.5

    panel.adding.setChecked(True)
    assert squares.mode == "add"
    squares.add([(60 / PIXEL_UM, 40 / PIXEL_UM)])
    assert "placed by you" in words(panel)
    squares.selected_data = {0}
    assert "confidence" in words(panel)
    squares.remove_selected()
    assert "3 cells in 2 fields" in words(panel)

    panel.form.set({"pixel_size": 0.25, "from_red_cells": True})
    click(qtbot, panel.run.button)
    assert 'give "Pixel size (µm)" or "Scale by red cells", not both' in panel.run.text
    panel.form.set({"pixel_size": None, "from_red_cells": False})
    assert panel.folder.text().endswith("patient_3_cells")
    panel.form.set({"width_um": 40.0})  # not searched again: the squares that are shown are what is cut
    panel.folder.setText(str(tmp_path / "cells"))
    click(qtbot, panel.cut.button)
    qtbot.waitUntil(lambda: "cells" in viewer.layers, timeout=60_000)
    wait(qtbot, panel.cut)
    table = pd.read_csv(tmp_path / "cells" / "fields.csv")
    smear = read_smear(tmp_path / "cells")
    assert len(smear) == len(table) == 3
    assert np.isclose(smear.pixel_size_um * 144, 25)
    placed = table[(table["field"] == "a.png") & (table["confidence"] == 1)]
    assert np.allclose(placed[["y_px", "x_px"]], [[60 / PIXEL_UM, 40 / PIXEL_UM]], atol=0.1)

    _, predict = viewer.window.add_plugin_dock_widget("napari-caltomorph", "Predict patient")
    predict.models.choose("demo")
    click(qtbot, predict.run.button)
    qtbot.waitUntil(lambda: predict.inspection is not None, timeout=60_000)
    wait(qtbot, predict.run)
    assert not viewer.layers["a.png"].visible  # behind the ranked cells
    of_b = next(i for i, cell in enumerate(predict.inspection.prediction.cells) if cell.startswith("b_"))
    predict.inspection.cells.select([of_b])
    assert "lies in b.png" in panel.text
    panel.go_to_inspected()
    qtbot.waitUntil(lambda: panel.view.field == "b.png")
    assert [layer.name for layer in viewer.layers if layer.visible] == ["b.png", "cells of b.png"]
    predict.unbind()


def test_a_large_field_is_read_where_the_viewer_looks() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5000, 4000, 3), dtype=np.uint8)
    whole = array_field(pixels)
    windows: list[tuple[int, ...]] = []

    def read(*window: int) -> np.ndarray:
        windows.append(window)
        return whole.read(*window)

    level, small = picture_of(FieldImage("large", 5000, 4000, read), ignore)
    assert isinstance(level, FieldLevel)
    assert max(bottom - top for top, _, bottom, _ in windows) < 3000
    assert np.array_equal(small, pixels[::3, ::3])
    windows.clear()
    assert np.array_equal(level[100:200, 50:90], pixels[100:200, 50:90])
    assert windows == [(100, 50, 200, 90)]
    assert np.array_equal(level[10:20:3, 5:6, 1:], pixels[10:20:3, 5:6, 1:])
