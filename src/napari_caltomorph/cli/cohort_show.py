"""``caltomorph cohort show``: who is in a cohort, with which class, who was left out and why. It changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from napari_caltomorph.cli.console import CohortPath, Overwrite, answer, console, progress_bar, say, say_files
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.cohort import Cohort, CohortOptions, read_cohort
from napari_caltomorph.storage import refuse_existing, refuse_unwritable

if TYPE_CHECKING:
    import pandas as pd

app = Verb(
    name="show",
    usage="Usage: caltomorph cohort show COHORT [OPTIONS]",
    help_epilogue="""A directory <diagnosis>/<patient>/cells, or a table with a path a patient:

    caltomorph cohort show cohort
    caltomorph cohort show patients.csv --label-column "Final diagnosis"

The APL-AML cohort's discovery patients, saved for later steps:

    caltomorph cohort show APL-AML --where Cohort=Discovery --min-cells 20 \\
        --save cohort.json --figures figures

Every later step takes the directory or the saved cohort.json.""",
)


@app.default
def show(
    cohort: CohortPath,
    /,
    *,
    save: Path | None = None,
    overwrite: Overwrite = False,
    figures: Path | None = None,
    options: Annotated[CohortOptions, Parameter(name="*")] = CohortOptions(),  # noqa: B008 (frozen)
) -> None:
    """Show a cohort: classes by split, cells per patient, who was left out and why. Nothing is changed.

    Parameters
    ----------
    save
        Save the cohort, with its split, in this file (cohort.json).
    figures
        Folder for flow.png, classes.png (patients, cells and hemoglobin by class) and preview.png.
    """
    pictures = [figures / f"{name}.png" for name in ("flow", "classes", "preview")] if figures else []
    refuse_existing(save, *pictures, overwrite=overwrite)
    for target in (save and save.parent, figures):
        if target is not None:
            refuse_unwritable(target)
    with progress_bar() as progress:
        found = read_cohort(cohort, options, progress=progress)
    _show(found)
    written = []
    if save is not None:
        found.save(save)
        written.append(save)
    if pictures:
        written += _save_figures(found, pictures)
    if written:
        say_files(written)


def _show(cohort: Cohort) -> None:
    answer(
        cohort={"source": cohort.source, "layout": cohort.layout, "summary": cohort.summary, "notes": cohort.notes},
        patients=cohort.table,
        left_out=cohort.left_out,
    )
    say(f"{cohort.source} ({cohort.layout}): {cohort.summary}")
    say()
    table = Table("class", "train", "test", "cells per patient", box=None, header_style="bold", pad_edge=False)
    for one in cohort.taxonomy.classes:
        of_class = cohort.table.loc[cohort.table["coarse"] == one.slug]
        if len(of_class):
            _add_row(table, one.name, of_class)
    others = cohort.table.loc[cohort.table["coarse"].isna()]
    if len(others):
        _add_row(table, "other, or several classes", others)
    console.print(table)
    if len(cohort.left_out):
        say()
        out = Table("left out", "patients", "for example", box=None, header_style="bold", pad_edge=False)
        for rule, count in cohort.left_out_counts().items():
            first = cohort.left_out.loc[cohort.left_out["rule"] == rule].iloc[0]
            out.add_row(rule, str(count), f"{first['patient_id']}: {first['reason']}")
        console.print(out)
    if cohort.notes:
        say()
    for note in cohort.notes:
        say(f"- {note}")


def _add_row(table: Table, name: str, patients: pd.DataFrame) -> None:
    cells = patients["n_cells"]
    split = patients["split"].value_counts()
    spread = f"{cells.min()} ... {cells.median():.0f} ... {cells.max()}"
    table.add_row(name, str(split.get("train", 0)), str(split.get("test", 0)), spread)


def _save_figures(cohort: Cohort, pictures: list[Path]) -> list[Path]:
    from napari_caltomorph.report import draw_classes, draw_flow, draw_preview
    from napari_caltomorph.report.cohort_figures import draw_cells, draw_measured_hemoglobin, has_hemoglobin
    from napari_caltomorph.report.drawing import new_figure, save_figure

    by_class = [draw_classes, draw_cells, *([draw_measured_hemoglobin] if has_hemoglobin(cohort) else [])]
    paths = []
    for path, draws, size in (
        (pictures[0], [draw_flow], (7, 1.2 + 0.7 * (len(cohort.left_out_counts()) + 3))),
        (pictures[1], by_class, (2 + 3 * len(by_class), 3.2)),
        (pictures[2], [draw_preview], (9, 6)),
    ):
        figure = new_figure(*size)
        for draw, axes in zip(draws, figure.subplots(1, len(draws), squeeze=False)[0], strict=True):
            draw(axes, cohort)
            if axes is not figure.axes[0]:
                axes.tick_params(labelleft=False)  # the rows are those of the first
        paths.append(save_figure(figure, path, dpi=150))
    return paths
