"""`caltomorph weights`: what is installed, adding a file, and the message when there is none."""

from __future__ import annotations

import hashlib
import pickle

import pytest

from napari_caltomorph.encoding import ENCODERS, find_weights

SHIPPED = find_weights(ENCODERS["demo-vit"])


def test_list_shows_every_encoder_where_its_file_is_and_its_sum(run):
    code, out, err = run("weights", "list")
    assert (code, err) == (0, "")
    for name in ENCODERS:
        assert name in out
    assert "missing" in out
    assert f"{SHIPPED}\n" in out
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() in out
    assert "caltomorph weights download NAME" in out


def test_verify_loads_the_file_and_shows_its_sum(run):
    code, out, _ = run("weights", "verify", "demo-vit")
    assert code == 0
    assert "Verified: demo-vit" in out
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() in out


def test_verify_names_what_cannot_be_used_and_goes_on(run, home):
    (home / "weights").mkdir()
    (home / "weights" / "dinobloom-s.pth").write_bytes(b"not weights")
    code, out, err = run("weights", "verify")
    assert code == 1
    assert "Verified: demo-vit" in out
    assert err.splitlines()[-1] == "caltomorph: these weights cannot be used: dinobloom-s"


def test_verify_of_missing_weights_names_the_command(run):
    code, out, err = run("weights", "verify", "dinobloom-b")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "`caltomorph weights download dinobloom-b`" in err


def test_added_weights_are_found(run, home, tmp_path):
    import timm
    import torch

    model = timm.create_model("vit_small_patch14_dinov2", num_classes=0, img_size=224)
    entries = {f"backbone.{key}": value for key, value in model.state_dict().items()}
    torch.save({"teacher": entries | {"backbone.mask_token": torch.zeros(1, 384)}}, tmp_path / "my DinoBloom-S.pth")
    code, out, _ = run("weights", "add", tmp_path / "my DinoBloom-S.pth")
    assert code == 0
    assert "Added: dinobloom-s" in out
    assert str(home / "weights" / "dinobloom-s.pth") in out
    assert "none of" not in out
    assert "not among those published" in out


class Attack:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize("name", ["gone.pth", "notes.txt", "evil.pth", "empty.safetensors"])
def test_what_is_no_weights_file_is_refused_in_one_line(run, home, tmp_path, name):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Attack()))
    (tmp_path / "empty.safetensors").write_bytes(b"")
    code, out, err = run("weights", "add", tmp_path / name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert str(tmp_path / name) in err
    assert not list(home.rglob("*"))


def test_only_encoders_that_keep_a_file_take_one(run):
    code, _, err = run("weights", "add", SHIPPED, "--encoder", "demo-vit")
    assert code == 2
    assert "demo-vit keeps no weights of yours" in err


def test_an_unknown_encoder_is_refused_with_the_known_ones(run):
    code, _, err = run("weights", "download", "dinobloom-xxl")
    assert code == 2
    assert "dinobloom-b" in err


def test_without_network_one_line_names_the_file_and_the_command(run, monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    code, out, err = run("weights", "download", "dinobloom-s")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "https://zenodo.org/records/10908163/files/DinoBloom-S.pth" in err
    assert "`caltomorph weights add DinoBloom-S.pth`" in err


def test_model_of_the_hub_is_downloaded_and_listed(run, hub):
    import json

    import timm
    from safetensors.torch import save

    arguments = {"embed_dim": 32, "depth": 1, "num_heads": 2, "img_size": 32, "num_classes": 3}
    config = {"architecture": "vit_tiny_patch16_224", "model_args": arguments, "pretrained_cfg": {"crop_pct": 0.9}}
    weights = save(timm.create_model("vit_tiny_patch16_224", **arguments).state_dict())
    hub.repositories["ours/cells"] = {"config.json": json.dumps(config).encode(), "model.safetensors": weights}
    pinned = f"hf-hub:ours/cells@{hub.commit('ours/cells')}"
    code, out, _ = run("weights", "download", "hf-hub:ours/cells")
    assert code == 0
    for part in (f"Downloaded: {pinned}", "-crop32-bicubic", "not part of the encoder: head", "licence"):
        assert part in " ".join(out.split())
    assert pinned in run("weights", "list")[1]
