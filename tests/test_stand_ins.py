"""A pointer or a web page in the place of a file is named, wherever such a file is read."""

from __future__ import annotations

import importlib.resources
import shutil

import pytest

from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.encoding import Features, add_weights
from napari_caltomorph.errors import CaltomorphError, SmearUnreadable
from napari_caltomorph.smear import check_smear, read_smear

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 86300000\n"

STAND_INS = {
    "Git LFS pointer.*git lfs pull": POINTER,
    "git-annex pointer.*git annex get": b"../../.git/annex/objects/x/y/SHA256E-s1--0.pth",
    "web page.*download the file": b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><title>Log in</title></html>",
    "XML text.*download the file": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "empty file.*again": b"",
    "file of zero bytes.*again": bytes(5000),
}


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors", ".h5"])
@pytest.mark.parametrize(("named", "content"), STAND_INS.items(), ids=lambda value: str(value)[:12])
def test_weights_and_features_that_never_arrived_are_named(tmp_path, suffix, named, content):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with pytest.raises(CaltomorphError, match=rf"file\{suffix} is an? {named}"):
        Features.load(path) if suffix == ".h5" else add_weights(path)


@pytest.mark.parametrize("file", ["model.json", "fold_1.safetensors", "domain.safetensors"])
def test_files_of_a_model_that_never_arrived_are_named(tmp_path, file):
    demo = importlib.resources.files("napari_caltomorph.diagnosis") / "demo"
    shutil.copytree(str(demo), tmp_path / "model")
    (tmp_path / "model" / file).write_bytes(POINTER)
    with pytest.raises(CaltomorphError, match=rf"{file} is a Git LFS pointer.*git lfs pull"):
        Ensemble.load(tmp_path / "model")


def test_images_that_never_arrived_are_named(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.tif").write_bytes(POINTER)
    with pytest.raises(SmearUnreadable, match="Git LFS pointer"):
        check_smear(read_smear(tmp_path))
