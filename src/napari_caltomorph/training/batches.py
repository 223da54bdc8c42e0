"""Which cells of which patients make a step: drawn anew in each epoch, batched by length, padded and masked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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


def whole_bags(
    bags: LabelledBags, patients: Sequence[int] | NDArray[np.intp], size: int
) -> Iterator[tuple[list[int], Batch]]:
    """Yield all patients with all their cells, `size` at once, and who they are."""
    order = sorted((int(p) for p in patients), key=lambda p: len(bags.values[p]))
    for start in range(0, len(order), size):
        some = order[start : start + size]
        yield some, _batch(bags, some, [None] * len(some))


def _draw_cells(count: int, options: TrainOptions, rng: np.random.Generator) -> NDArray[np.intp]:
    share = rng.uniform(options.least_share, 1) if options.least_share < 1 else 1.0
    taken = min(max(1, round(count * share)), options.max_cells)
    return rng.permutation(count)[:taken]


def _batch(bags: LabelledBags, patients: Sequence[int], cells: Sequence[NDArray[np.intp] | None]) -> Batch:
    drawn = [bags.values[p] if c is None else bags.values[p][c] for p, c in zip(patients, cells, strict=True)]
    longest = max(map(len, drawn))
    padded = np.zeros((len(drawn), longest, bags.width), dtype=np.float32)
    mask = np.zeros((len(drawn), longest), dtype=bool)
    for row, bag in enumerate(drawn):
        padded[row, : len(bag)] = bag
        mask[row, : len(bag)] = True
    chosen = np.asarray(patients, dtype=np.intp)
    return Batch(
        torch.from_numpy(padded),
        torch.from_numpy(mask),
        torch.from_numpy(bags.classes[chosen]),
        torch.from_numpy(bags.hemoglobin[chosen].astype(np.float32)),
    )
