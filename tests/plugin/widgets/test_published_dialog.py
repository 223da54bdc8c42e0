"""The dialog of published cohorts, clicked: what it shows, a download that is cancelled and continued, its refusals."""

from __future__ import annotations

import html
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QLabel
from tests.hub_server import EMBEDDINGS, Hub, embeddings
from tests.plugin.gui import click, run_task, wait

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.plugin.widgets.published_dialog import PublishedDialog


@pytest.fixture
def dialog(qtbot: QtBot, hub: Hub, tmp_path: Path) -> PublishedDialog:
    patients = {f"patient_embeddings/aml_hehr/P{n}.h5": embeddings(n % 5, seed=n) for n in range(10)}
    hub.repositories[EMBEDDINGS] = patients | {"patient_embeddings/new_set/P1.h5": embeddings(0)}
    dialog = PublishedDialog()
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.out.setText(str(tmp_path / "mine"))
    return dialog


def test_a_download_is_cancelled_and_continued(qtbot: QtBot, dialog: PublishedDialog, hub: Hub, tmp_path: Path) -> None:
    assert hub.asked == []
    hub.flow.clear()
    click(qtbot, dialog.run.button)
    qtbot.waitUntil(lambda: "Downloading" in dialog.run.text and "kB" in dialog.run.text, timeout=20_000)
    qtbot.waitUntil(lambda: len(hub.ranges()) == 4, timeout=20_000)
    click(qtbot, dialog.run.button)
    wait(qtbot, dialog.run)
    assert "get it again to continue" in dialog.run.text
    assert not (tmp_path / "mine").exists()
    hub.flow.set()
    run_task(qtbot, dialog.run)
    assert dialog.cohort_file == tmp_path / "mine" / "cohort.json"
    assert len(Cohort.load(dialog.cohort_file)) == 10
    assert dialog.result() == PublishedDialog.DialogCode.Accepted


def test_what_the_hub_holds_and_what_a_person_must_add_is_shown(qtbot: QtBot, dialog: PublishedDialog) -> None:
    assert dialog.choice.findText("new-set-embeddings") < 0
    click(qtbot, dialog.ask)
    wait(qtbot, dialog.run)
    assert not dialog.labels.isVisible()
    dialog.choice.setCurrentText("new-set-embeddings")
    assert dialog.labels.isVisible()
    assert 'Needs: "Labels";' in " ".join(html.unescape(label.text()) for label in dialog.findChildren(QLabel))
    assert 'by "Labels"' in run_task(qtbot, dialog.run)
    dialog.choice.setCurrentText("apl-aml")
    assert dialog.images.isVisible()
    assert "browser" in run_task(qtbot, dialog.run)
    assert dialog.cohort_file is None
