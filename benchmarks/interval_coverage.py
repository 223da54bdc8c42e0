"""How often the 95 % intervals of an evaluation contain the truth, by simulation of cohorts.

Each class is confused with its neighbour and with all others. A model is as good in all classes, or *uneven*: nearly
perfect in the first class and at chance in the last. The truth is the number on a large cohort of the same classes.
A second, poor model of its own errors has the place of routine data: the gain is that of both together over it alone.
Errors of hemoglobin have four distributions::

    python benchmarks/interval_coverage.py --cohorts 1000
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.statistics import Interval, classification_metrics, hemoglobin_metrics
from napari_caltomorph.statistics.classification import brier_score, class_metrics
from napari_caltomorph.statistics.roc import gain

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

# Measured less estimated hemoglobin, in its standard deviations.
ERRORS: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "normal": lambda rng, count: rng.normal(size=count),
    "biased": lambda rng, count: 1 + rng.normal(size=count),
    "heavy tails": lambda rng, count: rng.laplace(scale=0.5**0.5, size=count),
    "skewed": lambda rng, count: rng.gamma(4, size=count) / 2 - 2,
}

_PATIENTS_OF_TRUTH = 200_000


def coverage(sizes: tuple[int, ...], model: str, cohorts: int, seed: int = 0) -> pd.DataFrame:
    """Return, for each number (index), the share of cohorts whose interval contains the truth, and its mean width.

    Columns: ``truth`` (of several classes, the mean), ``covered``, ``width``. Numbers of a class are over all classes.
    """
    rng, advantages = np.random.default_rng(seed), np.linspace(*MODELS[model], len(sizes))
    large = tuple(max(1, _PATIENTS_OF_TRUTH // sum(sizes)) * size for size in sizes)
    truth = dict(_numbers(*_cohort(rng, large, advantages)))
    return _covered(truth, (_numbers(*_cohort(rng, sizes, advantages)) for _ in range(cohorts)))


def coverage_of_errors(patients: int, kind: str, cohorts: int, seed: int = 0) -> pd.DataFrame:
    """Return the same of the errors of hemoglobin of so many patients."""
    rng = np.random.default_rng(seed)

    def numbers(count: int) -> Iterator[tuple[tuple[str, int], Interval]]:
        found = hemoglobin_metrics(ERRORS[kind](rng, count), np.zeros(count))
        return (((name, -1), one) for name, one in found.items())

    return _covered(dict(numbers(_PATIENTS_OF_TRUTH)), (numbers(patients) for _ in range(cohorts)))


def _covered(
    truth: dict[tuple[str, int], Interval], cohorts: Iterable[Iterable[tuple[tuple[str, int], Interval]]]
) -> pd.DataFrame:
    rows = [
        (name[0], truth[name].value, one.low <= truth[name].value <= one.high, one.high - one.low)
        for cohort in cohorts
        for name, one in cohort
        if one.low is not None and one.high is not None
    ]
    table = pd.DataFrame(rows, columns=["number", "truth", "covered", "width"])
    return table.groupby("number", sort=False).mean()


def _cohort(
    rng: np.random.Generator, sizes: tuple[int, ...], advantages: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Return classes (P,), probabilities (P, C), and those of the poor model."""
    count, classes = len(sizes), np.repeat(np.arange(len(sizes)), sizes)
    rows = np.arange(len(classes))
    logits = rng.normal(scale=1.4, size=(len(classes), count))
    logits[rows, classes] += advantages[classes]
    logits[rows, (classes + 1) % count] += 0.4 * advantages[classes]
    poor = rng.spawn(1)[0].normal(scale=1.4, size=logits.shape) + np.eye(count)[classes]
    return classes, _shares(logits), _shares(poor)


def _shares(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _numbers(
    classes: NDArray[np.intp], probabilities: NDArray[np.float64], poor: NDArray[np.float64]
) -> Iterator[tuple[tuple[str, int], Interval]]:
    """Yield each number of an evaluation, by its name and class."""
    count = probabilities.shape[1]
    for name, one in classification_metrics(classes, probabilities, np.arange(count) < max(1, 3 * count // 4)).items():
        yield (name, -1), one
    for name, by_class in class_metrics(classes, probabilities).items():
        for c, one in by_class.items():
            yield (f"{name} of a class", c), one
    yield ("brier", -1), brier_score(np.eye(count)[classes], probabilities, classes)
    if (found := gain(classes, poor, _shares(np.log(poor) + np.log(probabilities)))) is not None:
        yield ("gain over routine data", -1), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=1000)
    args = parser.parse_args()
    tables = {}
    for sizes in SIZES:
        for model in MODELS:
            tables[" ".join(map(str, sizes)), model] = table = coverage(sizes, model, args.cohorts)
            print(f"\n{sizes}, {model}\n{table.round(3).to_string()}", flush=True)
    for patients in (12, 30, 100):
        for kind in ERRORS:
            tables[str(patients), f"{kind} errors"] = table = coverage_of_errors(patients, kind, args.cohorts)
            print(f"\n{patients} patients, {kind} errors\n{table.round(3).to_string()}", flush=True)
    covered = pd.concat({case: table["covered"] for case, table in tables.items()})
    print("\nOver all of these\n", covered.groupby(level=-1).agg(["min", "mean", "max", "idxmin"]).round(3).to_string())


if __name__ == "__main__":
    main()
