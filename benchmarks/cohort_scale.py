"""A cohort of the paper's size: how long it takes to inspect and to encode, and whether memory stays constant.

    python benchmarks/cohort_scale.py [--patients 6600] [--cells 500] [--sample 40]

Patients are synthetic. All of them are sampled and split. Random features of all of them, 8 wide, are inspected, and
others, 768 wide, are streamed. A sample is encoded by `encode_cohort` with the demo encoder, once from images in memory
and once from disk. Prints Markdown; docs/benchmarks.md has one run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import psutil
from speed import machine

from napari_caltomorph.cohort import Cohort, CohortOptions, EncodeCohortOptions, encode_cohort, read_cohort, with_types
from napari_caltomorph.cohort.splits import find_leak, split
from napari_caltomorph.smear import Smear
from napari_caltomorph.synthetic import (
    SyntheticPatient,
    SynthOptions,
    synthesize_patient,
    synthesize_patients,
    synthetic_features,
    synthetic_smear,
    write_smear,
)
from napari_caltomorph.taxonomy import caltomorph_taxonomy

Rows = list[tuple[str, str]]

PAPER_CELLS = 3_200_000


def memory() -> float:
    """Gigabytes that this process holds."""
    return float(psutil.Process().memory_info().rss) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=6600)
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--sample", type=int, default=40, help="patients that are encoded")
    args = parser.parse_args()
    options = SynthOptions(patients=args.patients, cells=args.cells)

    start = time.perf_counter()
    sampled = [(p.patient_id, p.detailed, p.coarse, p.hemoglobin_g_dl, p.seed) for p in synthesize_patients(options)]
    columns = ["patient_id", "detailed", "coarse", "hemoglobin_g_dl", "seed"]
    table = with_types(pd.DataFrame(sampled, columns=columns)).assign(n_images=args.cells)
    rows = [(f"sample {args.patients:,} patients of {args.cells} cells", f"{time.perf_counter() - start:.1f} s")]
    cohort = Cohort("scale", Path("scale"), "table", caltomorph_taxonomy(), table)
    start = time.perf_counter()
    cohort = split(cohort)
    assert find_leak(cohort) == ""
    rows.append((f"split {args.patients:,} patients", f"{time.perf_counter() - start:.1f} s"))

    # A patient comes again from class and seed, so that none need be kept.
    origin_of = {patient_id: (detailed, seed) for patient_id, detailed, _, _, seed in sampled}

    def patient_of(patient_id: str) -> SyntheticPatient:
        detailed, seed = origin_of[patient_id]
        return synthesize_patient(detailed, cells=args.cells, seed=seed, patient_id=patient_id)

    some = replace(cohort, table=cohort.table.head(args.sample))
    total = args.patients * args.cells
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows += inspection(folder / "bags", [(patient_id, coarse) for patient_id, _, coarse, *_ in sampled], args.cells)
        rows += features_streamed(options)
        how = f"encode_cohort, {len(some)} of these patients, from images in memory"
        rows += encoded(
            how, some, folder / "streamed", total, lambda patient_id: synthetic_smear(patient_of(patient_id))
        )

        paths = [folder / "cells" / patient_id for patient_id in some.table["patient_id"]]
        for path in paths:
            write_smear(patient_of(path.name), path)
        written = replace(some, table=some.table.assign(path=[str(path) for path in paths]))
        rows += encoded("encode_cohort, the same patients from disk", written, folder / "read", total)
    print(f"\n{machine()}\n\n| step | |\n|---|---|")
    print("\n".join(f"| {what} | {value} |" for what, value in rows))


def inspection(folder: Path, patients: list[tuple[str, str]], cells: int) -> Rows:
    """Write a feature file of random numbers, 8 wide, for each patient, and time reading them as a cohort."""
    rng = np.random.default_rng(0)
    for patient_id, coarse in patients:
        (folder / coarse).mkdir(parents=True, exist_ok=True)
        with h5py.File(folder / coarse / f"{patient_id}.h5", "w") as file:
            file["features"] = rng.normal(size=(cells, 8)).astype(np.float16)
    rows = []
    for names_only in (True, False):
        start = time.perf_counter()
        found = read_cohort(folder, CohortOptions(names_only=names_only))
        how = "headers only" if names_only else "every number"
        rows.append((f"inspect {len(found):,} feature files, {how}", f"{time.perf_counter() - start:.1f} s"))
    return rows


def features_streamed(options: SynthOptions) -> Rows:
    """Make random features of all patients, one patient at a time, and keep none."""
    held = []
    start = time.perf_counter()
    for patient in synthesize_patients(options):
        width = synthetic_features(patient).shape[1]
        held.append(memory())
    seconds = time.perf_counter() - start
    return [
        (f"invent features of {options.patients:,} patients, {width} wide, nothing written", f"{seconds:.1f} s"),
        ("- memory, first and last tenth", first_and_last_tenth(held)),
    ]


def encoded(
    how: str, cohort: Cohort, folder: Path, total: int, open_smear: Callable[[str], Smear] | None = None
) -> Rows:
    """Encode a cohort and print its time, the growth of memory, and the estimated time for all cells."""
    options = EncodeCohortOptions(encoder="demo-vit")
    held: list[float] = []
    start = time.perf_counter()
    summary = encode_cohort(cohort, folder, options, open_smear=open_smear, progress=lambda _: held.append(memory()))
    seconds = time.perf_counter() - start
    assert summary.encoded == len(cohort)
    rate = summary.cells / seconds
    return [
        (f"{how}, demo-vit", f"{seconds:.0f} s ({rate:.0f} cells/s)"),
        ("- patients a second", f"{summary.encoded / seconds:.2f}"),
        ("- memory, first and last tenth, and most", f"{first_and_last_tenth(held)}, {max(held):.2f} GB"),
        *((f"- {cells:,} cells at this rate", f"{cells / rate / 3600:.1f} h") for cells in (PAPER_CELLS, total)),
    ]


def first_and_last_tenth(held: list[float]) -> str:
    tenth = max(1, len(held) // 10)
    return f"{np.mean(held[:tenth]):.2f} GB, {np.mean(held[-tenth:]):.2f} GB"


if __name__ == "__main__":
    main()
