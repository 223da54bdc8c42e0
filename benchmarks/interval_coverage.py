"""How often the 95 % intervals of an evaluation contain the truth, by simulation of cohorts.

Each class is confused with its neighbour and with all others. A model is as good in all classes, or *uneven*: nearly
perfect in the first class and at chance in the last. The truth is the number on a large cohort of the same classes::

    python benchmarks/interval_coverage.py --cohorts 1000
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.statistics import Interval, classification_metrics
from napari_caltomorph.statistics.classification import brier_score, class_metrics

SIZES = ((12,) * 8, (30,) * 8, (100,) * 8, (12,) * 2, (30,) * 2, (100,) * 2, (12,) * 4 + (60,) * 4, (12, 200))
"""Patients of each class."""

# How far the logit of the true class is above the others.
MODELS = {
    "nearly perfect": (8.0, 8.0),
    "good": (5.0, 5.0),
    "fair": (2.5, 2.5),
    "poor": (1.0, 1.0),
    "chance": (0.0, 0.0),
    "uneven": (6.0, 0.0),
}

_PATIENTS_OF_TRUTH = 200_000


def coverage(sizes: tuple[int, ...], model: str, cohorts: int, seed: int = 0) -> pd.DataFrame:
    """Return, for each number (index), the share of cohorts whose interval contains the truth, and its mean width.

    Columns: ``truth`` (of several classes, the mean), ``covered``, ``width``. Numbers of a class are over all classes.
    """
    rng, advantages = np.random.default_rng(seed), np.linspace(*MODELS[model], len(sizes))
    large = tuple(max(1, _PATIENTS_OF_TRUTH // sum(sizes)) * size for size in sizes)
    truth = dict(_numbers(*_cohort(rng, large, advantages)))
    rows = [
        (name[0], truth[name].value, one.low <= truth[name].value <= one.high, one.high - one.low)
        for _ in range(cohorts)
        for name, one in _numbers(*_cohort(rng, sizes, advantages))
        if one.low is not None and one.high is not None
    ]
    table = pd.DataFrame(rows, columns=["number", "truth", "covered", "width"])
    return table.groupby("number", sort=False).mean()


def _cohort(
    rng: np.random.Generator, sizes: tuple[int, ...], advantages: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return classes (P,) and probabilities (P, C)."""
    count, classes = len(sizes), np.repeat(np.arange(len(sizes)), sizes)
    rows = np.arange(len(classes))
    logits = rng.normal(scale=1.4, size=(len(classes), count))
    logits[rows, classes] += advantages[classes]
    logits[rows, (classes + 1) % count] += 0.4 * advantages[classes]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return classes, shares / shares.sum(axis=1, keepdims=True)


def _numbers(
    classes: NDArray[np.intp], probabilities: NDArray[np.float64]
) -> Iterator[tuple[tuple[str, int], Interval]]:
    """Yield each number of an evaluation, by its name and class."""
    count = probabilities.shape[1]
    for name, one in classification_metrics(classes, probabilities, np.arange(count) < max(1, 3 * count // 4)).items():
        yield (name, -1), one
    for name, by_class in class_metrics(classes, probabilities).items():
        for c, one in by_class.items():
            yield (f"{name} of a class", c), one
    yield ("brier", -1), brier_score(np.eye(count)[classes], probabilities, classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=1000)
    args = parser.parse_args()
    tables = {}
    for sizes in SIZES:
        for model in MODELS:
            tables[" ".join(map(str, sizes)), model] = table = coverage(sizes, model, args.cohorts)
            print(f"\n{sizes}, {model}\n{table.round(3).to_string()}", flush=True)
    covered = pd.concat({case: table["covered"] for case, table in tables.items()})
    print("\nOver all of these\n", covered.groupby(level=-1).agg(["min", "mean", "max", "idxmin"]).round(3).to_string())


if __name__ == "__main__":
    main()
