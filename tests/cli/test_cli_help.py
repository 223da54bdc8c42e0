"""Help teaches, and comes without the heavy libraries; bad usage is one line."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from napari_caltomorph.cli.app import VERBS, app

HEAVY = re.compile(r"\| +(torch|timm|napari|qtpy|PyQt6)(\.|$)", re.MULTILINE)


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_teaches_and_loads_nothing_heavy(verb):
    words = [] if verb is None else [verb]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "napari_caltomorph.cli", *words, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not HEAVY.findall(done.stderr)
    example = "\n    " + " ".join(["caltomorph", *words])
    assert example in done.stdout
    for name in VERBS if verb is None else [verb]:
        assert " ".join(VERBS[name].split()[:5]) in " ".join(done.stdout.split())


def test_the_check_for_heavy_libraries_would_see_them():
    times = "\n".join(f"import time: 1 | 2 | {name}" for name in ("  timm", "    torch.nn", "napari_caltomorph.cli"))
    assert [name for name, _ in HEAVY.findall(times)] == ["timm", "torch"]


@pytest.mark.parametrize("verb", ["demo", "predict", "synth", "doctor"])
def test_a_verb_has_the_same_summary_in_the_list_and_in_its_code(verb):
    assert app[verb].default_command.__doc__.splitlines()[0] == VERBS[verb]


@pytest.mark.parametrize(
    "words", [("weights", "add"), ("weights", "download"), ("models", "add"), ("models", "show"), ("cohort", "show")]
)
def test_every_command_of_a_verb_has_help(run, words):
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert f"Usage: caltomorph {' '.join(words)}" in out


@pytest.mark.parametrize(
    ("verb", "flag"),
    [
        ("predict --model demo --out o", "--prevalence"),
        ("train --out o", "--dropout"),
        ("train --out o", "--calibration-split"),
        ("cohort show", "--test-fraction"),
        ("evaluate --model demo --out o", "--prevalence"),
        ("evaluate --model demo --out o", "--threshold"),
        ("compare --out o", "--shares"),
    ],
)
def test_a_share_in_percent_is_refused_with_what_to_write(run, verb, flag):
    code, out, err = run(*verb.split(), "cohort", flag, "20")
    assert (code, out) == (2, "")
    assert f"{flag} 20: " in err
    assert "20 % is 0.2" in " ".join(err.split())


def test_without_a_verb_the_help_is_shown(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert "Commands" in out


def test_the_version_is_the_packages(run):
    from importlib.metadata import version

    assert run("--version") == (0, version("napari-caltomorph") + "\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pedict"], 'Did you mean "predict"?'),
        (["predict", "--model", "demo", "--out", "o"], "caltomorph predict needs SMEAR or --features"),
        (["predict", "a", "--out", "o"], "caltomorph predict needs --model."),
        (["predict", "a", "--model", "demo"], "caltomorph predict needs --out."),
        (["predict", "a", "--model", "demo", "--out", "o", "--fast"], "--fast"),
        (["predict", "a", "--model", "demo", "--out", "o", "--device", "gpu"], "--device gpu: not one of its values."),
        (["predict", "a", "--model", "demo", "--out", "o", "--batch-size", "0"], "--batch-size 0: "),
        (["predict", "a", "--model", "demo", "--out", "o", "--precision", "int4"], "'auto', 'float32' or 'bf16'"),
        (["synth", "o", "--patients", "many"], "--patients many: "),
        (["weights", "get"], "Unknown command"),
    ],
)
def test_bad_usage_is_one_line_that_points_at_the_help(run, words, message):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("caltomorph: ")
    assert err.count("\n") == 1
    assert message in err
    assert "--help`." in err
