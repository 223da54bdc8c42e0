"""What napari opens and saves through the plugin."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from napari.utils.notifications import notification_manager
from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from tests.plugin.conftest import CELLS, RANKED, SQUARES, OpenPanel, predict
from tests.plugin.gui import menu_of, wait

from napari_caltomorph import plugin
from napari_caltomorph.errors import PackageMissing
from napari_caltomorph.plugin.samples import sample_smear
from napari_caltomorph.plugin.widgets import dock_panel
from napari_caltomorph.smear import read_smear

PLUGIN = "napari-caltomorph"


def test_a_folder_opens_as_one_stack_with_names_and_scale(make_napari_viewer, export: Path) -> None:
    viewer: Viewer = make_napari_viewer()
    (layer,) = viewer.open(export, plugin=PLUGIN)
    assert layer.name == "patient_7"
    assert layer.rgb
    assert layer.data.shape == (CELLS, 144, 144, 3)
    assert layer.dtype == np.uint8
    assert layer.metadata["cells"][0] == "Gal-000001.RGB.TIF"
    assert layer.scale[-1] == pytest.approx(25 / 144, rel=1e-4)
    assert str(layer.units[-1]) == "micrometer"


def test_an_archive_and_single_cells_open_too(make_napari_viewer, export: Path, tmp_path: Path) -> None:
    viewer: Viewer = make_napari_viewer()
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", export)
    (layer,) = viewer.open(archive, plugin=PLUGIN)
    assert layer.data.shape[0] == CELLS
    (layer,) = viewer.open(export / "Gal-000003.RGB.TIF", plugin=PLUGIN)
    assert layer.data.shape == (1, 144, 144, 3)
    cells = [str(export / f"Gal-00000{i}.RGB.TIF") for i in (2, 5)]
    (layer,) = viewer.open(cells, stack=True, plugin=PLUGIN)
    assert layer.data.shape[0] == 2


def test_why_there_is_no_smear_is_what_napari_shows(make_napari_viewer, tmp_path: Path) -> None:
    viewer: Viewer = make_napari_viewer()
    (tmp_path / "prediction.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    places = [tmp_path / name for name in ("empty", "prediction.json")]
    with notification_manager:
        for place in places:
            assert viewer.open(place, plugin=PLUGIN) == []
        shown = [one.message for one in notification_manager.records[-len(places) :]]
        notification_manager.records.clear()
    assert all(str(place) in message for place, message in zip(places, shown, strict=True))


def test_several_patients_open_in_the_panel_for_them(
    make_napari_viewer, qtbot: QtBot, export: Path, tmp_path: Path
) -> None:
    viewer: Viewer = make_napari_viewer(show=True)
    for patient in ("aml/p1", "aml/p2", "mds/p3"):
        shutil.copytree(export, tmp_path / "cohort" / patient)
    assert viewer.open(tmp_path / "cohort", plugin=PLUGIN) == []
    assert viewer.open(tmp_path / "cohort" / "aml", plugin=PLUGIN) == []
    cohort, patients = (dock_panel.open_panel(viewer, name) for name in ("Open cohort", "Predict patients"))
    wait(qtbot, cohort.run)
    wait(qtbot, patients.run)
    assert cohort.chooser.path() == tmp_path / "cohort"
    assert "of 3:" in cohort.run.text  # it was read; three that share their images are left out
    assert {row.patient_id for row in patients.table.rows} == {"p1", "p2"}
    for panel in (cohort, patients):
        panel.unbind()


def test_the_selected_layer_is_predicted_from_the_menu(open_panel: OpenPanel, qtbot: QtBot, export: Path) -> None:
    viewer, panel = open_panel()
    classify = menu_of(viewer, "Layers", "Classify")
    entries = {action.text(): action for action in classify.actions() if action.isVisible()}
    assert "cAItomorph" in entries
    predict_this = entries["Predict this smear (cAItomorph)"]
    assert not predict_this.isEnabled()  # there is no layer
    panel.smears.open(export)
    viewer.add_points(np.zeros((1, 2)), name="<b>dots</b>")
    menu_of(viewer, "Layers", "Classify")
    predict_this.trigger()
    assert "'<b>dots</b>' is no smear" in panel.run.text
    viewer.layers.selection = {viewer.layers["patient_7"]}
    predict_this.trigger()
    wait(qtbot, panel.run)
    assert panel.results.prediction is not None
    viewer.layers.selection = {viewer.layers[RANKED]}
    predict_this.trigger()  # the smear of this result
    wait(qtbot, panel.run)
    assert panel.run.text == ""
    assert {layer.name for layer in viewer.layers} >= {"patient_7", RANKED, SQUARES}


def test_ranked_layers_are_saved_as_stack_and_table(
    open_panel: OpenPanel, qtbot: QtBot, export: Path, tmp_path: Path
) -> None:
    viewer, panel = open_panel()
    panel.smears.open(export)
    prediction = predict(qtbot, panel)
    ours = [viewer.layers[RANKED], viewer.layers[SQUARES]]
    viewer.layers.selection = set(ours)
    written = viewer.layers.save(str(tmp_path / "ranked.tif"), selected=True, plugin=PLUGIN)
    assert {Path(p).name for p in written} == {"ranked.tif", "ranked.csv"}
    table = pd.read_csv(tmp_path / "ranked.csv")
    assert list(table["rank"]) == list(range(1, CELLS + 1))
    stack = tifffile.imread(tmp_path / "ranked.tif")
    assert stack.shape == (CELLS, 144, 144, 3)
    smear = read_smear(export)
    assert np.array_equal(stack[0], smear.image(smear.cells.index(table["cell"][0])))
    assert read_smear(tmp_path / "ranked.tif").pixel_size_um == pytest.approx(25 / 144, rel=1e-4)
    panel.saving.save(tmp_path / "out")
    viewer.layers.clear()
    layers = viewer.open(tmp_path / "out" / "prediction.json", plugin=PLUGIN)
    assert [layer.name for layer in layers] == [RANKED, SQUARES]
    assert list(layers[1].features["cell"]) == [prediction.cells[i] for i in prediction.order]


def test_other_layers_are_refused_by_our_writer(make_napari_viewer, tmp_path: Path) -> None:
    viewer: Viewer = make_napari_viewer()
    viewer.add_image(np.zeros((8, 8)))
    viewer.add_points(np.zeros((1, 2)))
    with pytest.raises(Exception, match="only the ranked cells of a prediction"):
        viewer.layers.save(str(tmp_path / "other.tif"), plugin=PLUGIN)
    assert not list(tmp_path.glob("other*"))


def test_there_is_a_sample_of_every_coarse_class(make_napari_viewer, home: Path) -> None:
    viewer: Viewer = make_napari_viewer()
    (layer,) = viewer.open_sample(PLUGIN, "mpn")
    assert layer.name == "synthetic_cml"
    assert layer.data.shape == (200, 144, 144, 3)
    assert sample_smear("cml") == home / "cache" / "samples" / "synthetic_cml"


def test_the_manifest_names_things_that_exist() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution(PLUGIN)
    manifest.validate_imports()
    need_a_path = {one.command for one in (*manifest.contributions.readers, *manifest.contributions.writers)}
    disabled = {one.id for one in manifest.contributions.commands if one.enablement == "False"}
    assert disabled == need_a_path  # in the command palette, which runs them without one
    assert {s.key for s in manifest.contributions.sample_data} >= {"acute_leukemia", "healthy", "mds_mpn"}
    assert Path("napari.yaml").is_symlink() or Path(__file__).parents[2].joinpath("napari.yaml").is_symlink()


def test_an_older_napari_is_refused_with_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "version", lambda _: "0.7.1")
    with pytest.raises(PackageMissing, match=r"0\.8 or newer.* 0\.7\.1: run `pip install --upgrade"):
        plugin._refuse_older_napari()


def test_a_prediction_finds_its_smear_under_a_name_that_is_no_text(export: Path, tmp_path: Path) -> None:
    from napari_caltomorph.diagnosis import PredictOptions, Predictor
    from napari_caltomorph.diagnosis.prediction_files import find_smear

    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/Gr\xfc\xdfe 50%"))
    shutil.copytree(export, odd)
    _, prediction = Predictor(PredictOptions(model="demo")).predict(read_smear(odd))
    prediction.save(tmp_path / "prediction.json")
    assert find_smear(type(prediction).load(tmp_path / "prediction.json")).cells == prediction.cells
