"""From files to features: how fast cells are read, graded and encoded together, against the slower of the two alone.

    python benchmarks/pipeline.py [--patients 8] [--cells 400] [--gpu 4000]

Cells are synthetic, and the weights of DinoBloom-B random. Compare the ratios of one run: the times depend on what else
runs. Processor time is that of this process, without those that read for it. What several GPUs would do is simulated
from the times that were measured here, and from the cells that a GPU encodes in a second, which is given.
"""

from __future__ import annotations

import argparse
import heapq
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from napari_caltomorph.cohort import CohortOptions, EncodeCohortOptions, encode_cohort, read_cohort
from napari_caltomorph.encoding import EncodeOptions, load_encoder
from napari_caltomorph.encoding.encoders import find_encoder
from napari_caltomorph.encoding.load import build_module
from napari_caltomorph.smear import open_place
from napari_caltomorph.smear.cell_batches import BATCH_CELLS, THREADS
from napari_caltomorph.smear.process_reader import ProcessReader
from napari_caltomorph.smear.readers import BYTES_IN_FLIGHT, Reader, Readers, SmearToRead, ThreadReader
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort

KINDS: dict[str, Callable[[], Reader]] = {"threads": ThreadReader, "processes": ProcessReader}
CORES = os.cpu_count() or 1
# Of DinoBloom-B: a processor encodes some tens a second.
FEW = 32


def rate(cells: int, work: Callable[[], object]) -> tuple[float, float]:
    """Return cells a second, from when `work` says that it began, and this process's processor time, ms a cell."""
    start, processor = time.perf_counter(), time.process_time()
    begun = work()
    seconds = time.perf_counter() - (begun if isinstance(begun, float) else start)
    return cells / seconds, (time.process_time() - processor) / cells * 1e3


def read_all(folders: list[Path], kind: str, count: int) -> float:
    """Read and grade all patients, for an encoder that costs nothing; return when the first cells came.

    A process takes some tenths of a second to start, whatever it reads then.
    """
    begun = 0.0
    wanted = [SmearToRead(folder.name, partial(open_place, str(folder))) for folder in folders]
    with Readers(wanted, [KINDS[kind]() for _ in range(count)]) as reading:
        while not reading.is_done:
            if (part := reading.take(0.1)) is not None:
                begun = begun or time.perf_counter()
                part.release()
    return begun


def random_weights(name: str, scratch: Path) -> EncodeOptions:
    """Return options for an encoder with weights that nobody trained."""
    save_file(build_module(find_encoder(name)).state_dict(), scratch / f"{name}.safetensors")
    return EncodeOptions(encoder=name, weights=scratch / f"{name}.safetensors")


def simulate(devices: int, readers: int, reading: float, handling: float, encoding: float, nbytes: int) -> float:
    """Return cells a second of so many devices, each with its readers and a bounded queue; disks are no limit.

    The time that a reader needs for a batch varies (gamma, by half of its mean). `handling` is what a cell costs the
    process of the encoder besides encoding, as if it did nothing else meanwhile.
    """
    rng, room, most = np.random.default_rng(0), BYTES_IN_FLIGHT // nbytes // BATCH_CELLS, EncodeOptions().batch_size
    coming = list(rng.gamma(4, BATCH_CELLS / reading / 4, readers))
    heapq.heapify(coming)
    arrived: list[float] = []
    taken: list[float] = []

    def arrival(batch: int) -> float:
        if batch == len(arrived):
            # Where the queue is full, a reader waits until there is room.
            arrived.append(max(heapq.heappop(coming), taken[batch - room] if batch >= room else 0.0))
            heapq.heappush(coming, arrived[-1] + rng.gamma(4, BATCH_CELLS / reading / 4))
        return arrived[batch]

    now = 0.0
    while len(taken) < 4000:
        now = max(now, arrival(len(taken)))
        count = 1
        while count < most // BATCH_CELLS and arrival(len(taken) + count) <= now:
            count += 1
        taken += [now] * count
        now += count * BATCH_CELLS * (1 / encoding + handling / 1e3)
    return devices * len(taken) * BATCH_CELLS / now


def measure_all(scratch: Path, patients: int, cells: int, gpu: float) -> None:
    """Write a cohort, measure each stage, alone and together, and print the tables."""
    rates: dict[str, float] = {}
    spent: dict[str, float] = {}

    def measure(name: str, count: int, work: Callable[[], object]) -> None:
        rates[name], spent[name] = rate(count, work)
        print(f"| {name} | {rates[name]:,.0f} | {spent[name]:.2f} |", flush=True)

    synthesize_cohort(scratch / "cohort", SynthOptions(patients=patients, cells=cells))
    folders = sorted({path.parent for path in scratch.rglob("*.TIF")})
    cohort = read_cohort(scratch / "cohort", CohortOptions(names_only=True, min_cells=1, min_patients=0))
    image = open_place(str(folders[0])).image(0)
    total = patients * cells
    print("| step | cells/s | processor, ms a cell |\n|---|---|---|")
    for kind, most in (("threads", THREADS), ("processes", CORES)):
        for count in sorted({1, most}):
            measure(f"read and grade, {kind}: {count}", total, partial(read_all, folders, kind, count))
    for options, count in ((EncodeOptions(encoder="demo-vit"), 256), (random_weights("dinobloom-b", scratch), FEW)):
        encoder, images = load_encoder(options), list(np.broadcast_to(image, (count, *image.shape)))
        measure(f"{options.encoder} alone", count, lambda: list(encoder.stream([images])))  # noqa: B023 (called at once)
    for workers in sorted({1, CORES}):
        chosen = EncodeCohortOptions(encoder="demo-vit", workers=workers)
        name = f"encode_cohort with demo-vit, --workers {workers}"
        measure(name, total, partial(encode_cohort, cohort, scratch / f"features-{workers}", chosen))
        reading = rates[f"read and grade, {f'processes: {workers}' if workers > 1 else f'threads: {THREADS}'}"]
        print(f"| that, of its slower stage alone | {rates[name] / min(reading, rates['demo-vit alone']):.2f} | |")

    one, handling = rates["read and grade, processes: 1"], spent[f"read and grade, processes: {CORES}"]
    print(f"\nSimulated: GPUs that encode {gpu:,.0f} cells/s, readers that read {one:,.0f}, each on its core.\n")
    print("| GPUs | readers a GPU | cells/s | share of the time that GPUs encode |\n|---|---|---|---|")
    for devices in (4, 8):
        for readers in (1, 2, 4, 8):
            found = simulate(devices, readers, one, handling, gpu, image.nbytes)
            print(f"| {devices} | {readers} | {found:,.0f} | {found / devices / gpu:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--cells", type=int, default=400)
    parser.add_argument(
        "--gpu", type=float, default=4000, help="cells that a GPU encodes in a second, to simulate some"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        measure_all(Path(scratch), options.patients, options.cells, options.gpu)


if __name__ == "__main__":
    main()
