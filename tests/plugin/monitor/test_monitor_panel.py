"""The *Monitor* panel, clicked in a real window."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from tests.laboratory.test_drift import scores, write
from tests.plugin.conftest import OpenWidget
from tests.plugin.gui import click, wait
from tests.plugin.rendering import faults_of


def test_drift_is_shown_in_words_and_as_a_chart_and_its_page_is_written(
    qtbot: QtBot, open_widget: OpenWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(QUrl(url).toLocalFile()))
    write(tmp_path, (f"P{i}" for i in range(60)), scores(3, count=60, at=35))
    _, panel = open_widget("Monitor")
    click(qtbot, panel.run.button)
    assert "folder" in panel.run.text
    panel.folder.setText(str(tmp_path))
    panel.options.form.set({"reference": 30})
    click(qtbot, panel.run.button)
    wait(qtbot, panel.run)
    assert panel.drift is not None, panel.run.text
    assert panel.drift.state == "drift"
    assert "Domain distance has risen" in panel.words.text()
    assert panel.choice.currentText().startswith("domain distance: risen")  # first, since it has an alarm
    assert panel.choice.count() == len(panel.drift.charts)
    assert panel.chart.isVisible()
    assert faults_of(panel) == []
    click(qtbot, panel.page_button)
    wait(qtbot, panel.run)
    assert opened == [str(tmp_path / "monitor.html")]
    panel.options.form.set({"since": "2026-09-03"})  # other options: what is shown would not belong to them
    assert not panel.chart.isVisible()
    click(qtbot, panel.run.button)
    wait(qtbot, panel.run)
    assert "No verdict" in panel.words.text()
    assert not panel.chart.isVisible()
