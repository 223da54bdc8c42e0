"""``caltomorph differential``: labelled cells -> a probe -> differential counts with their error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.text import Text

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.cli.console import (
    ResultFolder,
    Smears,
    console,
    fail,
    progress_bar,
    say,
    say_files,
    say_if_joined,
    table,
)
from napari_caltomorph.cli.interrupts import uninterrupted
from napari_caltomorph.cohort import find_patients, named_patients
from napari_caltomorph.diagnosis.prediction_files import refuse_repeated_ids
from napari_caltomorph.differential import CellLabels, Probe, ProbeOptions, read_labels, save_labels
from napari_caltomorph.encoding import EncodeOptions
from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.smear import Smear
from napari_caltomorph.storage import refuse_unwritable

if TYPE_CHECKING:
    from napari_caltomorph.differential import Differential, ProbeDescription

app = App(
    name="differential",
    usage="Usage: caltomorph differential SMEAR... --out DIR [OPTIONS]",
    help_epilogue=f"""Train a probe on labelled cells, and count all cells with it:

    caltomorph differential smear_a smear_b --labels labels.csv --out results

Cells in sub-folders named after types are labelled already:

    caltomorph differential cohort --each --encoder demo-vit --out results

Count other smears with a probe:

    caltomorph differential smear_c --probe results/probe.safetensors --out more

Only train a probe (a smear of that name is ./train):

    caltomorph differential train cohort --each --out probe.safetensors

The folder then contains differential.csv (one row a type), cell_types.csv
(one row a cell), labels.csv and, where it was trained, probe.safetensors.
labels.csv has the columns patient_id, cell and label; others are optional.

{RESEARCH_USE}""",
)
app.command(
    f"{__package__}.differential_train:train", name="train", help="Train a probe on labelled cells, and save it."
)


@app.default
def differential(
    smears: Smears,
    /,
    *,
    out: ResultFolder,
    labels: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    probe: Path | None = None,
    each: bool = False,
    compute: Annotated[EncodeOptions, Parameter(name="*")] = EncodeOptions(),  # noqa: B008 (frozen)
    options: Annotated[ProbeOptions, Parameter(name="*")] = ProbeOptions(),  # noqa: B008 (frozen)
) -> int:
    """Count the cells of smears by type, with the error of counting and of the classifier.

    Parameters
    ----------
    labels
        Tables of labelled cells; where two label one cell, the later one wins. A label has priority over the probe.
    probe
        A saved probe, which brings its encoder; without it, one is trained on the labelled cells.
    each
        SMEAR holds many patients: count every one, as `caltomorph predict --each` finds them.
    """
    refuse_unwritable(out)
    given = read_labels(labels) if labels else CellLabels()
    saved = None if probe is None else Probe.load(probe)
    read, unread = read_smears(smears, each=each)
    from napari_caltomorph.differential.run import count_smears, save_differentials  # torch comes late

    with progress_bar() as progress:
        counted = count_smears(read, given, saved, compute, options, progress=progress)
    with uninterrupted():
        files = save_differentials(counted.differentials, out)
        save_labels(counted.labels, out / "labels.csv")
        if saved is None:
            counted.probe.save(out / "probe.safetensors")
    show_probe(counted.probe.description)
    for one in counted.differentials:
        _show(one)
    for warning in counted.probe.description.warnings:
        say(f"Warning: {warning}.", style="yellow")
    say()
    say_files([*files, out / "labels.csv", *([out / "probe.safetensors"] if saved is None else [])])
    say(RESEARCH_USE)
    failed = [*unread, *counted.failed.values()]
    for why in failed:
        fail(why, code=1)
    return 1 if failed else 0


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
    say()
    say(f"{one.patient_id}: {one.leukocytes} leukocytes of {len(one)} cells, {len(one.by_hand)} by hand", style="bold")
    rows = table("type", "cells", "called %", "corrected % (95 %)")
    for name in one.all_types:
        share = one.share_of(name)
        if share.cells or share.value >= 0.005:
            rows.add_row(Text(name), str(share.cells), f"{100 * share.called:.1f}", share.in_words)
    if one.blasts is not None:
        rows.add_row(
            Text("all blasts", "bold"), str(one.blasts.cells), f"{100 * one.blasts.called:.1f}", one.blasts.in_words
        )
    console.print(rows)
    if one.blasts is None:
        say(f"Blasts: {one.blasts_in_words}.")
    for warning in one.smear_warnings:
        say(f"Warning: {warning}.", style="yellow")
