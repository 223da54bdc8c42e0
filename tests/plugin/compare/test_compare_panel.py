"""The *Compare* panel, clicked in a real window."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QFileDialog
from tests.plugin.conftest import OpenWidget
from tests.plugin.gui import click, run_task, shown_rows, wait
from tests.plugin.rendering import faults_of
from tests.training.factories import write_cohort

from napari_caltomorph.plugin.compare.panel import ComparePanel
from napari_caltomorph.plugin.compare.setup import CompareSetup
from napari_caltomorph.training.comparison import Comparison
from napari_caltomorph.training.variants import CompareOptions, variants

TINY = {"aggregator": "mean", "width": 16, "heads": 2, "mlp_width": 16, "classifier_width": 8, "depth": 1, "epochs": 2}


def choose(setup: CompareSetup, bags: Path, out: Path) -> None:
    setup.chooser.place.setText(str(bags / "features"))
    setup.chooser.min_cells.setValue(1)
    setup.chooser.more.set({"table": str(bags / "patients.csv"), "test_fraction": 0, "folds": 2})
    setup.features.setText(str(bags / "features"))
    setup.options.set(**TINY)
    setup.out.setText(str(out))


def test_variants_are_compared_cancelled_continued_and_opened_again(
    qtbot: QtBot, open_widget: OpenWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(QUrl(url).toLocalFile()))
    bags = write_cohort(tmp_path / "bags", {"aml": 8, "stem_cell_donor": 8})
    viewer, panel = open_widget("Compare")
    setup, out = panel.setup, tmp_path / "out"
    choose(setup, bags, out)
    for name, box in setup.variants.varied.items():
        box.setChecked(False)
        assert name in box.text()
    assert "varied" in run_task(qtbot, panel.run)  # nothing is chosen: said before anything is read
    click(qtbot, setup.variants.varied["sizes"])
    setup.variants.form.set({"shares": (0.5, 7)})
    assert "Shares" in run_task(qtbot, panel.run)
    setup.variants.form.set({"shares": (0.5,)})
    setup.out.setText("")
    assert "folder" in run_task(qtbot, panel.run)
    setup.out.setText(str(out))

    setup.options.set(epochs=400)  # long enough for a hand
    click(qtbot, panel.run.button)
    qtbot.waitUntil(lambda: panel.result.isVisible() or not panel.run.is_busy, timeout=60_000)
    assert panel.run.is_busy, panel.run.text
    assert "in training" in [row[2] for row in shown_rows(panel.result.table)]
    click(qtbot, panel.run.button)
    wait(qtbot, panel.run)
    assert "in training" not in [row[2] for row in shown_rows(panel.result.table)]

    setup.options.set(epochs=2)  # another reference: not what the folder was begun with
    assert "--" not in run_task(qtbot, panel.run)
    assert "400 then, 2 now" in panel.run.text
    out = tmp_path / "another"
    setup.out.setText(str(out))
    assert not setup._saved.isVisibleTo(setup)
    assert str(out) in run_task(qtbot, panel.run)
    found = Comparison.load(out)
    assert not found.failed
    assert [row[2] for row in shown_rows(panel.result.table)][1] == "reference"
    panel.result.metric.setCurrentText("weighted F1")
    shown = {row[0]: row[1] for row in shown_rows(panel.result.table)}
    half = found.of_group("sizes")[0]
    spread = found.spread(half, "weighted_f1")
    assert spread is not None
    assert shown["50 %, 4 patients"].startswith(f"{spread.mean:.3f}")
    (axes,) = panel.result.canvas.figure.axes
    assert axes.get_ylabel() == "weighted F1"
    assert len(found.notes) > 2
    assert f"({len(found.notes)})" in panel.result.tabs.tabText(1)
    assert faults_of(panel) == []
    click(qtbot, panel.result.folder)
    assert opened == [str(out)]
    panel.copy_command()
    words = shlex.split(QApplication.clipboard().text())
    assert words[:3] == ["caltomorph", "compare", str(bags / "features")]
    assert [words[place + 1] for place, word in enumerate(words) if word == "--what"] == ["sizes"]
    rates = {one.options.learning_rate for one in variants(None, CompareOptions(), setup.request().options)}
    assert {3e-5, 3e-3, 3e-4} == rates  # each aggregator has its own
    assert not panel.stale.isVisible()
    with monkeypatch.context() as dialog:
        dialog.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "by lite"))
        setup.variants.form.widget("encoders").click()
    assert setup.variants.options().encoder_folders == {"by-lite": tmp_path / "by lite"}
    assert panel.stale.isVisible()

    again = ComparePanel(viewer)
    qtbot.addWidget(again)
    again.show()
    assert again.setup.options.options() == setup.options.options()  # as they were
    assert again.setup.variants.options().shares == (0.5,)
    assert again.setup._saved.isVisibleTo(again.setup)
    again.setup._saved.linkActivated.emit("#")
    assert again.result.comparison == found
    (out / "comparison.json").write_text("{")
    again.setup._saved.linkActivated.emit("#")
    assert "comparison.json" in again.run.text
    again.unbind()
