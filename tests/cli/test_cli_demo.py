"""`caltomorph demo`: files and a picture, with a display, with Xvfb and with neither."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
from PIL import Image

FILES = {"smear", "predictions.csv", "cells.csv", "prediction.json", "truth.csv"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Where one test's demo is kept for the next."""
    return tmp_path_factory.mktemp("demo") / "demo output"


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="no xvfb-run here")
def test_without_a_display_the_window_is_drawn_under_xvfb(run_process, drawn):
    pytest.importorskip("napari")
    code, out, err = run_process("demo", "--out", drawn, "--no-window")
    assert (code, err) == (0, "")
    assert {path.name for path in drawn.iterdir()} == {*FILES, "screenshot.png"}
    with Image.open(drawn / "screenshot.png") as picture:
        assert min(picture.size) >= 600
        assert len(picture.convert("RGB").getcolors(2**24) or ()) > 1000
    truth = pd.read_csv(drawn / "truth.csv")
    cells = pd.read_csv(drawn / "cells.csv")
    assert len(truth) == 200
    assert set(cells["cell"]) <= set(truth["cell"])
    assert pd.read_csv(drawn / "predictions.csv").loc[0, "predicted_class"] == "Acute leukemia"
    assert "synthetic" in out
    assert "Truth: AML, " in out
    assert str(drawn / "screenshot.png") in out


def test_without_any_display_it_prints_a_note_and_succeeds(run, drawn, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = run("demo", "--out", drawn)
    assert (code, err) == (0, "")
    assert "No screenshot: no display can show it" in out
    assert "sudo apt-get install xvfb" in " ".join(out.split())
    assert {path.name for path in drawn.iterdir()} >= FILES


def test_somebody_elses_smear_folder_is_not_touched(run, tmp_path):
    (tmp_path / "smear").mkdir()
    (tmp_path / "smear" / "patient.tif").write_bytes(b"precious")
    code, out, err = run("demo", "--out", tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "choose another folder with --out" in err
    assert (tmp_path / "smear" / "patient.tif").read_bytes() == b"precious"
