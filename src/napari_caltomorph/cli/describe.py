"""``caltomorph describe``: what the single-cell images of a smear show, before they are trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import PositiveFloat

from napari_caltomorph.cli.console import Overwrite, Smears, answer, fail, progress_bar, say, say_files
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.cohort import named_patients
from napari_caltomorph.csv_files import write_csv
from napari_caltomorph.fields import describe_cells
from napari_caltomorph.smear import check_smear
from napari_caltomorph.storage import refuse_existing, refuse_unwritable

app = Verb(
    name="describe",
    usage="Usage: caltomorph describe SMEAR... [--out cells.csv] [OPTIONS]",
    help_epilogue="""How many images show one leukocyte in the middle:

    caltomorph describe smear_a --out cells.csv

The table has a row for each cell that the quality rules accept: area of the
nucleus, its share of the cell, leukocytes in view, distance of the cell from
the middle, and what is in view in words. Nothing is left out of a diagnosis.""",
)


@app.default
def describe(
    smears: Smears,
    /,
    *,
    out: Path | None = None,
    overwrite: Overwrite = False,
    field_of_view: Annotated[PositiveFloat | None, Parameter(name="--field-of-view")] = None,
) -> int:
    """Describe what each single-cell image shows: one centred leukocyte, several, a smudge or clump, or none.

    Parameters
    ----------
    out
        Table (CSV) with a row for each cell.
    field_of_view
        Width of a cell's image in micrometres, where the files do not say it, e.g. 45 for CellaVision.
    """
    refuse_existing(out, overwrite=overwrite)
    if out is not None:
        refuse_unwritable(out.parent)
    tables = []
    for name, patient in named_patients(smears).items():
        with progress_bar() as progress:
            smear = check_smear(patient.read(), progress=progress)
            described = describe_cells(smear, field_of_view, progress=progress)
        say(f"{name}: {described.in_words}.")
        say(f"Scale: {described.scale}.")
        answer(smears=[{"patient_id": name, "in_words": described.in_words, "scale": str(described.scale)}])
        table = described.table
        table.insert(0, "patient_id", name)
        tables.append(table)
    if not tables:
        return fail("describe needs a smear. See `caltomorph describe --help`.", code=2)
    if out is not None:
        import pandas as pd

        write_csv(pd.concat(tables), out)
        say_files([out])
    return 0
