"""Which cells of which patients make a step: drawn anew in each epoch, batched by length, padded and masked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_caltomorph.diagnosis.inference import pad_bags
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.options import TrainOptions

# Patients are sorted by length among so many batches: enough to pad little, too few to make batches alike.
_POOL = 8


@dataclass(frozen=True)
class Batch:
    """B patients: bags (B, N, D) padded with zeros, mask (B, N), classes (B,), hemoglobin (B,) g/dl or NaN."""

    bags: Tensor
    mask: Tensor
    classes: Tensor
    hemoglobin: Tensor

    def __len__(self) -> int:
        return len(self.classes)

    def to(self, device: torch.device) -> Batch:
        """Return it on a device."""
        return Batch(*(t.to(device) for t in (self.bags, self.mask, self.classes, self.hemoglobin)))


def training_steps(
    bags: LabelledBags, patients: NDArray[np.intp], options: TrainOptions, rng: np.random.Generator
) -> Iterator[list[Batch]]:
    """Yield the batches of each step of an epoch; the last step takes what is left, however few."""
    if options.balance == "sampling":
        counts = np.bincount(bags.classes[patients])
        chances = 1 / counts[bags.classes[patients]]
        patients = rng.choice(patients, len(patients), p=chances / chances.sum())
    cells = {i: _draw_cells(len(bags.values[p]), options, rng) for i, p in enumerate(patients)}
    order = rng.permutation(len(patients))
    batches: list[list[int]] = []
    pool = options.batch_size * _POOL
    for start in range(0, len(order), pool):
        some = sorted(order[start : start + pool], key=lambda i: len(cells[i]))
        batches += [some[i : i + options.batch_size] for i in range(0, len(some), options.batch_size)]
    batches = [batches[i] for i in rng.permutation(len(batches))]
    for start in range(0, len(batches), options.accumulate):
        yield [
            _batch(bags, [patients[i] for i in some], [cells[i] for i in some])
            for some in batches[start : start + options.accumulate]
        ]


def steps_per_epoch(patients: int, options: TrainOptions) -> int:
    """How many steps an epoch has."""
    batches = -(-patients // options.batch_size)
    return -(-batches // options.accumulate)


def _draw_cells(count: int, options: TrainOptions, rng: np.random.Generator) -> NDArray[np.intp]:
    share = rng.uniform(options.least_share, 1) if options.least_share < 1 else 1.0
    taken = min(max(1, round(count * share)), options.max_cells)
    return rng.permutation(count)[:taken]


def _batch(bags: LabelledBags, patients: Sequence[int], cells: Sequence[NDArray[np.intp]]) -> Batch:
    chosen = np.asarray(patients, dtype=np.intp)
    return Batch(
        *pad_bags([bags.values[p][c] for p, c in zip(patients, cells, strict=True)]),
        torch.from_numpy(bags.classes[chosen]),
        torch.from_numpy(bags.hemoglobin[chosen].astype(np.float32)),
    )
