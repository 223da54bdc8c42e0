"""From files to features: how fast cells are read, graded and encoded together, against the slower of the two alone.

    python benchmarks/pipeline.py [--patients 8] [--cells 400]

Cells are synthetic. Compare the ratios of one run: the times depend on what else runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from napari_caltomorph.cohort import CohortOptions, EncodeCohortOptions, encode_cohort, read_cohort
from napari_caltomorph.encoding import EncodeOptions, load_encoder
from napari_caltomorph.smear import open_place
from napari_caltomorph.smear.cell_batches import THREADS
from napari_caltomorph.smear.readers import Readers, SmearToRead, ThreadReader
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort


def rate(cells: int, work: Callable[[], object]) -> tuple[float, float]:
    """Return cells a second, and milliseconds of processor time a cell."""
    start, processor = time.perf_counter(), time.process_time()
    work()
    return cells / (time.perf_counter() - start), (time.process_time() - processor) / cells * 1e3


def read_all(folders: list[Path], readers: int) -> None:
    """Read and grade all patients, for an encoder that costs nothing."""
    wanted = [SmearToRead(folder.name, partial(open_place, str(folder))) for folder in folders]
    with Readers(wanted, [ThreadReader() for _ in range(readers)]) as reading:
        while not reading.is_done:
            if (part := reading.take(0.1)) is not None:
                part.release()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--cells", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place, cells = Path(scratch) / "cohort", options.patients * options.cells
        synthesize_cohort(place, SynthOptions(patients=options.patients, cells=options.cells))
        folders = sorted({path.parent for path in place.rglob("*.TIF")})
        encoder = load_encoder(EncodeOptions(encoder="demo-vit"))
        image = open_place(str(folders[0])).image(0)
        batch = list(np.broadcast_to(image, (256, *image.shape)))
        cohort = read_cohort(place, CohortOptions(names_only=True, min_cells=1, min_patients=0))
        chosen = EncodeCohortOptions(encoder="demo-vit")
        steps: dict[str, tuple[int, Callable[[], object]]] = {
            f"read and grade, {n} thread{'s' * (n > 1)}": (cells, partial(read_all, folders, n))
            for n in sorted({1, THREADS})
        }
        steps["demo-vit alone"] = len(batch), lambda: list(encoder.stream([batch]))
        steps["encode_cohort with demo-vit"] = cells, lambda: encode_cohort(cohort, Path(scratch) / "f", chosen)
        print("| step | cells/s | processor, ms a cell |\n|---|---|---|")
        rates = {}
        for name, (count, work) in steps.items():
            rates[name], processor = rate(count, work)
            print(f"| {name} | {rates[name]:,.0f} | {processor:.2f} |", flush=True)
        *stages, both = rates.values()
        print(f"| encode_cohort, of its slower stage alone | {both / min(stages[-2:]):.2f} | |")


if __name__ == "__main__":
    main()
