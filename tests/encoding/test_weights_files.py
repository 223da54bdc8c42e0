"""What must hold for weights files: read without running anything, strictly, and kept where they are found."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from napari_caltomorph.encoding import (
    ENCODERS,
    EncodeOptions,
    add_weights,
    find_encoder,
    find_weights,
    load_encoder,
    verify_weights,
)
from napari_caltomorph.encoding.checkpoints import read_checkpoint
from napari_caltomorph.errors import CaltomorphError, WeightsMissing, WeightsRefused
from napari_caltomorph.storage import file_sha256


class Malicious:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("form", ["torch zip", "torch legacy", "plain pickle", "nested"])
def test_malicious_pickle_is_not_run_and_refused(tmp_path, form, dinobloom_s):
    mark = tmp_path / "was here"
    bad = {"teacher": {"backbone.norm.weight": Malicious(mark)}}
    path = tmp_path / "DinoBloom-S.pth"
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(bad))
    elif form == "nested":
        torch.save({"teacher": dinobloom_s, "epoch": Malicious(mark)}, path)
    else:
        torch.save(bad, path, _use_new_zipfile_serialization=form == "torch zip")
    for attempt in (lambda: verify_weights(find_encoder("dinobloom-s"), path), lambda: add_weights(path)):
        with pytest.raises(WeightsRefused, match=r"was not opened|no weights file that can be read"):
            attempt()
    assert not mark.exists()
    # It was a working attack:
    pickle.loads(path.read_bytes()) if form == "plain pickle" else torch.load(path, weights_only=False)  # noqa: S301
    assert mark.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
@pytest.mark.parametrize("part", [0, 0.001, 0.5, 0.999])
def test_truncated_checkpoint_is_refused(tmp_path, dinobloom_s_pth, dinobloom_s_file, suffix, part):
    whole = (dinobloom_s_file if suffix == ".safetensors" else dinobloom_s_pth).read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(WeightsRefused):
        verify_weights(find_encoder("dinobloom-s"), path)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=300) | st.binary(max_size=60).map(lambda b: b"\x80\x02" + b + b"."),
    suffix=st.sampled_from([".pth", ".safetensors"]),
)
def test_random_bytes_are_refused_and_never_crash(tmp_path, content, suffix):
    path = tmp_path / f"random{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsRefused) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_checkpoint_of_another_size_is_refused_with_the_first_entry_that_does_not_fit(dinobloom_s_file):
    with pytest.raises(WeightsRefused, match=r"does not fit dinobloom-b: cls_token has shape \(1, 1, 384\), expected"):
        verify_weights(find_encoder("dinobloom-b"), dinobloom_s_file)


def test_missing_and_extra_entries_are_refused_by_name(tmp_path, dinobloom_s):
    less = {key: value for key, value in dinobloom_s.items() if key != "blocks.3.ls1.gamma"}
    save_file(less, tmp_path / "less.safetensors")
    with pytest.raises(WeightsRefused, match=r"blocks\.3\.ls1\.gamma is missing"):
        verify_weights(find_encoder("dinobloom-s"), tmp_path / "less.safetensors")
    save_file(dinobloom_s | {"blocks.12.norm1.bias": torch.zeros(2)}, tmp_path / "more.safetensors")
    with pytest.raises(WeightsRefused, match=r"blocks\.12\.norm1\.bias has no place in it"):
        verify_weights(find_encoder("dinobloom-s"), tmp_path / "more.safetensors")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], 7])
def test_file_without_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(WeightsRefused, match="holds"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("wrapping", ["state_dict", "model"])
def test_training_checkpoints_of_timm_models_are_read(tmp_path, tiny_file, tiny, wrapping):
    torch.save({"epoch": 3, wrapping: load_file(tiny_file)}, tmp_path / "a.pth")
    loaded = load_encoder(tiny.model_copy(update={"weights": tmp_path / "a.pth"}))
    assert loaded.weights_sha256 == load_encoder(tiny).weights_sha256


def test_missing_weights_name_the_commands():
    with pytest.raises(WeightsMissing, match=r"weights download dinobloom-b.*weights add FILE"):
        find_weights(find_encoder("dinobloom-b"))
    with pytest.raises(WeightsMissing, match=r"There is no encoder 'dinobloom'; known are dinobloom-s, "):
        find_encoder("dinobloom")
    with pytest.raises(WeightsMissing, match=r"absent\.pth does not exist"):
        find_weights(find_encoder("dinobloom-b"), Path("absent.pth"))
    with pytest.raises(WeightsMissing, match=r"--weights FILE"):
        find_weights(find_encoder("timm:resnet10t"))


def test_added_weights_are_recognised_kept_and_found(dinobloom_s_pth, home):
    report = add_weights(dinobloom_s_pth)
    assert report.encoder == "dinobloom-s"
    assert report.path == home / "weights" / "dinobloom-s.pth"
    assert report.file_sha256 == file_sha256(dinobloom_s_pth)
    assert not report.is_known
    assert find_weights(ENCODERS["dinobloom-s"]) == report.path
    assert verify_weights(ENCODERS["dinobloom-s"]) == report
    assert [p.name for p in (home / "weights").iterdir()] == ["dinobloom-s.pth"]


def test_newer_form_takes_the_place_of_the_older_one(dinobloom_s_pth, dinobloom_s_file, home):
    add_weights(dinobloom_s_file)
    first = find_weights(ENCODERS["dinobloom-s"])
    report = add_weights(dinobloom_s_pth, ENCODERS["dinobloom-s"])
    assert not first.exists()
    assert [p.name for p in (home / "weights").iterdir()] == ["dinobloom-s.pth"]
    assert report.weights_sha256 == verify_weights(ENCODERS["dinobloom-s"], dinobloom_s_file).weights_sha256


def test_adding_the_kept_file_again_keeps_it(dinobloom_s_file):
    kept = add_weights(dinobloom_s_file).path
    assert add_weights(kept).path == kept
    assert verify_weights(ENCODERS["dinobloom-s"]).path == kept


def test_file_that_fits_no_encoder_is_not_kept(tmp_path, home, tiny_file):
    with pytest.raises(WeightsRefused, match=r"fits none of dinobloom-s, .*timm:<architecture>"):
        add_weights(tiny_file)
    with pytest.raises(WeightsMissing, match="does not exist"):
        add_weights(tmp_path / "absent.pth")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(WeightsRefused, match="is no weights file; it ends with one of"):
        add_weights(tmp_path / "notes.txt")
    assert not (home / "weights").exists()


def test_encoder_that_keeps_no_weights_takes_none(tiny_file):
    with pytest.raises(WeightsRefused, match="demo-vit keeps no weights"):
        add_weights(tiny_file, ENCODERS["demo-vit"])


def test_weights_at_a_path_that_is_no_text_are_read(tmp_path, tiny_file, tiny):
    import os

    folder = tmp_path / os.fsdecode(b"gewichte \xe4")
    folder.mkdir()
    shutil.copy(tiny_file, folder / "Tiny.SAFETENSORS")
    loaded = load_encoder(tiny.model_copy(update={"weights": folder / "Tiny.SAFETENSORS"}))
    assert loaded.weights_sha256 == load_encoder(tiny).weights_sha256


@pytest.mark.parametrize("name", ["no_such_net", "hf-hub:MarrLab/DinoBloom", "local-dir:/tmp"])
def test_unknown_architecture_is_refused_without_asking_the_network(name, tiny_file):
    with pytest.raises(CaltomorphError, match="timm knows no architecture"):
        load_encoder(EncodeOptions(encoder=f"timm:{name}", weights=tiny_file))
