"""Time of training and of what-if at the paper's size, compared with the matrix products alone.

    python benchmarks/training.py [--device auto] [--steps 12] [--processor-time]

The paper's transformer (10 layers, 8 heads of 64, MLP 2,048) is trained on bags of 500 cells x 768 features. A few real
steps are timed, after some that are not, and scaled to an epoch of the paper's 1,634 training patients, of which a
member of five sees four fifths, and to five folds of 150 epochs. Features are synthetic: speed does not depend on them.
One row is the plain loop of one bag at a time, as is usual in the field. The limit is the time of the matrix
products that are needed, by arithmetic, at the rate that products of these shapes reach in the same run. Where other
programs run, `--processor-time` measures the processor's time of one thread, which they change little.
Prints Markdown; docs/benchmarks.md has one run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from speed import machine, paper_size_ensemble
from torch.nn import functional

from napari_caltomorph.encoding import Features
from napari_caltomorph.encoding.device import find_device, find_precision, wait_for
from napari_caltomorph.encoding.features import FeatureOrigin
from napari_caltomorph.explanation.changed_bags import what_if
from napari_caltomorph.synthetic import SynthOptions, synthesize_patients, synthetic_features
from napari_caltomorph.taxonomy import caltomorph_taxonomy
from napari_caltomorph.training import FoldHistory, TrainOptions
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.members import FoldCheckpoint, new_member

PATIENTS, FOLDS, EPOCHS = 1634, 5, 150
CELLS, WIDTH = 500, 768
WARM_UP = 1


Loop = Callable[[LabelledBags, MemberSplit, TrainOptions, int], float]
clock: Callable[[], float] = time.perf_counter


class Enough(Exception):
    """The requested number of steps is done."""


def synthetic_bags(patients: int) -> LabelledBags:
    """Return bags of the paper's size."""
    some = list(islice(synthesize_patients(SynthOptions(patients=patients, cells=CELLS)), patients))
    taxonomy = caltomorph_taxonomy()
    return LabelledBags(
        taxonomy=taxonomy,
        values=tuple(synthetic_features(p, WIDTH) for p in some),
        classes=np.array([taxonomy.slugs.index(p.coarse) for p in some]),
        hemoglobin=np.array([p.hemoglobin_g_dl for p in some]),
        folds=np.zeros(patients, dtype=int),
        table=pd.DataFrame({"patient_id": [p.patient_id for p in some]}),
        origin=FeatureOrigin(),
    )


def seconds_a_patient(steps: int, step: Callable[[int], None], patients: int, device: torch.device) -> float:
    """Time steps of so many patients each, without the first ones."""
    for number in range(WARM_UP + steps):
        if number == WARM_UP:
            wait_for(device)
            start = clock()
        step(number)
    wait_for(device)
    return (clock() - start) / steps / patients


def ours(bags: LabelledBags, split: MemberSplit, options: TrainOptions, steps: int) -> float:
    """Time steps of the package's own loop."""
    moments: list[float] = []
    device = find_device(options.device)

    def watch(history: FoldHistory, step: int) -> None:
        if step:  # not the report after an epoch, which writes a checkpoint
            wait_for(device)
            moments.append(clock())
        if len(moments) > WARM_UP + steps:
            raise Enough

    with tempfile.TemporaryDirectory() as scratch, suppress(Enough):
        fit_member(bags, split, options, FoldCheckpoint(Path(scratch), 0), on_step=watch)
    return float(np.median(np.diff(moments[WARM_UP:]))) / options.batch_size


def one_bag_at_a_time(bags: LabelledBags, split: MemberSplit, options: TrainOptions, steps: int) -> float:
    """Time the plain loop: a bag, a step, in float32."""
    device = find_device(options.device)
    member = new_member(bags, split, options).to(device).train()
    optimizer = torch.optim.AdamW(member.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)

    def step(number: int) -> None:
        bag = torch.from_numpy(bags.values[number % len(bags)])[None].to(device)
        outputs = member(bag)
        loss = functional.cross_entropy(outputs.logits, torch.tensor([bags.classes[number % len(bags)]], device=device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return seconds_a_patient(steps * 4, step, 1, device)


def best_of(times: int, work: Callable[[], object]) -> float:
    """Return the shortest of some runs, in seconds."""
    seconds = []
    for _ in range(times):
        start = clock()
        work()
        seconds.append(clock() - start)
    return min(seconds)


def rate(dtype: torch.dtype, device: torch.device, bags: int) -> float:
    """Measure the operations a second of products with a layer's weights, for so many bags."""
    wide = TrainOptions().width
    shapes = [(wide, wide), (wide, 2 * wide), (wide, wide), (wide, 4 * wide), (4 * wide, wide)]
    made = [[torch.randn(n, k, device=device, dtype=dtype) for n in (bags * (CELLS + 1), m)] for k, m in shapes]

    def products() -> None:
        for x, weights in made:
            functional.linear(x, weights)
        wait_for(device)

    products()
    return sum(2 * bags * (CELLS + 1) * k * m for k, m in shapes) / best_of(7, products)


def operations(depth: int, cells: int, *, training: bool) -> float:
    """Count those of the products for one bag; a backward pass has twice those of a forward pass."""
    tokens, wide = cells + 1, TrainOptions().width
    read_in = 2 * cells * WIDTH * wide
    layer = 2 * tokens * wide * 12 * wide + 4 * tokens**2 * wide
    last = 2 * tokens * wide * 2 * wide  # Keys and values; of queries and all that follows, one row
    layers = (depth - 1) * layer + last
    return 2 * read_in + 3 * layers if training else read_in + layers


def time_what_if() -> None:
    """Time the prediction without three cells, and print it with its limit."""
    features = Features(
        "random",
        np.random.default_rng(0).normal(size=(CELLS, WIDTH)).astype(np.float32),
        tuple(map(str, range(CELLS))),
    )
    ensemble = paper_size_ensemble()
    prediction = ensemble.predict(features)
    seconds = best_of(3, lambda: what_if(ensemble, prediction, features, [0, 1, 2]))
    moments = [clock()]
    what_if(ensemble, prediction, features, [0, 1, 2], progress=lambda _: moments.append(clock()))
    depth, tokens = ensemble.description.aggregator.depth, CELLS - 2
    rollout = 2 * tokens**2 * TrainOptions().width * (depth - 1)
    needed = len(ensemble.members) * (operations(depth, CELLS - 3, training=False) + rollout)
    limit = needed / rate(torch.float32, torch.device("cpu"), 1)
    print(f"\n| what if, {CELLS} cells, 5 members, float32, cpu | time | limit | longest wait for a report |")
    print("|---|---|---|---|")
    print(f"| paper size | {seconds:.2f} s | {limit:.2f} s | {max(np.diff(moments)) * 1000:,.0f} ms |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--processor-time", action="store_true")
    asked = parser.parse_args()
    if asked.processor_time:
        global clock
        clock = time.process_time
        torch.set_num_threads(1)
    paper = TrainOptions(recipe="paper", device=asked.device)
    bags = synthetic_bags(paper.batch_size * (WARM_UP + asked.steps + 2))
    split = MemberSplit(0, np.arange(len(bags)), np.array([], dtype=int), np.array([], dtype=int))
    device = find_device(asked.device)
    fast = find_precision("auto", device)
    rates = {dtype: rate(dtype, device, paper.batch_size) for dtype in (torch.float32, fast)}
    print(f"\n{machine()}; {'processor time of one thread' if asked.processor_time else 'time by the clock'}\n")
    print("Products: " + ", ".join(f"{str(dtype)[6:]} {value / 1e9:,.0f} GFLOP/s" for dtype, value in rates.items()))
    print("\n| loop | a patient | limit | an epoch | 5 folds x 150 epochs |\n|---|---|---|---|---|", flush=True)

    def row(name: str, dtype: torch.dtype, options: TrainOptions, loop: Loop) -> None:
        seconds = loop(bags, split, options, asked.steps)
        limit = operations(options.depth, CELLS, training=True) / rates[dtype]
        epoch = seconds * PATIENTS * (FOLDS - 1) / FOLDS
        total = epoch * FOLDS * EPOCHS / 3600
        numbers = f"{seconds * 1000:,.0f} ms | {limit * 1000:,.0f} ms | {epoch:,.0f} s | {total:,.1f} h"
        print(f"| {name} | {numbers} |", flush=True)

    row("`train`, 8 bags at once, precision auto", fast, paper, ours)
    row("`train`, 8 bags at once, precision auto, recipe robust", fast, TrainOptions(device=asked.device), ours)
    row("one bag at a time, float32", torch.float32, paper, one_bag_at_a_time)
    single = paper.model_copy(update={"precision": "float32"})
    row("`train`, 8 bags at once, float32", torch.float32, single, ours)
    time_what_if()


if __name__ == "__main__":
    main()
