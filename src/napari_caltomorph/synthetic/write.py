"""Synthetic smears and cohorts on disk, in the form that a Metafer scanner exports.

Cells are drawn in strips by this process or by several; every cell has a seed of its own, so the bytes do not depend
on which process draws it. A folder appears under its name only when it is complete: cancelling leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt

from napari_caltomorph.child_process import processors
from napari_caltomorph.errors import CaltomorphError, OutputRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.storage import StrPath, replacing_folder
from napari_caltomorph.synthetic.fields import FIELD_OF_VIEW_UM
from napari_caltomorph.synthetic.layouts import (
    ID_PREFIX,
    LAYOUTS,
    TRUTH,
    SynthLayout,
    holds_synthetic_cohort,
    write_table,
)
from napari_caltomorph.synthetic.patients import SyntheticPatient, synthesize_patient

CELLS_A_STRIP = 40  # A fifth of a second: how long cancelling may take.
CELLS_WORTH_A_PROCESS = 400  # Drawing fewer takes less time than starting a process.
STRIPS_AHEAD = 3  # For each process; more only fills memory.
SECONDS_BETWEEN_REPORTS = 0.1
MICROMETRES_PER_CM = 10_000


class SynthOptions(BaseModel, frozen=True, extra="forbid"):
    """How a synthetic cohort is made; the terminal's flags are made from it."""

    patients: PositiveInt = Field(80, description="Patients in all, spread evenly over the classes.")
    cells: PositiveInt = Field(200, description="Cells of each patient.")
    seed: NonNegativeInt = Field(0, description="The same seed writes the same cohort, byte for byte.")
    layout: Literal["folders", "aml-hehr"] = Field(
        "folders",
        description="folders: the 19 diagnoses, one folder a class; aml-hehr: four genetic subtypes of AML and healthy "
        "donors, in the folders of that public cohort.",
    )
    shortcut: bool = Field(
        False,
        description="Stain and scanner give the class away, as if each disease came from another laboratory: to test "
        "whether such a shortcut is noticed.",
    )
    workers: PositiveInt | None = Field(
        None, description="Processes that draw; one a processor where not given. The bytes are the same."
    )
    overwrite: bool = Field(False, description="Replace the synthetic cohort in the output folder.")

    @property
    def processes(self) -> int:
        """How many processes draw: the chosen number, but none that would have too little to do."""
        chosen = self.workers or processors()
        return max(1, min(chosen, self.patients * self.cells // CELLS_WORTH_A_PROCESS))


class WorkersLost(CaltomorphError):
    """The processes that drew cells ended before their work did."""


def write_smear(patient: SyntheticPatient, folder: StrPath, *, progress: OnProgress = ignore) -> None:
    """Write one patient's cells as ``Gal-000001.RGB.TIF`` ... and the truth as ``truth.csv``.

    Parameters
    ----------
    patient : SyntheticPatient
    folder : str or Path
        Must not exist yet, or be empty.
    progress : callable
        See `OnProgress`; cancelling leaves nothing behind.

    Raises
    ------
    OutputRefused
        The folder is not empty, or cannot be written.
    """
    folder = Path(folder)
    _refuse_filled(folder)
    with replacing_folder(folder, overwrite=True) as part:
        _draw_strips(_strips(patient, part, LAYOUTS["folders"]), 1, _counting(len(patient), progress))


def synthesize_cohort(out: StrPath, options: SynthOptions, *, progress: OnProgress = ignore) -> Path:
    """Write a folder of cells for each patient, with their true types, and a table of the patients; return the table.

    Parameters
    ----------
    out : str or Path
        Must not exist yet, or be empty; with ``options.overwrite`` it may be another synthetic cohort.
    options : SynthOptions
    progress : callable
        See `OnProgress`; cancelling leaves nothing behind.

    Raises
    ------
    OutputRefused
        The folder has content that is not to be overwritten, or cannot be written.
    WorkersLost
        A process that drew was ended from outside, or could not start.
    """
    out, layout = Path(out), LAYOUTS[options.layout]
    _refuse_filled(out, overwrite=options.overwrite)
    with replacing_folder(out, overwrite=True) as part:
        strips = (
            strip
            for patient in synthesize_patients(options)
            for strip in _strips(patient, part / layout.folder(patient), layout)
        )
        _draw_strips(strips, options.processes, _counting(options.patients * options.cells, progress))
        # Synthesized a second time, one by one: that costs less than keeping them in memory.
        write_table(part / layout.table, *layout.rows(synthesize_patients(options)))
    return out / layout.table


def synthesize_patients(options: SynthOptions) -> Iterator[SyntheticPatient]:
    """Yield the patients of a cohort, one at a time: any number fits in memory.

    They are assigned to the layout's classes in turn, and within each to its detailed classes in turn.
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


def _strips(patient: SyntheticPatient, folder: Path, layout: SynthLayout) -> Iterator[_Strip]:
    """Make the patient's folder, with the truth in it, and yield what is to be drawn there."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [layout.cell.format(number) for number in range(layout.first, layout.first + len(patient))]
    write_table(folder / TRUTH, ("cell", "type"), zip(names, patient.cell_types, strict=True))
    for start in range(0, len(patient), CELLS_A_STRIP):
        yield _Strip(patient, folder, tuple(names[start : start + CELLS_A_STRIP]), start)


def _counting(total: int, progress: OnProgress) -> Callable[[int], None]:
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        progress(Progress("Drawing cells", done, total))

    report(0)
    return report


def _refuse_filled(folder: Path, *, overwrite: bool = False) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise OutputRefused(
            f"{folder} exists already and is not empty; add --overwrite to replace it, or choose another name."
        )
    if not holds_synthetic_cohort(folder):  # A mistyped name must not cost somebody their home folder.
        raise OutputRefused(f"{folder} is no cohort of synthetic patients to overwrite; choose another name.")


@dataclass(frozen=True)
class _Strip:
    """Some cells of one patient, from the `start`-th on, with their file names in an existing folder."""

    patient: SyntheticPatient
    folder: Path
    names: tuple[str, ...]
    start: int

    def draw(self) -> Iterator[None]:
        """Write the cells, one a step."""
        for index, name in enumerate(self.names, self.start):
            (self.folder / name).write_bytes(_tiff_bytes(self.patient.image(index)))
            yield


def _draw_strips(strips: Iterable[_Strip], processes: int, report: Callable[[int], None]) -> None:
    """Write the cells of all strips, which are consumed as they are needed; `WorkersLost` where a process ends early.

    `report` is called often with the number of cells written since its last call, which may be 0; what it raises stops
    the drawing.
    """
    if processes == 1:
        for strip in strips:
            for _ in strip.draw():
                report(1)
        return
    context = multiprocessing.get_context("spawn")  # A fork of a process that runs threads, as napari does, may hang.
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent) as pool:
        pending: set[Future[int]] = set()
        try:
            for strip in strips:
                with _without_interrupts():
                    pending.add(pool.submit(_draw, strip))
                while len(pending) >= processes * STRIPS_AHEAD:
                    pending = _collect(pending, report)
            while pending:
                pending = _collect(pending, report)
        except BrokenProcessPool as error:
            raise WorkersLost(
                "A process that drew cells ended unexpectedly (out of memory, or a script without "
                '`if __name__ == "__main__":`); fix that, or draw with one worker.'
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _draw(strip: _Strip) -> int:
    return sum(1 for _ in strip.draw())


def _collect(pending: set[Future[int]], report: Callable[[int], None]) -> set[Future[int]]:
    done, pending = wait(pending, SECONDS_BETWEEN_REPORTS, FIRST_COMPLETED)
    report(sum(future.result() for future in done))
    return pending


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from processes that start here: they inherit what is blocked; the parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)  # It was killed: nothing else would end this process.

    threading.Thread(target=watch, daemon=True).start()


def _tiff_bytes(image: NDArray[np.uint8]) -> bytes:
    """Return a cell, (H, W, 3) uint8 RGB, as a TIFF file that states its pixel size."""
    return _tiff_head(image.shape) + image.tobytes()


@lru_cache(maxsize=8)
def _tiff_head(shape: tuple[int, ...]) -> bytes:
    """Return the file's beginning, which depends on nothing but the image's size."""
    blank = np.zeros(shape, np.uint8)
    pixels_per_cm = len(blank) / FIELD_OF_VIEW_UM * MICROMETRES_PER_CM
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        blank,
        photometric="rgb",
        rowsperstrip=len(blank),
        resolution=(pixels_per_cm, pixels_per_cm),
        resolutionunit="CENTIMETER",
        software="napari-caltomorph, synthetic",
        metadata=None,
    )
    return file.getvalue()[: -blank.nbytes]
