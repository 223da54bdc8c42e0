"""``caltomorph differential train``: labelled cells -> a probe in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.text import Text

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.cli.console import Overwrite, console, fail, progress_bar, say, say_files, table
from napari_caltomorph.cli.differential import show_probe
from napari_caltomorph.cli.interrupts import uninterrupted
from napari_caltomorph.cli.labels import show_import
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.differential import CellLabels, ProbeOptions, read_labels
from napari_caltomorph.encoding import EncodeOptions
from napari_caltomorph.jobs import open_labelled, read_type_map
from napari_caltomorph.statistics.interval import percent
from napari_caltomorph.storage import refuse_existing, refuse_unwritable

if TYPE_CHECKING:
    from napari_caltomorph.differential import ProbeDescription
    from napari_caltomorph.differential.fine_tune import Tuned
    from napari_caltomorph.differential.run import Trained

app = Verb(name="train")


@app.default
def train(
    labelled: Annotated[tuple[Path, ...], Parameter(name="LABELLED", negative="")],
    /,
    *,
    out: Path,
    overwrite: Overwrite = False,
    labels: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    types: Path | None = None,
    fine_tune_encoder: bool = False,
    minutes: Annotated[float, Parameter(validator=Number(gt=0))] = 5,
    compute: Annotated[EncodeOptions, Parameter(name="*")] = EncodeOptions(),  # noqa: B008 (frozen)
    options: Annotated[ProbeOptions, Parameter(name="*")] = ProbeOptions(),  # noqa: B008 (frozen)
) -> int:
    """Train a probe on labelled cells, and save it.

    Parameters
    ----------
    labelled
        Folders or zips of cells in sub-folders named after types; of one patient, or with a folder for each.
    out
        File of the probe, which ends with .safetensors.
    labels
        Tables of labelled cells, for smears whose sub-folders do not name types.
    types
        Table with the columns name and type, which overrules what is known of the names of sub-folders.
    fine_tune_encoder
        Fine-tune the encoder's last stage on three fifths of the cells; the others choose its weights and train the
        probe. The weights are written next to the probe, as NAME_encoder.safetensors.
    minutes
        How long to fine-tune.
    """
    refuse_existing(out, overwrite=overwrite)
    refuse_unwritable(out.absolute().parent)
    given = read_labels(labels) if labels else CellLabels()
    chosen = {} if types is None else read_type_map(types)
    found = open_labelled(labelled, chosen)
    from napari_caltomorph.differential.run import train_on_smears  # torch comes late

    with progress_bar() as progress:
        trained = train_on_smears(
            found.smears,
            given,
            compute,
            options,
            types=chosen,
            fine_tune_minutes=minutes if fine_tune_encoder else None,
            progress=progress,
        )
    files = _save(trained, out)
    show_import(trained.imported)
    say()
    show_probe(trained.probe.description)
    _show_confusion(trained.probe.description)
    for warning in trained.probe.description.warnings:
        say(f"Warning: {warning}.", style="yellow")
    if trained.tuned is not None and trained.untuned is not None:
        _show_tuned(trained.tuned, trained.untuned.accuracy, trained.probe.description.accuracy)
    say_files(files)
    say(RESEARCH_USE)
    failed = [*found.unread, *trained.failed.values()]
    for why in failed:
        fail(why, code=1)
    return 1 if failed else 0


def _save(trained: Trained, out: Path) -> list[Path]:
    """Write the probe and the weights of its encoder where it was fine-tuned, both or none; return the files."""
    from napari_caltomorph.encoding.fine_tuning import save_weights

    with uninterrupted():
        files = [out]
        if trained.tuned is not None:
            files.append(out.with_name(f"{out.stem}_encoder.safetensors"))
            save_weights(trained.tuned.weights, files[1])
        trained.probe.save(out)
    return files


def _show_tuned(tuned: Tuned, before: float, after: float) -> None:
    whose = "cells of other patients" if tuned.by_patient else "other cells of these patients"
    say(
        f"The encoder was fine-tuned on {tuned.cells} cells. Of {whose}, {percent(before, 1)} were called as "
        f"labelled before, and {percent(after, 1)} are now."
    )
    if after <= before:
        say("Fine-tuning did not help: train without --fine-tune-encoder.", style="yellow")
    else:
        say("Encode, predict and count with --weights and this file.")


def _show_confusion(probe: ProbeDescription) -> None:
    """Write how each type is called out of fold: the share of its cells, and what most of the others are taken for."""
    rows = table("type", "cells", "right %", "taken for (%)")
    types, confusion, _ = probe.calls
    for number, (name, called) in enumerate(zip(probe.types, confusion, strict=False)):  # without the row of `OTHER`
        shares = [100 * count / sum(called) for count in called]
        others = sorted((place for place in range(len(shares)) if place != number), key=lambda place: -shares[place])
        wrong = ", ".join(f"{types[place]} {shares[place]:.0f}" for place in others[:3] if shares[place] >= 1)
        rows.add_row(Text(name), str(sum(called)), f"{shares[number]:.0f}", wrong)
    console.print(rows)
