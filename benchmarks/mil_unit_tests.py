"""Bags of the algorithmic unit tests for multiple-instance learning of Raff and Holt (NeurIPS 2023).

In each test a wrong idea of the task separates the classes while training and misleads on the test bags. They are no
patients: a cell is D features, and a concept a normal distribution of all of them alike. docs/method.md discusses them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

WIDTH = 16
"""Features of a cell, D."""

_Cells = NDArray[np.float64]  # (N, D)


class _Draw:
    """Draws cells of a concept."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def of(self, mean: float, std: float, least: int = 1, most: int = 1) -> _Cells:
        return self.rng.normal(mean, std, (self.rng.integers(least, most + 1), WIDTH))

    def background(self, most: int) -> _Cells:
        return self.of(0, 1, 1, most)

    def poison(self, is_there: bool = True) -> _Cells:
        return self.of(-10, 0.1)[: int(is_there)]

    def one_of(self, *means: float, least: int = 1, most: int = 1) -> _Cells:
        return self.of(float(self.rng.choice(means)), 0.1, least, most)


_Test = Callable[[_Draw, bool, bool], list[_Cells]]


def _single_concept(draw: _Draw, is_positive: bool, is_training: bool) -> list[_Cells]:
    """Positive: a cell of the wide concept. Poison marks negatives in training, positives in the test."""
    if is_positive:
        return [draw.of(0, 3, 1, 3), draw.background(4), draw.poison(not is_training)]
    return [draw.background(9), draw.poison(is_training)]


def _multi_concept(draw: _Draw, is_positive: bool, is_training: bool) -> list[_Cells]:
    """Positive: both concepts. Poison marks negatives in training, positives in the test."""
    if is_positive:
        is_poisoned = not is_training or draw.rng.random() < 0.1
        return [draw.of(2, 0.1, 1, 4), draw.of(3, 0.1, 1, 4), draw.background(4), draw.poison(is_poisoned)]
    return [draw.one_of(2, 3), draw.background(4), draw.poison(is_training)]


def _false_frequency(draw: _Draw, is_positive: bool, is_training: bool) -> list[_Cells]:
    """Positive: both concepts. Negatives hold one of them, in the test many times: how often must not matter."""
    if is_positive:
        return [draw.of(-2, 0.1), draw.of(2, 0.1), draw.background(9)]
    least, most = (1, 1) if is_training else (35, 39)
    return [draw.one_of(-2, 2, least=least, most=most), draw.background(9)]


def _unpoisoned_multi_concept(draw: _Draw, is_positive: bool, is_training: bool) -> list[_Cells]:
    """The same without poison: nothing misleads, so it shows whether the concepts themselves are learned."""
    return _multi_concept(draw, is_positive, is_training)[:-1]


UNIT_TESTS: dict[str, _Test] = {
    "single_concept": _single_concept,
    "multi_concept": _multi_concept,
    "false_frequency": _false_frequency,
    "unpoisoned_multi_concept": _unpoisoned_multi_concept,
}


def unit_test_bags(
    name: str, count: int, *, is_training: bool, seed: int
) -> tuple[list[NDArray[np.float32]], NDArray[np.intp]]:
    """Return bags of a test, each (N, D), and their labels (count,): negative (0) and positive (1) in turn."""
    draw, labels = _Draw(np.random.default_rng(seed)), np.arange(count) % 2
    return [np.concatenate(UNIT_TESTS[name](draw, bool(y), is_training)).astype(np.float32) for y in labels], labels
