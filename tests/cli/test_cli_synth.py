"""`caltomorph synth`: a cohort on disk, twice the same, and never over somebody's files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest

COMMAND = [sys.executable, "-m", "napari_caltomorph.cli", "synth"]


def test_a_synthetic_cohort_is_written_to_the_given_folder(run, tmp_path):
    code, out, err = run("synth", tmp_path / "new cohort", "--patients", "8", "--cells", "3")
    assert (code, err) == (0, "")
    assert str(tmp_path / "new cohort" / "patients.csv") in out
    table = pd.read_csv(tmp_path / "new cohort" / "patients.csv")
    assert len(table) == 8
    assert table["coarse_class"].nunique() == 8
    assert len(list((tmp_path / "new cohort").glob("*/*/*.TIF"))) == 24


def test_the_same_seed_gives_the_same_cohort_and_another_does_not(run, tmp_path):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert run("synth", tmp_path / name, "--patients", "1", "--cells", "2", "--seed", seed).code == 0
    a, b, c = ([p.read_bytes() for p in sorted((tmp_path / name).glob("*/*/*.TIF"))] for name in "abc")
    assert a == b
    assert a != c


def test_only_a_cohort_is_overwritten_and_only_with_the_flag(run, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("mine")
    for flags in ([], ["--overwrite"]):
        code, out, err = run("synth", tmp_path / "home", "--patients", "1", "--cells", "1", *flags)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert str(tmp_path / "home") in err
    assert (tmp_path / "home" / "thesis.txt").read_text() == "mine"
    for flags in ([], ["--overwrite"]):
        assert run("synth", tmp_path / "cohort", "--patients", "1", "--cells", "1", *flags).code == 0


def test_aml_hehrs_layout_is_a_flag(run, tmp_path):
    code, out, err = run("synth", tmp_path / "c", "--patients", "5", "--cells", "2", "--layout", "aml-hehr")
    assert (code, err) == (0, "")
    assert str(tmp_path / "c" / "metadata.csv") in out
    assert len(list((tmp_path / "c" / "data").glob("*/*/image_1.tif"))) == 5


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--cells", "0"], "--cells 0"),
        (["--patients", "0"], "--patients 0"),
        (["--workers", "0"], "--workers 0"),
        (["--layout", "tcga"], "aml-hehr"),
    ],
)
def test_impossible_options_are_one_line(run, tmp_path, flags, message):
    code, out, err = run("synth", tmp_path / "c", *flags)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_help_explains_the_shortcut(run):
    code, out, _ = run("synth", "--help")
    assert code == 0
    assert "--shortcut" in out
    assert "whether such a shortcut is noticed" in " ".join(out.replace("│", " ").split())


def start_long(tmp_path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """Start drawing for minutes; return when both workers draw, with every process that was started."""
    arguments = [tmp_path / "cohort", "--patients", "40", "--cells", "5000", "--workers", "2"]
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while sum(1 for _ in tmp_path.rglob("*.TIF")) < 3 * 40:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process, psutil.Process(process.pid).children(recursive=True)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_ctrl_c_ends_all_processes_and_leaves_nothing_behind(tmp_path):
    process, children = start_long(tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "caltomorph: stopped\n")
    assert not list(tmp_path.iterdir())
    assert psutil.wait_procs(children, timeout=10)[1] == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_workers_do_not_outlive_a_killed_command(tmp_path):
    process, children = start_long(tmp_path)
    process.kill()
    process.communicate(timeout=30)
    assert psutil.wait_procs(children, timeout=10)[1] == []
