"""The *Validate* panel, clicked in a real window."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication
from tests.plugin.conftest import OpenWidget
from tests.plugin.gui import click, wait
from tests.plugin.rendering import faults_of
from tests.training.factories import write_demo_cohort

from napari_caltomorph.laboratory import Validation
from napari_caltomorph.plugin.validate.panel import ValidateSetup

CRITERIA = """
judged_by = "point"
auroc_at_least = 0.001
sensitivity_at_least = 0.0
specificity_at_least = 0.0
"""


def choose(setup: ValidateSetup, cohort: Path) -> None:
    setup.models.choose("demo")
    setup.chooser.place.setText(str(cohort / "features"))
    setup.chooser.min_cells.setValue(1)
    setup.chooser.more.set({"table": str(cohort / "patients.csv")})
    setup.features.setText(str(cohort / "features"))
    setup.options.set(criteria=str(cohort / "criteria.toml"), skip_audit=True)


def test_a_model_is_validated_and_its_record_opened(
    qtbot: QtBot, open_widget: OpenWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(QUrl(url).toLocalFile()))
    cohort = write_demo_cohort(tmp_path / "ours")
    (cohort / "criteria.toml").write_text(CRITERIA, "utf-8")
    _, panel = open_widget("Validate")
    choose(panel.setup, cohort)
    click(qtbot, panel.run.button)
    assert "folder" in panel.run.text  # for the record, before anything is read
    panel.setup.out.setText(str(tmp_path / "record"))
    click(qtbot, panel.run.button)
    wait(qtbot, panel.run)
    found = Validation.load(tmp_path / "record")
    assert (found.verdict.kind, found.counts["evaluated"]) == ("use", 24)
    assert found.verdict.kind in panel.verdict.text()
    shown = panel.table.frame
    assert dict(zip(shown["criterion"], shown["result"], strict=True)) == {
        f"{check.name}, {check.limit_in_words}": check.outcome for check in (*found.at_model, *found.fixed)
    }
    assert not panel.section.is_open
    assert faults_of(panel) == []
    click(qtbot, panel.open_button)
    assert opened == [str(tmp_path / "record" / "validation.html")]
    panel.copy_command()
    words = shlex.split(QApplication.clipboard().text())
    assert words[:3] == ["caltomorph", "validate", str(cohort / "features")]
    assert words[words.index("--criteria") + 1] == str(cohort / "criteria.toml")
    (cohort / "criteria.toml").write_text("judged_by = 1", "utf-8")
    panel.validate()
    wait(qtbot, panel.run)
    assert "criteria.toml" in panel.run.text
    panel.setup.options.set(skip_audit=False)
    assert panel.stale.isVisible()
