"""The panel, clicked in a real window."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from napari.layers import Points
from pytestqt.qtbot import QtBot
from tests.plugin.conftest import CELLS, RANKED, SQUARES, OpenPanel, Predicted, predict, read_preferences
from tests.plugin.gui import click, dock_of, wait

from napari_caltomorph.diagnosis import installed_models
from napari_caltomorph.plugin.widgets.settings import preferences
from napari_caltomorph.plugin.widgets.tasks import Task


def test_predicting_again_replaces_only_its_own_layers(open_panel: OpenPanel, qtbot: QtBot, export: Path) -> None:
    viewer, panel = open_panel()
    mine = viewer.add_image(np.zeros((20, 20)), name=RANKED)
    panel.smears.open(export)
    predict(qtbot, panel)
    predict(qtbot, panel)
    assert mine in viewer.layers
    assert sum(isinstance(layer, Points) for layer in viewer.layers) == 1
    assert len(viewer.layers) == 4


def test_any_stack_of_rgb_cells_is_offered_and_nothing_else(open_panel: OpenPanel, qtbot: QtBot, export: Path) -> None:
    viewer, panel = open_panel()
    viewer.add_image(np.zeros((5, 30, 30), np.uint8), name="grey")
    viewer.add_image(np.zeros((5, 30, 30, 3), np.float32), rgb=True, name="float")
    viewer.add_image(np.zeros((30, 30, 3), np.uint8), rgb=True, name="one cell")
    viewer.add_points(np.zeros((3, 2)))
    assert panel.smears.layer is None
    click(qtbot, panel.run.button)
    assert "no smear yet" in panel.run.text
    rng = np.random.default_rng(0)
    viewer.add_image(rng.integers(0, 255, (5, 64, 64, 3), np.uint8), rgb=True, name="an array")
    assert panel.smears.layer.name == "an array"
    prediction = predict(qtbot, panel)
    assert prediction.patient_id == "an array"
    assert any("Only 5 cells" in warning for warning in prediction.warnings)


def test_what_is_left_out_is_counted(open_panel: OpenPanel, qtbot: QtBot, export: Path) -> None:
    cells = sorted(export.glob("*.TIF"))
    cells[0].write_bytes(b"")
    shutil.copy(cells[1], export / "Gal-000900.RGB.TIF")
    _, panel = open_panel()
    panel.smears.open(export)
    qtbot.waitUntil(lambda: f"{CELLS - 1} cells, 2 left out" in panel.smears.text, timeout=30_000)
    assert len(predict(qtbot, panel).left_out) == 2


def test_a_problem_with_the_export_is_one_sentence(open_panel: OpenPanel, qtbot: QtBot, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no cells here")
    viewer, panel = open_panel()
    panel.smears.open(tmp_path)
    assert "holds no cell image" in panel.run.text
    assert not viewer.layers


def test_cancelling_leaves_the_viewer_as_it_was(open_panel: OpenPanel, qtbot: QtBot, export: Path) -> None:
    viewer, panel = open_panel()
    panel.smears.open(export)
    click(qtbot, panel.run.button)
    click(qtbot, panel.run.button)
    wait(qtbot, panel.run)
    assert panel.results.prediction is None
    assert [layer.name for layer in viewer.layers] == ["patient_7"]
    assert panel.run.button.text() == "Predict patient"
    assert predict(qtbot, panel).predicted_class == "Acute leukemia"


def test_of_two_predictions_started_at_once_the_second_is_shown(
    open_panel: OpenPanel, qtbot: QtBot, export: Path, tmp_path: Path
) -> None:
    viewer, panel = open_panel()
    panel.smears.open(export)
    panel.predict()
    panel.smears.open(shutil.copytree(export, tmp_path / "second"))
    panel.predict()
    wait(qtbot, panel.run)
    assert panel.results.prediction.patient_id == "second"
    assert RANKED not in viewer.layers


def test_closing_the_dock_stops_the_worker_and_opening_it_again_works(
    open_panel: OpenPanel, qtbot: QtBot, export: Path
) -> None:
    viewer, panel = open_panel()
    panel.smears.open(export)
    click(qtbot, panel.run.button)
    dock = dock_of(panel)
    dock.close()
    wait(qtbot, panel.run)
    assert panel.results.prediction is None
    dock.show()
    qtbot.waitUntil(panel.isVisible)
    assert predict(qtbot, panel).predicted_class == "Acute leukemia"
    assert len(viewer.layers) == 3


def test_closing_the_window_during_a_prediction_raises_no_error(
    open_panel: OpenPanel, qtbot: QtBot, export: Path
) -> None:
    viewer, panel = open_panel()
    panel.smears.open(export)
    click(qtbot, panel.run.button)
    viewer.close()
    Task.await_workers(60_000)
    qtbot.wait(100)
    assert panel.results.prediction is None


def test_running_out_of_memory_is_reported_and_the_panel_recovers(
    open_panel: OpenPanel, qtbot: QtBot, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, panel = open_panel()
    panel.smears.open(export)
    with monkeypatch.context() as patch:
        # torch itself runs out, at the first thing that every encoder does.
        def exhausted(*args: object, **kwargs: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

        patch.setattr(torch, "from_numpy", exhausted)
        click(qtbot, panel.run.button)
        wait(qtbot, panel.run)
    assert "Memory ran out" in panel.run.text
    assert predict(qtbot, panel).predicted_class == "Acute leukemia"


def test_a_prediction_is_saved_and_opened_again_with_its_layers(
    open_panel: OpenPanel, qtbot: QtBot, export: Path, tmp_path: Path
) -> None:
    viewer, panel = open_panel()
    panel.smears.open(export)
    prediction = predict(qtbot, panel)
    panel.saving.save(tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"prediction.json", "predictions.csv", "cells.csv"}
    viewer.layers.clear()
    panel.open_prediction(tmp_path / "out" / "prediction.json")
    wait(qtbot, panel.run)
    assert [layer.name for layer in viewer.layers] == [RANKED, SQUARES]
    assert panel.results.prediction.model_dump_json() == prediction.model_dump_json()


def test_a_saved_prediction_without_its_smear_shows_its_numbers_and_a_note(
    open_panel: OpenPanel, qtbot: QtBot, export: Path, tmp_path: Path
) -> None:
    viewer, panel = open_panel()
    panel.smears.open(export)
    predict(qtbot, panel)
    panel.saving.save(tmp_path / "out")
    viewer.layers.clear()
    shutil.rmtree(export)
    panel.open_prediction(tmp_path / "out" / "prediction.json")
    wait(qtbot, panel.run)
    assert "cannot be shown" in panel.run.text
    assert panel.results.prediction.patient_id == "patient_7"
    assert not viewer.layers
    panel.choose_cell(0)


def test_a_feature_file_shows_its_numbers_and_that_there_are_no_images(
    open_panel: OpenPanel, qtbot: QtBot, predicted: Predicted, tmp_path: Path
) -> None:
    smear, prediction, predictor = predicted
    predictor.features_of(prediction, smear).save(tmp_path / "patient_7.h5")
    viewer, panel = open_panel()
    panel.smears.bag_chosen.emit(str(tmp_path / "patient_7.h5"))
    wait(qtbot, panel.run)
    assert "patient_7.h5 contains features and no images" in panel.run.text
    assert np.array_equal(panel.results.prediction.probabilities, prediction.probabilities)
    assert not viewer.layers
    panel.choose_cell(0)


def test_an_edited_model_is_refused_in_one_sentence(
    open_panel: OpenPanel, qtbot: QtBot, export: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(installed_models()["demo"], tmp_path / "edited"))
    text = json.loads((folder / "model.json").read_text())
    text["field_of_view_um"] += 3
    (folder / "model.json").write_text(json.dumps(text))
    _, panel = open_panel()
    panel.smears.open(export)
    panel.models.choose(str(folder))
    click(qtbot, panel.run.button)
    wait(qtbot, panel.run)
    assert "was changed since the model was made" in panel.run.text


def test_choices_are_remembered(open_panel: OpenPanel, tmp_path: Path) -> None:
    _, panel = open_panel()
    panel.models.device.setCurrentText("cpu")
    assert "as in" in panel.models.percent.text()
    assert panel.models.options().prevalence is None
    panel.models.percent.setValue(0.7)
    read_preferences(tmp_path / "preferences")
    assert preferences().device == "cpu"
    assert panel.models.options().device == "cpu"
    assert preferences().prevalence == open_panel()[1].models.options().prevalence == 0.007
