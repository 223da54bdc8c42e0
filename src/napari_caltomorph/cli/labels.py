"""``caltomorph labels``: labelled cells of any laboratory -> a table of labels in our types."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from napari_caltomorph.cli.console import Overwrite, answer, console, progress_bar, say, say_files, table
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.errors import counted
from napari_caltomorph.storage import refuse_existing, refuse_unwritable

if TYPE_CHECKING:
    from napari_caltomorph.differential.import_labels import ImportedLabels

app = Verb(
    name="labels",
    help_epilogue="""Cells in sub-folders that are named after types, in any spelling or code:

    caltomorph labels import PBC_dataset_normal_DIB --out labels.csv

Say yourself what a name is (columns name and type; without a type, its cells
are left out), or name the table that labels the images:

    caltomorph labels import my_cells --types types.csv --out labels.csv
    caltomorph labels import my_cells --label-table images.csv --out labels.csv

Then train a probe on them:

    caltomorph differential train my_cells --labels labels.csv --out p.safetensors""",
)


@app.command(name="import")
def import_labels(
    folder: Path,
    /,
    *,
    out: Path,
    overwrite: Overwrite = False,
    types: Path | None = None,
    label_table: Path | None = None,
) -> None:
    """Read the labels of a folder of cells in our types, and show what became of every name.

    Parameters
    ----------
    folder
        Cells in sub-folders named after types, or a zip of them; of one patient, or with a folder for each.
    out
        Table to write: patient_id, cell, label.
    types
        Table with the columns name and type, which overrules what is known of names.
    label_table
        Table of images and labels, in the place of the names of sub-folders.
    """
    refuse_existing(out, overwrite=overwrite)
    refuse_unwritable(out.absolute().parent)
    from napari_caltomorph.differential import save_labels
    from napari_caltomorph.jobs import import_label_folder

    with progress_bar() as progress:
        imported = import_label_folder(folder, types, label_table, progress=progress)
    show_import(imported)
    save_labels(imported.labels, out)
    say_files([out])


def show_import(imported: ImportedLabels) -> None:
    """Write what became of every name, and what else a person must know."""
    answer(names=[asdict(one) for one in imported.names], left_out=imported.left_out, notes=imported.notes)
    if imported.names:
        rows = table("name", "type", "cells", "")
        for one in imported.names:
            rows.add_row(Text(one.name), one.type or Text("left out", "yellow"), str(one.cells), one.note)
        console.print(rows)
        left_out = f"; {counted(imported.left_out, 'labelled cell')} left out" if imported.left_out else ""
        cells, types = counted(len(imported.labels), "cell"), counted(len(imported.labels.counts), "type")
        say(f"{cells} of {types}{left_out}.", style="bold")
    for note in imported.notes:
        say(f"- {note.rstrip('.')}.")
