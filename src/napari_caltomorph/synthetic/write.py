"""Synthetic smears and cohorts on disk, in the form that a Metafer scanner exports.

A folder appears under its name only when it is complete; cancelling leaves nothing behind.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tifffile
from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt

from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.storage import replacing_folder
from napari_caltomorph.synthetic.compositions import COMPOSITIONS
from napari_caltomorph.synthetic.patients import SyntheticPatient, class_of, synthesize_patient
from napari_caltomorph.synthetic.shapes import FIELD_OF_VIEW_UM
from napari_caltomorph.taxonomy import caltomorph_taxonomy

PATIENTS = "patients.csv"
SYNTHETIC_COLUMN = "synthetic"
"""Holds "yes" in the table of a cohort that never was, so that a model trained on it can say so."""
TEST_EVERY = 5  # Every fifth patient of the list ordered by class: 20 %, stratified.
MICROMETRES_PER_CM = 10_000


class SynthOptions(BaseModel, frozen=True, extra="forbid"):
    """How a synthetic cohort is made."""

    patients: PositiveInt = Field(80, description="Patients in all, spread evenly over the classes.")
    cells: PositiveInt = Field(200, description="Cells of each patient.")
    seed: NonNegativeInt = Field(0, description="The same seed writes the same cohort, byte for byte.")
    overwrite: bool = Field(False, description="Replace the cohort that stands in the output folder.")


def write_smear(patient: SyntheticPatient, folder: Path, *, progress: OnProgress = ignore) -> None:
    """Write one patient's cells as ``Gal-000001.RGB.TIF`` ... and the truth as ``truth.csv``.

    Parameters
    ----------
    patient : SyntheticPatient
    folder : Path
        Must not exist yet, or be empty.
    progress : callable
        Called with a `Progress` before every cell; raising `Cancelled` in it leaves nothing behind.

    Raises
    ------
    OutputRefused
        The folder holds something, or cannot be written.
    """
    _refuse_filled(folder)
    with replacing_folder(folder, overwrite=True) as part:
        truth = []
        for index, cell_type in enumerate(patient.cell_types):
            progress(Progress("Drawing cells", index, len(patient)))
            name = f"Gal-{index + 1:06d}.RGB.TIF"
            image = patient.image(index)
            pixels_per_cm = len(image) / FIELD_OF_VIEW_UM * MICROMETRES_PER_CM
            tifffile.imwrite(
                part / name,
                image,
                photometric="rgb",
                resolution=(pixels_per_cm, pixels_per_cm),
                resolutionunit="CENTIMETER",
                software="napari-caltomorph, synthetic",
                metadata=None,
            )
            truth.append((name, cell_type))
        _write_table(part / "truth.csv", ("cell", "type"), truth)
    progress(Progress("Drawing cells", len(patient), len(patient)))


def synthesize_cohort(out: Path, options: SynthOptions, *, progress: OnProgress = ignore) -> None:
    """Write a cohort: ``<coarse class>/<patient_id>/`` for each patient, and ``patients.csv``.

    Parameters
    ----------
    out : Path
        Must not exist yet, or be empty; with ``options.overwrite`` it may hold another cohort.
    options : SynthOptions
    progress : callable
        Called with a `Progress` before every cell; raising `Cancelled` in it leaves nothing behind.

    Raises
    ------
    OutputRefused
        The folder holds something that is not to be overwritten, or cannot be written.
    """
    _refuse_filled(out, overwrite=options.overwrite)
    total = options.patients * options.cells
    patients = list(invent_patients(options))
    with replacing_folder(out, overwrite=True) as part:
        for number, patient in enumerate(patients):

            def forward(inner: Progress, done: int = number * options.cells) -> None:
                progress(Progress(inner.stage, done + inner.done, total))

            write_smear(patient, part / patient.coarse / patient.patient_id, progress=forward)
        _write_patients(part / PATIENTS, patients)


def invent_patients(options: SynthOptions) -> Iterator[SyntheticPatient]:
    """Yield the patients of a cohort, one at a time: any number fits in memory.

    They are dealt out to the coarse classes in turn, and within each to its detailed classes in turn.
    """
    coarse = [[one.slug for one in c.detailed if one.slug in COMPOSITIONS] for c in caltomorph_taxonomy().classes]
    seeds = np.random.SeedSequence(options.seed).generate_state(options.patients)
    width = max(3, len(str(options.patients)))
    for number, seed in enumerate(seeds):
        detailed = coarse[number % len(coarse)]
        slug = detailed[number // len(coarse) % len(detailed)]
        name = f"synthetic_{number + 1:0{width}d}"
        yield synthesize_patient(slug, cells=options.cells, seed=int(seed), patient_id=name)


def _write_patients(path: Path, patients: list[SyntheticPatient]) -> None:
    order = caltomorph_taxonomy().slugs
    by_class = sorted(patients, key=lambda one: (order.index(one.coarse), one.detailed, one.patient_id))
    test = {one.patient_id for one in by_class[TEST_EVERY // 2 :: TEST_EVERY]}
    columns = ("patient_id", "diagnosis", "coarse_class", "hemoglobin_g_dl", "age", "sex", "split", SYNTHETIC_COLUMN)
    rows = []
    for one in patients:
        coarse, detailed = class_of(one.detailed)
        split = "test" if one.patient_id in test else "train"
        rows.append((one.patient_id, detailed.name, coarse.name, one.hemoglobin_g_dl, one.age, one.sex, split, "yes"))
    _write_table(path, columns, rows)


def _write_table(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _refuse_filled(folder: Path, *, overwrite: bool = False) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise OutputRefused(f"{folder} exists already and is not empty; choose another name, or allow overwriting.")
    if not (folder / PATIENTS).is_file():  # A mistyped name must not cost somebody their home folder.
        raise OutputRefused(f"{folder} holds no cohort ({PATIENTS}) to overwrite; choose another name.")
