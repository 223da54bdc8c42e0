"""`caltomorph models`: naming them, reading their cards, keeping and giving away."""

from __future__ import annotations

import json
import shutil

import yaml


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
    listed = {one["name"]: one for one in json.loads(run("models", "list", "--json").out)["models"]}
    assert listed["demo"]["synthetic"]
    assert listed["demo"]["encoder"] == "demo-vit"
    assert listed["mine"]["classes"]
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


def test_a_model_goes_to_the_hub_and_comes_back_without_its_private_part(
    run, tiny_model, hub, home, tmp_path, monkeypatch
):
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "private").mkdir()
    (tmp_path / "model" / "private" / "patients.csv").write_text("P001")
    assert run("models", "push", tmp_path / "model", tmp_path / "ready", "--license", "cc-by-4.0").code == 0
    head = yaml.safe_load((tmp_path / "ready" / "README.md").read_text().split("---")[1])
    assert (head["license"], head["library_name"]) == ("cc-by-4.0", "napari-caltomorph")
    assert {"hematology", "demo-vit"} <= {*head["tags"]}
    assert {p.name for p in (tmp_path / "ready").iterdir()} == {"model.json", "README.md", "fold_0.safetensors"}
    assert hub.asked == []
    push = ("models", "push", tmp_path / "model", "hf://me/mine", "--license", "cc-by-4.0")
    code, out, err = run(*push)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "hf auth login" in err
    monkeypatch.setenv("HF_TOKEN", "hf_writes")
    assert run(*push).code == 0
    assert {*hub.repositories["me/mine"]} == {"model.json", "README.md", "fold_0.safetensors"}
    hub.repositories["me/mine"] |= {"private/patients.csv": b"P001", "evil.pkl": b"evil"}
    commit = hub.commit("me/mine")
    code, out, _ = run("models", "add", f"hf://me/mine@{commit}")
    assert code == 0
    added = home / "models" / "mine"
    assert {p.name for p in added.iterdir()} == {"model.json", "README.md", "fold_0.safetensors", "origin.json"}
    assert json.loads((added / "origin.json").read_text())["commit"] == commit
    assert run("models", "show", "mine").code == 0
    assert "There is a model mine already" in run("models", "add", "hf://me/mine").err


def test_a_repository_without_a_model_or_with_a_changed_one_is_refused_and_not_kept(run, tiny_model, hub, home):
    hub.repositories["a/weights"] = {"pytorch_model.bin": b"weights", "README.md": b"a card"}
    code, _, err = run("models", "add", "hf://a/weights")
    assert (code, err.count("\n")) == (2, 1)
    assert "no model.json, but pytorch_model.bin" in err
    hub.repositories["a/model"] = {p.name: p.read_bytes() for p in tiny_model.iterdir() if p.is_file()}
    changed = bytearray(hub.repositories["a/model"]["fold_0.safetensors"])
    changed[-1] ^= 1
    hub.repositories["a/model"]["fold_0.safetensors"] = bytes(changed)
    code, _, err = run("models", "add", "hf://a/model")
    assert (code, err.count("\n")) == (2, 1)
    assert "SHA-256" in err
    assert not list((home / "models").rglob("*"))
