"""How often `caltomorph monitor` raises false alarms, and how soon it finds a shift, by simulation of laboratories.

Each laboratory has a reference of its own, and six charts of independent numbers at the default rate. False alarms are
counted over all charts; a shift is of one of them, from the first patient after the reference on, in standard
deviations. The mix of eight classes has 20 % in the first one, and then more::

    python benchmarks/drift_rates.py --laboratories 2000
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.statistics.drift import chart_categories, chart_numbers

REFERENCES = (30, 60, 120)
SHIFTS = (0.5, 1.0, 2.0)
MIXES = (0.5, 0.8)
CHARTS, RATE = 6, 0.001
HORIZONS = (100, 300)
LONGEST = 400

DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "skewed": lambda rng, n: rng.lognormal(size=n),
    "many ties": lambda rng, n: rng.poisson(1, size=n).astype(float),
}


def false_alarms(reference: int, name: str, laboratories: int, rng: np.random.Generator) -> list[float]:
    """Return the share of laboratories with an alarm in any chart within each of `HORIZONS`."""
    first = np.full(laboratories, np.inf)
    for laboratory in range(laboratories):
        for _ in range(CHARTS):
            values = DISTRIBUTIONS[name](rng, reference + HORIZONS[-1])
            alarm = chart_numbers(values[reference:], values[:reference], RATE / CHARTS).alarm
            first[laboratory] = min(first[laboratory], np.inf if alarm is None else alarm + 1)
    return [float((first <= horizon).mean()) for horizon in HORIZONS]


def delays(reference: int, shift: float, laboratories: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return after how many patients each laboratory finds a shift; infinity where it does not within `LONGEST`."""
    found = []
    for _ in range(laboratories):
        values = rng.normal(size=reference + LONGEST)
        alarm = chart_numbers(values[reference:] + shift, values[:reference], RATE / CHARTS).alarm
        found.append(np.inf if alarm is None else alarm + 1)
    return np.array(found)


def delays_of_mix(reference: int, share: float, laboratories: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the same where the share of the first of eight classes rises from 0.2."""
    before, after = (np.array([first] + [(1 - first) / 7] * 7) for first in (0.2, share))
    found = []
    for _ in range(laboratories):
        known, values = rng.choice(8, p=before, size=reference), rng.choice(8, p=after, size=LONGEST)
        alarm = chart_categories(values, known, RATE / CHARTS).alarm
        found.append(np.inf if alarm is None else alarm + 1)
    return np.array(found)


def in_words(found: NDArray[np.float64]) -> str:
    """Return the median, and in brackets the delay within which 90 % are found."""
    middle, most = np.quantile(found, [0.5, 0.9], method="higher")
    shown = [f"{value:.0f}" if np.isfinite(value) else f"above {LONGEST}" for value in (middle, most)]
    return f"{shown[0]} ({shown[1]})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--laboratories", type=int, default=2000)
    count, rng = parser.parse_args().laboratories, np.random.default_rng(1)
    print(f"| reference | {' | '.join(f'{name}, within {h}' for name in DISTRIBUTIONS for h in HORIZONS)} |")
    print("|---" * (1 + len(DISTRIBUTIONS) * len(HORIZONS)) + "|")
    for reference in REFERENCES:
        rates = [rate for name in DISTRIBUTIONS for rate in false_alarms(reference, name, count, rng)]
        print(f"| {reference} | {' | '.join(f'{rate:.3f}' for rate in rates)} |", flush=True)
    titles = [f"{shift:g} sd" for shift in SHIFTS] + [f"class from 20 to {share:.0%}" for share in MIXES]
    print(f"\n| reference | {' | '.join(titles)} |")
    print("|---" * (1 + len(titles)) + "|")
    for reference in REFERENCES:
        found = [in_words(delays(reference, shift, count, rng)) for shift in SHIFTS]
        found += [in_words(delays_of_mix(reference, share, count // 10, rng)) for share in MIXES]
        print(f"| {reference} | {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    main()
