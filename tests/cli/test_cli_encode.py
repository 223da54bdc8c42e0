"""`caltomorph encode`: what it writes and says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort

ENCODE = ("--encoder", "demo-vit", "--device", "cpu", "--min-cells", "0", "--min-patients", "1")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "cohort"
    synthesize_cohort(folder, SynthOptions(patients=4, cells=6, seed=2))
    return folder


def bags(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.h5"))


def test_a_directory_becomes_a_feature_folder(run, drawn, tmp_path):
    code, out, err = run("encode", drawn, "--features", tmp_path / "f", *ENCODE)
    assert (code, err) == (0, "")
    assert bags(tmp_path / "f") == [f"synthetic_00{n}" for n in range(1, 5)]
    assert "4 patients found, 4 in" in " ".join(out.split("\n- ")[0].split())
    assert "4 patients encoded (24 cells, 0 left out), in " in out
    assert "Encoder demo-vit, " in out
    assert str(tmp_path / "f" / "run.json") in out
    again = run("encode", drawn, "--features", tmp_path / "f", "--write-as", "stamp", *ENCODE).out
    assert "0 patients encoded (0 cells, 0 left out), 4 were done already" in again
    assert str(tmp_path / "f" / "stamp") in again
    assert bags(tmp_path / "f" / "stamp") == bags(tmp_path / "f")


def test_a_saved_cohort_is_encoded_as_it_is(run, drawn, tmp_path):
    saved = tmp_path / "cohort.json"
    assert run("cohort", "show", drawn, "--save", saved, "--min-cells", "0", "--min-patients", "1").code == 0
    assert run("encode", saved, "--features", tmp_path / "f", *ENCODE[:4]).code == 0
    assert len(bags(tmp_path / "f")) == 4


def test_bad_patients_are_named_at_the_end(run, drawn, tmp_path):
    cohort = shutil.copytree(drawn, tmp_path / "cohort")
    bad = next(cohort.glob("*/synthetic_002"))
    for cell in bad.glob("*.TIF"):
        cell.write_bytes(b"")
    code, out, err = run("encode", cohort, "--features", tmp_path / "f", *ENCODE)
    assert code == 1
    first, last = err.splitlines()
    assert first.startswith("caltomorph: synthetic_002: ")
    assert "none usable (6 unreadable" in first
    assert last.startswith("caltomorph: 1 of 4 patients failed")
    assert "3 patients encoded" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "0"], "--workers 0: "),
        (["--workers", "2", "--scheduler", "tcp://a:1"], "a scheduler has its own workers; leave out --workers."),
        (["--encoder", "resnet"], "There is no encoder 'resnet'"),
        (["--weights", "gone.pth"], "gone.pth does not exist"),
        ([], "The weights of dinobloom-b are not on this machine"),
        (["--encoder", "demo-vit", "--device", "cuda:99"], "There is no cuda:99 here"),
    ],
)
def test_bad_usage_is_one_line(run, drawn, tmp_path, words, message):
    code, out, err = run(
        "encode", drawn, "--features", tmp_path / "f", "--min-cells", "0", "--min-patients", "1", *words
    )
    assert (code, err.count("\n")) == (2, 1)
    assert "encoded" not in out
    assert message in err


def test_without_dask_one_line_names_the_package_to_install(run, drawn, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, out, err = run("encode", drawn, "--features", tmp_path / "f", *ENCODE, "--scheduler", "tcp://a:1")
    assert (code, err.count("\n")) == (2, 1)
    assert "encoded" not in out
    assert "pip install 'napari-caltomorph[cluster]'" in err


def test_another_encoders_folder_is_refused(run, drawn, tmp_path):
    origin = FeatureOrigin(encoder="dinobloom-b", weights_sha256="0" * 64, precision="bf16")
    Features("p", np.ones((2, 3), np.float32), ("a", "b"), origin).save(tmp_path / "f" / "p.h5")
    code, out, err = run("encode", drawn, "--features", tmp_path / "f", *ENCODE)
    assert (code, err.count("\n")) == (2, 1)
    assert "encoded" not in out
    assert "dinobloom-b" in err
    assert "demo-vit" in err


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_control_c_stops_cleanly_and_the_next_run_goes_on(run, make_export, tmp_path):
    cohort = tmp_path / "cohort"
    for number in range(8):
        make_export(cohort / ("AML", "CLL")[number % 2] / f"p{number}", cells=50, seed=number)
    words = ["encode", cohort, "--features", tmp_path / "f", *ENCODE, "--workers", "2"]
    command = [sys.executable, "-m", "napari_caltomorph.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not bags(tmp_path / "f"):
            assert process.poll() is None
            time.sleep(0.01)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "caltomorph: stopped\n")
    assert psutil.wait_procs(children, timeout=60)[1] == []
    assert "encoded" not in out
    done = len(bags(tmp_path / "f"))
    assert 1 <= done < 8
    assert not list((tmp_path / "f").glob(".*.part"))
    assert f"{8 - done} patients encoded" in run("encode", cohort, "--features", tmp_path / "f", *ENCODE).out
