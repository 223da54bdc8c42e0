"""The algorithmic unit tests for multiple-instance learning of Raff and Holt (NeurIPS 2023), for every aggregator.

Each makes bags in which a wrong idea of the task separates the classes while training and misleads on the test bags.
Who passes what is a table: an expected failure that passes is noticed, as is the reverse. docs/method.md discusses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from napari_caltomorph.diagnosis import (
    AbmilOptions,
    AggregatorOptions,
    MaxOptions,
    MeanOptions,
    TransformerOptions,
    WbcmilOptions,
)
from napari_caltomorph.diagnosis.inference import pad_bags
from napari_caltomorph.diagnosis.member import Member

D = 16
Bag = np.ndarray


class Cells:
    """Draws cells; a concept is a normal distribution of all D features alike."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def of(self, mean: float, std: float, least: int = 1, most: int = 1) -> Bag:
        return self.rng.normal(mean, std, (self.rng.integers(least, most + 1), D))

    def background(self, most: int) -> Bag:
        return self.of(0, 1, 1, most)

    def poison(self, is_there: bool = True) -> Bag:
        return self.of(-10, 0.1)[: int(is_there)]

    def one_of(self, *means: float, least: int = 1, most: int = 1) -> Bag:
        return self.of(float(self.rng.choice(means)), 0.1, least, most)


def single_concept(draw: Cells, is_positive: bool, is_training: bool) -> list[Bag]:
    """Positive: a cell of the wide concept. Poison marks negatives in training, positives in the test."""
    if is_positive:
        return [draw.of(0, 3, 1, 3), draw.background(4), draw.poison(not is_training)]
    return [draw.background(9), draw.poison(is_training)]


def multi_concept(draw: Cells, is_positive: bool, is_training: bool) -> list[Bag]:
    """Positive: both concepts. Poison marks negatives in training, positives in the test."""
    if is_positive:
        is_poisoned = not is_training or draw.rng.random() < 0.1
        return [draw.of(2, 0.1, 1, 4), draw.of(3, 0.1, 1, 4), draw.background(4), draw.poison(is_poisoned)]
    return [draw.one_of(2, 3), draw.background(4), draw.poison(is_training)]


def false_frequency(draw: Cells, is_positive: bool, is_training: bool) -> list[Bag]:
    """Positive: both concepts. Negatives hold one of them, in the test many times: how often must not matter."""
    if is_positive:
        return [draw.of(-2, 0.1), draw.of(2, 0.1), draw.background(9)]
    least, most = (1, 1) if is_training else (35, 39)
    return [draw.one_of(-2, 2, least=least, most=most), draw.background(9)]


def unpoisoned_multi_concept(draw: Cells, is_positive: bool, is_training: bool) -> list[Bag]:
    """The same without poison: nothing misleads, so it shows whether the concepts themselves are learned."""
    return multi_concept(draw, is_positive, is_training)[:-1]


Task = Callable[[Cells, bool, bool], list[Bag]]
# Task -> AUC on the test bags that passes, and steps of training.
TASKS: dict[Task, tuple[float, int]] = {
    false_frequency: (0.99, 300),
    multi_concept: (0.95, 300),
    single_concept: (0.95, 100),
    unpoisoned_multi_concept: (0.93, 300),
}
_SMALL = {"depth": 2, "heads": 4, "width": 32, "mlp_width": 64}
AGGREGATORS = {
    "cls": TransformerOptions(**_SMALL),
    "mean of tokens": TransformerOptions(**_SMALL, pooling="mean"),
    "abmil": AbmilOptions(width=32, attention_width=16),
    "wbcmil": WbcmilOptions(attention_width=16),
    "mean": MeanOptions(),
    "max": MaxOptions(),
}
_NOT_MONOTONE = "may learn that a bag is negative because of a cell, so it learns the poison"
_POISON_IS_EASIER = (
    "no training bag is without poison and negative: the absence of poison is learned as a sign of a positive, and "
    "outweighs the concepts on the test bags, which show it the other way round"
)
EXPECTED_FAILURES = {
    **{("single_concept", name): _NOT_MONOTONE for name in AGGREGATORS if name != "max"},
    **{("multi_concept", name): _POISON_IS_EASIER for name in AGGREGATORS if name not in {"max", "cls"}},
    ("multi_concept", "cls"): f"{_POISON_IS_EASIER}; it comes close, with 0.83 to 1.00 by seed and training",
    ("multi_concept", "max"): "sees the largest values only: B hides A, so A's absence is not seen",
    ("unpoisoned_multi_concept", "max"): "sees the largest values only: B hides A, so A's absence is not seen",
    ("false_frequency", "max"): "sees the largest values only: A lies below the background",
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose most of their time to threads that wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
@pytest.mark.parametrize("name", AGGREGATORS)
def test_unit_test_of_raff_and_holt(name: str, task: Task) -> None:
    limit, steps = TASKS[task]
    auc = auc_on_test_bags(train(AGGREGATORS[name], task, steps), task)
    reason = EXPECTED_FAILURES.get((task.__name__, name))
    assert (auc >= limit) == (reason is None), f"AUC {auc:.3f}; expected to {f'fail: {reason}' if reason else 'pass'}"


def train(options: AggregatorOptions, task: Task, steps: int) -> Member:
    """AdamW on 512 training bags, 64 at once, as anybody would; nothing is tuned to the test bags."""
    torch.manual_seed(0)
    member = Member(D, 2, options, classifier_width=32, hemoglobin=False)
    bags, mask, labels = bags_of(task, 512, is_training=True, seed=0)
    optimizer = torch.optim.AdamW(member.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        some = torch.randint(512, (64,), generator=generator)
        loss = functional.cross_entropy(member(bags[some], mask[some]).logits, labels[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return member.eval()


def auc_on_test_bags(member: Member, task: Task) -> float:
    bags, mask, labels = bags_of(task, 400, is_training=False, seed=1000)
    with torch.inference_mode():
        logits = member(bags, mask).logits
    return float(roc_auc_score(labels, logits[:, 1] - logits[:, 0]))


def bags_of(task: Task, count: int, *, is_training: bool, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """As many bags of each class: cells (B, N, D), mask (B, N), labels (B,)."""
    draw, labels = Cells(seed), np.arange(count) % 2
    bags = [np.concatenate(task(draw, bool(y), is_training)).astype(np.float32) for y in labels]
    return *pad_bags(bags), torch.from_numpy(labels)
