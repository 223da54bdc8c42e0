"""The dialogs: which cells are left out and why, and where an encoder's weights come from."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_caltomorph.encoding import ENCODERS
from napari_caltomorph.encoding.locations import Source, WeightsFolder
from napari_caltomorph.plugin.widgets.model_chooser import WeightsDialog
from napari_caltomorph.plugin.widgets.smear_chooser import LeftOutDialog
from napari_caltomorph.plugin.widgets.tasks import Task
from napari_caltomorph.smear import Smear, check_smear, read_smear
from napari_caltomorph.storage import home as home_folder


@pytest.fixture
def faulty(export: Path) -> Smear:
    cells = sorted(export.glob("*.TIF"))
    cells[0].write_bytes(b"damaged")
    shutil.copy(cells[1], export / "Gal-000900.RGB.TIF")
    return check_smear(read_smear(export))


def test_each_left_out_cell_has_its_picture_and_reason(qtbot: QtBot, faulty: Smear) -> None:
    dialog = LeftOutDialog(faulty)
    qtbot.addWidget(dialog)
    model = dialog.model
    reasons = [model.data(model.index(row, 2), Qt.ItemDataRole.DisplayRole) for row in range(model.rowCount())]
    assert model.rowCount() == 2
    assert reasons[0].startswith("unreadable")
    assert reasons[1] == "repeat of another cell: same as Gal-000002.RGB.TIF"
    assert not model.data(model.index(1, 1), Qt.ItemDataRole.DecorationRole).isNull()


def test_a_cell_can_be_included_again_unless_it_is_unreadable(qtbot: QtBot, faulty: Smear) -> None:
    dialog = LeftOutDialog(faulty)
    qtbot.addWidget(dialog)
    model, tick = dialog.model, Qt.ItemFlag.ItemIsUserCheckable
    assert not model.flags(model.index(0, 0)) & tick
    assert model.flags(model.index(1, 0)) & tick
    assert model.setData(model.index(1, 0), Qt.CheckState.Checked, Qt.ItemDataRole.CheckStateRole)
    assert dialog.included_again == {"Gal-000900.RGB.TIF"}
    assert len(faulty.choosing(take_back=dialog.included_again).usable) == len(faulty.usable) + 1


@pytest.fixture
def small_encoder(monkeypatch: pytest.MonkeyPatch) -> str:
    """The demo encoder as one whose weights the user must bring."""
    encoder = replace(
        ENCODERS["demo-vit"],
        name="small",
        location=WeightsFolder(),
        sources=(Source("http://127.0.0.1:9/small.safetensors"),),
    )
    monkeypatch.setitem(ENCODERS, "small", encoder)
    return "small"


def test_weights_are_added_from_a_file(
    qtbot: QtBot, small_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = ENCODERS["demo-vit"].location.find("demo-vit")
    assert shipped is not None
    file = Path(shutil.copy(shipped, tmp_path / "downloaded.safetensors"))
    dialog = WeightsDialog(ENCODERS[small_encoder])
    qtbot.addWidget(dialog)
    dialog.show()
    # The system's own file dialog cannot be clicked; it answers with the file.
    monkeypatch.setattr("qtpy.QtWidgets.QFileDialog.getOpenFileName", lambda *_: (str(file), ""))
    with qtbot.waitSignal(dialog.accepted, timeout=60_000):
        qtbot.mouseClick(dialog.choose_button, Qt.MouseButton.LeftButton)
    assert (home_folder("weights") / "small.safetensors").is_file()


def test_a_download_without_network_names_the_file_to_get(qtbot: QtBot, small_encoder: str) -> None:
    dialog = WeightsDialog(ENCODERS[small_encoder])
    qtbot.addWidget(dialog)
    dialog.show()
    qtbot.mouseClick(dialog.download_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "weights add" in dialog.text, timeout=60_000)
    assert "http://127.0.0.1:9/small.safetensors" in dialog.text
    assert dialog.download_button.isEnabled()
    Task.await_workers(10_000)
