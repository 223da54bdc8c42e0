"""Time of training at the paper's size, compared with one bag at a time, as is usual in the field.

    python benchmarks/training.py [--device auto] [--steps 12]

The paper's transformer (10 layers, 8 heads of 64, MLP 2,048) is trained on bags of 500 cells x 768 features. A few real
steps are timed, after some that are not, and scaled to an epoch of the paper's 1,634 training patients, of which a
member of five sees four fifths, and to five folds of 150 epochs. Features are synthetic: speed does not depend on them.
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
from speed import machine
from torch.nn import functional

from napari_caltomorph.encoding.device import find_device, wait_for
from napari_caltomorph.encoding.features import FeatureOrigin
from napari_caltomorph.synthetic import SynthOptions, synthesize_patients, synthetic_features
from napari_caltomorph.taxonomy import caltomorph_taxonomy
from napari_caltomorph.training import FoldHistory, TrainOptions
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.members import FoldCheckpoint, new_member

PATIENTS, FOLDS, EPOCHS = 1634, 5, 150
CELLS, WIDTH = 500, 768
WARM_UP = 3


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
            start = time.perf_counter()
        step(number)
    wait_for(device)
    return (time.perf_counter() - start) / steps / patients


def ours(bags: LabelledBags, split: MemberSplit, options: TrainOptions, steps: int) -> float:
    """Time steps of the package's own loop."""
    moments: list[float] = []
    device = find_device(options.device)

    def watch(history: FoldHistory, step: int) -> None:
        if step:  # not the report after an epoch, which writes a checkpoint
            wait_for(device)
            moments.append(time.perf_counter())
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=12)
    asked = parser.parse_args()
    paper = TrainOptions(recipe="paper", device=asked.device)
    bags = synthetic_bags(paper.batch_size * (WARM_UP + asked.steps + 2))
    split = MemberSplit(0, np.arange(len(bags)), np.array([], dtype=int), np.array([], dtype=int))
    rows = [
        ("one bag at a time, float32", one_bag_at_a_time(bags, split, paper, asked.steps)),
        (
            f"`train`, {paper.batch_size} bags at once, float32",
            ours(bags, split, paper.model_copy(update={"precision": "float32"}), asked.steps),
        ),
        (f"`train`, {paper.batch_size} bags at once, precision auto", ours(bags, split, paper, asked.steps)),
        (
            f"`train`, {paper.batch_size} bags at once, precision auto, recipe robust",
            ours(bags, split, TrainOptions(device=asked.device), asked.steps),
        ),
    ]
    learning = PATIENTS * (FOLDS - 1) / FOLDS
    print(f"\n{machine()}\n\n| loop | a patient | an epoch | 5 folds x 150 epochs |\n|---|---|---|---|")
    for name, seconds in rows:
        epoch = seconds * learning
        total = epoch * FOLDS * EPOCHS / 3600
        print(f"| {name} | {seconds * 1000:,.0f} ms | {epoch:,.0f} s | {total:,.1f} h |")


if __name__ == "__main__":
    main()
