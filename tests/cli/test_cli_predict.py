"""`caltomorph predict`: what it writes and shows, and what it says when something is wrong."""

from __future__ import annotations

import errno
import itertools
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest

from napari_caltomorph.diagnosis import Prediction, read_description
from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.errors import FeaturesRefused
from napari_caltomorph.smear.trees import folders_in

RESULTS = {"prediction.json", "predictions.csv", "cells.csv"}


def names(folder):
    return {path.name for path in folder.iterdir()}


def leftovers(folder):
    return [p for p in folder.rglob("*") if p.suffix == ".part" or p.name.startswith(".caltomorph-")]


def test_a_patient_is_predicted_in_a_real_process_also_on_a_terminal_that_knows_only_ascii(
    run_process, smear, tmp_path
):
    is_linux = sys.platform == "linux"  # only there a file name is any bytes
    ascii_only = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"} if is_linux else {}
    folder, results = tmp_path / "Müller µ", tmp_path / "ö"
    shutil.copytree(smear, folder)
    (folder / "broken.tif").write_bytes(b"")
    shutil.copy(smear / "Gal-000001.RGB.TIF", folder / "again.tif")
    code, out, err = run_process("predict", folder, "--model", "demo", "--out", results, **ascii_only)
    assert (code, err) == (0, "")
    assert out.isascii() or not is_linux
    assert names(results) == RESULTS
    assert folders_in(tmp_path) == [folder]  # the results are no patient of a later run

    prediction = Prediction.load(results)
    row = pd.read_csv(results / "predictions.csv").iloc[0]
    cells = pd.read_csv(results / "cells.csv")
    assert row["predicted_class"] == prediction.predicted_class
    assert list(cells["rank"]) == list(range(1, 13))
    assert cells["attention"].is_monotonic_decreasing

    text = " ".join(out.split())
    assert ": 12 cells; 2 left out (" in text
    assert "1 unreadable" in text
    assert "1 repeat of another cell" in text
    for name, probability in zip(prediction.taxonomy.names, prediction.probabilities, strict=True):
        assert f"{name} {probability:.2f}" in text
    assert prediction.call_in_words in text
    assert "the threshold 0.5 (more probably malignant than not)" in text
    assert prediction.hemoglobin_in_words in text
    assert "480 held-out patients" in prediction.hemoglobin_in_words
    assert "Only 12 cells" in text
    assert "synthetic" in text
    written = str(results / "cells.csv")
    assert f"{quote(written) if is_linux else written}\n" in out
    assert "Research use only. Not for diagnosis." in out
    assert "\x1b" not in out


def test_an_own_model_names_the_origin_of_its_threshold(run, smear, tiny_model, tmp_path):
    code, out, _ = run("predict", smear, "--model", tiny_model, "--out", tmp_path / "results")
    assert code == 0
    text = " ".join(out.split())
    assert "the threshold 0.4 (Youden, on the test cohort)" in text
    assert "synthetic" not in text
    assert "Hemoglobin" not in text


@pytest.mark.parametrize("stated", ["0", "1", "nan", "ten"])
def test_a_prevalence_that_is_none_is_refused_in_one_line(run, smear, tmp_path, stated):
    code, _, err = run("predict", smear, "--model", "demo", "--out", tmp_path / "results", "--prevalence", stated)
    assert code == 2
    assert "--prevalence" in err
    assert len(err.splitlines()) == 1


def test_a_stated_prevalence_is_next_to_the_malignancy_with_what_it_assumes(run, smear, tmp_path):
    code, out, _ = run("predict", smear, "--model", "demo", "--out", tmp_path / "results", "--prevalence", "0.01")
    prediction = Prediction.load(tmp_path / "results")
    assert code == 0
    text = " ".join(out.split())
    assert f"Malignant {prediction.malignancy:.2f} at the stated prevalence, 1 %" in text
    assert "only the shares differ" in text


def test_each_predicts_every_patient_folder(run, patients, tmp_path):
    code, out, err = run("predict", patients, "--each", "--model", "demo", "--out", tmp_path / "results")
    assert (code, err) == (0, "")
    assert list(pd.read_csv(tmp_path / "results" / "predictions.csv")["patient_id"]) == ["p1", "p2"]
    assert Prediction.load(tmp_path / "results" / "p2").patient_id == "p2"
    assert "p1: 6 cells" in out
    assert "p2: 6 cells" in out


def test_a_second_run_keeps_finished_patients_and_reports_them(run, patients, tmp_path):
    arguments = ["predict", patients, "--each", "--model", "demo", "--out", tmp_path / "results"]
    run(*arguments)
    before = (tmp_path / "results" / "predictions.csv").read_bytes()
    (tmp_path / "results" / "p2" / "prediction.json").unlink()
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert f"to predict it again, remove {tmp_path / 'results' / 'p1' / 'prediction.json'}\n" in out
    assert "p1: 6 cells" not in out
    assert "p2: 6 cells" in out
    assert (tmp_path / "results" / "predictions.csv").read_bytes() == before


def test_features_are_predicted_without_the_encoder_and_without_images(run, dinobloom_model, tmp_path):
    need = read_description(dinobloom_model).encoder
    origin = FeatureOrigin(need.name, need.weights_sha256, need.preprocessing)
    values = np.random.default_rng(0).normal(size=(2, 60, need.width)).astype(np.float32)
    for name, bag in zip(("p1", "p2"), values, strict=True):
        Features(name, bag, tuple(map(str, range(60))), origin).save(tmp_path / "features" / f"{name}.h5")
    to_model = ("--model", dinobloom_model, "--out", tmp_path / "out")
    code, out, err = run("predict", "--features", tmp_path / "features", *to_model)
    assert (code, err) == (0, "")
    assert out.count("60 cells of a feature file, without images") == 2
    assert list(pd.read_csv(tmp_path / "out" / "predictions.csv")["patient_id"]) == ["p1", "p2"]
    code, out, err = run("predict", *to_model)
    assert code == 2
    assert "--features" in err


def test_each_finds_patients_below_their_diagnoses(run, patients, tmp_path):
    for name in ("p1", "p2"):
        shutil.copytree(patients / name, tmp_path / "cohort" / "cll" / name)
    code, _, err = run("predict", tmp_path / "cohort", "--each", "--model", "demo", "--out", tmp_path / "results")
    assert (code, err) == (0, "")
    assert list(pd.read_csv(tmp_path / "results" / "predictions.csv")["patient_id"]) == ["p1", "p2"]


def test_reports_are_next_to_the_predictions(run, patients, tmp_path):
    arguments = ["--model", "demo", "--report", "--out"]
    code, out, err = run("predict", patients, "--each", *arguments, tmp_path / "results")
    assert (code, err) == (0, "")
    for patient in ("p1", "p2"):
        report = tmp_path / "results" / patient / "report.html"
        assert f"Report: {report}\n" in out
        # All six cells twice: by attention, and by how unusual they are.
        assert report.read_text("utf-8").count("data:image/jpeg") == 12
    code, _, _ = run("predict", patients / "p1", *arguments, tmp_path / "one")
    assert code == 0
    assert names(tmp_path / "one") == RESULTS | {"report.html"}


def test_reports_are_written_with_a_model_without_its_training_patients(run, patients, tiny_model, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    (model / "private").mkdir(exist_ok=True)
    for file in (model / "private").iterdir():
        file.unlink()
    out = tmp_path / "results"
    code, _, err = run("predict", patients, "--each", "--model", model, "--out", out, "--report")
    assert (code, err) == (0, "")
    for patient in ("p1", "p2"):
        assert str(model / "private") in (out / patient / "report.html").read_text("utf-8")


def test_a_folder_of_patients_without_each_is_refused(run, patients, tmp_path):
    code, out, err = run("predict", patients, "--model", "demo", "--out", tmp_path / "results")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "--each" in err
    assert not (tmp_path / "results").exists()


def test_one_bad_smear_does_not_stop_the_others(run, patients, tmp_path):
    (tmp_path / "empty").mkdir()
    arguments = [patients / "p1", tmp_path / "empty", patients / "p2"]
    code, out, err = run("predict", *arguments, "--model", "demo", "--out", tmp_path / "results")
    assert code == 1
    assert list(pd.read_csv(tmp_path / "results" / "predictions.csv")["patient_id"]) == ["p1", "p2"]
    first, last = err.splitlines()
    assert str(tmp_path / "empty") in first
    assert last == "caltomorph: 1 of 3 smears failed: empty"
    assert "Written:" in out


def test_refused_features_of_one_patient_do_not_end_the_run(run, patients, tmp_path, monkeypatch):
    at_bag(monkeypatch, 1, FeaturesRefused("p1: features of another encoder."))
    code, out, err = run("predict", patients, "--each", "--model", "demo", "--out", tmp_path / "results")
    assert code == 1
    assert list(pd.read_csv(tmp_path / "results" / "predictions.csv")["patient_id"]) == ["p2"]
    assert Prediction.load(tmp_path / "results" / "p2").patient_id == "p2"
    assert "p1: features of another encoder." in err
    assert "p2: 6 cells" in out


@pytest.mark.parametrize("words", ["CUDA out of memory. Tried to allocate 2 GiB", "can't allocate memory: 90 bytes"])
def test_running_out_of_memory_is_one_line_and_costs_only_that_patient(run, patients, tmp_path, monkeypatch, words):
    with monkeypatch.context() as patch:
        at_bag(patch, 1, RuntimeError(words))
        code, _, err = run("predict", patients / "p1", "--model", "demo", "--out", tmp_path / "one")
    assert (code, err.count("\n")) == (1, 1)
    assert "p1: memory ran out" in err
    assert not (tmp_path / "one").exists()
    at_bag(monkeypatch, 1, RuntimeError(words))
    code, _, err = run("predict", patients, "--each", "--model", "demo", "--out", tmp_path / "both")
    assert code == 1
    assert list(pd.read_csv(tmp_path / "both" / "predictions.csv")["patient_id"]) == ["p2"]


@pytest.mark.parametrize(("stop", "ends_with"), [(KeyboardInterrupt(), 130), (RuntimeError("a bug"), None)])
def test_what_is_done_is_kept_when_the_run_breaks_off(run, patients, tmp_path, monkeypatch, capsys, stop, ends_with):
    at_bag(monkeypatch, 2, stop)
    arguments = ["predict", patients, "--each", "--model", "demo", "--out", tmp_path / "results"]
    if ends_with is None:
        with pytest.raises(RuntimeError, match="a bug"):
            run(*arguments)
        out = capsys.readouterr().out
    else:
        code, out, err = run(*arguments)
        assert (code, err) == (ends_with, "caltomorph: stopped\n")
    assert "Stopped; 1 of 2 smears were predicted." in out
    assert list(pd.read_csv(tmp_path / "results" / "predictions.csv")["patient_id"]) == ["p1"]
    assert set(pd.read_csv(tmp_path / "results" / "cells.csv")["patient_id"]) == {"p1"}
    assert Prediction.load(tmp_path / "results" / "p1").patient_id == "p1"


def at_bag(monkeypatch, number, error):
    """Let the n-th bag of the run end in an error."""
    from napari_caltomorph.diagnosis import Ensemble

    predict, bags = Ensemble.predict, itertools.count(1)

    def predicted(*arguments, **options):
        if next(bags) == number:
            raise error
        return predict(*arguments, **options)

    monkeypatch.setattr(Ensemble, "predict", predicted)


def test_when_every_smear_is_bad_nothing_is_written(run, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, err = run("predict", tmp_path / "empty", tmp_path / "gone", "--model", "demo", "--out", tmp_path / "o")
    assert (code, out) == (2, "")
    assert "2 of 2 smears failed: empty, gone" in err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("content", [{}, {"notes.txt": b"hello"}, {"a.tif": b"", "b.png": b"\0" * 100}])
def test_a_folder_without_a_usable_cell_is_refused(run, tmp_path, content):
    (tmp_path / "bad").mkdir()
    for name, data in content.items():
        (tmp_path / "bad" / name).write_bytes(data)
    code, out, err = run("predict", tmp_path / "bad", "--model", "demo", "--out", tmp_path / "results")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert str(tmp_path / "bad") in err


def test_two_smears_of_one_name_are_refused_before_computing(run, patients, smear, tmp_path):
    copy = tmp_path / "duplicate" / "p1"
    shutil.copytree(patients / "p1", copy)
    code, out, err = run("predict", patients / "p1", smear, copy, "--model", "demo", "--out", tmp_path / "results")
    assert (code, out) == (2, "")
    assert "Two smears are called p1" in err


def test_an_unknown_model_is_refused_with_the_known_ones(run, smear, tmp_path):
    code, out, err = run("predict", smear, "--model", "nope", "--out", tmp_path / "results")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'nope'" in err
    assert "demo" in err


def test_missing_weights_name_the_command(run, smear, dinobloom_model, tmp_path):
    code, out, err = run(
        "predict", smear, smear.parent / "x", "--model", dinobloom_model, "--out", tmp_path / "results"
    )
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "`caltomorph weights download dinobloom-b`" in err
    assert not (tmp_path / "results").exists()


def test_weights_that_the_model_was_not_trained_with_are_refused_before_encoding(run, smear, tiny_model, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    from napari_caltomorph.encoding import ENCODERS, find_weights

    weights = load_file(find_weights(ENCODERS["demo-vit"]))
    save_file({key: value + torch.ones(()) for key, value in weights.items()}, tmp_path / "other.safetensors")
    arguments = ["--model", tiny_model, "--out", tmp_path / "results", "--weights", tmp_path / "other.safetensors"]
    code, out, err = run("predict", smear, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "that tiny was trained with" in err


def test_a_missing_device_is_reported(run, smear, tmp_path):
    code, _, err = run("predict", smear, "--model", "demo", "--out", tmp_path / "results", "--device", "cuda:99")
    assert code == 2
    assert "use --device auto or cpu" in err


def test_an_output_that_cannot_be_written_is_refused_before_computing(run, smear, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/results")):
        code, message, err = run("predict", smear, "--model", "demo", "--out", out)
        assert (code, message, err.count("\n")) == (2, "", 1)
        assert str(out) in err or str(tmp_path / "file") in err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(run, large_smear, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "none", disk], check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        code, _, err = run("predict", large_smear, "--model", "demo", "--out", disk / "results")
        assert (code, err.count("\n")) == (2, 1)
        assert os.strerror(errno.ENOSPC) in err
        assert not leftovers(disk)
        for path in (disk / "results").glob("prediction.json"):
            Prediction.load(path)
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="only there a file name is any bytes")
def test_names_that_are_no_text_are_read_written_and_shown(run, smear, tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/M\xc3\xbcller, Jos\xe9 \xff 1")
    shutil.copytree(smear, odd)
    out = tmp_path / "Ergebnisse für [alle]"
    code, message, err = run("predict", odd, "--model", "demo", "--out", out)
    assert (code, err) == (0, "")
    assert Prediction.load(out).patient_id == "Müller, Jos%E9 %FF 1"
    assert "Müller, Jos%E9 %FF 1: 12 cells" in message
    assert f"{out / 'cells.csv'}\n" in message
    code, _, err = run("predict", f"{odd}/gone", "--model", "demo", "--out", out)
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="signals and pseudo-terminals")
@pytest.mark.parametrize("moment", ["Starting", "Encoding"])
def test_ctrl_c_stops_at_any_moment_and_writes_nothing(large_smear, tmp_path, home, moment):
    arguments = ["predict", large_smear, "--model", "demo", "--out", tmp_path / "results", "--batch-size", "1"]
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_caltomorph.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=child,
        env=os.environ | {"TERM": "xterm"},
    )
    os.close(child)
    screen = read_until(parent, moment)
    process.send_signal(signal.SIGINT)
    screen += read_until(parent, None)
    assert process.wait(timeout=30) == 130, screen
    assert process.stdout is not None
    assert process.stdout.read() == b""
    process.stdout.close()
    os.close(parent)
    assert "Traceback" not in screen
    assert re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen).rstrip().endswith("caltomorph: stopped")
    assert not (tmp_path / "results").exists()
    assert not leftovers(tmp_path)
    assert not leftovers(home)


def read_until(terminal, text):
    """Read what a process writes to its terminal until a text appears; None: until it ends."""
    screen, end = "", time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            new = os.read(terminal, 65536)
        except OSError:  # the process has closed it
            new = b""
        if not new:
            return screen
        screen += new.decode(errors="replace")
        if text is not None and text in screen:
            return screen
    raise AssertionError(f"{text!r} never appeared in {screen!r}")
