"""`caltomorph models`: naming them, reading their cards, keeping and giving away."""

from __future__ import annotations

import json
import shutil


def test_list_shows_the_demo_as_synthetic(run):
    code, out, err = run("models", "list")
    assert (code, err) == (0, "")
    assert "demo-vit" in out
    assert "synthetic cells" in out


def test_show_prints_the_card_of_a_name_and_of_a_folder(run, tiny_model):
    code, out, _ = run("models", "show", "demo")
    assert code == 0
    assert "Synthetic: it was trained on synthetic cells" in out
    assert "Research use only. Not for diagnosis." in out
    code, out, _ = run("models", "show", tiny_model)
    assert code == 0
    assert "Random weights, for the tests." in out
    assert f"Folder: {tiny_model}\n" in out


def test_an_added_model_is_known_by_its_name(run, tiny_model, home):
    assert run("models", "add", tiny_model, "--name", "mine").code == 0
    assert (home / "models" / "mine" / "model.json").is_file()
    assert "mine" in run("models", "list").out
    code, _, err = run("models", "add", tiny_model, "--name", "mine")
    assert (code, err.count("\n")) == (2, 1)
    assert "exists already" in err


def test_the_demos_name_is_not_taken(run, tiny_model):
    code, _, err = run("models", "add", tiny_model, "--name", "demo")
    assert code == 2
    assert "choose another name" in err


def test_export_leaves_the_private_part(run, tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "private").mkdir()
    (tmp_path / "model" / "private" / "patients.csv").write_text("P001")
    code, out, _ = run("models", "export", tmp_path / "model", tmp_path / "gift")
    assert code == 0
    assert str(tmp_path / "gift") in out
    assert {p.name for p in (tmp_path / "gift").iterdir()} == {"model.json", "README.md", "fold_0.safetensors"}
    code, out, err = run("models", "export", tmp_path / "model", tmp_path / "gift")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_what_is_no_model_is_refused_and_a_broken_one_is_listed_as_such(run, tiny_model, home, tmp_path):
    code, _, err = run("models", "add", tmp_path)
    assert code == 2
    assert "there is no model.json in it" in err
    broken = home / "models" / "broken"
    shutil.copytree(tiny_model, broken)
    description = json.loads((broken / "model.json").read_text())
    (broken / "model.json").write_text(json.dumps(description | {"schema_version": 99}))
    code, out, _ = run("models", "list")
    assert code == 0
    assert "Cannot be used: broken" in out
    assert "demo-vit" in out


def test_encoders_lists_all(run):
    from napari_caltomorph.encoding import ENCODERS

    code, out, _ = run("models", "encoders")
    assert code == 0
    for name in ENCODERS:
        assert name in out
    assert "timm:ARCHITECTURE" in out
