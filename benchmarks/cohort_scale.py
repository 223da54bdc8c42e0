"""A cohort of the paper's size: how long it takes to inspect and to encode, and whether memory stays flat.

    python benchmarks/cohort_scale.py [--patients 6600] [--cells 500] [--sample 40]

Patients are synthetic. All of them are invented and split; features of all of them (random, 8 wide) are inspected; a
sample is encoded with the demo encoder, once drawn as it is encoded and never written, once from disk by
`encode_cohort`. Prints Markdown; docs/benchmarks.md holds one run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import psutil
from speed import machine

from napari_caltomorph.cohort import Cohort, CohortOptions, EncodeCohortOptions, encode_cohort, read_cohort, with_types
from napari_caltomorph.cohort.splits import leak, split
from napari_caltomorph.encode import EncodeOptions, encode, load_encoder
from napari_caltomorph.synthetic import SynthOptions, drawn_smear, invent_patients, write_smear
from napari_caltomorph.taxonomy import caltomorph_taxonomy


def memory() -> float:
    """Gigabytes that this process holds."""
    return float(psutil.Process().memory_info().rss) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=6600)
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--sample", type=int, default=40, help="patients that are encoded")
    asked = parser.parse_args()
    options = SynthOptions(patients=asked.patients, cells=asked.cells)
    rows = []

    start = time.perf_counter()
    invented = [(p.patient_id, p.detailed, p.coarse, p.hemoglobin_g_dl) for p in invent_patients(options)]
    table = with_types(pd.DataFrame(invented, columns=["patient_id", "detailed", "coarse", "hemoglobin_g_dl"]))
    rows.append((f"invent {asked.patients:,} patients of {asked.cells} cells", f"{time.perf_counter() - start:.1f} s"))
    cohort = Cohort("scale", Path("scale"), "table", caltomorph_taxonomy(), table)
    start = time.perf_counter()
    cohort = split(cohort)
    assert leak(cohort) == ""
    rows.append((f"split {asked.patients:,} patients", f"{time.perf_counter() - start:.1f} s"))

    with tempfile.TemporaryDirectory() as scratch:
        bags = Path(scratch) / "bags"
        bag = np.random.default_rng(0).normal(size=(asked.cells, 8)).astype(np.float16)
        for patient, _, coarse, _ in invented:
            (bags / coarse).mkdir(parents=True, exist_ok=True)
            with h5py.File(bags / coarse / f"{patient}.h5", "w") as file:
                file["features"] = bag
        for names_only in (True, False):
            start = time.perf_counter()
            found = read_cohort(bags, CohortOptions(names_only=names_only))
            how = "headers only" if names_only else "every number"
            rows.append((f"inspect {len(found):,} feature files, {how}", f"{time.perf_counter() - start:.1f} s"))

        sample = list(islice(invent_patients(options), asked.sample))
        encoder = load_encoder(EncodeOptions(encoder="demo-vit"))
        streamed: list[float] = []
        start = time.perf_counter()
        for patient in sample:
            encode(drawn_smear(patient), encoder=encoder)
            streamed.append(memory())
        seconds = time.perf_counter() - start
        cells = asked.sample * asked.cells
        rows.append(
            (f"draw, check and encode {asked.sample} patients, nothing written", f"{cells / seconds:.0f} cells/s")
        )
        rows.append(("- memory after the first and the last patient", f"{streamed[0]:.2f} GB, {streamed[-1]:.2f} GB"))

        for patient in sample:
            write_smear(patient, Path(scratch) / "cells" / patient.patient_id)
        paths = [str(Path(scratch) / "cells" / patient.patient_id) for patient in sample]
        some = replace(cohort, table=cohort.table.head(asked.sample).assign(path=paths))
        held: list[float] = []
        start = time.perf_counter()
        summary = encode_cohort(
            some,
            Path(scratch) / "features",
            EncodeCohortOptions(encoder="demo-vit"),
            progress=lambda _: held.append(memory()),
        )
        seconds = time.perf_counter() - start
    rate = summary.cells / seconds
    total = asked.patients * asked.cells
    tenth = max(1, len(held) // 10)
    rows += [
        (f"encode_cohort, {summary.encoded} patients from disk, demo-vit", f"{seconds:.0f} s ({rate:.0f} cells/s)"),
        ("- patients a minute", f"{60 * summary.encoded / seconds:.0f}"),
        ("- memory, first and last tenth", f"{np.mean(held[:tenth]):.2f} GB, {np.mean(held[-tenth:]):.2f} GB"),
        (f"- {total / 1e6:.1f} million cells at this rate", f"{total / rate / 3600:.1f} h"),
    ]
    print(f"\n{machine()}\n\n| step | |\n|---|---|")
    print("\n".join(f"| {what} | {value} |" for what, value in rows))


if __name__ == "__main__":
    main()
