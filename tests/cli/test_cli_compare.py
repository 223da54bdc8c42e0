"""`caltomorph compare`: what it writes and says."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from tests.cli.conftest import without_progress
from tests.training.factories import write_cohort

from napari_caltomorph.statistics.metric import signed

TINY = {
    "min-cells": 1,
    "test-fraction": 0,
    "folds": 3,
    "depth": 1,
    "width": 16,
    "heads": 2,
    "mlp-width": 16,
    "classifier-width": 8,
    "epochs": 2,
    "learning-rate": 0.003,
    "device": "cpu",
    "precision": "float32",
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    classes = {"aml": 8, "cll": 8, "stem_cell_donor": 8}
    return write_cohort(tmp_path_factory.mktemp("cohorts") / "small", classes)


def words(cohort: Path, out: Path, *more: str, **changes: int) -> list[str]:
    flags = [word for name, value in (TINY | changes).items() for word in (f"--{name}", str(value))]
    return [
        *("compare", str(cohort / "features"), "--table", str(cohort / "patients.csv"), "--out", str(out)),
        *flags,
        *more,
    ]


def test_a_table_and_a_figure_are_written_and_printed(run, cohort, tmp_path):
    out = tmp_path / "out"
    arguments = words(cohort, out, "--what", "aggregators", "--what", "sizes", "--shares", "0.5")
    code, output, err = run(*arguments)
    assert (code, err) == (0, "")
    table = pd.read_csv(out / "comparison.csv")
    others = ["abmil", "wbcmil", "concepts", "mean", "max", "50 %", "100 %"]
    assert list(table["variant"]) == ["transformer, cls, depth 1", *others]
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert "balanced accuracy" in output
    row = table.set_index("variant").loc["abmil"]
    assert f"{row['balanced_accuracy_mean']:.3f} ({row['balanced_accuracy_sd_over_folds']:.3f})" in output
    reference = table["balanced_accuracy_mean"].iloc[0]
    assert f"{signed(reference, row['balanced_accuracy_mean'], 3)} (" in output  # of the means as they are printed
    assert f" {row['balanced_accuracy_folds_better']:.0f}/3" in output
    assert f"50 %, {table['training_patients'].iloc[-2]:.0f} patients" in output
    text = " ".join(output.split())
    assert "standard deviation between folds" in text
    assert "standard error" not in text
    assert "single members on their own folds, not of ensembles" in text
    assert all(len(line) <= 80 for line in output.splitlines() if str(out) not in line)
    again = run(*arguments)
    assert (again.code, again.out) == (0, output)


def test_a_variant_that_fails_is_named_at_the_end(run, cohort, tmp_path):
    code, output, err = run(*words(cohort, tmp_path / "out", "--what", "encoders", "--encoders", f"b={tmp_path / 'b'}"))
    assert code == 1
    assert "reference" in output
    first, last = err.splitlines()
    assert first.startswith("caltomorph: transformer-cls-1-features-b: 24 of 24 patients have no features in ")
    assert last == "caltomorph: 1 of 2 variants failed."


def test_another_training_in_the_folder_is_refused(run, cohort, tmp_path):
    what = ("--what", "sizes", "--shares", "1")
    assert run(*words(cohort, tmp_path / "out", *what)).code == 0
    code, output, err = run(*words(cohort, tmp_path / "out", *what, "--seed", "3"))
    assert (code, output) == (2, "")
    assert "--seed 0 then, 3 now" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "output"),
    [
        (("--what", "encoders"), "--encoders"),
        (("--encoders", "folder"), "NAME=DIR"),
        (("--shares", "2"), "--shares"),
        (("--depths", "0"), "--depths"),
        (("--what", "colours"), "--what"),
    ],
)
def test_bad_options_are_one_line(run, cohort, tmp_path, more, output):
    code, out, err = run(*words(cohort, tmp_path / "out", *more))
    assert (code, out) == (2, "")
    assert output in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_options_come_from_a_file_too(run, cohort, tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text("aggregator: mean\n")
    arguments = words(cohort, tmp_path / "out", "--what", "sizes", "--shares", "1", "--config", str(config))
    assert run(*arguments).code == 0
    assert list(pd.read_csv(tmp_path / "out" / "comparison.csv")["aggregator"]) == ["mean"]


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent to all processes of a console")
def test_ctrl_c_keeps_what_is_done(run, cohort, tmp_path):
    out = tmp_path / "out"
    arguments = words(cohort, out, "--what", "sizes", "--shares", "0.5", **{"epochs": 150})
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_caltomorph.cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    begun = out / "variants" / "transformer-cls-1"
    end = time.monotonic() + 60
    while not any(begun.glob("*.safetensors")) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, err = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, b"")
    first, last = without_progress(err.decode()).splitlines()
    assert str(out) in first
    assert "run the same again" in first
    assert last == "caltomorph: stopped"
    assert any(begun.glob("*.safetensors"))
