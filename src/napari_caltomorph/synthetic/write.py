"""Synthetic smears and cohorts on disk, in the form that a Metafer scanner exports.

A folder appears under its name only when it is complete; cancelling leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.storage import replacing_folder
from napari_caltomorph.synthetic.drawing import CELLS_A_STRIP, Strip, draw_strips
from napari_caltomorph.synthetic.layouts import (
    ID_PREFIX,
    LAYOUTS,
    TRUTH,
    SynthLayout,
    holds_synthetic_cohort,
    write_table,
)
from napari_caltomorph.synthetic.options import SynthOptions
from napari_caltomorph.synthetic.patients import SyntheticPatient, synthesize_patient

STAGE = "Drawing cells"


def write_smear(patient: SyntheticPatient, folder: Path, *, progress: OnProgress = ignore) -> None:
    """Write one patient's cells as ``Gal-000001.RGB.TIF`` ... and the truth as ``truth.csv``.

    Parameters
    ----------
    patient : SyntheticPatient
    folder : Path
        Must not exist yet, or be empty.
    progress : callable
        Called with a `Progress` after every cell; raising `Cancelled` in it leaves nothing behind.

    Raises
    ------
    OutputRefused
        The folder holds something, or cannot be written.
    """
    _refuse_filled(folder)
    with replacing_folder(folder, overwrite=True) as part:
        draw_strips(_strips(patient, part, LAYOUTS["folders"]), 1, _counting(len(patient), progress))


def synthesize_cohort(out: Path, options: SynthOptions, *, progress: OnProgress = ignore) -> Path:
    """Write a cohort: a folder of cells for each patient, with their true types, and a table of the patients.

    Parameters
    ----------
    out : Path
        Must not exist yet, or be empty; with ``options.overwrite`` it may hold another synthetic cohort.
    options : SynthOptions
    progress : callable
        Called with a `Progress` several times a second; raising `Cancelled` in it leaves nothing behind.

    Returns
    -------
    Path
        The table: ``patients.csv``, or the one of the layout asked for.

    Raises
    ------
    OutputRefused
        The folder holds something that is not to be overwritten, or cannot be written.
    WorkersLost
        A process that drew was ended from outside, or could not start.
    """
    layout = LAYOUTS[options.layout]
    _refuse_filled(out, overwrite=options.overwrite)
    with replacing_folder(out, overwrite=True) as part:
        strips = (
            strip
            for patient in invent_patients(options)
            for strip in _strips(patient, part / layout.folder(patient), layout)
        )
        draw_strips(strips, options.processes, _counting(options.patients * options.cells, progress))
        # Invented once more, and one at a time: they cost less than keeping them.
        write_table(part / layout.table, *layout.rows(invent_patients(options)))
    return out / layout.table


def invent_patients(options: SynthOptions) -> Iterator[SyntheticPatient]:
    """Yield the patients of a cohort, one at a time: any number fits in memory.

    They are dealt out to the layout's classes in turn, and within each to its detailed classes in turn.
    """
    coarse = LAYOUTS[options.layout].classes
    seeds = np.random.SeedSequence(options.seed).generate_state(options.patients)
    width = max(3, len(str(options.patients)))
    for number, seed in enumerate(seeds):
        detailed = coarse[number % len(coarse)]
        yield synthesize_patient(
            detailed[number // len(coarse) % len(detailed)],
            cells=options.cells,
            seed=int(seed),
            patient_id=f"{ID_PREFIX}{number + 1:0{width}d}",
            shortcut=options.shortcut,
        )


def _strips(patient: SyntheticPatient, folder: Path, layout: SynthLayout) -> Iterator[Strip]:
    """Make the patient's folder, with the truth in it, and yield what is to be drawn there."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [layout.cell.format(number) for number in range(layout.first, layout.first + len(patient))]
    write_table(folder / TRUTH, ("cell", "type"), zip(names, patient.cell_types, strict=True))
    for start in range(0, len(patient), CELLS_A_STRIP):
        yield Strip(patient, folder, tuple(names[start : start + CELLS_A_STRIP]), start)


def _counting(total: int, progress: OnProgress) -> Callable[[int], None]:
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        progress(Progress(STAGE, done, total))

    report(0)
    return report


def _refuse_filled(folder: Path, *, overwrite: bool = False) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise OutputRefused(f"{folder} exists already and is not empty; choose another name, or allow overwriting.")
    if not holds_synthetic_cohort(folder):  # A mistyped name must not cost somebody their home folder.
        raise OutputRefused(f"{folder} holds no cohort of invented patients to overwrite; choose another name.")
