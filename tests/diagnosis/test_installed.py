"""Models by name: what is shipped, what is added, and what stays private."""

from __future__ import annotations

import shutil

import pytest

from napari_caltomorph.diagnosis import (
    Ensemble,
    add_model,
    export_model,
    find_model,
    installed_models,
    read_description,
)
from napari_caltomorph.errors import ModelRefused, OutputRefused
from napari_caltomorph.storage import home


@pytest.fixture
def folder(tmp_path, make_ensemble):
    """A trained model with what could identify its patients, and a stray file."""
    make_ensemble().save(tmp_path / "our_model")
    (tmp_path / "our_model" / "private").mkdir()
    (tmp_path / "our_model" / "private" / "folds.csv").write_text("patient_id,fold\nMüller,3\n", "utf-8")
    (tmp_path / "our_model" / "stray.txt").write_text("not the model's")
    return tmp_path / "our_model"


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


MODEL_FILES = {"model.json", "README.md", "fold_0.safetensors", "fold_1.safetensors", "fold_2.safetensors"}


def test_demo_is_shipped_loads_and_is_marked_synthetic():
    assert list(installed_models()) == ["demo"]
    ensemble = Ensemble.load(find_model("demo"))
    assert ensemble.description.synthetic
    assert len(ensemble.members) == 5
    assert (ensemble.description.aggregator.depth, ensemble.description.aggregator.width) == (2, 128)
    assert "**Synthetic" in (find_model("demo") / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["", " "])
def test_empty_name_is_no_folder(name):
    with pytest.raises(ModelRefused, match=r"No model is named.*demo"):
        find_model(name)


def test_added_model_is_found_by_name_with_its_private_part(folder):
    target = add_model(folder)
    assert list(installed_models()) == ["demo", "our_model"]
    assert find_model("our_model") == target == home("models") / "our_model"
    assert names(target) == MODEL_FILES | {"private/folds.csv"}
    assert Ensemble.load(target).description == read_description(folder)


def test_training_curves_come_along(folder, tmp_path):
    (folder / "training_curves.png").write_bytes(b"a figure")
    target = add_model(folder)
    assert (target / "training_curves.png").read_bytes() == b"a figure"
    assert (export_model("our_model", tmp_path / "out") / "training_curves.png").is_file()


def test_model_may_be_added_under_another_name(folder):
    add_model(folder, "clinic A, 2026")
    assert list(installed_models()) == ["demo", "clinic A, 2026"]


def test_folder_named_by_dots_is_added_under_its_own_name(folder, monkeypatch):
    (folder / "private" / "deeper").mkdir()
    for start, path in ((folder, "."), (folder / "private", "..")):
        monkeypatch.chdir(start)
        assert add_model(type(folder)(path)).name == "our_model"
        shutil.rmtree(home("models") / "our_model")


def test_existing_name_is_refused_and_the_model_spared(tmp_path, folder, make_ensemble):
    add_model(folder)
    make_ensemble(seed=1).save(tmp_path / "other")
    with pytest.raises(OutputRefused, match="exists already"):
        add_model(tmp_path / "other", "our_model")
    assert read_description(find_model("our_model")) == read_description(folder)


@pytest.mark.parametrize("name", ["demo", "Demo"])
def test_name_of_the_demo_is_refused(folder, name):
    with pytest.raises(ModelRefused, match="'demo' is the shipped model's name"):
        add_model(folder, name)


@pytest.mark.parametrize("name", ["", ".", "..", "../escaped", "/tmp/escaped", "a/b", "a\\b", ".hidden", "C:x"])
def test_name_that_leads_elsewhere_is_refused(tmp_path, folder, name):
    before = names(tmp_path)
    with pytest.raises(ModelRefused, match="cannot be a model's name"):
        add_model(folder, name)
    assert not home("models").exists()
    assert names(tmp_path) == before


def test_damaged_model_is_not_added(folder):
    (folder / "fold_1.safetensors").write_bytes(b"")
    with pytest.raises(ModelRefused):
        add_model(folder)
    assert not home("models").exists()


def test_demo_is_always_the_shipped_one(folder):
    shutil.copytree(folder, home("models") / "demo")
    assert read_description(find_model("demo")).name == "demo (synthetic)"


def test_copy_that_was_broken_off_is_not_listed(folder):
    shutil.copytree(folder, home("models") / ".caltomorph-0123456789abcdef.part")
    (home("models") / "notes.txt").write_text("no model")
    assert list(installed_models()) == ["demo"]


def test_model_is_found_at_a_path_too(folder):
    assert find_model(str(folder)) == folder


def test_installed_name_goes_before_a_folder_of_that_name(tmp_path, folder, monkeypatch):
    add_model(folder)
    monkeypatch.chdir(tmp_path)
    assert find_model("our_model") == home("models") / "our_model"


def test_unknown_model_lists_the_installed_ones(folder):
    add_model(folder)
    with pytest.raises(ModelRefused, match="no model 'dmeo'; installed are demo, our_model"):
        find_model("dmeo")


def test_exported_model_leaves_the_private_part_here(tmp_path, folder):
    add_model(folder)
    for model in ("our_model", str(folder)):
        out = export_model(model, tmp_path / "out" / str(len(model)))
        assert names(out) == MODEL_FILES
        assert Ensemble.load(out).description == read_description(folder)


def test_export_does_not_overwrite(tmp_path, folder):
    add_model(folder)
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputRefused, match="exists already"):
        export_model("our_model", tmp_path / "taken")


def test_export_of_a_model_without_a_member_leaves_nothing(tmp_path, folder):
    (folder / "fold_2.safetensors").unlink()
    with pytest.raises(ModelRefused, match=r"lacks fold_2\.safetensors"):
        export_model(str(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()
