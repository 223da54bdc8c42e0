"""Cells are described from the menu, and those without one centred leukocyte are left out by one edit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pytestqt.qtbot import QtBot
from tests.plugin.conftest import OpenPanel
from tests.plugin.gui import click, wait

from napari_caltomorph.fields import Verdict
from napari_caltomorph.plugin.session.cell_columns import IN_VIEW


def test_described_cells_are_left_out_by_one_edit(open_panel: OpenPanel, qtbot: QtBot, export: Path) -> None:
    _, panel = open_panel()
    panel.smears.open(export)
    click(qtbot, panel.counter)
    wait(qtbot, panel.run)
    inspect = panel.inspect()
    inspect.tab("Table")
    cells = inspect.inspection.cells
    assert not inspect.controls.only_one.isEnabled()
    inspect.controls.describe.trigger()
    qtbot.waitUntil(lambda: IN_VIEW in cells.columns, timeout=60_000)
    in_view = cells.columns[IN_VIEW]
    assert f"{np.sum(in_view == Verdict.ONE)} one centred leukocyte" in inspect.text
    inspect.controls.only_one.trigger()
    assert cells.left_out == set(np.flatnonzero(in_view != Verdict.ONE).tolist())
    cells.undo()
    assert not cells.left_out
