"""Help teaches, and comes without the heavy libraries; bad usage is one line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from napari_caltomorph.cli.app import VERBS, app

# The help of every verb in one process, and which heavy libraries it loaded, as JSON.
ALL_HELP = """
import contextlib, io, json, sys
from napari_caltomorph.cli import main
from napari_caltomorph.cli.app import VERBS
shown = {}
for verb in ["", *VERBS]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*verb.split(), "--help"]) == 0
    shown[verb] = out.getvalue(), sorted({"torch", "timm", "napari", "qtpy", "PyQt6"} & {*sys.modules})
print(json.dumps(shown))
"""


def test_help_teaches_and_loads_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", ALL_HELP], capture_output=True, text=True, timeout=60, check=True)
    for verb, (text, heavy) in json.loads(done.stdout).items():
        assert heavy == [], verb
        assert "\n    " + f"caltomorph {verb}".strip() in text
        for name in [verb] if verb else VERBS:
            assert " ".join(VERBS[name].split()[:5]) in " ".join(text.split())


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
