"""``caltomorph synth``: a synthetic cohort on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from napari_caltomorph.cli.console import answer, progress_bar, say, say_line
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort

app = Verb(
    name="synth",
    usage="Usage: caltomorph synth OUT [OPTIONS]",
    help_epilogue="""Forty patients of 100 cells each, always the same:

    caltomorph synth practice --patients 40 --cells 100 --seed 7

A patient is a folder <class>/<patient_id> of TIFF images, with its cells'
types in truth.csv; patients.csv holds diagnosis, hemoglobin, age, sex, split,
and that they are synthetic.
Predict them:

    caltomorph predict practice --each --model demo --out results

Synthetic cells: they show how the software works, and nothing about real blood.""",
)


@app.default
def synth(
    out: Path,
    /,
    *,
    options: Annotated[SynthOptions, Parameter(name="*")] = SynthOptions(),  # noqa: B008 (frozen)
) -> None:
    """Write a synthetic cohort with known truth, to practise and to test with.

    Parameters
    ----------
    out
        Folder for the cohort; new or empty.
    """
    with progress_bar() as progress:
        table = synthesize_cohort(out, options, progress=progress)
    say(f"{options.patients} synthetic patients of {options.cells} cells each, with their truth:")
    answer(files=[table])
    say_line(f"  {table}")
