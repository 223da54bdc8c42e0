"""``caltomorph cut``: microscope fields -> single-cell images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from napari_caltomorph.cli.console import answer, fail, progress_bar, say, say_files
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.fields import CutOptions, cut_cells

app = Verb(
    name="cut",
    usage="Usage: caltomorph cut FIELD_OR_FOLDER... --out SMEAR [OPTIONS]",
    help_epilogue="""The white cells of one patient's fields, then their diagnosis:

    caltomorph cut fields --out smear_a
    caltomorph predict smear_a --model demo --out results

or both at once: caltomorph predict fields --cut --model demo --out results.
Where the files do not say how large a pixel is, red cells do (7.5 micrometres).
State it where it is known:

    caltomorph cut fields --out smear_a --pixel-size 0.1

Run the same again to resume after a stop, or after fields were added.""",
)


@app.default
def cut(
    *fields: Annotated[Path, Parameter(name="FIELD_OR_FOLDER", negative="")],
    out: Path,
    options: Annotated[CutOptions, Parameter(name="*")] = CutOptions(),  # noqa: B008 (frozen)
) -> int:
    """Cut the white cells out of microscope fields, so that they are a smear.

    Parameters
    ----------
    fields
        Images of one patient (JPEG, PNG, TIFF, OME-TIFF, SVS), or folders of them.
    out
        Folder for the cells; new, empty, or of an earlier run.
    """
    if not fields:
        return fail("cut needs a field, or a folder of fields. See `caltomorph cut --help`.", code=2)
    with progress_bar() as progress:
        result = cut_cells(fields, out, options, progress=progress)
    say(f"{result.in_words}.")
    say(f"Scale: {result.scale_in_words}.")
    answer(in_words=result.in_words, scale=result.scale_in_words, problems=result.problems)
    say_files([out, out / "fields.csv", out / "overview_<field>.jpg"])
    for problem in result.problems:
        fail(problem, code=1)
    if result.problems:
        return fail(f"{len(result.problems)} fields were not searched; fix them and run this again.", code=1)
    return 0
