"""The script for a GPU runs here too, so that a short loan of a GPU is not spent on its errors."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


@pytest.mark.parametrize("section", ["encoding", "memory"])
def test_a_section_runs_on_a_cpu_and_its_checks_are_met(section, monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    assert importlib.import_module("gpu").main(["--device", "cpu", "--tiny", "--only", section]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"| {section} |")]
    assert len(rows) > 1
