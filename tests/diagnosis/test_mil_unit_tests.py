"""The algorithmic unit tests for multiple-instance learning of Raff and Holt (NeurIPS 2023), for every aggregator.

Who passes what is a table: an expected failure that passes is noticed, as is the reverse. docs/method.md discusses it.
"""

from __future__ import annotations

from collections.abc import Iterator

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
from napari_caltomorph.synthetic.unit_tests import WIDTH, unit_test_bags

# Test -> AUC on the test bags that passes, and steps of training.
TASKS = {
    "false_frequency": (0.99, 300),
    "multi_concept": (0.95, 300),
    "single_concept": (0.95, 100),
    "unpoisoned_multi_concept": (0.93, 300),
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


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", AGGREGATORS)
def test_unit_test_of_raff_and_holt(name: str, task: str) -> None:
    limit, steps = TASKS[task]
    auc = auc_on_test_bags(train(AGGREGATORS[name], task, steps), task)
    reason = EXPECTED_FAILURES.get((task, name))
    assert (auc >= limit) == (reason is None), f"AUC {auc:.3f}; expected to {f'fail: {reason}' if reason else 'pass'}"


def train(options: AggregatorOptions, task: str, steps: int) -> Member:
    """AdamW on 512 training bags, 64 at once, as anybody would; nothing is tuned to the test bags."""
    torch.manual_seed(0)
    member = Member(WIDTH, 2, options, classifier_width=32, hemoglobin=False)
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


def auc_on_test_bags(member: Member, task: str) -> float:
    bags, mask, labels = bags_of(task, 400, is_training=False, seed=1000)
    with torch.inference_mode():
        logits = member(bags, mask).logits
    return float(roc_auc_score(labels, logits[:, 1] - logits[:, 0]))


def bags_of(task: str, count: int, *, is_training: bool, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """As many bags of each class: cells (B, N, D), mask (B, N), labels (B,)."""
    bags, labels = unit_test_bags(task, count, is_training=is_training, seed=seed)
    return *pad_bags(bags), torch.from_numpy(labels)
