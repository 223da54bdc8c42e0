"""``caltomorph differential train``: labelled cells -> a probe in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.cli.console import Smears, fail, progress_bar, say, say_files
from napari_caltomorph.cli.differential import read_smears, show_probe
from napari_caltomorph.differential import CellLabels, ProbeOptions, read_labels
from napari_caltomorph.encoding import EncodeOptions
from napari_caltomorph.storage import refuse_unwritable


def train(
    labelled: Annotated[Smears, Parameter(name="LABELLED")],
    /,
    *,
    out: Path,
    labels: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    each: bool = False,
    compute: Annotated[EncodeOptions, Parameter(name="*")] = EncodeOptions(),  # noqa: B008 (frozen)
    options: Annotated[ProbeOptions, Parameter(name="*")] = ProbeOptions(),  # noqa: B008 (frozen)
) -> int:
    """Train a probe on labelled cells, and save it.

    Parameters
    ----------
    out
        File of the probe, which ends with .safetensors.
    labels
        Tables of labelled cells; where two label one cell, the later one wins.
        Sub-folders named after types are labels already.
    each
        LABELLED holds many patients, each with labelled cells.
    """
    refuse_unwritable(out.absolute().parent)
    given = read_labels(labels) if labels else CellLabels()
    read, unread = read_smears(labelled, each=each)
    from napari_caltomorph.differential.run import train_on_smears  # torch comes late

    with progress_bar() as progress:
        probe, failed = train_on_smears(read, given, compute, options, progress=progress)
    probe.save(out)
    show_probe(probe.description)
    for warning in probe.description.warnings:
        say(f"Warning: {warning}.", style="yellow")
    say_files([out])
    say(RESEARCH_USE)
    reasons = [*unread, *failed.values()]
    for why in reasons:
        fail(why, code=1)
    return 1 if reasons else 0
