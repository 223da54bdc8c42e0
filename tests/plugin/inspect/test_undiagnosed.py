"""A smear is counted by type in a real window, without a diagnosis, a label or a download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from tests.plugin.conftest import CELLS, OpenPanel, predict
from tests.plugin.gui import click, wait

from napari_caltomorph.errors import ModelRefused
from napari_caltomorph.plugin.session.cell_columns import BY_TYPE, CERTAINTY


def test_one_button_counts_and_a_diagnosis_can_follow(open_panel: OpenPanel, qtbot: QtBot, export: Path) -> None:
    viewer, panel = open_panel()
    # In the front is a tab that needs a diagnosis, next to one that was not opened yet.
    panel.inspect().tab("Why")
    panel.smears.open(export)
    click(qtbot, panel.counter)
    wait(qtbot, panel.run)
    inspect = panel.inspect()
    tab = inspect.tab("Differential")
    wait(qtbot, tab.task)
    inspection = tab.inspection
    assert not inspection.is_diagnosed
    assert not panel.saving.isEnabled()
    assert len(tab.view.shown) == CELLS
    assert inspection.coloring == BY_TYPE
    order, columns = inspection.cells.order, inspection.cells.columns
    kinds, sure = columns[BY_TYPE][order], columns[CERTAINTY][order].astype(float)
    borders = np.flatnonzero(kinds[1:] != kinds[:-1])
    assert len(borders) == len(set(kinds)) - 1
    assert not any(np.delete(np.diff(sure), borders) < 0)  # that of "other" is not a number
    enabled = {inspect.tabs.tabText(i) for i in range(inspect.tabs.count()) if inspect.tabs.isTabEnabled(i)}
    assert enabled == {"Table", "Differential"}
    with pytest.raises(ModelRefused, match="predict"):
        inspection.ensemble()

    inspection.cells.select([0])
    tab.label("monocyte")
    qtbot.waitUntil(lambda: tab.view.shown.by_hand == {inspection.bag.cells[0]: "monocyte"}, timeout=60_000)

    predict(qtbot, panel)
    assert panel.inspection.is_diagnosed
    assert "monocyte" in panel.inspection.cells.labels
    assert inspect.tabs.isTabEnabled(0)
    click(qtbot, panel.counter)  # with a diagnosis, it is counted as it is
    wait(qtbot, tab.task)
    assert panel.inspection.is_diagnosed
    assert len(viewer.layers) == 3
