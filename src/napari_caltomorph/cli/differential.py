"""``caltomorph differential``: labelled cells -> a probe -> differential counts with their error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.text import Text

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.cli import window
from napari_caltomorph.cli.console import (
    Overwrite,
    ResultFolder,
    Smears,
    answer,
    console,
    fail,
    progress_bar,
    say,
    say_files,
    say_if_joined,
    table,
)
from napari_caltomorph.cli.interrupts import uninterrupted
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.cohort import find_patients, named_patients
from napari_caltomorph.diagnosis.prediction_files import folder_name, refuse_repeated_ids
from napari_caltomorph.differential import CellLabels, ProbeOptions, read_labels, save_labels
from napari_caltomorph.encoding import EncodeOptions
from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.smear import Smear
from napari_caltomorph.storage import refuse_existing, refuse_unwritable

if TYPE_CHECKING:
    from napari_caltomorph.differential import Differential, ProbeDescription
    from napari_caltomorph.differential.run import Counted

app = Verb(
    name="differential",
    usage="Usage: caltomorph differential SMEAR... [--out DIR] [--open] [OPTIONS]",
    help_epilogue=f"""Count a smear with the probe that is in the package, and see its cells:

    caltomorph differential smear_a --open

Train a probe on labelled cells, and count all cells with it:

    caltomorph differential smear_a smear_b --labels labels.csv --out results

Cells in sub-folders named after types are labelled already; train on those:

    caltomorph differential cohort --each --encoder demo-vit --out results

Count other smears with a probe:

    caltomorph differential smear_c --probe results/probe.safetensors --out more

Only train a probe (a smear of that name is ./train):

    caltomorph differential train cohort --out probe.safetensors

The folder then contains differential.csv (one row a type), cell_types.csv
(one row a cell), cells_<patient>.png (the cells by type, least sure first),
labels.csv and, where it was trained, probe.safetensors.
labels.csv has the columns patient_id, cell and label; others are optional.

{RESEARCH_USE}""",
)
app.command(f"{__package__}.differential_train:app", name="train", help="Train a probe on labelled cells, and save it.")


@app.default
def differential(
    smears: Smears,
    /,
    *,
    out: ResultFolder | None = None,
    overwrite: Overwrite = False,
    labels: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    probe: Path | None = None,
    each: bool = False,
    open_window: Annotated[bool, Parameter(name="--open", negative="")] = False,
    compute: Annotated[EncodeOptions, Parameter(name="*")] = EncodeOptions(),  # noqa: B008 (frozen)
    options: Annotated[ProbeOptions, Parameter(name="*")] = ProbeOptions(),  # noqa: B008 (frozen)
) -> int:
    """Count the cells of smears by type, with the error of counting and of the classifier.

    Parameters
    ----------
    out
        Folder for the results; made if needed. Without it, they are only shown.
    labels
        Tables of labelled cells; where two label one cell, the later one wins. A label has priority over the probe.
    probe
        A saved probe, which brings its encoder; by default blood-cells, which is in the package. With --labels or
        --encoder, and no probe, one is trained on the labelled cells, those in sub-folders named after types included.
        To correct what blood-cells calls, name it and --labels.
    each
        SMEAR holds many patients: count every one, as `caltomorph predict --each` finds them.
    open_window
        Show the smear in napari, with its cells by type.
    """
    if out is not None:
        refuse_existing(out / "differential.csv", overwrite=overwrite)
        refuse_unwritable(out)
    given = read_labels(labels) if labels else CellLabels()
    read, unread = read_smears(smears, each=each)
    if open_window and len(read) > 1:
        return fail(f"--open shows one smear, and these are {len(read)}; name one of them.", code=2)
    from napari_caltomorph.differential.run import chosen_probe, count_smears  # torch comes late

    saved = chosen_probe(probe, given, compute)
    with progress_bar() as progress:
        counted = count_smears(read, given, saved, compute, options, progress=progress)
    show_probe(counted.probe.description)
    for one in counted.differentials:
        _show(one)
    for warning in (*counted.probe.description.warnings, *counted.notes):
        say(f"Warning: {warning}.", style="yellow")
    if out is not None:
        say()
        say_files(_save(counted, read, out, is_trained=saved is None))
    say(RESEARCH_USE)
    failed = [*unread, *counted.failed.values()]
    for why in failed:
        fail(why, code=1)
    if open_window and not failed:
        return _open(smears, counted, compute)
    return 1 if failed else 0


def _save(counted: Counted, smears: list[Smear], out: Path, *, is_trained: bool) -> list[Path]:
    from napari_caltomorph.differential.run import save_differentials
    from napari_caltomorph.report import save_contact_sheet

    by_id = {smear.patient_id: smear for smear in smears}
    with uninterrupted():
        files = save_differentials(counted.differentials, out)
        for one in counted.differentials:
            files.append(out / f"cells_{folder_name(one.patient_id)}.png")
            save_contact_sheet(by_id[one.patient_id], one, files[-1])
        files.append(out / "labels.csv")
        save_labels(counted.labels, files[-1])
        if is_trained:
            files.append(out / "probe.safetensors")
            counted.probe.save(files[-1])
    return files


def _open(smears: Sequence[Path], counted: Counted, compute: EncodeOptions) -> int:
    """Show a smear in napari, and wait until the user closes it."""
    if problem := window.problem():
        return fail(f"The window cannot be shown: {problem}", code=1)
    say("napari opens; close it to end.")
    with TemporaryDirectory() as folder:
        probe, labels = Path(folder, "probe.safetensors"), Path(folder, "labels.csv")
        counted.probe.save(probe)
        save_labels(counted.labels, labels)
        shown = window.show_differential([path.absolute() for path in smears], probe, labels, compute.model_dump_json())
    if shown.error is not None:
        return fail(f"the window failed ({shown.error}); `caltomorph doctor` says more", code=1)
    return 0


def read_smears(smears: Sequence[Path], *, each: bool) -> tuple[list[Smear], list[str]]:
    """Open all smears; return also why some cannot be read, and raise that where none can."""
    if each:
        found = [patient for path in smears for patient in find_patients(path).items()]
    else:
        found = list(named_patients(smears).items())
        say_if_joined(smears, [name for name, _ in found])
    refuse_repeated_ids([name for name, _ in found])
    read, unread = [], list[SmearUnreadable]()
    for name, patient in found:
        try:
            read.append(replace(patient.read(), patient_id=name))
        except SmearUnreadable as error:
            unread.append(error)
    if unread and not read:
        raise unread[0]
    return read, list(map(str, unread))


def show_probe(probe: ProbeDescription) -> None:
    say(
        f"Probe on {probe.encoder}: {len(probe.types)} types from {sum(probe.cells)} labelled cells; "
        f"{probe.errors_in_words}."
    )


def _show(one: Differential) -> None:
    answer(differentials=[{"patient_id": one.patient_id, "cells": len(one), "types": one.table()}])
    say()
    say(f"{one.patient_id}: {one.leukocytes} leukocytes of {len(one)} cells, {len(one.by_hand)} by hand", style="bold")
    rows = table("type", "cells", "called %", "corrected % (95 %)")
    for column in rows.columns[1:]:
        column.justify = "right"
    for row in one.shown_rows:
        name = f"{'  ' * row.is_part}{row.label}{'' if row.is_counted else ', per 100 of the above'}"
        rows.add_row(Text(name), str(row.share.cells), f"{100 * row.share.called:.1f}", row.share.in_words)
    console.print(rows)
    say(f"Blasts: {one.blasts_in_words}.")
    for warning in one.smear_warnings:
        say(f"Warning: {warning}.", style="yellow")
